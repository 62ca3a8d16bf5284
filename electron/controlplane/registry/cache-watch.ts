// One client's watch over a Cacher: a cursor into its window, a filter, and two deadlines (next
// bookmark, end). It holds no events of its own but the initial ones, so it costs nothing while
// its reader is slow; a reader that falls out of the window gets an ERROR 410 and the end.
// Source: kubernetes apiserver pkg/storage/cacher/{cache_watcher,cacher}.go, watch semantics of
// pkg/storage/interfaces.go.
import { jitter, type Random } from '#kube/base/random.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { expired, StatusError } from '#kube/machinery/status.ts';
import type { Status } from '#kube/api/meta.ts';
import type { CacheEvent, Cacher } from './cacher.ts';
import type { StoredObject } from './storage-codec.ts';

export type WatchItem =
  | {
      readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
      readonly stored: StoredObject;
      /** The resourceVersion to show: for DELETED the deletion's. */
      readonly revision: number;
    }
  | { readonly type: 'BOOKMARK'; readonly revision: number; readonly isInitialEventsEnd: boolean }
  | { readonly type: 'ERROR'; readonly status: Status };

export interface CacheWatchOptions {
  /** Keys to watch. */
  readonly prefix: string;
  /** Undefined: everything. */
  readonly matches: ((stored: StoredObject) => boolean) | undefined;
  /** Awaited before objects are looked at; those of the state are prepared already. */
  readonly prepare?: (items: readonly StoredObject[]) => Promise<void> | undefined;
  /** Events after this revision; 'state': the present objects first, as ADDED. */
  readonly from: number | 'state';
  /** A bookmark marks the end of the initial objects (with from: 'state'). */
  readonly hasInitialEventsEnd: boolean;
  readonly allowBookmarks: boolean;
  /** Since the start; the watch then ends, whatever its reader does. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

const bookmarkIntervalMs = 60_000;
/** The last bookmark comes this long before the end. */
const lastBookmarkLeadMs = 2000;

export class CacheWatch implements AsyncIterableIterator<WatchItem> {
  readonly #cacher: Cacher;
  readonly #options: CacheWatchOptions;
  readonly #epoch: number;
  readonly #endsAtMs: number;
  readonly #unsubscribe: () => void;
  #initial: StoredObject[] = [];
  #initialIndex = 0;
  #initialRevision = 0;
  #isInitialEndDue = false;
  #cursor: number;
  #isBookmarkDue = false;
  #isClosed = false;
  #isTimedOut = false;
  #timer: Timer | undefined;
  #wake: (() => void) | undefined;

  /** Throws 410 when `from` lies before the cacher's window. The cacher must be ready. */
  constructor(cacher: Cacher, options: CacheWatchOptions) {
    this.#cacher = cacher;
    this.#options = options;
    this.#epoch = cacher.epoch;
    const { from, prefix, matches, clock, signal } = options;
    if (from === 'state') {
      const present = cacher.list(prefix);
      this.#initial = matches === undefined ? [...present] : present.filter(matches);
      this.#initialRevision = cacher.revision;
      this.#isInitialEndDue = options.hasInitialEventsEnd;
      this.#cursor = cacher.cursorAfter(cacher.revision);
    } else {
      if (from < cacher.windowStart) throw tooOld(from, cacher.windowStart);
      this.#cursor = cacher.cursorAfter(from);
    }
    this.#endsAtMs = clock.monotonicMs() + options.timeoutMs;
    this.#unsubscribe = cacher.onAdvance(() => this.#wake?.());
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#close();
    else this.#schedule();
  }

