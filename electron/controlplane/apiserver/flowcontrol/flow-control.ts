// Priority and fairness as the chain uses it: a request takes a seat, waits for one, or is told to
// come again. What to do is decided by `matching.ts` and `fair-queues.ts`; here are the clock, the
// promises and the objects.
// Source: kubernetes apiserver pkg/server/filters/priority-and-fairness.go.
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import { tooManyRequests, type StatusError } from '#kube/machinery/status.ts';
import type { ApiRequest, RequestInfo, UserInfo } from '../http.ts';
import { bootstrapLevels, bootstrapSchemas } from './bootstrap.ts';
import { FairQueues, type LevelCounts, type Ticket } from './fair-queues.ts';
import { flowDistinguisher, matchingSchema, sortSchemas } from './matching.ts';

export interface FlowControlDeps {
  readonly clock: Clock;
  /** What the server does at once. */
  readonly seats?: number;
  /** Work that a request is, in requests; 1 when left out. */
  readonly widthOf?: (info: RequestInfo, query: URLSearchParams) => number;
}

/** 400 reads and 200 writes, as Kubernetes' flags have it. */
const defaultSeats = 600;
/** A quarter of the 60 s that a request may take. */
const maxWaitMs = 15_000;

export interface Seat {
  /** Once, when the request was answered. */
  release(): void;
}

export interface Asking {
  readonly user: UserInfo;
  /** What the request may take as a whole. */
  readonly deadlineMs: number;
  /** Takes `X-Kubernetes-PF-…` of the answer, whatever it will be. */
  readonly headers: Record<string, string>;
}

export interface FlowCounts {
  readonly levels: readonly LevelCounts[];
  /** `level,schema` → requests that ran. */
  readonly dispatched: ReadonlyMap<string, number>;
  /** `level,schema,reason` → requests that were sent away. */
  readonly rejected: ReadonlyMap<string, number>;
}

interface Waiting {
  readonly start: () => void;
}

export class FlowControl {
  readonly #deps: FlowControlDeps;
  readonly #queues = new FairQueues();
  readonly #waiting = new Map<Ticket, Waiting>();
  readonly #dispatched = new Map<string, number>();
  readonly #rejected = new Map<string, number>();
  #schemas: readonly FlowSchema[] = [];
  #levels = new Map<string, PriorityLevelConfiguration>();

  constructor(deps: FlowControlDeps) {
    this.#deps = deps;
    this.configure([], []);
  }

  /**
   * Takes over the objects there are. In the place of those of the beginning that are missing, as in
   * a cluster that has only just begun, theirs count.
   */
  configure(schemas: readonly FlowSchema[], levels: readonly PriorityLevelConfiguration[]): void {
    const all = withDefaults(levels, bootstrapLevels);
    this.#levels = new Map(all.map((level) => [level.metadata.name, level]));
    this.#schemas = sortSchemas(withDefaults(schemas, bootstrapSchemas)).filter(
      ({ metadata, spec }) =>
        metadata.name === 'catch-all' || this.#levels.has(spec.priorityLevelConfiguration.name),
    );
    const { clock, seats = defaultSeats } = this.#deps;
    this.#start(this.#queues.configure(all, seats, clock.monotonicMs()));
  }

  counts(): FlowCounts {
    return {
      levels: this.#queues.counts(),
      dispatched: this.#dispatched,
      rejected: this.#rejected,
    };
  }

  /** Throws 429. */
  async take(
    { query, signal }: Pick<ApiRequest, 'query' | 'signal'>,
    info: RequestInfo,
    { user, deadlineMs, headers }: Asking,
  ): Promise<Seat> {
    const schema = matchingSchema(this.#schemas, user, info) ?? this.#catchAll();
    const { name } = schema.metadata;
    const level = schema.spec.priorityLevelConfiguration.name;
    headers['x-kubernetes-pf-flowschema-uid'] = schema.metadata.uid ?? '';
    headers['x-kubernetes-pf-prioritylevel-uid'] = this.#levels.get(level)?.metadata.uid ?? '';
    const ticket: Ticket = {
      level,
      flow: `${name}\0${flowDistinguisher(schema, user, info)}`,
      width: this.#deps.widthOf?.(info, query) ?? 1,
    };
    const key = `${level},${name}`;
    const arrival = this.#queues.arrive(ticket, this.#deps.clock.monotonicMs());
    if (arrival === 'waits') {
      const outcome = await this.#wait(ticket, {
        signal,
        maxMs: Math.min(maxWaitMs, deadlineMs / 4),
      });
      if (outcome !== 'runs') throw this.#reject(key, outcome);
    } else if (arrival !== 'runs') throw this.#reject(key, arrival);
    count(this.#dispatched, key);
    return this.#seat(ticket);
  }

  /** Matches everybody who has a group; so does this. */
  #catchAll(): FlowSchema {
    const found = this.#schemas.find(({ metadata }) => metadata.name === 'catch-all');
    assert(found, 'there is a schema for everybody');
    return found;
  }

  #seat(ticket: Ticket): Seat {
    let isTaken = true;
    return {
      release: () => {
        if (!isTaken) return;
        isTaken = false;
        this.#start(this.#queues.finish(ticket, this.#deps.clock.monotonicMs()));
      },
    };
  }

  #wait(
    ticket: Ticket,
    { signal, maxMs }: { readonly signal: AbortSignal; readonly maxMs: number },
  ): Promise<'runs' | 'time-out' | 'cancelled'> {
    return new Promise((resolve) => {
      const end = (outcome: 'runs' | 'time-out' | 'cancelled'): void => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        this.#waiting.delete(ticket);
        if (outcome !== 'runs') this.#queues.leave(ticket);
        resolve(outcome);
      };
      const onAbort = (): void => end('cancelled');
      const timer = this.#deps.clock.timer(maxMs, () => end('time-out'));
      signal.addEventListener('abort', onAbort);
      this.#waiting.set(ticket, { start: () => end('runs') });
      if (signal.aborted) onAbort();
    });
  }

  #start(tickets: readonly Ticket[]): void {
    for (const ticket of tickets) this.#waiting.get(ticket)?.start();
  }

  #reject(key: string, reason: string): StatusError {
    count(this.#rejected, `${key},${reason}`);
    return tooMany();
  }
}

function tooMany(): StatusError {
  return tooManyRequests('Too many requests, please try again later.', 1);
}

function withDefaults<T extends KubeObject>(given: readonly T[], defaults: readonly T[]): T[] {
  const names = new Set(given.map(({ metadata }) => metadata.name));
  return [...given, ...defaults.filter(({ metadata }) => !names.has(metadata.name))];
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
