// The state as one file: taken while the store runs, put into an empty directory, or made the
// beginning of another cluster. A backup is a copy of state.db with a mark and its SHA-256 behind it.
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import path from 'node:path';
import { syncDirectory, type Database } from '#platform/sqlite.ts';
import type { AppliedMark, SnapshotSource } from '../replica/types.ts';
import type { StateMeta } from './rows.ts';
import { readChunks, verifyCopy, writeChunks } from './state-copy.ts';
import {
  damaged,
  openForWriting,
  stateFileIn,
  StoreOpenError,
  unfinishedFileIn,
} from './state-file.ts';
import { readMeta, writeMeta } from './state-schema.ts';

const trailerMark = Buffer.from('flotilla-backup1');
const trailerBytes = trailerMark.length + 32;

/** More writes than anybody saw after the backup was taken, should the clock be wrong. */
const revisionStep = 1_000_000_000;

/**
 * The whole backup: a snapshot of the state (KvStateMachine.snapshot) with its trailer. The caller
 * closes the snapshot.
 */
export async function* backupChunks(snapshot: SnapshotSource): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of snapshot.chunks()) {
    hash.update(chunk);
    yield chunk;
  }
  yield Buffer.concat([trailerMark, hash.digest()]);
}

/**
 * Puts a backup into `directory`, which must be empty or absent, as the state of a cluster that is
 * yet to be founded. Nobody who saw later revisions goes back in time: all before is compacted, and
 * revisions go on from the number of milliseconds since 1970, so also when the same backup is put
 * back a second time. Until all is there and durable, the directory holds no state. Throws
 * StoreOpenError, and the errors of a full or broken disk.
 */
export async function restoreBackup(file: string, directory: string, nowMs: number): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  removeUnfinished(directory);
  if (readdirSync(directory).length > 0)
    throw new StoreOpenError(
      directory,
      `${directory} holds a cluster already: a backup is only put into a data directory without one.`,
    );
  const unfinished = unfinishedFileIn(directory);
  try {
    await checkBackup(file);
    await writeChunks(unfinished, readChunks(file));
    truncateSync(unfinished, statSync(unfinished).size - trailerBytes);
    verify(unfinished, file);
    restart(unfinished, nowMs);
    syncFile(unfinished);
    renameSync(unfinished, stateFileIn(directory));
  } catch (error) {
    removeUnfinished(directory);
    throw error;
  }
  syncDirectory(directory);
}

/** What is wrong with the copy is wrong with the backup. */
function verify(copy: string, file: string): void {
  try {
    verifyCopy(copy);
  } catch (error) {
    if (!(error instanceof StoreOpenError)) throw error;
    throw new StoreOpenError(file, error.message.replaceAll(copy, file), error);
  }
}

function restart(unfinished: string, nowMs: number): void {
  const database = openForWriting(unfinished);
  try {
    const { applied, revision } = metaOf(database);
    const mark = { ...applied, membership: { members: [] } };
    const bumpRevisionBy = Math.max(revisionStep, nowMs - revision);
    beginAnew(database, { clusterId: '', mark, bumpRevisionBy });
  } finally {
    database.close();
  }
}

function removeUnfinished(directory: string): void {
  const name = path.basename(unfinishedFileIn(directory));
  for (const found of readdirSync(directory))
    if (found.startsWith(name)) rmSync(path.join(directory, found));
}

/** What makes a state the first of another cluster. */
export interface Beginning {
  readonly clusterId: string;
  /** Takes the place of the applied mark, at the same index. */
  readonly mark: AppliedMark;
  readonly bumpRevisionBy: number;
}

/** Durable when the database is closed or synced. */
export function beginAnew(database: Database, beginning: Beginning): void {
  const { clusterId, mark, bumpRevisionBy } = beginning;
  const meta = metaOf(database);
  const revision = meta.revision + bumpRevisionBy;
  const { installedIndex: _before, ...kept } = meta;
  const { hash } = meta;
  database.transaction(() =>
    writeMeta(database, {
      ...kept,
      clusterId,
      applied: mark,
      revision,
      compactedRevision: revision,
      compactedHash: hash,
    }),
  );
}

function metaOf(database: Database): StateMeta {
  const meta = readMeta(database);
  if (meta === undefined)
    throw damaged(database.file, 'what it says of itself is not what was written');
  return meta;
}

/** Throws StoreOpenError unless the file is a backup to its last byte. */
export async function checkBackup(file: string): Promise<void> {
  const stats = existsSync(file) ? statSync(file) : undefined;
  if (stats?.isFile() !== true)
    throw new StoreOpenError(file, `There is no file ${file}: give the path of a backup.`);
  const found = stats.size;
  const hash = createHash('sha256');
  let rest = Buffer.alloc(0);
  if (found >= trailerBytes)
    for await (const chunk of readChunks(file)) {
      const held = Buffer.concat([rest, chunk]);
      const end = Math.max(0, held.length - trailerBytes);
      hash.update(held.subarray(0, end));
      rest = held.subarray(end);
    }
  const mark = rest.subarray(0, trailerMark.length);
  if (!mark.equals(trailerMark))
    throw new StoreOpenError(file, `${file} is no backup, or its end is missing: use another one.`);
  if (!rest.subarray(trailerMark.length).equals(hash.digest()))
    throw new StoreOpenError(
      file,
      `${file} is damaged: its checksum is wrong. Use another backup.`,
    );
}

function syncFile(file: string): void {
  const descriptor = openSync(file, 'r+');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
