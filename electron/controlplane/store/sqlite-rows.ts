// Rows in SQLite: one transaction for each change, WAL with synchronous=NORMAL. A transaction
// survives the process at once and the machine from the next sync on, made in a thread of its own
// (state-thread.ts), because it waits for the disk. Must be opened by one process at a time: see
// lockDataDirectory.
import { readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { assert } from '#kube/base/assert.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { sqliteFailure, syncDirectory, type Database, type Statement } from '#platform/sqlite.ts';
import type { AppliedMark, ReceivedSnapshot, SnapshotSource } from '../replica/types.ts';
import { DiskReserve, freeBytes } from './disk-reserve.ts';
import type { VersionHead } from './revision-index.ts';
import type { RowChange, RowStorage, StateMeta, StoredRow, StoredValue } from './rows.ts';
import { copySource, writeChunks } from './state-copy.ts';
import {
  isDiskFull,
  openForWriting,
  openStateFile,
  readContent,
  type StateContent,
  type StateFile,
} from './state-file.ts';
import { insertRow, writeMeta } from './state-schema.ts';
import { StateThread } from './state-thread.ts';
import { NoSpaceError } from './store.ts';

export interface SqliteRowsOptions {
  /** Holds state.db; made when it does not exist. */
  readonly directory: string;
  readonly clock: Clock;
  /** A cluster was here before: an absent or empty file is an error. */
  readonly mustExist?: boolean;
  /** Growth beyond this is refused as if the disk were full; no bound by default. */
  readonly sizeBytesMax?: number;
  /** Larger files are checked to the last byte in the background; 32 MiB by default. */
  readonly checkedBytesMax?: number;
  readonly failpoint?: Failpoint;
  /** The program of the thread beside this one; another one in tests. */
  readonly threadProgram?: string;
}

/** Growth is refused when the disk has less left: room for deletes, compaction, SQLite's log. */
const freeBytesMin = 4 * 1024 * 1024;
/** The disk's space is looked at again after so much growth, or so long: it holds the event loop up. */
const lookAgainBytes = { min: 1024 * 1024, max: 32 * 1024 * 1024, shareOfFree: 1 / 256 };
const lookAgainMs = 10_000;
/** Between two slices of the check in the background. */
const checkRestMs = 20;

interface ReceivedFile extends ReceivedSnapshot {
  readonly file: string;
}

export class SqliteRows implements RowStorage {
  readonly #options: SqliteRowsOptions;
  readonly #thread: StateThread;
  readonly #reserve: DiskReserve;
  #database: Database;
  #statements: Statements;
  /** What opening read, until it is asked for. */
  #content: StateContent | undefined;
  #unsyncedBytes = 0;
  #size: { readonly totalBytes: number; readonly usedBytes: number };
  /** At the last look, when that was, and what was written since. */
  #freeBytes = 0;
  #lookedAtMs = -Infinity;
  #writtenBytes = 0;
  #copies = 0;
  /** Up to which row the values were checked; undefined: all. */
  #checkedTo: number | undefined;
  #rest: Timer | undefined;
  #isClosed = false;

  /** Throws StoreOpenError, whose message is a sentence for a person. */
  constructor(options: SqliteRowsOptions) {
    this.#options = options;
    this.#thread = new StateThread(options.clock, options.threadProgram);
    this.#reserve = new DiskReserve(this.#path('reserve'), options.directory);
    const { database, isChecked, ...content } = this.#open();
    if (!isChecked) this.#checkedTo = 0;
    // Copies that a crash left behind.
    for (const name of readdirSync(options.directory))
      if (/^(copy|received)-\d+\.db/.test(name)) rmSync(this.#path(name), { force: true });
    this.#database = database;
    this.#statements = prepare(database);
    this.#content = content;
    this.#size = sizeOf(database);
    this.#reserve.take();
  }

  #open(): StateFile {
    const { directory, mustExist, checkedBytesMax } = this.#options;
    try {
      return openStateFile(directory, mustExist, checkedBytesMax);
    } catch (error) {
      // SQLite's files beside the database take some space, also to read from it.
      if (!isDiskFull(error) || !this.#reserve.release()) throw error;
      return openStateFile(directory, mustExist, checkedBytesMax);
    }
  }

  get place(): string {
    return this.#database.file;
  }

  #path(name: string): string {
    return path.join(this.#options.directory, name);
  }

  load(visit: (row: VersionHead) => void): StateMeta {
    const { meta, rows } = this.#content ?? readContent(this.#database);
    this.#content = undefined;
    for (const row of rows) visit(row);
    return meta;
  }

  value(row: number): StoredValue {
    const found = this.#statements.value.get(row);
    assert(found?.value instanceof Uint8Array, `row ${row} of ${this.place} has a value`);
    const { buffer, byteOffset, byteLength } = found.value;
    return {
      value: new Uint8Array(buffer, byteOffset, byteLength),
      checksum: Number(found.checksum),
    };
  }

  hash(row: number): number {
    const found = this.#statements.hash.get(row);
    assert(found !== undefined, `row ${row} of ${this.place} is there`);
    return Number(found.hash);
  }

  write(change: RowChange): void {
    try {
      this.#transact(change);
    } catch (error) {
      // What frees space must not fail for want of it.
      if (!(error instanceof NoSpaceError) || !this.#reserve.release()) throw error;
      this.#transact(change);
    }
    this.#size = sizeOf(this.#database);
  }

  #transact(change: RowChange): void {
    const { rows, removed, meta } = change;
    try {
      this.#database.transaction(() => {
        for (const row of rows) this.#statements.insert.run(...columns(row));
        for (const row of removed) this.#statements.remove.run(row);
        writeMeta(this.#database, meta);
        this.#options.failpoint?.('state:in-transaction');
      });
      this.#options.failpoint?.('state:committed');
      if (removed.length > 0) this.#options.failpoint?.('state:swept');
    } catch (error) {
      // SQLite rolled the transaction back: nothing of it was written.
      if (sqliteFailure(error) === 'full')
        throw new NoSpaceError(
          'no space left for the database: nothing was written; free some space on its disk',
          { cause: error },
        );
      throw error;
    }
    let bytes = removed.length * rowBytes;
    for (const { value } of rows) bytes += rowBytes + (value?.length ?? 0);
    this.#unsyncedBytes += bytes;
    this.#writtenBytes += bytes;
  }

  sync(done: (error?: Error) => void): void {
    this.#unsyncedBytes = 0;
    this.#thread.run({ type: 'sync', file: this.place }, (error) => {
      if (!this.#isClosed) done(error);
    });
  }

  unsyncedBytes(): number {
    return this.#unsyncedBytes;
  }

  size(): { readonly totalBytes: number; readonly usedBytes: number } {
    return this.#size;
  }

  hasRoom(bytes: number): boolean {
    const { directory, sizeBytesMax = Infinity } = this.#options;
    if (this.#size.usedBytes + bytes > sizeBytesMax) return false;
    const nowMs = this.#options.clock.monotonicMs();
    const { min, max, shareOfFree } = lookAgainBytes;
    const growth = this.#writtenBytes + bytes;
    const isOld =
      nowMs - this.#lookedAtMs > lookAgainMs ||
      growth > Math.min(max, Math.max(min, this.#freeBytes * shareOfFree));
    if (!isOld && this.#freeBytes >= freeBytesMin + growth) return true;
    this.#writtenBytes = 0;
    this.#lookedAtMs = nowMs;
    this.#reserve.take();
    this.#freeBytes = freeBytes(directory);
    return this.#freeBytes >= freeBytesMin + bytes;
  }

  check(onDamage: (sentence: string) => void): void {
    if (this.#checkedTo === undefined || this.#isClosed) return;
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const { place } = this;
    this.#thread.run({ type: 'check', file: place, after: this.#checkedTo }, (error, answer) => {
      // A snapshot that took the place of everything was checked itself.
      if (this.#isClosed || this.#checkedTo === undefined) return;
      if (error !== undefined) return onDamage(error.message);
      this.#checkedTo = answer?.next;
      if (this.#checkedTo === undefined) return;
      // The disk and a core are others' for nine tenths of the time.
      const restMs = Math.max(checkRestMs, 9 * (clock.monotonicMs() - startedMs));
      this.#rest = clock.timer(restMs, () => this.check(onDamage));
    });
  }

  copy(): Promise<SnapshotSource> {
    const to = this.#path(`copy-${++this.#copies}.db`);
    rmSync(to, { force: true });
    const copied = (): SnapshotSource => {
      this.#options.failpoint?.('snapshot:copied');
      return copySource(to);
    };
    return this.#inThread({ type: 'copy', file: this.place, to }, copied, to);
  }

  async receive(mark: AppliedMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot> {
    const file = this.#path(`received-${++this.#copies}.db`);
    const { failpoint } = this.#options;
    await writeChunks(file, chunks, () => failpoint?.('snapshot:part'));
    failpoint?.('snapshot:received');
    const { index, term } = mark;
    const discard = (): void => rmSync(file, { force: true });
    const checked = (): ReceivedFile => {
      failpoint?.('snapshot:checked');
      return { mark, file, discard };
    };
    return this.#inThread({ type: 'verify', file, index, term }, checked, file);
  }

  /** Removes `file` when the job fails. */
  #inThread<T>(job: Parameters<StateThread['run']>[0], result: () => T, file: string): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#thread.run(job, (error) => {
        try {
          if (error !== undefined) throw error;
          resolve(result());
        } catch (failure) {
          rmSync(file, { force: true });
          reject(failure);
        }
      });
    });
  }

  install(received: ReceivedSnapshot, done: (error?: Error) => void): void {
    setImmediate(() => {
      try {
        this.#replaceBy((received as ReceivedFile).file);
      } catch (error) {
        return done(error as Error);
      }
      done();
    });
  }

  /** The old log must be gone, durably, before another file has the database's name. */
  #replaceBy(file: string): void {
    const { place } = this;
    const { directory, failpoint } = this.#options;
    this.#thread.settle();
    this.#database.close();
    for (const suffix of ['-wal', '-shm']) rmSync(`${place}${suffix}`, { force: true });
    syncDirectory(directory);
    failpoint?.('snapshot:old-state-closed');
    renameSync(file, place);
    syncDirectory(directory);
    failpoint?.('snapshot:in-place');
    this.#database = openForWriting(place);
    this.#statements = prepare(this.#database);
    this.#content = undefined;
    this.#checkedTo = undefined;
    this.#unsyncedBytes = 0;
    this.#size = sizeOf(this.#database);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#rest?.cancel();
    // The last connection to be closed moves the log into the file: that should be ours.
    this.#thread.settle();
    this.#thread.close();
    this.#database.close();
  }
}

