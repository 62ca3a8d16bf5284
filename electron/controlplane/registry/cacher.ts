// The cache of one resource: every object as of one revision, and a sliding window of the events
// that led there. It follows Store.watch; lists, watches and allocation read from here.
// Invariant: `#entries` is the store's content under the prefix at `revision`, and the window
// holds every event after `windowStart`. Watchers keep a cursor into the window instead of a
// buffer of their own: one that falls out of it gets 410, so none can hold memory or slow a write.
// Source: kubernetes apiserver pkg/storage/cacher/{cacher,watch_cache}.go.
import { AssertionError } from '#kube/base/assert.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  resourceVersionTooLarge,
  serviceUnavailable,
  tooManyRequests,
  type StatusError,
} from '#kube/machinery/status.ts';
import { CompactedError, UnavailableError, WatchOverflowError } from '../store/store.ts';
import type { Store, StoreEvent, StoreWatch, WatchBatch } from '../store/store.ts';
import { KeyedList } from './keyed-list.ts';
import type { ResourceDefinition } from './resource.ts';
import { storagePrefix } from './resource-table.ts';
import type { StorageCodec, StoredObject } from './storage-codec.ts';
import { storeCall } from './store-errors.ts';

export interface CacheEvent {
  readonly revision: number;
  readonly key: string;
  /** Undefined for a delete. */
  readonly current: StoredObject | undefined;
  /** Undefined for a create. */
  readonly previous: StoredObject | undefined;
}

export interface CacheListener {
  /** The cache was filled anew: what is in it now. */
  onReset(objects: readonly StoredObject[]): void;
  onEvent(event: CacheEvent): void;
}

export interface CacherDeps {
  readonly definition: ResourceDefinition;
  readonly store: Store;
  readonly codec: StorageCodec;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Events kept for watchers to catch up; 1024 when left out. */
  readonly windowSize?: number;
}

/** How long a read waits for the cache to become fresh, as Kubernetes does. */
const freshTimeoutMs = 3000;
const restartDelayMs = 500;

interface Waiter {
  readonly revision: number;
  readonly done: () => void;
}

export class Cacher {
  readonly #deps: CacherDeps;
  readonly #prefix: string;
  readonly #windowSize: number;
  #entries = new KeyedList<StoredObject>();
  /** Absolute index of `#events[0]`; cursors are absolute. */
  #base = 0;
  #events: CacheEvent[] = [];
  #windowStart = 0;
  #revision = -1;
  #epoch = 0;
  #storeWatch: StoreWatch | undefined;
  readonly #waiters = new Set<Waiter>();
  /** It follows nothing any more: what it has grows old. */
  #isStopped = false;
  readonly #wakeups = new Set<() => void>();
  readonly #listeners: CacheListener[] = [];

  constructor(deps: CacherDeps) {
    this.#deps = deps;
    this.#prefix = storagePrefix(deps.definition);
    this.#windowSize = deps.windowSize ?? 1024;
  }

  /** The store's revision that the cache stands at; -1 before the first list. */
  get revision(): number {
    return this.#revision;
  }

  get isReady(): boolean {
    return this.#revision >= 0;
  }

  /** Goes up when the cache had to be filled anew: watchers of before must end. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Events after this revision are all in the window. */
  get windowStart(): number {
    return this.#windowStart;
  }

