// What of the state is kept, and where: the interface to storage (SQLite, or memory for the
// simulation), and the checksums that tie a row to its place in history.
// Storage is written whole changes at a time; between them the newest rows live in tail.ts.
import { crc32 } from 'node:zlib';
import type { AppliedMark, SnapshotSource, ReceivedSnapshot } from '../replica/types.ts';
import type { VersionHead } from './revision-index.ts';

export interface NewRow extends VersionHead {
  /** Undefined exactly when the version is 0: the key was deleted. */
  readonly value: Uint8Array | undefined;
}

export interface StoredRow extends NewRow {
  /** Of everything above. */
  readonly checksum: number;
  /** Of all rows up to this one, in order: equal on every member, or one is damaged. */
  readonly hash: number;
}

/** The row of a value, as it is read back. */
export interface StoredValue {
  readonly value: Uint8Array;
  readonly checksum: number;
}

/** Everything about the state that is no row. */
export interface StateMeta {
  /** Empty until the state belongs to a cluster. */
  readonly clusterId: string;
  /** Clusters that this one was restored or recovered from, the last at the end. */
  readonly ancestors?: readonly string[];
  readonly applied: AppliedMark;
  /** Of a peer's snapshot this state is, and has not moved on from; absent: it is none. */
  readonly installedIndex?: number;
  readonly revision: number;
  readonly compactedRevision: number;
  /** As of `compactedRevision` and `revision`. */
  readonly compactedHash: number;
  readonly hash: number;
  readonly leases: readonly {
    readonly id: number;
    readonly ttlSeconds: number;
    /** Absent: 0. */
    readonly keptAt?: number;
  }[];
  /** Set when this state was found to differ from the others': it must not be served again. */
  readonly damage?: string;
}

/** One transaction. */
export interface RowChange {
  readonly rows: readonly StoredRow[];
  /** Rows that nothing needs any more. */
  readonly removed: readonly number[];
  readonly meta: StateMeta;
}

export const emptyMeta: StateMeta = {
  clusterId: '',
  applied: { index: 0, term: 0, membership: { members: [] } },
  revision: 0,
  compactedRevision: 0,
  compactedHash: 0,
  hash: 0,
  leases: [],
};

/** The order of calls is the order of effects. What it throws, but for NoSpaceError, is fatal. */
export interface RowStorage {
  /** Where the rows are, for people. */
  readonly place: string;
  /** What it holds; `visit` gets the rows in the order of writing. At open, and after install. */
  load(visit: (row: VersionHead) => void): StateMeta;
  /** Of a row that is no delete. Throws when it can't be read. */
  value(row: number): StoredValue;
  hash(row: number): number;
  /** All of it or nothing; survives the process, but not yet the machine. Throws NoSpaceError. */
  write(change: RowChange): void;
  /** Makes all that was written survive the machine. One at a time; `done` never synchronously. */
  sync(done: (error?: Error) => void): void;
  /** Bytes written since the last sync began. */
  unsyncedBytes(): number;
  size(): { readonly totalBytes: number; readonly usedBytes: number };
  /** False when the disk, or the bound set for it, would not take `bytes` more. */
  hasRoom(bytes: number): boolean;
  /**
   * Calls back when something in storage is found that is not what was written, with a sentence; looks
   * for it a little at a time while nothing else waits. Nothing to do when all was checked at open.
   */
  check(onDamage: (sentence: string) => void): void;
  /** A copy of what is written at this moment. Doesn't hold up writes. */
  copy(): Promise<SnapshotSource>;
  /** Notes in it that it was received: `StateMeta.installedIndex`. */
  receive(mark: AppliedMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot>;
  /** Puts a received copy in the place of everything. `done` never synchronously. */
  install(received: ReceivedSnapshot, done: (error?: Error) => void): void;
  close(): void;
}

const scratch = Buffer.alloc(41);
const chainScratch = Buffer.alloc(4);

/** CRC-32 of a row's content; its number is left out, which is each storage's own. */
export function rowChecksum(head: VersionHead, value: Uint8Array | undefined): number {
  scratch.writeDoubleLE(head.revision, 0);
  scratch.writeDoubleLE(head.createRevision, 8);
  scratch.writeDoubleLE(head.version, 16);
  scratch.writeDoubleLE(head.lease, 24);
  scratch.writeDoubleLE(head.key.length, 32);
  scratch[40] = value === undefined ? 0 : 1;
  const ofHead = crc32(head.key, crc32(scratch));
  return value === undefined ? ofHead : crc32(value, ofHead);
}

/** The hash of history with one more row. */
export function chainHash(hash: number, checksum: number): number {
  chainScratch.writeUInt32LE(checksum);
  return crc32(chainScratch, hash);
}
