// The file a state lives in: where it is, and everything that can be wrong with it at start. What is
// wrong becomes a StoreOpenError: one sentence for a person. A damaged or foreign file is only ever
// read (through a read-only connection), never repaired, deleted or written.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  openDatabase,
  sqliteFailure,
  syncDirectory,
  type Database,
  type SqliteFailure,
} from '#platform/sqlite.ts';
import { freeBytes } from './disk-reserve.ts';
import type { VersionHead } from './revision-index.ts';
import { chainHash, rowChecksum, type StateMeta } from './rows.ts';
import {
  applicationId,
  createTables,
  migrateFromSchema1,
  readMeta,
  schemaVersion,
} from './state-schema.ts';

/** Says what happened, to which file, and what to do. */
export class StoreOpenError extends Error {
  override readonly name = 'StoreOpenError';
  readonly file: string;

  constructor(file: string, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
    this.file = file;
  }
}

/** What a file holds but for values. */
export interface StateContent {
  readonly meta: StateMeta;
  readonly rows: readonly VersionHead[];
}

export interface StateFile extends StateContent {
  readonly database: Database;
  /** To the last byte; else values are still to be checked. */
  readonly isChecked: boolean;
}

/** A file up to this size is checked to its last byte at each start (some 0.2 s). */
export const checkedBytesMax = 32 * 1024 * 1024;
const schemas: readonly unknown[] = [1, schemaVersion];

export function stateFileIn(directory: string): string {
  return join(directory, 'state.db');
}

/** A backup that is being put back: no state yet. */
export function unfinishedFileIn(directory: string): string {
  return join(directory, 'unfinished.db');
}

/**
 * Opens `directory`/state.db, making both when they don't exist; with `mustExist` an absent or empty
 * file is an error: the cluster's memory is gone, and an empty one in its place would hide it.
 * An older schema is made the present one. Throws StoreOpenError.
 */
export function openStateFile(
  directory: string,
  mustExist = false,
  checkedMax = checkedBytesMax,
): StateFile {
  const file = stateFileIn(directory);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const isPresent = holdsData(file);
    if (!isPresent && existsSync(unfinishedFileIn(directory))) throw unfinished(directory);
    if (!isPresent && mustExist) throw vanished(file);
    const isChecked = !isPresent || statSync(file).size <= checkedMax;
    const content = isPresent ? inspect(file, isChecked) : undefined;
    const database = openForWriting(file);
    return { database, isChecked, ...(content ?? readContent(database)) };
  } catch (error) {
    if (error instanceof StoreOpenError) throw error;
    throw new StoreOpenError(file, sentenceFor(error, file, directory), error);
  }
}

function holdsData(file: string): boolean {
  const found = existsSync(file) ? statSync(file) : undefined;
  if (found?.isFile() === false)
    throw new StoreOpenError(
      file,
      `${file} is not a file: move it away, or choose another data directory.`,
    );
  const isPresent = found !== undefined && found.size > 0;
  // SQLite would drop the log of an empty file without a word.
  if (!isPresent && hasUnfinishedLog(file)) throw damaged(file, 'it is empty, but its log is not');
  return isPresent;
}

/** To begin an empty cluster instead would hide it. */
function unfinished(directory: string): StoreOpenError {
  return new StoreOpenError(
    directory,
    `A backup was not wholly put into ${directory}: restore it again, or delete ${directory} to ` +
      'begin with an empty cluster.',
  );
}

function vanished(file: string): StoreOpenError {
  return new StoreOpenError(
    file,
    `${file} is missing or empty, but this data directory had a cluster: put a backup back ` +
      '(`npm run cluster -- restore FILE`). If other machines keep the state as well, remove this one ' +
      'there and invite it anew; if an etcd does, start with --datastore as before.',
  );
}

function hasUnfinishedLog(file: string): boolean {
  const log = `${file}-wal`;
  return existsSync(log) && statSync(log).size > 0;
}

