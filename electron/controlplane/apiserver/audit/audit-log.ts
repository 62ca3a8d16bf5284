// The audit log as the chain uses it: told of a request when it is known whose it is, and again when
// it is answered. Lines go to a sink that never blocks; one it can't take is counted, not waited for.
// Source: kubernetes apiserver pkg/endpoints/filters/audit.go.
import { AssertionError } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import { internalError, StatusError } from '#kube/machinery/status.ts';
import type { ApiRequest, ApiResponse, AuditNotes, RequestInfo, UserInfo } from '../http.ts';
import { auditLine, type Audited, type Outcome } from './event.ts';
import { decideAudit, hasBodies, type AuditLevel, type AuditPolicy } from './policy.ts';

export interface AuditSink {
  /** False: there is no room, the line is lost. */
  write(line: string): boolean;
  /** Returns when all lines are in the file, but for those that a write has taken already. */
  flushSync(): void;
}

export interface AuditLogDeps {
  readonly policy: AuditPolicy;
  readonly sink: AuditSink;
  readonly clock: Clock;
}

export interface AuditCounts {
  readonly events: number;
  readonly lost: number;
  /** Requests by the level that the policy gave them. */
  readonly byLevel: ReadonlyMap<AuditLevel, number>;
}

export class AuditLog {
  readonly #deps: AuditLogDeps;
  readonly #byLevel = new Map<AuditLevel, number>();
  #events = 0;
  #lost = 0;

  constructor(deps: AuditLogDeps) {
    this.#deps = deps;
  }

  counts(): AuditCounts {
    return { events: this.#events, lost: this.#lost, byLevel: this.#byLevel };
  }

  /** Undefined: the policy says nothing of it. `user` undefined: its credentials are wrong. */
  begin(
    auditId: string,
    { request, info }: { readonly request: ApiRequest; readonly info: RequestInfo },
    user: UserInfo | undefined,
  ): AuditEntry | undefined {
    const decision = decideAudit(this.#deps.policy, info, user);
    const { level } = decision;
    this.#byLevel.set(level, (this.#byLevel.get(level) ?? 0) + 1);
    if (level === 'None') return undefined;
    const notes: AuditNotes = { wantsBody: hasBodies(level) };
    const receivedMs = this.#deps.clock.now();
    return new AuditEntry(
      { auditId, decision, request, info, user, notes, receivedMs },
      { now: () => this.#deps.clock.now(), tell: (line, isLast) => this.#tell(line, isLast) },
    );
  }

  #tell(line: string, isLast: boolean): void {
    if (this.#deps.sink.write(line)) this.#events += 1;
    else this.#lost += 1;
    if (isLast) this.#deps.sink.flushSync();
  }
}

interface Teller {
  readonly now: () => number;
  /** `isLast`: the process is about to end. */
  readonly tell: (line: string, isLast: boolean) => void;
}

/** One request's. */
export class AuditEntry {
  readonly #audited: Audited;
  readonly #teller: Teller;
  #isOver = false;

  constructor(audited: Audited, teller: Teller) {
    this.#audited = audited;
    this.#teller = teller;
    this.#tell({ stage: 'RequestReceived' });
  }

  /** The request, by which the chain's other filters and the handlers add what they know. */
  get request(): ApiRequest {
    const { request, notes } = this.#audited;
    if (!notes.wantsBody) return { ...request, audit: notes };
    const readBody = async (): Promise<Uint8Array> => {
      const bytes = await request.readBody();
      // A handler that decodes it knows better (YAML, protobuf).
      if (bytes.length > 0) notes.body ??= Buffer.from(bytes).toString('utf8');
      return bytes;
    };
    return { ...request, readBody, audit: notes };
  }

  /** A streamed answer has begun. */
  started({ status: code }: ApiResponse): void {
    this.#tell({ stage: 'ResponseStarted', status: { code } });
  }

  completed(response: ApiResponse): void {
    const status = { code: response.status };
    this.#finish({ stage: 'ResponseComplete', status, response });
  }

  failed(error: unknown): void {
    if (error instanceof AssertionError) {
      const { status } = internalError(error);
      this.#finish({ stage: 'Panic', status: { ...status, code: 500 } });
      return;
    }
    const { status } = error instanceof StatusError ? error : internalError(error);
    this.#finish({ stage: 'ResponseComplete', status: { ...status, code: status.code ?? 500 } });
  }

  #finish(outcome: Omit<Outcome, 'atMs'>): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#tell(outcome);
  }

  #tell({ response, ...outcome }: Omit<Outcome, 'atMs'>): void {
    const { decision, receivedMs } = this.#audited;
    const { stage } = outcome;
    if (decision.omitStages.includes(stage)) return;
    const isWhole = decision.level === 'RequestResponse' && response !== undefined;
    const atMs = stage === 'RequestReceived' ? receivedMs : this.#teller.now();
    const line = auditLine(this.#audited, { ...outcome, atMs, ...(isWhole ? { response } : {}) });
    this.#teller.tell(line, stage === 'Panic');
  }
}
