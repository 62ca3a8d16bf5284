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
import type { Random } from '#kube/base/random.ts';
import type { Failpoint } from '#platform/failpoints.ts';
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

/** A clock that says less was never set: 2020. */
const setClockMs = 1_577_836_800_000;
/** More writes than anybody saw after the backup was taken, should the clock be wrong. */
const revisionStep = 1_000_000_000;
/** So many microseconds are in the clock's millisecond. */
const withinMs = 1_000;
/** Among so many a revision is chosen where no clock says which came later. */
const withoutClock = 1_000_000_000_000;

/**
 * Where the revisions of another beginning go on: at the microseconds since 1970, faster than which
 * nothing writes. So what is put back or recovered later is above what was before, from whichever copy
 * and on whichever member. With a clock that is wrong, chance keeps two of them apart.
 */
export function revisionAnew(revision: number, { nowMs, random }: Moment): number {
  const byClock = nowMs * 1_000;
  const isPlausible = nowMs > setClockMs && byClock > revision;
  const within = isPlausible ? withinMs : withoutClock;
  return (isPlausible ? byClock : revision + revisionStep) + Math.floor(random.next() * within);
}

const ancestorsMax = 16;

/** When something begins anew. */
export interface Moment {
  readonly nowMs: number;
  readonly random: Random;
}

export interface RestoreOptions extends Moment {
  readonly failpoint?: Failpoint | undefined;
}

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

/** Of the whole backup. */
export function backupBytes({ sizeBytes }: Pick<SnapshotSource, 'sizeBytes'>): number {
  return sizeBytes + trailerBytes;
}

/**
 * Puts a backup into `directory`, which must be empty or absent, as the state of a cluster that is
 * yet to be founded. Nobody who saw later revisions goes back in time (revisionAnew). Until all is
 * there and durable, the directory holds no state. Throws StoreOpenError, and the errors of a full or
 * broken disk.
 */
export async function restoreBackup(
  file: string,
  directory: string,
  options: RestoreOptions,
): Promise<void> {
  const { failpoint } = options;
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
    await writeChunks(unfinished, readChunks(file), () => failpoint?.('restore:part'));
    truncateSync(unfinished, statSync(unfinished).size - trailerBytes);
    failpoint?.('restore:copied');
    verify(unfinished, file);
    restart(unfinished, options);
    failpoint?.('restore:begun-anew');
    syncFile(unfinished);
    renameSync(unfinished, stateFileIn(directory));
    failpoint?.('restore:in-place');
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

function restart(unfinished: string, moment: Moment): void {
  const database = openForWriting(unfinished);
  try {
    const mark = { ...metaOf(database).applied, membership: { members: [] } };
    beginAnew(database, { ...moment, clusterId: '', mark });
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
export interface Beginning extends Moment {
  readonly clusterId: string;
  /** Takes the place of the applied mark, at the same index. */
  readonly mark: AppliedMark;
}

/** Durable when the database is closed or synced. */
export function beginAnew(database: Database, beginning: Beginning): void {
  const { clusterId, mark } = beginning;
  const meta = metaOf(database);
  const revision = revisionAnew(meta.revision, beginning);
  const { installedIndex: _none, ...kept } = meta;
  const { hash } = meta;
  const before = [...(meta.ancestors ?? []), meta.clusterId].filter((id) => id !== '');
  const ancestors = before.slice(-ancestorsMax);
  database.transaction(() =>
    writeMeta(database, {
      ...kept,
      clusterId,
      ancestors,
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