/** Checks the file and reads it; undefined when it is to be made or migrated first. */
function inspect(file: string, isSmall: boolean): StateContent | undefined {
  const database = openDatabase(file, { isReadOnly: true });
  try {
    const schema = schemaOf(database);
    if (schema === undefined) return undefined;
    if (isSmall) {
      const verdict = database.pragma('quick_check(1)');
      if (verdict !== 'ok') throw damaged(file, lastLine(String(verdict)));
    }
    if (schema === schemaVersion) return readContent(database, isSmall);
    checkSchema1(database);
    return undefined;
  } finally {
    database.close();
  }
}

/** SQLite puts the name of the database into a line before the finding. */
function lastLine(verdict: string): string {
  return verdict.split('\n').at(-1) ?? verdict;
}

/** Undefined for a file whose making was cut short. Throws for files that are not ours. */
export function schemaOf(database: Database): number | undefined {
  const { file } = database;
  const found = database.pragma('application_id');
  const version = database.pragma('user_version');
  const tables = Number(database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n);
  if (found === 0 && version === 0 && tables === 0) return undefined;
  if (found !== applicationId)
    throw new StoreOpenError(
      file,
      `${file} is a database of another program: choose another data directory.`,
    );
  if (!schemas.includes(version))
    throw new StoreOpenError(
      file,
      `${file} has schema version ${String(version)} and this Flotilla knows ${schemaVersion}: ` +
        'start the version that wrote it, or choose another data directory.',
    );
  return Number(version);
}

/**
 * Throws StoreOpenError when it does not fit together; `withValues`: when anything in it is not what
 * was written.
 */
export function readContent(database: Database, withValues = false): StateContent {
  const { file } = database;
  const meta = readMeta(database);
  if (meta === undefined) throw damaged(file, 'what it says of itself is not what was written');
  if (meta.damage !== undefined) throw new StoreOpenError(file, meta.damage);
  const rows: VersionHead[] = [];
  let revision = meta.compactedRevision;
  let hash = meta.compactedHash;
  const heads = database.prepare(
    'SELECT id, mod_revision, key, create_revision, version, lease, checksum, hash' +
      `${withValues ? ', value' : ''} FROM kv ORDER BY id`,
  );
  for (const found of heads.iterate()) {
    const head = headOf(found);
    const value = found.value instanceof Uint8Array ? found.value : undefined;
    const isReadable = withValues || head.version === 0;
    if (isReadable && rowChecksum(head, value) !== found.checksum)
      throw damaged(file, `revision ${head.revision} is not what was written`);
    if (head.revision > revision + 1) throw damaged(file, `revision ${revision + 1} is missing`);
    revision = Math.max(revision, head.revision);
    if (head.revision > meta.compactedRevision) hash = chainHash(hash, Number(found.checksum));
    rows.push(head);
  }
  if (revision !== meta.revision) throw damaged(file, `revision ${meta.revision} is missing`);
  if (hash !== meta.hash) throw damaged(file, 'its history is not the one that was written');
  return { meta, rows };
}

const checkedRows = 256;
const checkedBytes = 2 * 1024 * 1024;

/**
 * Checks rows behind `after`, values too: about as many as take some milliseconds. Where it stopped;
 * undefined at the end. Throws StoreOpenError at the first that is not what was written.
 */
export function checkRows(database: Database, after: number): number | undefined {
  const rows = database.prepare(
    'SELECT id, mod_revision, key, create_revision, version, lease, checksum, value FROM kv ' +
      `WHERE id > ? ORDER BY id LIMIT ${checkedRows}`,
  );
  let last: number | undefined;
  let sizeBytes = 0;
  for (const found of rows.iterate(after)) {
    const head = headOf(found);
    const value = found.value instanceof Uint8Array ? found.value : undefined;
    if (rowChecksum(head, value) !== found.checksum)
      throw damaged(database.file, `revision ${head.revision} is not what was written`);
    last = head.row;
    sizeBytes += value?.length ?? 0;
    if (sizeBytes > checkedBytes) break;
  }
  return last;
}

function headOf(row: Readonly<Record<string, unknown>>): VersionHead {
  const key = row.key instanceof Buffer ? row.key.toString('latin1') : String(row.key);
  return {
    key,
    revision: Number(row.mod_revision),
    row: Number(row.id),
    createRevision: Number(row.create_revision),
    version: Number(row.version),
    lease: Number(row.lease),
  };
}

