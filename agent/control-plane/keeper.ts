// Gives this machine a control plane, or takes it away, when the leader says so on the Node: fetches the package and, for a
// machine that keeps no copy of the state yet, its invitation, as this node, from whoever the leader names; has them
// placed beside the agent, and says on the Node when it serves. The supervisor keeps both; a new one that does not serve in
// time goes back by itself. A copy of the state is cleared away only when the leader itself says that it counts no more.
import type { Node } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Transport } from '#kube/client/transport.ts';
import { digestOf, upgradeText, type UpgradeReport } from '#kube/machinery/agent-versions.ts';
import {
  alwaysOnAnnotation,
  controlPlaneReportAnnotation,
  controlPlaneTargetAnnotation,
  controlPlaneVersionAnnotation,
  diskSyncAnnotation,
  noControlPlane,
  packageSourceAnnotation,
  parseControlPlanePackage,
  type ControlPlanePackageText,
} from '#kube/machinery/control-planes.ts';
import { messageOf } from '../error-message.ts';
import type { PlacedControlPlane } from './placed.ts';

type Requests = Pick<Transport, 'request' | 'stream'>;

export interface ControlPlaneKeeperDeps {
  readonly placed: PlacedControlPlane;
  /** With a connection to that server, as this node; it is closed afterwards. */
  readonly to: <T>(server: string, use: (transport: Requests) => Promise<T>) => Promise<T>;
  /** The control plane of this machine. */
  readonly ownServer: string;
  readonly isAlwaysOn: boolean;
  /** What is to be told on the Node changed. */
  readonly onChange: () => void;
  /** Ends this process, so that the supervisor starts what is there now. */
  readonly restart: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const retryMs = { first: 2000, max: 60_000 };
/** A start takes a while, and the first one is sent all of the state. */
const patienceMs = 60_000;

export class ControlPlaneKeeper {
  readonly #deps: ControlPlaneKeeperDeps;
  #target = '';
  #source = '';
  #isBusy = false;
  /** It was found healthy. */
  #version: string | null = null;
  #report: string | null = null;
  #syncMs: number | undefined;

  constructor(deps: ControlPlaneKeeperDeps) {
    this.#deps = deps;
  }

  /** Before the first status. */
  async start(): Promise<void> {
    this.#syncMs = await this.#deps.placed.measureSync();
  }

  annotations(): Record<string, string | null> {
    return {
      [controlPlaneVersionAnnotation]: this.#version,
      [controlPlaneReportAnnotation]: this.#report,
      [diskSyncAnnotation]: this.#syncMs === undefined ? null : String(this.#syncMs),
      [alwaysOnAnnotation]: this.#deps.isAlwaysOn ? null : 'no',
    };
  }

  onNode({ metadata }: Node): void {
    this.#target = metadata.annotations?.[controlPlaneTargetAnnotation] ?? '';
    this.#source = metadata.annotations?.[packageSourceAnnotation] ?? '';
    if (!this.#isBusy && this.#isWanted()) void this.#bringAbout();
  }

  /** Something is to be done. Nobody named anything: nothing is, whatever is there. */
  #isWanted(): boolean {
    const { placed, signal } = this.#deps;
    if (signal.aborted || this.#target === '') return false;
    if (this.#target === noControlPlane) return placed.current !== undefined;
    const digest = digestOf(this.#target);
    return digest !== '' && this.#version !== this.#target && this.#failed() !== digest;
  }

  #failed(): string | undefined {
    const [, digest] = /^([0-9a-f]{12}) Failed/.exec(this.#report ?? '') ?? [];
    return digest;
  }

  async #bringAbout(): Promise<void> {
    const { clock, logger, signal } = this.#deps;
    this.#isBusy = true;
    for (let waitMs = retryMs.first; this.#isWanted(); waitMs = Math.min(waitMs * 2, retryMs.max)) {
      const target = this.#target;
      try {
        await this.#step(target);
        continue;
      } catch (error) {
        const why = messageOf(error);
        logger.warn('The control plane is not as it is wanted yet', { target, error: why });
        this.#tell({ digest: digestOf(target), state: 'Waits', why });
      }
      await delay(clock, waitMs, signal);
    }
    this.#isBusy = false;
  }

  async #step(target: string): Promise<void> {
    const { placed } = this.#deps;
    if (target === noControlPlane) return this.#drop();
    const digest = digestOf(target);
    const failure = await placed.failure();
    if (failure?.digest === digest) return this.#tell({ ...failure, state: 'Failed' });
    if (placed.current !== digest) await this.#place(target, digest);
    await this.#untilHealthy(target);
  }

  async #place(target: string, digest: string): Promise<void> {
    const { placed, to, restart, logger, signal } = this.#deps;
    await to(this.#source, async (transport) => {
      const offered = await packageAt(transport, signal);
      if (offered.version !== target)
        throw new Error(`${this.#source} hands out ${offered.version}, and ${target} is wanted`);
      if (!(await placed.has(digest)))
        await placed.place(offered.sha256, fileAt(transport, offered.sha256, signal));
      if (await placed.holdsState()) return placed.tryOut(digest);
      const invitation = await answerOf(transport, 'POST', 'invitation', signal);
      await placed.join(invitation, digest);
      logger.info('This machine gets a copy of the state', { version: target });
      restart();
    });
  }

