// What can be asked of the replicated key-value state: the operations of etcd's v3 API and the two
// optimistic writes Kubernetes needs, as data. Types only; command-codec.ts turns commands to bytes.
// Source: etcd api/etcdserverpb/rpc.proto (the meaning of each field).
import type { PutOptions } from './store.ts';

/**
 * A key as a byte string: one UTF-16 unit (0 to 255) for each byte, so that JavaScript's own
 * comparison is byte order and any bytes can be a key. ASCII keys look the same either way.
 */
export type ByteKey = string;

export interface Row {
  readonly key: ByteKey;
  readonly value: Uint8Array;
  /** Revision of the write that created the key (again, after a delete). */
  readonly createRevision: number;
  readonly modRevision: number;
  /** Writes since the key was created, that one included. */
  readonly version: number;
  /** 0: none. */
  readonly lease: number;
}

/** `end` undefined: the one key. Otherwise [key, end); `end` '\0': every key from `key` on. */
export interface KeyRange {
  readonly key: ByteKey;
  readonly end?: ByteKey;
}

export type CompareTarget = 'version' | 'create' | 'mod' | 'value' | 'lease';

/** Holds when it holds for every key of the range; a missing key has 0 everywhere and no value. */
export interface Compare {
  readonly range: KeyRange;
  readonly target: CompareTarget;
  readonly relation: 'equal' | 'not-equal' | 'greater' | 'less';
  /** Bytes for `value`, else a number. */
  readonly operand: number | Uint8Array;
}

export interface RangeOperation {
  readonly type: 'range';
  readonly range: KeyRange;
  /** 0: now. */
  readonly revision: number;
  /** 0: no limit. */
  readonly limit: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly sort?: {
    readonly by: 'key' | 'version' | 'create' | 'mod' | 'value';
    readonly isDescending: boolean;
  };
  readonly modRevisionMin?: number;
  readonly modRevisionMax?: number;
  readonly createRevisionMin?: number;
  readonly createRevisionMax?: number;
}

export interface PutOperation {
  readonly type: 'put';
  readonly key: ByteKey;
  readonly value: Uint8Array;
  readonly lease: number;
  readonly wantsPrevious?: boolean;
  /** Keep what the key has; an error when it does not exist. */
  readonly keepsValue?: boolean;
  readonly keepsLease?: boolean;
}

export interface DeleteOperation {
  readonly type: 'delete';
  readonly range: KeyRange;
  readonly wantsPrevious?: boolean;
}

export type Operation =
  | RangeOperation
  | PutOperation
  | DeleteOperation
  | ({ readonly type: 'txn' } & Txn);

export interface Txn {
  readonly compares: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure: readonly Operation[];
}

/** One entry of the log. All of a command's writes have one revision. */
export type Command =
  /** Writes when the key's modRevision is `expectedRevision` (0: must not exist). */
  | {
      readonly type: 'put-if';
      readonly key: ByteKey;
      readonly value: Uint8Array;
      readonly expectedRevision: number;
    }
  | { readonly type: 'delete-if'; readonly key: ByteKey; readonly expectedRevision: number }
  | ({ readonly type: 'txn' } & Txn)
  /** `hash`: the proposer's state hash at that revision; who has another one, doubts (hash-claims.ts). */
  | { readonly type: 'compact'; readonly revision: number; readonly hash?: number }
  | { readonly type: 'lease-grant'; readonly id: number; readonly ttlSeconds: number }
  /** Deletes the lease's keys too. `due`: only if that still holds. */
  | { readonly type: 'lease-revoke'; readonly id: number; readonly due?: LeaseDue }
  /** Writes no row: tells the leader, through the log, that a lease's time begins anew. */
  | { readonly type: 'lease-keep'; readonly id: number }
  /** Writes nothing: a member says which hash its state has at that revision. */
  | {
      readonly type: 'hash-claim';
      readonly member: number;
      readonly revision: number;
      readonly hash: number;
    };