  get window(): { readonly base: number; readonly events: readonly CacheEvent[] } {
    return { base: this.#base, events: this.#events };
  }

  listen(listener: CacheListener): void {
    this.#listeners.push(listener);
  }

  /** Follows the store until `signal` aborts; resolves with the first list. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#load();
    void this.#follow(signal);
  }

  /** As `start`, for a resource that comes later: tries until the store answers. */
  async startLater(signal: AbortSignal): Promise<void> {
    await this.#begin(false, signal);
    if (!signal.aborted) void this.#follow(signal);
  }

  get(key: string): StoredObject | undefined {
    return this.#entries.get(key);
  }

  /** Objects whose key starts with `prefix`, in key order, as of `revision`. */
  list(prefix: string): readonly StoredObject[] {
    return this.#entries.withPrefix(prefix);
  }

  /** Calls `wake` after every change of revision or epoch, until the returned function is called. */
  onAdvance(wake: () => void): () => void {
    this.#wakeups.add(wake);
    return () => void this.#wakeups.delete(wake);
  }

  /** Objects in it. */
  get size(): number {
    return this.#entries.size;
  }

  get watcherCount(): number {
    return this.#wakeups.size;
  }

  /** Whether it holds what it held at `revision`, as far as is known here. */
  isAsAt(revision: number): boolean {
    if (revision > this.#revision || revision < this.#windowStart) return false;
    return this.cursorAfter(revision) === this.#base + this.#events.length;
  }

  /** The index of the first event after `revision`. */
  cursorAfter(revision: number): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#base + low;
  }

  /** Waits until the cache has everything written before the call (a linearizable read). */
  async waitUntilCurrent(): Promise<void> {
    const { store, definition } = this.#deps;
    const revision = await storeCall(definition, 'list', () =>
      store.currentRevision({ linearizable: true }),
    );
    await this.waitForRevision(revision);
  }

  /** Throws 504 ResourceVersionTooLarge when the cache does not get there in time, and 503 at once when it is stopped. */
  async waitForRevision(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    if (this.#isStopped) throw shuttingDown();
    const arrived = await new Promise<boolean>((resolve) => {
      const waiter = { revision, done: () => finish(!this.#isStopped) };
      const timer = this.#deps.clock.timer(freshTimeoutMs, () => finish(false));
      const finish = (ok: boolean): void => {
        timer.cancel();
        this.#waiters.delete(waiter);
        resolve(ok);
      };
      this.#waiters.add(waiter);
      this.#storeWatch?.requestProgress();
    });
    if (arrived) return;
    if (this.#isStopped) throw shuttingDown();
    if (!this.isReady) throw tooManyRequests('storage is (re)initializing', 1);
    throw resourceVersionTooLarge(String(revision), String(this.#revision));
  }

  async #load(): Promise<void> {
    const { store, codec } = this.#deps;
    const { items, revision } = await store.list(this.#prefix);
    this.#entries = new KeyedList(items.map((kv) => codec.stored(kv)));
    this.#base += this.#events.length;
    this.#events = [];
    this.#windowStart = revision;
    this.#epoch++;
    this.#storeWatch = store.watch(this.#prefix, revision);
    const objects = this.#entries.withPrefix('');
    for (const listener of this.#listeners) listener.onReset(objects);
    this.#advance(revision);
  }

  /** Goes on where the cache stands if nothing is missing from it, else fills it anew; until it can. */
  async #begin(isWhole: boolean, signal: AbortSignal): Promise<void> {
    const { store, clock, logger } = this.#deps;
    while (!signal.aborted)
      try {
        // A store that was put back from an older copy has to be read again.
        const isAhead =
          isWhole && (await store.currentRevision({ linearizable: true })) >= this.#revision;
        if (!isAhead) return await this.#load();
        this.#storeWatch = store.watch(this.#prefix, this.#revision);
        this.#storeWatch.requestProgress();
        return;
      } catch (error) {
        if (error instanceof AssertionError) throw error;
        logger.warn('Cache waits for the store', { prefix: this.#prefix, error });
        await delay(clock, restartDelayMs, signal);
      }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#deps;
    const close = (): void => this.#storeWatch?.close();
    signal.addEventListener('abort', close);
    while (!signal.aborted) {
      let isWhole = false;
      try {
        for await (const batch of this.#storeWatch ?? []) this.#apply(batch);
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof AssertionError) throw error;
        // Nothing is missing yet: the store could not be asked. It happens to an etcd beneath.
        isWhole = error instanceof UnavailableError;
        const isBehind = error instanceof WatchOverflowError || error instanceof CompactedError;
        logger.warn('Cache lost its watch', { prefix: this.#prefix, error });
        if (!isBehind) await delay(clock, restartDelayMs, signal);
      }
      this.#storeWatch?.close();
      await this.#begin(isWhole, signal);
    }
    close();
    signal.removeEventListener('abort', close);
    this.#isStopped = true;
    for (const waiter of this.#waiters) waiter.done();
  }

  #apply(batch: WatchBatch): void {
    for (const event of batch.events) this.#applyEvent(event);
    this.#trim();
    this.#advance(batch.revision);
  }

  #applyEvent({ type, kv }: StoreEvent): void {
    const previous = this.#entries.get(kv.key);
    const current = type === 'put' ? this.#deps.codec.stored(kv) : undefined;
    if (current === undefined) this.#entries.delete(kv.key);
    else this.#entries.set(current);
    const event = { revision: kv.modRevision, key: kv.key, current, previous };
    this.#events.push(event);
    for (const listener of this.#listeners) listener.onEvent(event);
  }

  /** Cuts in slices, so that the cost per event stays constant. */
  #trim(): void {
    if (this.#events.length < 2 * this.#windowSize) return;
    const surplus = this.#events.length - this.#windowSize;
    this.#windowStart = this.#events[surplus - 1]?.revision ?? this.#windowStart;
    this.#events = this.#events.slice(surplus);
    this.#base += surplus;
  }

  #advance(revision: number): void {
    this.#revision = revision;
    for (const waiter of this.#waiters) if (waiter.revision <= revision) waiter.done();
    for (const wake of this.#wakeups) wake();
  }
}

function shuttingDown(): StatusError {
  return serviceUnavailable('the server is shutting down');
}
