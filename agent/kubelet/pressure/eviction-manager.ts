// Looks every ten seconds whether this machine runs out of memory, processes or disk, makes room, and ends one
// pod at a time as long as it does. Says so in the node's conditions for five minutes longer, so that
// they don't flap. Source: kubernetes pkg/kubelet/eviction/eviction_manager.go.
import type { Pod } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../../error-message.ts';
import {
  evictionMessage,
  evictionOrder,
  starved,
  type NodeSupply,
  type PodUsage,
  type Starved,
} from './eviction.ts';

export interface EvictionDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly supply: () => Promise<NodeSupply>;
  /** Of the pods that run. */
  readonly usage: (what: Starved) => Promise<readonly PodUsage[]>;
  /** Removes what nobody misses; looked at again before a pod has to go. */
  readonly freeDisk: () => Promise<void>;
  readonly evict: (pod: Pod, message: string) => void;
  /** The set of what is short has changed. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

const intervalMs = 10_000;
const holdMs = 300_000;

export class EvictionManager {
  readonly #deps: EvictionDeps;
  /** When each was last short. */
  readonly #seenMs = new Map<Starved, number>();

  constructor(deps: EvictionDeps) {
    this.#deps = deps;
  }

  /** Whether the node should say that this is short. */
  isShort(what: Starved): boolean {
    return this.#seenMs.has(what);
  }

  /** Runs until the signal aborts. */
  async run(): Promise<void> {
    const { clock, logger, signal } = this.#deps;
    while (!signal.aborted) {
      await this.#look().catch((error: unknown) => {
        logger.warn('Pressure on this machine not looked at', { error: messageOf(error) });
      });
      await delay(clock, intervalMs, signal);
    }
  }

  async #look(): Promise<void> {
    const { freeDisk, supply, signal } = this.#deps;
    let now = await supply();
    let short = starved(now);
    this.#remember(short);
    if (short.includes('ephemeral-storage') || short.includes('inodes')) {
      await freeDisk();
      now = await supply();
      short = starved(now);
    }
    const [what] = short;
    if (what !== undefined && !signal.aborted) await this.#evictOne(what, now);
  }

  #remember(short: readonly Starved[]): void {
    const { clock, onChange } = this.#deps;
    const nowMs = clock.monotonicMs();
    const before = [...this.#seenMs.keys()].join();
    for (const what of short) this.#seenMs.set(what, nowMs);
    for (const [what, seenMs] of this.#seenMs)
      if (nowMs - seenMs >= holdMs) this.#seenMs.delete(what);
    if ([...this.#seenMs.keys()].join() !== before) onChange();
  }

  async #evictOne(what: Starved, now: NodeSupply): Promise<void> {
    const { usage, evict, logger } = this.#deps;
    const [first] = evictionOrder(await usage(what), what);
    if (first === undefined) {
      logger.warn('This machine is short and no pod may be ended', { of: what });
      return;
    }
    const { namespace, name } = first.pod.metadata;
    logger.warn('Pod evicted', { pod: `${namespace}/${name}`, shortOf: what });
    evict(first.pod, evictionMessage(first, what, now));
  }
}
