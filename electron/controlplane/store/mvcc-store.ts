// The Store over any RowStorage: optimistic writes in groups, reads at a revision, watches,
// compaction in slices. One thread: everything between two awaits is one step.
// Natural group commit: what was asked for while the last group was written is the next group; it
// is one transaction, and each write is answered after its commit. There is no timer.
// Invariant: the index and the watchers never see a write that storage has not made durable.
import type { Logger } from '#kube/base/logger.ts';
import { RevisionIndex, type Version } from './sqlite-index.ts';
import {
  CompactedError,
  FutureRevisionError,
  NoSpaceError,
  OutcomeUnknownError,
  UnavailableError,
  type GetResult,
  type KeyValue,
  type ListOptions,
  type ListResult,
  type Store,
  type StoreEvent,
  type StoreWatch,
  type WriteResult,
} from './store.ts';
import { failedWatch, WatchHub } from './sqlite-watch-hub.ts';
import type { WatchLimits } from './watch-hub.ts';
import { stageGroup, type StagedGroup, type Write } from './write-group.ts';

/** One row of history. */
export interface Row {
  readonly revision: number;
  readonly key: string;
  readonly createRevision: number;
  /** Undefined: the key was deleted. */
  readonly value: Uint8Array | undefined;
}

/** Where rows live. Synchronous. */
export interface RowStorage {
  /** The value of a put. Throws when it can't be read. */
  read(revision: number): Uint8Array;
  /**
   * All rows durable when it returns. Throws NoSpaceError when nothing was written; any other error
   * means that nobody knows.
   */
  append(rows: readonly Row[]): void;
  /** Remembers the compaction mark, durably, and forgets these rows. Throws as append does. */
  compact(mark: number, revisions: readonly number[]): void;
  close(): void;
}

export interface MvccStoreOptions {
  readonly storage: RowStorage;
  /** What storage holds. */
  readonly index: RevisionIndex;
  readonly logger: Logger;
  /** Runs `work` when the events that wait were handled: setImmediate, or queueMicrotask. */
  readonly schedule: (work: () => void) => void;
  /** The storage failed: nothing is answered any more, and the process should end. */
  readonly onFatal?: (error: unknown) => void;
  readonly watchLimits?: WatchLimits;
}

const waitingWritesMax = 20_000;
const groupWritesMax = 1024;
const groupBytesMax = 1024 * 1024;
const compactionSlice = 100;

interface WaitingWrite extends Write {
  resolve(result: WriteResult): void;
  reject(error: Error): void;
}

export class MvccStore implements Store {
  readonly #options: MvccStoreOptions;
  readonly #index: RevisionIndex;
  readonly #storage: RowStorage;
  readonly #hub: WatchHub;
  #waiting: WaitingWrite[] = [];
  #isScheduled = false;
  #compaction: Promise<void> = Promise.resolve();
  /** Set when the store answers no more. */
  #ended: UnavailableError | undefined;

  constructor(options: MvccStoreOptions) {
    this.#options = options;
    this.#index = options.index;
    this.#storage = options.storage;
    const history = {
      currentRevision: () => this.#index.currentRevision,
      compactedRevision: () => this.#index.compactedRevision,
      eventAt: (revision: number, prefix: string) => this.#eventAt(revision, prefix),
    };
    this.#hub = new WatchHub(history, options.watchLimits);
  }

  async currentRevision(): Promise<number> {
    this.#assertOpen();
    return this.#index.currentRevision;
  }

  compactedRevision(): number {
    return this.#index.compactedRevision;
  }

  async get(key: string, revision?: number): Promise<GetResult> {
    const at = this.#readable(revision);
    const version = this.#index.find(key, at);
    return { kv: version && this.#load(version), revision: at };
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    const { limit, startKey } = options;
    const revision = this.#readable(options.revision);
    const range = this.#index.range({
      prefix,
      revision,
      ...(limit === undefined ? {} : { limit }),
      ...(startKey === undefined ? {} : { startKey }),
    });
    const items = range.versions.map((version) => this.#load(version));
    return { items, revision, remaining: range.remaining };
  }

  async count(prefix: string): Promise<number> {
    this.#assertOpen();
    return this.#index.count(prefix);
  }

  put(key: string, value: Uint8Array, expectedRevision: number): Promise<WriteResult> {
    return this.#enqueue({ key, value, expectedRevision });
  }

  delete(key: string, expectedRevision: number): Promise<WriteResult> {
    return this.#enqueue({ key, value: undefined, expectedRevision });
  }

  /** Only the store that takes this one's place has them. */
  txn(): Promise<never> {
    return Promise.reject(new UnavailableError('this store has no transactions'));
  }

  watch(prefix: string, afterRevision: number): StoreWatch {
    return this.#ended === undefined ? this.#hub.open(prefix, afterRevision) : failedWatch();
  }

  compact(revision: number): Promise<void> {
    const run = this.#compaction.then(() => this.#compact(revision));
    this.#compaction = run.catch(() => undefined);
    return run;
  }

  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    while (this.#waiting.length > 0 && this.#isOpen()) this.#commitWaiting();
    if (!this.#isOpen()) return;
    this.#ended = new UnavailableError('the store is closed');
    this.#hub.failAll(this.#ended);
    this.#storage.close();
  }

  #isOpen(): boolean {
    return this.#ended === undefined;
  }

