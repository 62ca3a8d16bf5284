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
import type { Row } from './commands.ts';
import { chainHash, emptyMeta, rowChecksum, type StateMeta } from './rows.ts';
import { readChunks, verifyCopy, writeChunks } from './state-copy.ts';
import { damaged, openForWriting, stateFileIn, StoreOpenError } from './state-file.ts';
import { insertRow, readMeta, writeMeta } from './state-schema.ts';

const trailerMark = Buffer.from('flotilla-backup1');
const trailerBytes = trailerMark.length + 32;

/** More writes than anybody saw after the backup was taken. */
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

/** Writes a backup to `file`, which is replaced only by a whole one. */
export async function writeBackup(file: string, snapshot: SnapshotSource): Promise<void> {
  const unfinished = `${file}.unfinished`;
  try {
    await writeChunks(unfinished, backupChunks(snapshot));
  } finally {
    snapshot.close();
  }
  syncFile(unfinished);
  renameSync(unfinished, file);
  syncDirectory(path.dirname(file));
}

/**
 * Puts a backup into `directory`, which must be empty or absent, as the state of a cluster that is
 * yet to be founded. Its revisions go on far above the backup's, and all before is compacted, so
 * that nobody who saw later ones goes back in time. Throws StoreOpenError.
 */
export async function restoreBackup(file: string, directory: string): Promise<void> {
  const unfinished = await intoDirectory(directory, async (target) => {
    await checkTrailer(file);
    await writeChunks(target, readChunks(file));
    truncateSync(target, statSync(target).size - trailerBytes);
    verifyCopy(target);
  });
  const database = openForWriting(unfinished);
  try {
    const { applied } = metaOf(database);
    const mark = { ...applied, membership: { members: [] } };
    beginAnew(database, { clusterId: '', mark, bumpRevisionBy: revisionStep });
  } finally {
    database.close();
  }
  finish(unfinished, directory);
}

export interface RowsToRestore {
  /** The newest rows of live keys, in any order. */
  readonly rows: readonly Row[];
  readonly revision: number;
  readonly leases: readonly { readonly id: number; readonly ttlSeconds: number }[];
}

/** As restoreBackup, from rows of another store: history begins at their revision. */
export async function restoreRows(content: RowsToRestore, directory: string): Promise<void> {
  const unfinished = await intoDirectory(directory, async () => {});
  const database = openForWriting(unfinished);
  try {
    database.transaction(() => insertAll(database, content));
  } finally {
    database.close();
  }
  finish(unfinished, directory);
}

function insertAll(database: Database, { rows, revision, leases }: RowsToRestore): void {
  const insert = database.prepare(insertRow);
  let hash = 0;
  const inOrder = rows.toSorted(
    (a, b) => a.modRevision - b.modRevision || (a.key < b.key ? -1 : 1),
  );
  for (const [i, row] of inOrder.entries()) {
    const { key, createRevision, modRevision, version, lease, value } = row;
    const head = { key, revision: modRevision, row: i + 1, createRevision, version, lease };
    const checksum = rowChecksum(head, value);
    hash = chainHash(hash, checksum);
    const bytes = Buffer.from(key, 'latin1');
    insert.run(i + 1, modRevision, bytes, createRevision, version, lease, checksum, hash, value);
  }
  writeMeta(database, {
    ...emptyMeta,
    applied: { index: 1, term: 1, membership: { members: [] } },
    revision,
    compactedRevision: revision,
    hash,
    compactedHash: hash,
    leases,
  });
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
  const { hash } = meta;
  database.transaction(() =>
    writeMeta(database, {
      ...meta,
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

/** Makes the directory and, by `fill`, a file in it that nobody takes for a state yet. */
async function intoDirectory(
  directory: string,
  fill: (file: string) => Promise<void>,
): Promise<string> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (readdirSync(directory).length > 0)
    throw new StoreOpenError(
      directory,
      `${directory} is not empty: a backup is only put into an empty directory.`,
    );
  const unfinished = path.join(directory, 'unfinished.db');
  try {
    await fill(unfinished);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
  return unfinished;
}

function finish(unfinished: string, directory: string): void {
  syncFile(unfinished);
  renameSync(unfinished, stateFileIn(directory));
  syncDirectory(directory);
}

async function checkTrailer(file: string): Promise<void> {
  const found = existsSync(file) ? statSync(file).size : 0;
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