/**
 * A lease is over: so the leader of `term` found, when entry `keptAt` was the last that granted or
 * kept it. Void in any other term, which gave it its whole time anew, and once it was kept again.
 */
export interface LeaseDue {
  readonly term: number;
  readonly keptAt: number;
}

export interface RangeResult {
  readonly type: 'range';
  readonly rows: readonly Row[];
  /** All rows in the range, whatever the limit. */
  readonly count: number;
  readonly hasMore: boolean;
}

export type OperationResult =
  | RangeResult
  | { readonly type: 'put'; readonly previous?: Row }
  | { readonly type: 'delete'; readonly deleted: number; readonly previous: readonly Row[] }
  | TxnResult;

export interface TxnResult {
  readonly type: 'txn';
  readonly isSuccess: boolean;
  readonly results: readonly OperationResult[];
}

/** Refused by the state itself, the same on every member: nothing was written. */
export type CommandFailure =
  | 'compacted'
  | 'future-revision'
  | 'lease-not-found'
  | 'lease-exists'
  /** Its end was decided before it was kept again. */
  | 'lease-kept'
  | 'key-not-found'
  /** One transaction puts a key twice. */
  | 'duplicate-key'
  /** Bytes that are no command, which no release writes. */
  | 'unknown-command';

/** `revision`: of the write, or the current one when nothing was written. */
export type CommandResult =
  | {
      readonly type: 'write';
      readonly isOk: boolean;
      readonly revision: number;
      readonly row: Row | undefined;
    }
  | (TxnResult & { readonly revision: number })
  | { readonly type: 'done'; readonly revision: number }
  | { readonly type: 'failed'; readonly failure: CommandFailure; readonly revision: number };

/** One key's change. For a delete the row has the last value and modRevision of the delete. */
export interface KvEvent {
  readonly type: 'put' | 'delete';
  readonly row: Row;
  readonly previous: Row | undefined;
}

/** All events of one or more whole revisions, in order; none: progress. */
export interface KvWatchBatch {
  readonly revision: number;
  readonly events: readonly KvEvent[];
}

export interface KvWatch extends AsyncIterable<KvWatchBatch> {
  requestProgress(): void;
  close(): void;
}

export interface LeaseStatus {
  readonly id: number;
  readonly ttlSeconds: number;
  /** By the leader's clock; elsewhere at most that, since what only the leader was told counts too. */
  readonly remainingSeconds: number;
  readonly keys: readonly ByteKey[];
}

/**
 * The whole of what the state can do, one level below `Store`: the etcd front serves it. Errors:
 * those of store.ts; a CommandFailure comes as the result's type 'failed'.
 */
export interface Kv {
  /** Linearizable unless told otherwise. Throws CompactedError, FutureRevisionError. */
  range(
    operation: RangeOperation,
    options?: { readonly isSerializable?: boolean },
  ): Promise<RangeResult & { readonly revision: number }>;
  /** Durable when it resolves. Throws UnavailableError, OutcomeUnknownError, NoSpaceError. */
  write(command: Command, options?: PutOptions): Promise<CommandResult>;
  /** Events of revisions > `afterRevision`. Iteration throws as a StoreWatch's does. */
  watch(range: KeyRange, afterRevision: number): KvWatch;
  /** Begins the lease's time anew, without a revision. Undefined: no such lease. */
  keepLease(id: number): Promise<{ readonly ttlSeconds: number } | undefined>;
  lease(id: number): Promise<LeaseStatus | undefined>;
  leases(): Promise<readonly number[]>;
  currentRevision(): number;
  compactedRevision(): number;
  /** Of the state at `revision` (0: now); the same on every member. Throws CompactedError when too old. */
  hash(revision: number): { readonly hash: number; readonly revision: number };
  /** Bytes on disk, and those in use. */
  size(): { readonly totalBytes: number; readonly usedBytes: number };
}