  #assertOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  /** The revision to read at. */
  #readable(asked: number | undefined): number {
    this.#assertOpen();
    const { currentRevision, compactedRevision } = this.#index;
    if (asked === undefined) return currentRevision;
    if (asked > currentRevision) throw new FutureRevisionError(asked, currentRevision);
    if (asked < compactedRevision) throw new CompactedError(asked, compactedRevision);
    return asked;
  }

  #load(version: Version): KeyValue {
    const { key, createRevision, revision } = version;
    return { key, value: this.#read(revision), createRevision, modRevision: revision };
  }

  #read(revision: number): Uint8Array {
    try {
      return this.#storage.read(revision);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  #enqueue(write: Write): Promise<WriteResult> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (!write.key.isWellFormed())
      return Promise.reject(new TypeError('a key must be well-formed Unicode'));
    if (this.#waiting.length >= waitingWritesMax)
      return Promise.reject(new UnavailableError(`${waitingWritesMax} writes are waiting already`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...write, resolve, reject });
      this.#scheduleCommit();
    });
  }

  #scheduleCommit(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#isScheduled = false;
      if (!this.#isOpen() || this.#waiting.length === 0) return;
      this.#commitWaiting();
      if (this.#waiting.length > 0) this.#scheduleCommit();
    });
  }

  #commitWaiting(): void {
    const group = takeGroup(this.#waiting);
    this.#waiting = this.#waiting.slice(group.length);
    try {
      this.#commit(group);
    } catch (error) {
      if (!(error instanceof NoSpaceError)) return this.#failGroup(group, error);
      // Nothing of the group was written. One by one, those that still fit get their turn.
      if (group.length === 1) group[0]?.reject(error);
      else this.#commitSingly(group);
    }
  }

  #commitSingly(group: readonly WaitingWrite[]): void {
    for (const write of group) {
      if (this.#ended !== undefined) {
        write.reject(this.#ended);
        continue;
      }
      try {
        this.#commit([write]);
      } catch (error) {
        if (error instanceof NoSpaceError) write.reject(error);
        else this.#failGroup([write], error);
      }
    }
  }

  /** Storage first, then the index, then the watchers, then the answers. */
  #commit(group: readonly WaitingWrite[]): void {
    const staged = stageGroup(group, this.#index, (version) => this.#load(version));
    if (staged.rows.length > 0) this.#storage.append(staged.rows);
    const events = this.#eventsOf(staged);
    for (const row of staged.rows) this.#index.add({ ...row, isDelete: row.value === undefined });
    if (staged.rows.length > 0) this.#hub.publish(events, this.#index.currentRevision);
    for (const [i, write] of group.entries()) {
      const result = staged.results[i];
      if (result !== undefined) write.resolve(result);
    }
  }

  #eventsOf(staged: StagedGroup): readonly StoreEvent[] {
    return staged.changes
      .filter((change) => this.#hub.isWatched(change.kv.key))
      .map(({ type, kv, previous }) => ({ type, kv, previous: previous() }));
  }

  /** The event of one revision, from history. */
  #eventAt(revision: number, prefix: string): StoreEvent | undefined {
    const version = this.#index.at(revision);
    if (version === undefined || !version.key.startsWith(prefix)) return undefined;
    const before = version.previous;
    const previous = before === undefined || before.isDelete ? undefined : this.#load(before);
    if (!version.isDelete) return { type: 'put', kv: this.#load(version), previous };
    const value = previous?.value ?? new Uint8Array();
    const { key, createRevision } = version;
    return { type: 'delete', kv: { key, value, createRevision, modRevision: revision }, previous };
  }

  async #compact(revision: number): Promise<void> {
    this.#assertOpen();
    const { currentRevision, compactedRevision } = this.#index;
    if (revision > currentRevision) throw new FutureRevisionError(revision, currentRevision);
    const mark = Math.max(revision, compactedRevision);
    // Durable before anything is refused or removed. Rows that a crash or a full disk kept from
    // being removed go with the next compaction.
    if (mark > compactedRevision) this.#removeRows(mark, []);
    this.#index.setCompacted(mark);
    for (;;) {
      const slice = this.#index.takeGarbage(compactionSlice);
      if (slice.revisions.length > 0) this.#removeRows(mark, slice.revisions);
      if (slice.isLast) return;
      await new Promise<void>((resolve) => this.#options.schedule(resolve));
      this.#assertOpen();
    }
  }

  #removeRows(mark: number, revisions: readonly number[]): void {
    try {
      this.#storage.compact(mark, revisions);
    } catch (error) {
      this.#index.returnGarbage(revisions);
      if (error instanceof NoSpaceError) throw error;
      throw this.#fail(error);
    }
  }

  #failGroup(group: readonly WaitingWrite[], cause: unknown): void {
    this.#fail(cause);
    const message = 'the write may or may not have been committed: the storage failed';
    for (const write of group) write.reject(new OutcomeUnknownError(message, { cause }));
  }

  /** After a failed write or sync nobody knows what the disk holds: stop, never try again. */
  #fail(cause: unknown): UnavailableError {
    if (this.#ended !== undefined) return this.#ended;
    const ended = new UnavailableError('the storage failed', { cause });
    this.#ended = ended;
    for (const write of this.#waiting.splice(0)) write.reject(ended);
    this.#hub.failAll(ended);
    this.#options.logger.error('Storage failed, the store stops', { error: cause });
    this.#options.onFatal?.(cause);
    return ended;
  }
}

function takeGroup(waiting: readonly WaitingWrite[]): WaitingWrite[] {
  const group: WaitingWrite[] = [];
  let sizeBytes = 0;
  for (const write of waiting) {
    sizeBytes += write.value?.byteLength ?? 0;
    const isFull = group.length >= groupWritesMax || sizeBytes > groupBytesMax;
    if (group.length > 0 && isFull) break;
    group.push(write);
  }
  return group;
}
