// The Store on disk: rows of history in one SQLite file, its index in memory (mvcc-store.ts).
// Durability is SQLite's own: WAL with synchronous=FULL, one transaction and one sync per group.
// Must be opened by one process at a time: see lockDataDirectory.
import { join } from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { sqliteFailure, type Database } from '#platform/sqlite.ts';
import { DiskReserve } from './disk-reserve.ts';
import { MvccStore, type Row, type RowStorage } from './mvcc-store.ts';
import { openStateFile } from './state-file.ts';
import { NoSpaceError, type Store } from './store.ts';
import type { WatchLimits } from './watch-hub.ts';

export interface SqliteStoreOptions {
  /** Holds state.db; made when it does not exist. */
  readonly directory: string;
  readonly logger: Logger;
  /** A cluster was here before: an absent or empty file is an error. */
  readonly mustExist?: boolean;
  /** For the log line that says how long opening took. */
  readonly clock?: Clock;
  /** Puts that would grow the file beyond this fail as if the disk were full; no bound by default. */
  readonly sizeBytesMax?: number;
  /** The disk failed in the middle of a write: end the process, its supervisor starts it again. */
  readonly onFatal?: (error: unknown) => void;
  readonly watchLimits?: WatchLimits;
}

/** Above `sizeBytesMax`, for deletes and compaction, so that a full store can be emptied. */
const reserveBytes = 1024 * 1024;

/** Throws StoreOpenError, whose message is a sentence for a person. */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  const { clock, directory, logger } = options;
  const startedMs = clock?.monotonicMs() ?? 0;
  const { database, index } = openStateFile(directory, options.mustExist);
  const tookMs = clock === undefined ? undefined : Math.round(clock.monotonicMs() - startedMs);
  logger.info('Opened the store', { file: database.file, revision: index.currentRevision, tookMs });
  const reserve = new DiskReserve(join(directory, 'reserve'), directory);
  return new MvccStore({
    storage: sqliteRows(database, { sizeBytesMax: options.sizeBytesMax, reserve }),
    index,
    logger,
    // Behind the I/O events that are ready now: their writes join the group.
    schedule: (work) => void setImmediate(work),
    ...(options.onFatal === undefined ? {} : { onFatal: options.onFatal }),
    ...(options.watchLimits === undefined ? {} : { watchLimits: options.watchLimits }),
  });
}

interface Space {
  readonly sizeBytesMax: number | undefined;
  readonly reserve: DiskReserve;
}

function sqliteRows(database: Database, { sizeBytesMax, reserve }: Space): RowStorage {
  const insert = database.prepare('INSERT INTO kv VALUES (?, ?, ?, ?)');
  const select = database.prepare('SELECT value FROM kv WHERE mod_revision = ?');
  const remove = database.prepare('DELETE FROM kv WHERE mod_revision = ?');
  const mark = database.prepare('UPDATE compaction SET revision = ?');
  const bound = sizeBound(database, sizeBytesMax);
  return {
    read(revision) {
      const value = select.get(revision)?.value;
      if (!(value instanceof Uint8Array)) throw new Error(`revision ${revision} has no value`);
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    },
    append(rows) {
      const isDelete = rows.every((row) => row.value === undefined);
      bound(isDelete);
      const work = (): void => {
        for (const row of rows) insert.run(...columns(row));
      };
      if (isDelete) return writeWithReserve(database, reserve, work);
      write(database, work);
      reserve.take();
    },
    compact(revision, revisions) {
      bound(true);
      writeWithReserve(database, reserve, () => {
        mark.run(revision);
        for (const garbage of revisions) remove.run(garbage);
      });
    },
    close: () => database.close(),
  };
}

function columns(row: Row): [number, string, number, Uint8Array | null] {
  return [row.revision, row.key, row.createRevision, row.value ?? null];
}

function write(database: Database, work: () => void): void {
  try {
    database.transaction(work);
  } catch (error) {
    // SQLite rolled the transaction back: nothing of it was written.
    if (sqliteFailure(error) === 'full')
      throw new NoSpaceError(
        'no space left for the database: nothing was written; free some space on its disk',
        {
          cause: error,
        },
      );
    throw error;
  }
}

/** What frees space must not fail for want of it. */
function writeWithReserve(database: Database, reserve: DiskReserve, work: () => void): void {
  try {
    write(database, work);
  } catch (error) {
    if (!(error instanceof NoSpaceError) || !reserve.release()) throw error;
    write(database, work);
  }
}

/** Sets how large the file may grow, before each transaction; `usesReserve` allows a little more. */
function sizeBound(database: Database, sizeBytesMax?: number): (usesReserve: boolean) => void {
  if (sizeBytesMax === undefined) return () => undefined;
  const pageBytes = Number(database.pragma('page_size'));
  return (usesReserve) => {
    const bytes = sizeBytesMax + (usesReserve ? reserveBytes : 0);
    database.pragma(`max_page_count = ${Math.floor(bytes / pageBytes)}`);
  };
}
