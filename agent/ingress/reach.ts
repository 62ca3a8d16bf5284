// Which pods can be reached: what a request has found out the next ones know. Pure but for the clock: who could not
// be connected to goes to the back, and is looked at again, beside the requests, when some come for it.
import type { Clock } from '#kube/base/clock.ts';
import type { Endpoint } from '../proxy/endpoints.ts';

/** Whether a connection comes about in good time; it is not used. */
export type Dial = (endpoint: Endpoint) => Promise<boolean>;

export interface ReachDeps {
  readonly dial: Dial;
  readonly clock: Clock;
}

const lookAgainMs = 2_000;

export class Reach {
  readonly #deps: ReachDeps;
  /** Those that could not be reached the last time → when that was tried. */
  readonly #failed = new Map<string, number>();

  constructor(deps: ReachDeps) {
    this.#deps = deps;
  }

  /** Those that are not known to fail first, as they come. Looks again at the others. */
  order(endpoints: readonly Endpoint[]): readonly Endpoint[] {
    if (this.#failed.size === 0) return endpoints;
    const failing = endpoints.filter((endpoint) => this.isFailing(endpoint));
    if (failing.length === 0) return endpoints;
    const nowMs = this.#deps.clock.monotonicMs();
    for (const endpoint of failing)
      if (nowMs - (this.#failed.get(keyOf(endpoint)) ?? nowMs) >= lookAgainMs) {
        this.failed(endpoint);
        void this.#look(endpoint);
      }
    return [...endpoints.filter((endpoint) => !this.isFailing(endpoint)), ...failing];
  }

  isFailing(endpoint: Endpoint): boolean {
    return this.#failed.has(keyOf(endpoint));
  }

  failed(endpoint: Endpoint): void {
    this.#failed.set(keyOf(endpoint), this.#deps.clock.monotonicMs());
  }

  /**
   * The first of them that can be reached right now; all are tried at once. Those that are slower count as failing until
   * they have answered, too.
   */
  async first(endpoints: readonly Endpoint[]): Promise<Endpoint | undefined> {
    const unanswered = new Set(endpoints);
    const tries = endpoints.map(async (endpoint) => {
      const isReached = await this.#look(endpoint);
      unanswered.delete(endpoint);
      if (!isReached) throw new Error('not reached');
      return endpoint;
    });
    const found = await Promise.any(tries).catch(() => undefined);
    for (const endpoint of unanswered) this.failed(endpoint);
    return found;
  }

  /** Forgets all but `known`. */
  keep(known: readonly Endpoint[]): void {
    if (this.#failed.size === 0) return;
    const keys = new Set(known.map(keyOf));
    for (const key of this.#failed.keys()) if (!keys.has(key)) this.#failed.delete(key);
  }

  async #look(endpoint: Endpoint): Promise<boolean> {
    const isReached = await this.#deps.dial(endpoint);
    if (isReached) this.#failed.delete(keyOf(endpoint));
    else this.failed(endpoint);
    return isReached;
  }
}

/**
 * A request's way through the pods of its route. It waits once at most for one that is not there: then all are tried
 * at once, and who answers first is asked.
 */
export class Attempts {
  readonly #reach: Reach;
  #left: readonly Endpoint[];
  #hasLooked = false;

  /** `endpoints`: in the order of `Reach`. */
  constructor(endpoints: readonly Endpoint[], reach: Reach) {
    this.#reach = reach;
    this.#left = endpoints;
  }

  /** Whom to ask without a look; undefined: `next` knows. */
  get first(): Endpoint | undefined {
    const [first] = this.#left;
    return first === undefined || this.#reach.isFailing(first) ? undefined : first;
  }

  /** After `failed` could not be connected to, in time or at all. Undefined: nobody is left. */
  async next(failed?: Endpoint, isLate = false): Promise<Endpoint | undefined> {
    if (failed !== undefined) {
      this.#reach.failed(failed);
      // A lost packet is no answer: who was late is looked at once more with the others.
      if (!isLate) this.#left = this.#left.filter((one) => one !== failed);
    }
    if (this.#hasLooked) return undefined;
    const likely = this.#left.find((one) => !this.#reach.isFailing(one));
    if (!isLate && likely !== undefined) return likely;
    this.#hasLooked = true;
    return this.#reach.first(this.#left);
  }
}

function keyOf({ address, port }: Endpoint): string {
  return `${address}:${port}`;
}