interface Statements {
  readonly insert: Statement;
  readonly remove: Statement;
  readonly value: Statement;
  readonly hash: Statement;
}

function prepare(database: Database): Statements {
  return {
    insert: database.prepare(insertRow),
    remove: database.prepare('DELETE FROM kv WHERE id = ?'),
    value: database.prepare('SELECT value, checksum FROM kv WHERE id = ?'),
    hash: database.prepare('SELECT hash FROM kv WHERE id = ?'),
  };
}

/** What a row takes besides its value, about. */
const rowBytes = 150;

type Columns = [
  number,
  number,
  Uint8Array,
  number,
  number,
  number,
  number,
  number,
  Uint8Array | null,
];

function columns(row: StoredRow): Columns {
  const { revision, createRevision, version, lease, checksum, hash, value } = row;
  const key = Buffer.from(row.key, 'latin1');
  return [row.row, revision, key, createRevision, version, lease, checksum, hash, value ?? null];
}

function sizeOf(database: Database): { readonly totalBytes: number; readonly usedBytes: number } {
  const pageBytes = Number(database.pragma('page_size'));
  const pages = Number(database.pragma('page_count'));
  const free = Number(database.pragma('freelist_count'));
  return { totalBytes: pages * pageBytes, usedBytes: (pages - free) * pageBytes };
}