  readonly #onAbort = (): void => this.#close();

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchItem, undefined>> {
    for (;;) {
      if (this.#isClosed) return { done: true, value: undefined };
      const { prepare } = this.#options;
      const failure = prepare === undefined ? undefined : await this.#prepare(prepare);
      if (failure !== undefined) return { done: false, value: failure };
      // It may have been closed while somebody converted.
      if (this.#isClosed) continue;
      const item = this.#take();
      if (item !== undefined) return { done: false, value: item };
      if (this.#isOver()) this.#close();
      else await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  return(): Promise<IteratorResult<WatchItem, undefined>> {
    this.#close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** What comes next may lie in the store in another version. A failure ends the watch. */
  async #prepare(
    prepare: NonNullable<CacheWatchOptions['prepare']>,
  ): Promise<WatchItem | undefined> {
    const { prefix } = this.#options;
    if (this.#initialIndex < this.#initial.length) return undefined;
    try {
      for (;;) {
        const { base, events } = this.#cacher.window;
        const next = events
          .slice(Math.max(0, this.#cursor - base))
          .filter(({ key }) => key.startsWith(prefix))
          .flatMap(({ current, previous }) => [current, previous])
          .filter((stored) => stored !== undefined);
        const pending = prepare(next);
        if (pending === undefined) return undefined;
        await pending;
      }
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.#close();
      return { type: 'ERROR', status: error.status };
    }
  }

  #isOver(): boolean {
    return this.#epoch !== this.#cacher.epoch || this.#isTimedOut;
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#unsubscribe();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#initial = [];
    this.#wake?.();
  }

  /** The next thing to send that needs no waiting. */
  #take(): WatchItem | undefined {
    const first = this.#initial[this.#initialIndex];
    if (first !== undefined) {
      this.#initialIndex++;
      return { type: 'ADDED', stored: first, revision: first.revision };
    }
    this.#initial = [];
    if (this.#isInitialEndDue) {
      this.#isInitialEndDue = false;
      return { type: 'BOOKMARK', revision: this.#initialRevision, isInitialEventsEnd: true };
    }
    if (this.#epoch !== this.#cacher.epoch) return undefined;
    const { base, events } = this.#cacher.window;
    if (this.#cursor < base) return this.#fallBehind();
    for (; this.#cursor - base < events.length;) {
      const event = events[this.#cursor++ - base];
      const item = event === undefined ? undefined : this.#itemOf(event);
      if (item !== undefined) return item;
    }
    if (!this.#isBookmarkDue) return undefined;
    this.#isBookmarkDue = false;
    return { type: 'BOOKMARK', revision: this.#cacher.revision, isInitialEventsEnd: false };
  }

  #fallBehind(): WatchItem {
    const { status } = tooOld(this.#cacher.windowStart, this.#cacher.windowStart);
    this.#close();
    return { type: 'ERROR', status };
  }

  /** An object that starts or stops matching appears as ADDED or DELETED. */
  #itemOf({ key, revision, current, previous }: CacheEvent): WatchItem | undefined {
    const { prefix, matches } = this.#options;
    if (!key.startsWith(prefix)) return undefined;
    const isMatch = (stored: StoredObject | undefined): stored is StoredObject =>
      stored !== undefined && (matches === undefined || matches(stored));
    const wasMatch = isMatch(previous);
    if (isMatch(current))
      return { type: wasMatch ? 'MODIFIED' : 'ADDED', stored: current, revision };
    return wasMatch ? { type: 'DELETED', stored: previous, revision } : undefined;
  }

  /** Sets the one timer: to the next bookmark, or to the end. */
  #schedule(): void {
    const { clock, random, allowBookmarks } = this.#options;
    const leftMs = this.#endsAtMs - clock.monotonicMs();
    const intervalMs = jitter(random, bookmarkIntervalMs, 0.25);
    const bookmarkInMs = Math.min(intervalMs, leftMs - lastBookmarkLeadMs);
    const isBookmark = allowBookmarks && bookmarkInMs > 0;
    this.#timer = clock.timer(isBookmark ? bookmarkInMs : leftMs, () => {
      if (isBookmark) {
        this.#schedule();
        void this.#bookmark();
        return;
      }
      // Not left to the clock to tell: a timer may fire a moment early.
      this.#isTimedOut = true;
      this.#wake?.();
    });
  }

  /** Fetches progress first, so that watches of quiet resources move on as well. */
  async #bookmark(): Promise<void> {
    try {
      await this.#cacher.waitUntilCurrent();
    } catch (error) {
      // The cache is behind; a bookmark of where it stands is still true. Anything else ends it.
      if (!(error instanceof StatusError)) return this.#close();
    }
    this.#isBookmarkDue = true;
    this.#wake?.();
  }
}

function tooOld(asked: number, windowStart: number): StatusError {
  return expired(`too old resource version: ${asked} (${windowStart})`);
}
