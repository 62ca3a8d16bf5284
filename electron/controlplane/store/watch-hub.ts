// Watches: history first, then live, joined in one synchronous step, so that nothing is missed or
// seen twice. A watcher that replays holds no buffer (it pulls history as it is read); a live one
// has a bounded buffer; when that overflows it is dropped, and the watcher moves aside and replays
// what it has not read. One that is too many revisions behind is ended. No watcher slows a write.
// Source: etcd server/storage/mvcc/watchable_store.go (synced and unsynced watchers).
import { isInRange } from './byte-keys.ts';
import type { ByteKey, KeyRange, KvEvent, KvWatch, KvWatchBatch } from './commands.ts';
import type { Version } from './revision-index.ts';
import { CompactedError, UnavailableError, WatchOverflowError } from './store.ts';

/** What a watcher that lags behind reads from. */
export interface EventHistory {
  currentRevision(): number;
  compactedRevision(): number;
  /** Calls `visit` with what was written after `revision`, in order, while it returns true. */
  visitAfter(revision: number, visit: (version: Version) => boolean): void;
  /** Throws when a value can't be read. */
  event(version: Version): KvEvent;
}

export interface WatchLimits {
  /** Events a live watcher may have unread before it moves aside. */
  readonly bufferedEventsMax: number;
  /** Bytes of values it may have unread. */
  readonly bufferedBytesMax: number;
  /** Revisions a watcher may be behind before it is ended. */
  readonly behindRevisionsMax: number;
}

export const defaultWatchLimits: WatchLimits = {
  bufferedEventsMax: 10_000,
  bufferedBytesMax: 64 * 1024 * 1024,
  behindRevisionsMax: 1_000_000,
};

/** One batch of a replay: as many events, or as many writes passed over, and then whole revisions. */
const replayedEventsMax = 500;
const replayedWritesMax = 50_000;

export class WatchHub {
  readonly #watchers = new Set<Watcher>();
  readonly #history: EventHistory;
  readonly #limits: WatchLimits;

  constructor(history: EventHistory, limits: WatchLimits = defaultWatchLimits) {
    this.#history = history;
    this.#limits = limits;
  }

  open(range: KeyRange, afterRevision: number): KvWatch {
    const watcher = new Watcher({
      range,
      afterRevision,
      history: this.#history,
      limits: this.#limits,
      onClose: () => this.#watchers.delete(watcher),
    });
    this.#watchers.add(watcher);
    return watcher;
  }

  /** Called after the history has them: all writes of whole revisions, in order. */
  publish(written: readonly Version[]): void {
    const last = written.at(-1);
    if (last === undefined || this.#watchers.size === 0) return;
    const watchers = Array.from(this.#watchers);
    for (const version of written) {
      let event: KvEvent | undefined;
      for (const watcher of watchers)
        if (watcher.wants(version.key)) watcher.accept((event ??= this.#history.event(version)));
    }
    for (const watcher of watchers) watcher.moveTo(last.revision);
  }

  /** The whole state was replaced by a newer one: live watchers read what they missed of it. */
  reset(): void {
    for (const watcher of Array.from(this.#watchers)) watcher.moveAside();
  }

  /** Ends every watch with an error: the store closed or failed. */
  failAll(error: Error): void {
    for (const watcher of Array.from(this.#watchers)) watcher.fail(error);
  }
}

interface WatcherOptions {
  readonly range: KeyRange;
  readonly afterRevision: number;
  readonly history: EventHistory;
  readonly limits: WatchLimits;
  readonly onClose: () => void;
}

interface Reader {
  resolve(result: IteratorResult<KvWatchBatch, undefined>): void;
  reject(error: Error): void;
}

class Watcher implements KvWatch {
  readonly #options: WatcherOptions;
  readonly #readers: Reader[] = [];
  /** Everything up to here was delivered. */
  #delivered: number;
  /** Live: everything up to here was delivered or is in the buffer. */
  #position: number;
  /** Live: new events go to the buffer. Otherwise they are read from history. */
  #isLive = false;
  #buffer: KvEvent[] = [];
  #bufferedBytes = 0;
  #isProgressWanted = false;
  #error: Error | undefined;
  #isClosed = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#delivered = options.afterRevision;
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

  wants(key: ByteKey): boolean {
    return this.#isLive && isInRange(this.#options.range, key);
  }

  /** An event it wants; `moveTo` follows. */
  accept(event: KvEvent): void {
    this.#buffer.push(event);
    this.#bufferedBytes += event.row.value.byteLength + (event.previous?.value.byteLength ?? 0);
  }

  /** All events up to `revision` that it wants were accepted. */
  moveTo(revision: number): void {
    const { bufferedEventsMax, bufferedBytesMax, behindRevisionsMax } = this.#options.limits;
    if (this.#isLive) {
      this.#position = revision;
      if (this.#buffer.length > bufferedEventsMax || this.#bufferedBytes > bufferedBytesMax)
        this.moveAside();
    }
    if (!this.#isLive && revision - this.#delivered > behindRevisionsMax) {
      const message = `the watcher fell behind by more than ${behindRevisionsMax} revisions`;
      return this.fail(new WatchOverflowError(message));
    }
    this.#pump();
  }

  moveAside(): void {
    this.#isLive = false;
    this.#dropBuffer();
    this.#position = this.#delivered;
    this.#pump();
  }

  [Symbol.asyncIterator](): AsyncIterator<KvWatchBatch, undefined> {
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

  #take(): KvWatchBatch | undefined {
    if (!this.#isLive) {
      const batch = this.#replay();
      if (batch !== undefined || !this.#isLive) return batch;
    }
    if (this.#buffer.length > 0) return this.#deliver(this.#buffer);
    if (!this.#isProgressWanted) return undefined;
    this.#isProgressWanted = false;
    return this.#deliver([]);
  }

  #deliver(events: readonly KvEvent[]): KvWatchBatch {
    this.#dropBuffer();
    this.#delivered = this.#position;
    return { revision: this.#position, events };
  }

  /** The next events of history; undefined when there are none, or none yet. */
  #replay(): KvWatchBatch | undefined {
    const { history } = this.#options;
    const current = history.currentRevision();
    if (this.#position < history.compactedRevision()) {
      this.fail(new CompactedError(this.#position, history.compactedRevision()));
      return undefined;
    }
    if (this.#position > current) return undefined;
    try {
      const events = this.#read(current);
      this.#isLive = this.#position === current;
      if (events.length > 0 || !this.#isLive) return this.#deliver(events);
    } catch (error) {
      this.fail(error instanceof Error ? error : new UnavailableError(String(error)));
    }
    return undefined;
  }

  /** Moves the position over whole revisions until there is enough. */
  #read(current: number): readonly KvEvent[] {
    const { history, range } = this.#options;
    const events: KvEvent[] = [];
    let passed = 0;
    let end: number | undefined;
    history.visitAfter(this.#position, (version) => {
      if (end !== undefined && version.revision > end) return false;
      passed++;
      if (isInRange(range, version.key)) events.push(history.event(version));
      if (passed >= replayedWritesMax || events.length >= replayedEventsMax) end = version.revision;
      return true;
    });
    this.#position = end ?? current;
    return events;
  }

  #dropBuffer(): void {
    this.#buffer = [];
    this.#bufferedBytes = 0;
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isLive = false;
    this.#dropBuffer();
    this.#options.onClose();
  }
}

/** For watches of a store that is closed already. */
export function failedWatch(error: UnavailableError): KvWatch {
  return {
    requestProgress() {},
    close() {},
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }),
  };
}
