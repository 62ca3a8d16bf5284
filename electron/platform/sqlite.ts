// SQLite for Node: the only importer of better-sqlite3. Opens databases, names their failures, and
// locks a data directory for the life of a process. It knows nothing of what is stored.
// Source: sqlite.org/rescode.html (result codes), sqlite.org/lockingv3.html (locks die with their
// process, so an exclusive transaction on lock.db is a lock that no crash can leave behind).
import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '#kube/base/clock.ts';
import Sqlite from 'better-sqlite3';

export type SqlValue = string | number | bigint | Uint8Array | null;
export type SqlRow = Readonly<Record<string, unknown>>;

export interface Statement {
  run(...parameters: readonly SqlValue[]): { readonly changes: number };
  get(...parameters: readonly SqlValue[]): SqlRow | undefined;
  all(...parameters: readonly SqlValue[]): readonly SqlRow[];
  iterate(...parameters: readonly SqlValue[]): IterableIterator<SqlRow>;
}

export interface Database {
  readonly file: string;
  prepare(sql: string): Statement;
  exec(sql: string): void;
  /** The first column of the pragma's first row. */
  pragma(text: string): unknown;
  /** All of `work` or, when it or the commit throws, nothing. Not to be nested. */
  transaction(work: () => void): void;
  close(): void;
}

export type SqliteFailure =
  | 'full'
  | 'corrupt'
  | 'busy'
  | 'cannot-open'
  | 'read-only'
  | 'io'
  | 'other';

export interface OpenDatabaseOptions {
  /** The file must exist, and nothing changes it, not even closing it. */
  readonly isReadOnly?: boolean;
}

/** Opens or creates a database file. Throws what SQLite throws: see `sqliteFailure`. */
export function openDatabase(file: string, options: OpenDatabaseOptions = {}): Database {
  if (options.isReadOnly !== true) keepPrivate(file);
  const sqlite = new Sqlite(file, { timeout: 0, readonly: options.isReadOnly === true });
  const begin = sqlite.prepare('BEGIN IMMEDIATE');
  const commit = sqlite.prepare('COMMIT');
  return {
    file,
    prepare: (sql) => sqlite.prepare<SqlValue[], SqlRow>(sql),
    exec: (sql) => void sqlite.exec(sql),
    pragma: (text) => sqlite.pragma(text, { simple: true }),
    transaction(work) {
      begin.run();
      try {
        work();
        commit.run();
      } catch (error) {
        // SQLite has rolled back by itself after some errors (full disk, I/O).
        if (sqlite.inTransaction) sqlite.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => void sqlite.close(),
  };
}

/**
 * Only this user may read the file (and its WAL, to which SQLite gives the same mode), whatever
 * the umask and the folder allow. Never opens a file that exists: closing it again would drop the
 * locks that this process holds on it.
 */
function keepPrivate(file: string): void {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) return createPrivate(file);
  const isOurs = found.isFile() && found.uid === process.getuid?.();
  if (isOurs && (found.mode & 0o077) !== 0) chmodSync(file, 0o600);
}

function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch {
    // SQLite is about to meet the same obstacle, and its errors are the ones that are understood.
  }
}

/** What kind of failure an error of SQLite is; undefined when it is not one. */
export function sqliteFailure(error: unknown): SqliteFailure | undefined {
  if (!(error instanceof Sqlite.SqliteError)) return undefined;
  // Extended codes such as SQLITE_IOERR_FSYNC begin with the primary one.
  const [, primary = ''] = error.code.split('_');
  return failures[primary] ?? 'other';
}

const failures: Readonly<Record<string, SqliteFailure>> = {
  FULL: 'full',
  CORRUPT: 'corrupt',
  NOTADB: 'corrupt',
  BUSY: 'busy',
  LOCKED: 'busy',
  CANTOPEN: 'cannot-open',
  PERM: 'cannot-open',
  AUTH: 'cannot-open',
  READONLY: 'read-only',
  IOERR: 'io',
};

/** Who holds a data directory, as the holder wrote it down. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  /** RFC 3339. */
  readonly since: string;
  readonly command: string;
}

export class DataDirectoryLockedError extends Error {
  override readonly name = 'DataDirectoryLockedError';
  readonly directory: string;
  /** Undefined when the holder has not written it down yet. */
  readonly holder: LockHolder | undefined;

  constructor(directory: string, holder: LockHolder | undefined) {
    super(`data directory ${directory} is in use by ${describe(holder)}`);
    this.directory = directory;
    this.holder = holder;
  }
}

function describe(holder: LockHolder | undefined): string {
  if (holder === undefined) return 'another process';
  const where = holder.host === hostname() ? '' : ` on ${holder.host}`;
  return `process ${holder.pid}${where} (${holder.command}, since ${holder.since})`;
}

/** A database that nobody refers to is closed by the garbage collector, and its lock is gone. */
const held = new Set<Sqlite.Database>();

/**
 * Takes the directory for this process until `release()` or the process's end, however it ends.
 * `command` says who we are in the sentence the next one to try reads ("flotilla control plane").
 * Throws DataDirectoryLockedError when another holds it (also in this process), or what SQLite
 * throws when the directory can't be written. The lock itself is lock.db; lock.json only tells.
 */
export function lockDataDirectory(
  directory: string,
  command: string,
  clock: Clock = systemClock,
): { release(): void } {
  const sidecar = join(directory, 'lock.json');
  const file = join(directory, 'lock.db');
  // Who can read it can hold it.
  keepPrivate(file);
  const sqlite = new Sqlite(file, { timeout: 0 });
  try {
    // Nothing is ever written to it: its lock needs no space on the disk.
    sqlite.pragma('journal_mode = MEMORY');
    sqlite.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    sqlite.close();
    if (sqliteFailure(error) === 'busy')
      throw new DataDirectoryLockedError(directory, readHolder(sidecar));
    throw error;
  }
  const since = new Date(clock.now()).toISOString();
  const holder: LockHolder = { pid: process.pid, host: hostname(), since, command };
  try {
    writeWhole(sidecar, JSON.stringify(holder));
  } catch (error) {
    // Who holds it is not told on a full disk. It is held.
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') {
      sqlite.close();
      throw error;
    }
  }
  held.add(sqlite);
  return {
    release() {
      if (!held.delete(sqlite)) return;
      rmSync(sidecar, { force: true });
      sqlite.close();
    },
  };
}

/** Readers see the old text or the new one, never half of it. */
function writeWhole(file: string, text: string): void {
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function readHolder(sidecar: string): LockHolder | undefined {
  try {
    const parsed: unknown = JSON.parse(readFileSync(sidecar, 'utf8'));
    return isHolder(parsed) ? parsed : undefined;
  } catch {
    // Missing or unreadable: the lock holds all the same, only the name of its holder is unknown.
    return undefined;
  }
}

function isHolder(value: unknown): value is LockHolder {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, host, since, command } = value as Record<string, unknown>;
  const texts = [host, since, command];
  return typeof pid === 'number' && texts.every((text) => typeof text === 'string');
}

/** Makes the entries of a directory (files created or renamed in it) survive a power cut. */
export function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
