// The file a store lives in: where it is, its schema, and everything that can be wrong with it at
// start. What is wrong becomes a StoreOpenError: one sentence for a person. A damaged or foreign
// file is only ever read (through a read-only connection), never repaired, deleted or written.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase, sqliteFailure, syncDirectory, type Database } from '#platform/sqlite.ts';
import { RevisionIndex } from './sqlite-index.ts';

/** Says what happened, to which file, and what to do. */
export class StoreOpenError extends Error {
  override readonly name = 'StoreOpenError';
  readonly file: string;

  constructor(file: string, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
    this.file = file;
  }
}

export interface StateFile {
  readonly database: Database;
  readonly index: RevisionIndex;
}

/** "Flot": tells our files from other SQLite databases. */
const applicationId = 0x466c_6f74;
const schemaVersion = 1;
/** After an unclean stop a file up to this size is checked page by page (some 0.1 s). */
const checkedBytesMax = 32 * 1024 * 1024;

const schema = `
  CREATE TABLE kv (
    mod_revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    create_revision INTEGER NOT NULL,
    -- NULL: the key was deleted. Last, so that reading the others skips its overflow pages.
    value BLOB
  ) STRICT;
  CREATE TABLE compaction (revision INTEGER NOT NULL) STRICT;
  INSERT INTO compaction VALUES (0);
`;

/**
 * Opens `directory`/state.db, making both when they don't exist; with `mustExist` an absent or empty
 * file is an error: the cluster's memory is gone, and an empty one in its place would hide it.
 * Throws StoreOpenError.
 */
export function openStateFile(directory: string, mustExist = false): StateFile {
  const file = join(directory, 'state.db');
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const isPresent = holdsData(file);
    if (!isPresent && mustExist) throw vanished(file);
    const index = isPresent ? inspect(file) : new RevisionIndex();
    return { database: openForWriting(file), index };
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

function vanished(file: string): StoreOpenError {
  return new StoreOpenError(
    file,
    `${file} is missing or empty, but this data directory had a cluster: put the file back from a ` +
      'backup, or choose another data directory to begin anew.',
  );
}

function hasUnfinishedLog(file: string): boolean {
  const log = `${file}-wal`;
  return existsSync(log) && statSync(log).size > 0;
}

/** Checks the file and reads the index. The log's presence tells that it was not closed in order. */
function inspect(file: string): RevisionIndex {
  const isSuspect = hasUnfinishedLog(file) && statSync(file).size <= checkedBytesMax;
  const database = openDatabase(file, { isReadOnly: true });
  try {
    if (!isInitialised(database)) return new RevisionIndex();
    if (isSuspect) {
      const verdict = database.pragma('quick_check(1)');
      if (verdict !== 'ok') throw damaged(file, lastLine(String(verdict)));
    }
    return readIndex(database);
  } finally {
    database.close();
  }
}

/** SQLite puts the name of the database into a line before the finding. */
function lastLine(verdict: string): string {
  return verdict.split('\n').at(-1) ?? verdict;
}

/** False for a file whose making was cut short. Throws for files that are not ours. */
function isInitialised(database: Database): boolean {
  const { file } = database;
  const found = database.pragma('application_id');
  const version = database.pragma('user_version');
  const tables = Number(database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n);
  if (found === 0 && version === 0 && tables === 0) return false;
  if (found !== applicationId)
    throw new StoreOpenError(
      file,
      `${file} is a database of another program: choose another data directory.`,
    );
  if (version !== schemaVersion)
    throw new StoreOpenError(
      file,
      `${file} has schema version ${String(version)} and this Flotilla knows ${schemaVersion}: ` +
        'start the version that wrote it, or choose another data directory.',
    );
  return true;
}

function readIndex(database: Database): RevisionIndex {
  const mark = database.prepare('SELECT revision FROM compaction').get()?.revision;
  if (typeof mark !== 'number') throw damaged(database.file, 'the compaction mark is missing');
  const index = new RevisionIndex(mark);
  const rows = database.prepare(
    'SELECT mod_revision, key, create_revision, value IS NULL AS is_delete ' +
      'FROM kv ORDER BY mod_revision',
  );
  for (const row of rows.iterate()) {
    const revision = Number(row.mod_revision);
    const expected = index.currentRevision + 1;
    if (revision > mark && revision !== expected)
      throw damaged(database.file, `revision ${expected} is missing`);
    const key = String(row.key);
    const createRevision = Number(row.create_revision);
    index.add({ key, revision, createRevision, isDelete: row.is_delete === 1 });
  }
  return index;
}

function openForWriting(file: string): Database {
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
    // Every commit is synced before it is answered.
    database.pragma('synchronous = FULL');
    database.pragma('journal_size_limit = 16777216');
    database.pragma('trusted_schema = OFF');
    if (!isInitialised(database)) initialise(database);
    if (isNew) syncDirectory(join(file, '..'));
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function initialise(database: Database): void {
  database.transaction(() => {
    database.exec(schema);
    database.pragma(`application_id = ${applicationId}`);
    database.pragma(`user_version = ${schemaVersion}`);
  });
}

function damaged(file: string, what: string, cause?: unknown): StoreOpenError {
  return new StoreOpenError(file, damagedSentence(file, what), cause);
}

function damagedSentence(file: string, what: string): string {
  return (
    `The database ${file} is damaged (${what}) and was left as it is: put a backup in its place, ` +
    'or move it away to start with an empty cluster.'
  );
}

function sentenceFor(error: unknown, file: string, directory: string): string {
  const why = error instanceof Error ? error.message : String(error);
  const failure = sqliteFailure(error) ?? systemFailure(error);
  switch (failure) {
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

function systemFailure(error: unknown): 'full' | 'cannot-open' | 'read-only' | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'full';
  if (code === 'EROFS') return 'read-only';
  const isAccess = code === 'EACCES' || code === 'EPERM' || code === 'ENOTDIR' || code === 'EEXIST';
  return isAccess ? 'cannot-open' : undefined;
}
