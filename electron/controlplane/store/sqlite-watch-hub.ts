// Watches: history first, then live, joined in one synchronous step, so that nothing is missed or
// seen twice. A watcher that replays holds no buffer (it pulls history as it is read); a live one
// has a bounded buffer and is ended when it overflows. No watcher can slow a write.
// Source: etcd server/storage/mvcc/watchable_store.go (synced and unsynced watchers).
import {
  CompactedError,
  UnavailableError,
  WatchOverflowError,
  type StoreEvent,
  type StoreWatch,
  type WatchBatch,
} from './store.ts';

/** What a watcher that lags behind reads from. */
export interface EventHistory {
  currentRevision(): number;
  compactedRevision(): number;
  /** The event of a revision if its key starts with `prefix`. */
  eventAt(revision: number, prefix: string): StoreEvent | undefined;
}

import type { WatchLimits } from './watch-hub.ts';

import { defaultWatchLimits } from './watch-hub.ts';

/** One batch of a replay: as many events, or as many revisions passed over, at most. */
const replayedEventsMax = 500;
const replayedRevisionsMax = 50_000;

export class WatchHub {
  readonly #watchers = new Set<Watcher>();
  readonly #history: EventHistory;
  readonly #limits: WatchLimits;

  constructor(history: EventHistory, limits: WatchLimits = defaultWatchLimits) {
    this.#history = history;
    this.#limits = limits;
  }

  open(prefix: string, afterRevision: number): StoreWatch {
    const watcher = new Watcher({
      prefix,
      afterRevision,
      history: this.#history,
      limits: this.#limits,
      onClose: () => this.#watchers.delete(watcher),
    });
    this.#watchers.add(watcher);
    return watcher;
  }

  /** Whether anybody will see an event of this key: building one costs a read. */
  isWatched(key: string): boolean {
    for (const watcher of this.#watchers) if (key.startsWith(watcher.prefix)) return true;
    return false;
  }

  /** Called once per commit, after the history has it: events in order, of whole revisions. */
  publish(events: readonly StoreEvent[], revision: number): void {
    // A copy: a watcher that overflows leaves the set.
    for (const watcher of Array.from(this.#watchers)) watcher.offer(events, revision);
  }

  /** Ends every watch with an error: the store closed or failed. */
  failAll(error: Error): void {
    for (const watcher of Array.from(this.#watchers)) watcher.fail(error);
  }
}

interface WatcherOptions {
  readonly prefix: string;
  readonly afterRevision: number;
  readonly history: EventHistory;
  readonly limits: WatchLimits;
  readonly onClose: () => void;
}

interface Reader {
  resolve(result: IteratorResult<WatchBatch, undefined>): void;
  reject(error: Error): void;
}

class Watcher implements StoreWatch {
  readonly prefix: string;
  readonly #options: WatcherOptions;
  readonly #readers: Reader[] = [];
  /** Everything up to here was delivered or is in the buffer. */
  #position: number;
  /** Live: new events go to the buffer. Otherwise they are read from history. */
  #isLive = false;
  #buffer: StoreEvent[] = [];
  #bufferedBytes = 0;
  #isProgressWanted = false;
  #error: Error | undefined;
  #isClosed = false;

  constructor(options: WatcherOptions) {
    this.prefix = options.prefix;
    this.#options = options;
    this.#position = options.afterRevision;
  }

  requestProgress(): void {
    this.#isProgressWanted = true;
    this.#pump();
  }

  close(): void {
    this.#end();
    this.#pump();
  }

  fail(error: Error): void {
    if (this.#isClosed) return;
    this.#end();
    this.#error = error;
    this.#pump();
  }

  offer(events: readonly StoreEvent[], revision: number): void {
    if (this.#isLive) {
      for (const event of events) this.#accept(event);
      this.#position = revision;
      const { bufferedEventsMax, bufferedBytesMax } = this.#options.limits;
      if (this.#buffer.length > bufferedEventsMax || this.#bufferedBytes > bufferedBytesMax) {
        const limit = `${bufferedEventsMax} events or ${bufferedBytesMax} bytes`;
        return this.fail(new WatchOverflowError(`the watcher fell behind by more than ${limit}`));
      }
    }
    this.#pump();
  }

  #accept(event: StoreEvent): void {
    if (!event.kv.key.startsWith(this.prefix)) return;
    this.#buffer.push(event);
    this.#bufferedBytes += event.kv.value.byteLength + (event.previous?.value.byteLength ?? 0);
  }

  [Symbol.asyncIterator](): AsyncIterator<WatchBatch, undefined> {
    return {
      next: () =>
        new Promise((resolve, reject) => {
          this.#readers.push({ resolve, reject });
          this.#pump();
        }),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** Answers waiting readers with what there is. */
  #pump(): void {
    while (this.#readers.length > 0) {
      const batch = this.#isClosed ? undefined : this.#take();
      // Taking a batch may have ended the watch.
      if (batch === undefined && !this.#isClosed) return;
      const reader = this.#readers.shift();
      const error = this.#error;
      this.#error = undefined;
      if (batch !== undefined) reader?.resolve({ done: false, value: batch });
      else if (error !== undefined) reader?.reject(error);
      else reader?.resolve({ done: true, value: undefined });
    }
  }

  #take(): WatchBatch | undefined {
    if (!this.#isLive) {
      const batch = this.#replay();
      if (batch !== undefined || !this.#isLive) return batch;
    }
    if (this.#buffer.length > 0) {
      const events = this.#buffer;
      this.#buffer = [];
      this.#bufferedBytes = 0;
      return { revision: this.#position, events };
    }
    if (!this.#isProgressWanted) return undefined;
    this.#isProgressWanted = false;
    return { revision: this.#position, events: [] };
  }

  /** The next events of history; undefined when there are none, or none yet. */
  #replay(): WatchBatch | undefined {
    const { history } = this.#options;
    if (this.#position < history.compactedRevision()) {
      this.fail(new CompactedError(this.#position, history.compactedRevision()));
      return undefined;
    }
    const current = history.currentRevision();
    if (this.#position > current) return undefined;
    const events: StoreEvent[] = [];
    const end = Math.min(current, this.#position + replayedRevisionsMax);
    try {
      while (this.#position < end && events.length < replayedEventsMax) {
        const event = history.eventAt(this.#position + 1, this.prefix);
        if (event !== undefined) events.push(event);
        this.#position++;
      }
    } catch (error) {
      this.fail(error instanceof Error ? error : new UnavailableError(String(error)));
      return undefined;
    }
    this.#isLive = this.#position === current;
    if (events.length > 0 || !this.#isLive) return { revision: this.#position, events };
    return undefined;
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#buffer = [];
    this.#options.onClose();
  }
}

/** For watches of a store that is closed already. */
export function failedWatch(): StoreWatch {
  const next = (): Promise<never> => Promise.reject(new UnavailableError('the store is closed'));
  return {
    requestProgress() {},
    close() {},
    [Symbol.asyncIterator]: () => ({ next }),
  };
}