  /** Its own word counts, not what anybody says of it. */
  async #untilHealthy(target: string): Promise<void> {
    const { placed, clock, signal, logger } = this.#deps;
    const startedMs = clock.monotonicMs();
    for (let waitMs = 1000; this.#target === target && !signal.aborted;) {
      if (await this.#isHealthy()) {
        await placed.confirm();
        this.#version = target;
        logger.info('The control plane of this machine serves', { version: target });
        return this.#tell(undefined);
      }
      const failure = await placed.failure();
      if (failure?.digest === digestOf(target)) return this.#tell({ ...failure, state: 'Failed' });
      if (clock.monotonicMs() - startedMs > patienceMs) {
        const why = (await placed.lastWords()) ?? 'it does not serve yet';
        this.#tell({ digest: digestOf(target), state: 'Waits', why });
        waitMs = 10_000;
      }
      await delay(clock, waitMs, signal);
    }
  }

  async #isHealthy(): Promise<boolean> {
    const { to, ownServer, signal } = this.#deps;
    try {
      return await to(ownServer, async (transport) => {
        const request = { method: 'GET', path: '/readyz', headers: {}, signal } as const;
        return (await transport.request(request)).status === 200;
      });
    } catch {
      // It does not listen yet.
      return false;
    }
  }

  /** The one thing that can't be made undone: whoever leads says first that this copy counts no more. */
  async #drop(): Promise<void> {
    const { placed, to, logger, signal } = this.#deps;
    const found = await to(this.#source, (transport) =>
      answerOf(transport, 'GET', 'membership', signal),
    );
    if (found.trim() !== 'none')
      throw new Error(`${this.#source} counts this machine's copy of the state`);
    await placed.drop();
    this.#version = null;
    logger.info('This machine keeps no copy of the state any more');
    this.#tell(undefined);
  }

  #tell(report: UpgradeReport | undefined): void {
    const text = report === undefined ? null : upgradeText(report);
    if (report?.state === 'Failed')
      this.#deps.logger.error('A control plane was rolled back', { ...report });
    this.#report = text;
    this.#deps.onChange();
  }
}

const machines = '/flotilla/machines';

async function packageAt(
  transport: Requests,
  signal: AbortSignal,
): Promise<ControlPlanePackageText> {
  const found = parseControlPlanePackage(await answerOf(transport, 'GET', 'controlplane', signal));
  if (found === undefined)
    throw new Error('the package of the control plane is told of in other words');
  return found;
}

async function answerOf(
  transport: Requests,
  method: 'GET' | 'POST',
  what: string,
  signal: AbortSignal,
): Promise<string> {
  const request = { method, path: `${machines}/${what}`, headers: {}, signal };
  const { status, body } = await transport.request(request);
  const text = new TextDecoder().decode(body);
  if (status === 200) return text;
  throw new Error(`${what} was refused (${status}): ${reasonIn(text)}`);
}

/** Of a Status. */
function reasonIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { readonly message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // It is said as it came.
  }
  return text.slice(0, 500);
}

async function* fileAt(
  transport: Requests,
  sha256: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const path = `${machines}/files/${sha256}`;
  const answer = await transport.stream({ method: 'GET', path, headers: {}, signal });
  if (answer.status !== 200) throw new Error(`${path} can't be had (${answer.status})`);
  yield* answer.chunks;
}
