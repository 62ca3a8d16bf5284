// Deletes the objects of a resource a fixed time after their last write (Events). It listens to
// the cache and sets one timer, to the next expiry; nothing is polled.
// The store does not keep the time of a write: for objects found at start, the latest time that
// stands in them takes its place.
// Source: kubernetes pkg/registry/core/event/storage (ttl of etcd leases).
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Store } from '../store/store.ts';
import type { CacheEvent, CacheListener } from './cacher.ts';
import type { StoredObject } from './storage-codec.ts';

export interface ExpirySweeperDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ttlMs: number;
  readonly signal: AbortSignal;
}

interface Expiry {
  readonly revision: number;
  readonly atMs: number;
}

const retryMs = 60_000;

export class ExpirySweeper implements CacheListener {
  readonly #deps: ExpirySweeperDeps;
  /** In order of expiry: every write puts its key to the end. */
  readonly #expiries = new Map<string, Expiry>();
  #timer: Timer | undefined;

  constructor(deps: ExpirySweeperDeps) {
    this.#deps = deps;
    deps.signal.addEventListener('abort', () => this.#timer?.cancel());
  }

  onReset(objects: readonly StoredObject[]): void {
    this.#expiries.clear();
    const now = this.#deps.clock.now();
    const found = objects.map(({ key, revision, object }) => {
      const writtenMs = Math.min(now, latestTimeMs(object) ?? now);
      return { key, revision, atMs: writtenMs + this.#deps.ttlMs };
    });
    found.sort((a, b) => a.atMs - b.atMs);
    for (const { key, ...expiry } of found) this.#expiries.set(key, expiry);
    this.#schedule();
  }

  onEvent({ key, revision, current }: CacheEvent): void {
    this.#expiries.delete(key);
    if (current === undefined) return;
    this.#expiries.set(key, { revision, atMs: this.#deps.clock.now() + this.#deps.ttlMs });
    if (this.#timer === undefined) this.#schedule();
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const next = this.#expiries.values().next().value;
    if (next === undefined || this.#deps.signal.aborted) return;
    this.#wait(next.atMs - this.#deps.clock.now());
  }

  #wait(delayMs: number): void {
    this.#timer = this.#deps.clock.timer(delayMs, () => void this.#sweep());
  }

  async #sweep(): Promise<void> {
    const { store, clock, logger } = this.#deps;
    try {
      for (const [key, { revision, atMs }] of this.#expiries) {
        if (atMs > clock.now() || this.#deps.signal.aborted) break;
        // A newer write keeps the object: its event brings a new expiry.
        await store.delete(key, revision);
        if (this.#expiries.get(key)?.revision === revision) this.#expiries.delete(key);
      }
      this.#schedule();
    } catch (error) {
      if (this.#deps.signal.aborted) return;
      logger.warn('Could not delete expired objects', { error });
      this.#wait(retryMs);
    }
  }
}

/** The latest of creationTimestamp and the timestamps at the object's top. */
function latestTimeMs(object: KubeObject): number | undefined {
  const texts = [object.metadata.creationTimestamp, ...Object.values(object)];
  const times = texts
    .filter((text) => typeof text === 'string' && /^\d{4}-\d\d-\d\dT/.test(text))
    .map((text) => Date.parse(String(text)))
    .filter((ms) => !Number.isNaN(ms));
  return times.length === 0 ? undefined : Math.max(...times);
}
