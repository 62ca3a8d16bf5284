// The store's contract: a revisioned map from keys to bytes, with history and watches. It knows
// nothing of Kubernetes. Every implementation passes test/conformance/store.ts.
//
// Revisions: one global counter, +1 per committed write, no gaps, from 1 (the empty store is at 0).
// Keys are compared as UTF-8 bytes. Values are opaque; callers must not change them afterwards.
// Source: etcd client/v3/kubernetes/interface.go (the five methods Kubernetes needs), etcd mvcc.

export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  /** Revision of the write that created the key (again, after a delete). */
  readonly createRevision: number;
  /** Revision of the last write. */
  readonly modRevision: number;
}

export interface GetResult {
  /** Undefined when the key does not exist at that revision. */
  readonly kv: KeyValue | undefined;
  /** The revision the answer is true for. */
  readonly revision: number;
}

export interface ListOptions {
  /** Read as of this revision; now when left out. */
  readonly revision?: number;
  /** At most this many items; no limit when left out or 0. */
  readonly limit?: number;
  /** Start at this key (inclusive); use the last key + '\0' to go on after it. */
  readonly startKey?: string;
}

export interface ListResult {
  /** In key order. */
  readonly items: readonly KeyValue[];
  readonly revision: number;
  /** How many more items exist behind the last one (0 when the list is whole). */
  readonly remaining: number;
}

export interface WriteResult {
  /** False when the expectation did not hold: nothing was written. */
  readonly ok: boolean;
  /** The write's revision when ok, else the current revision. */
  readonly revision: number;
  /** Put: the new row when ok. Otherwise, and for delete: the row as it was (undefined: no such key). */
  readonly kv: KeyValue | undefined;
}

export interface PutOptions {
  /**
   * This write leads to space being freed, as a mark that something is to be deleted does: while
   * it is small, it may use what a full disk keeps for deletes.
   */
  readonly leadsToFreeing?: boolean;
}

/** One part of a transaction: what must hold of a key, and what then happens to it. */
export interface TxnWrite {
  readonly key: string;
  /** The key's modRevision; 0: must not exist. */
  readonly expectedRevision: number;
  /** Null: delete it. Undefined: leave it, only the expectation counts. */
  readonly value: Uint8Array | null | undefined;
}

export interface StoreEvent {
  readonly type: 'put' | 'delete';
  /** For delete: the last value, with modRevision = revision of the delete. */
  readonly kv: KeyValue;
  /** The row before this write; undefined for a create. */
  readonly previous: KeyValue | undefined;
}

/** All events of one or more whole revisions, in order; none = progress: nothing up to `revision` is missing. */
export interface WatchBatch {
  readonly revision: number;
  readonly events: readonly StoreEvent[];
}

/**
 * Ordered, unique, gap-free. Iteration throws CompactedError when the start revision is compacted,
 * WatchOverflowError when the reader fell behind its bound, UnavailableError when the store closed;
 * it ends after close().
 */
export interface StoreWatch extends AsyncIterable<WatchBatch> {
  /** Asks for a progress batch once everything up to the current revision is delivered. */
  requestProgress(): void;
  close(): void;
}

export interface Store {
  /** The newest revision; linearizable when asked (one voter: always). */
  currentRevision(options?: { readonly linearizable?: boolean }): Promise<number>;
  /** Throws CompactedError or FutureRevisionError for a revision out of range. */
  get(key: string, revision?: number): Promise<GetResult>;
  /** The revision of the key's last write, without its value; 0: there is no such key. As new as `get`. */
  modRevision(key: string): Promise<number>;
  /** Items whose key starts with `prefix`. Throws as get does. */
  list(prefix: string, options?: ListOptions): Promise<ListResult>;
  count(prefix: string): Promise<number>;
  /**
   * Writes when the key's modRevision is `expectedRevision` (0: must not exist). Durable when it
   * resolves. Throws OutcomeUnknownError when it may or may not have happened, NoSpaceError when
   * the disk is full (nothing was written).
   */
  put(
    key: string,
    value: Uint8Array,
    expectedRevision: number,
    options?: PutOptions,
  ): Promise<WriteResult>;
  /** Deletes when the key's modRevision is `expectedRevision`. Throws as put does. */
  delete(key: string, expectedRevision: number): Promise<WriteResult>;
  /**
   * All of it at one revision when every expectation holds, else nothing. Each key once. Throws as
   * put does.
   */
  txn(writes: readonly TxnWrite[]): Promise<{ readonly ok: boolean; readonly revision: number }>;
  /** Events of keys under `prefix` with revision > `afterRevision` (0: from the start of history). */
  watch(prefix: string, afterRevision: number): StoreWatch;
  /** Forgets history up to and including `revision`, but for the newest value of live keys. */
  compact(revision: number): Promise<void>;
  /** History at or before this revision is gone; 0 when nothing was compacted. */
  compactedRevision(): number;
  close(): Promise<void>;
}

/** The revision asked for is compacted: read again from now. */
export class CompactedError extends Error {
  override readonly name = 'CompactedError';
  readonly compactedRevision: number;
  constructor(revision: number, compactedRevision: number) {
    super(`revision ${revision} has been compacted (history starts after ${compactedRevision})`);
    this.compactedRevision = compactedRevision;
  }
}

/** The revision asked for does not exist yet. */
export class FutureRevisionError extends Error {
  override readonly name = 'FutureRevisionError';
  readonly currentRevision: number;
  constructor(revision: number, currentRevision: number) {
    super(`revision ${revision} is in the future (the store is at ${currentRevision})`);
    this.currentRevision = currentRevision;
  }
}

/** The watcher's bounded buffer overflowed: list again. */
export class WatchOverflowError extends Error {
  override readonly name = 'WatchOverflowError';
}

/** The store can't answer now (closed, no leader). Nothing happened. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError';
}

/** The write may or may not have been committed. */
export class OutcomeUnknownError extends Error {
  override readonly name = 'OutcomeUnknownError';
}

/** The disk is full. Nothing was written; deletes and compaction may still work. */
export class NoSpaceError extends Error {
  override readonly name = 'NoSpaceError';
}