function checkSchema1(database: Database): void {
  const mark = database.prepare('SELECT revision FROM compaction').get()?.revision;
  if (typeof mark !== 'number') throw damaged(database.file, 'the compaction mark is missing');
  let revision = mark;
  const rows = database.prepare('SELECT mod_revision FROM kv WHERE mod_revision > ? ORDER BY 1');
  for (const row of rows.iterate(mark)) {
    revision++;
    if (row.mod_revision !== revision)
      throw damaged(database.file, `revision ${revision} is missing`);
  }
}

/** Opens without looking at what it holds. Brings the schema to the present one. */
export function openForWriting(file: string): Database {
  const isNew = !existsSync(file);
  const database = openDatabase(file);
  try {
    const mode = database.pragma('journal_mode = WAL');
    if (mode !== 'wal')
      throw new StoreOpenError(
        file,
        `${file} can't be written safely here (SQLite offers journal mode ${String(mode)}): ` +
          'choose a data directory on a local disk.',
      );
    // A commit survives the process; the machine only from the next checkpoint on, which we make.
    // Until then the log has it.
    database.pragma('synchronous = NORMAL');
    database.pragma('wal_autocheckpoint = 0');
    database.pragma('journal_size_limit = 16777216');
    database.pragma('cache_size = -4000');
    database.pragma('trusted_schema = OFF');
    const schema = schemaOf(database);
    if (schema === undefined) createTables(database);
    if (schema === 1) migrateFromSchema1(database);
    checkpoint(database);
    if (isNew) syncDirectory(join(file, '..'));
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** What a crash left in SQLite's log, and what was just made, is durable from here on. */
function checkpoint(database: Database): void {
  try {
    database.pragma('wal_checkpoint(TRUNCATE)');
  } catch (error) {
    // The log was synced before the first of it was copied to a database that can't grow: it stays.
    if (sqliteFailure(error) !== 'full') throw error;
  }
}

/** Whether this is how opening fails for want of space. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof StoreOpenError && failureOf(error.cause, error.file) === 'full';
}

function failureOf(error: unknown, file: string): SqliteFailure | undefined {
  const failure = sqliteFailure(error) ?? systemFailure(error);
  // That of a file beside the database that could not be made is not told apart from other failures.
  return failure === 'io' && freeBytes(join(file, '..')) < besideBytes ? 'full' : failure;
}

/** What SQLite needs for its files beside the database, and some. */
const besideBytes = 256 * 1024;

export function damaged(file: string, what: string, cause?: unknown): StoreOpenError {
  return new StoreOpenError(file, damagedSentence(file, what), cause);
}

function damagedSentence(file: string, what: string): string {
  return (
    `The database ${file} is damaged (${what}) and was left as it is. If other machines keep the ` +
    'state as well, remove this one there (`npm run cluster -- remove NAME`) and invite it anew. If ' +
    'it alone does: move its folder away and put a backup back (`npm run cluster -- restore FILE`).'
  );
}
function sentenceFor(error: unknown, file: string, directory: string): string {
  const why = error instanceof Error ? error.message : String(error);
  switch (failureOf(error, file)) {
    case 'corrupt':
      return damagedSentence(file, why);
    case 'full':
      return `The disk that holds ${file} is full: free some space, then start again.`;
    case 'busy':
      return `The database ${file} is open in another process: end that one first.`;
    case 'cannot-open':
    case 'read-only':
      return (
        `The database ${file} can't be opened (${why}): give this user read and write access to ` +
        `${directory}, or choose another data directory.`
      );
    default:
      return `The database ${file} can't be read (${why}): check the disk, then start again.`;
  }
}

function systemFailure(error: unknown): SqliteFailure | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'full';
  if (code === 'EROFS') return 'read-only';
  const isAccess = code === 'EACCES' || code === 'EPERM' || code === 'ENOTDIR' || code === 'EEXIST';
  return isAccess ? 'cannot-open' : undefined;
}
