// One pass of a copy: lists what the other machine has, fetches what differs, takes away what is not there any more, and looks
// at the result. The same thing again does the rest, after whatever crash. A final pass that ends without an error leaves
// exactly what the other machine has, on the disk.
import { createReadStream } from 'node:fs';
import { open, rm, rmdir, unlink } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { runCommand } from '../../../run-command.ts';
import { openPath, removeContents } from '../tree.ts';
import { unpackTree } from './archive.ts';
import { differenceOf, isSame, type Entry } from './entry.ts';
import { compareLists, entriesOf, EntryCursor, EntryWriter, readEntries } from './entry-files.ts';
import { digestAt, walkVolume } from './walk.ts';

/** The machine that has the volume. */
export interface CopySource {
  list(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** `exclude`: what is not needed, a name a line. */
  content(
    exclude: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>;
}

export interface CopyJob {
  readonly source: CopySource;
  /** There, and nobody's but ours. */
  readonly directory: string;
  /** Without an ending: where what is known of it is kept. */
  readonly notes: string;
  readonly isFinal: boolean;
  readonly nowMs: () => number;
  readonly freeBytes: () => Promise<number>;
  readonly onProgress: (copiedBytes: number, totalBytes: number) => void;
  readonly signal: AbortSignal;
}

/** For a person: trying again does not help. */
export class CopyObstacle extends Error {
  override readonly name = 'CopyObstacle';
}

/** What is left free: the machine needs some for itself. */
const marginBytes = 256 * 1024 * 1024;
const syncMs = 600_000;

export async function copyVolume(job: CopyJob): Promise<void> {
  const listFile = `${job.notes}.list`;
  await saveList(job, listFile);
  const { keepFile, fetchBytes, growBytes } = await prepare(job, listFile);
  const free = await job.freeBytes();
  if (growBytes + marginBytes > free)
    throw new CopyObstacle(`${inWords(growBytes)} are needed, and ${inWords(free)} are free`);
  job.onProgress(0, fetchBytes);
  const archive = await job.source.content(bytesOf(keepFile), job.signal);
  await unpackTree(counted(archive, fetchBytes, job), job.directory, job.signal);
  await verify(job, listFile, keepFile);
  await runCommand(['sync', '--file-system', job.directory], syncMs);
  job.onProgress(fetchBytes, fetchBytes);
}

/** What was noted for the next pass is not needed after the last. */
export async function forgetCopy(notes: string): Promise<void> {
  for (const ending of ['list', 'list.new', 'known', 'known.new', 'keep'])
    await rm(`${notes}.${ending}`, { force: true });
}

/** Opened when it is read. */
async function* bytesOf(file: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(file);
}

async function saveList({ source, signal }: CopyJob, file: string): Promise<void> {
  const writer = await EntryWriter.create(file);
  try {
    const lines = await source.list(signal);
    for await (const entry of entriesOf(Readable.from(lines))) await writer.add(entry);
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  await writer.finish();
}

interface Prepared {
  readonly keepFile: string;
  readonly fetchBytes: number;
  /** What the disk has to have room for. */
  readonly growBytes: number;
}

/** Takes away what is not to be there, and notes what needs no fetching. */
async function prepare(job: CopyJob, listFile: string): Promise<Prepared> {
  const keepFile = `${job.notes}.keep`;
  const keep = await open(keepFile, 'w', 0o600);
  let [fetchBytes, growBytes, lines] = [0, 0, ''];
  try {
    const lists = {
      original: readEntries(listFile),
      known: readEntries(`${job.notes}.known`),
      copy: walk(job, { isDigested: false }),
    };
    for await (const { compared, changes } of compareLists(lists))
      for (const { type, entry } of changes) {
        if (type === 'remove') await remove(job.directory, entry);
        const isKept = type === 'keep' || (type === 'fetch' && (await isThere(job, compared)));
        if (isKept && isNameable(entry.path)) lines += `./${entry.path}\n`;
        else if (type !== 'remove') {
          fetchBytes += entry.size;
          growBytes += Math.max(entry.allocated - (compared.copy?.allocated ?? 0), 0);
        }
        if (lines.length < 65_536) continue;
        await keep.write(lines, undefined, 'latin1');
        lines = '';
      }
    await keep.write(lines, undefined, 'latin1');
  } finally {
    await keep.close();
  }
  return { keepFile, fetchBytes, growBytes };
}

/** Of a pass that was cut off: nothing is known of the file, but here it is. */
async function isThere(
  job: CopyJob,
  {
    original,
    known,
    copy,
  }: { readonly [name in 'original' | 'known' | 'copy']?: Entry | undefined },
): Promise<boolean> {
  if (original?.kind !== 'file' || known !== undefined || copy === undefined) return false;
  if (original.stamp === '' || original.digest === undefined) return false;
  if (!isSame(original, { ...copy, digest: original.digest })) return false;
  return (await digestAt(job.directory, copy.path, job.signal)) === original.digest;
}

/** tar reads names a line each, without white space at their ends. */
function isNameable(path: string): boolean {
  return path !== '' && !/[\r\n]/.test(path) && !/\s$/.test(path);
}

async function remove(directory: string, { path, kind }: Entry): Promise<void> {
  const bytes = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, 'latin1')]);
  if (kind !== 'directory') return unlink(bytes);
  const opened = await openPath(bytes);
  try {
    await removeContents(opened);
  } finally {
    await opened.close();
  }
  await rmdir(bytes);
}

/** Every file, as it lies here now, against the list; what is the same is noted for the next pass. */
async function verify(job: CopyJob, listFile: string, keepFile: string): Promise<void> {
  const kept = new EntryCursor(keptEntries(keepFile));
  const lists = {
    original: readEntries(listFile),
    known: nothing(),
    copy: walk(job, {
      isDigested: true,
      // Looked at when it was fetched.
      knownDigest: async (path) => ((await kept.at(path)) === undefined ? undefined : ''),
    }),
  };
  const writer = await EntryWriter.create(`${job.notes}.known`);
  try {
    for await (const { compared } of compareLists(lists)) {
      const { original, copy } = compared;
      const why = problemOf(original, copy);
      if (why !== undefined && job.isFinal) throw new Error(why);
      if (original !== undefined && why === undefined) await writer.add(original);
    }
    await writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  } finally {
    await kept.close();
  }
}

function problemOf(original: Entry | undefined, copy: Entry | undefined): string | undefined {
  const { path } = original ?? copy ?? { path: '' };
  const name = JSON.stringify(Buffer.from(path, 'latin1').toString());
  if (original === undefined) return `the copy has ${name}, which is not there`;
  if (copy === undefined) return `the copy lacks ${name}`;
  const isKept = copy.digest === '' && original.digest !== undefined;
  const seen = isKept ? { ...copy, digest: original.digest } : copy;
  const difference = differenceOf(original, seen);
  return difference === undefined ? undefined : `the copy of ${name} differs: ${difference}`;
}

/** In the order they were written in, which is that of the list. */
async function* keptEntries(file: string): AsyncGenerator<Entry> {
  const input = createReadStream(file, { encoding: 'latin1' });
  for await (const line of createInterface({ input, crlfDelay: Infinity }))
    yield { path: line.slice(2) } as Entry;
}

async function* nothing(): AsyncGenerator<Entry> {}

interface WalkHow {
  readonly isDigested: boolean;
  readonly knownDigest?: (path: string, stamp: string) => Promise<string | undefined>;
}

function walk({ directory, nowMs, signal }: CopyJob, how: WalkHow): AsyncGenerator<Entry> {
  return walkVolume(directory, { nowMs, signal, knownDigest: () => undefined, ...how });
}

async function* counted(
  archive: AsyncIterable<Uint8Array>,
  totalBytes: number,
  { onProgress }: CopyJob,
): AsyncGenerator<Uint8Array> {
  let copied = 0;
  for await (const chunk of archive) {
    copied += chunk.length;
    onProgress(Math.min(copied, totalBytes), totalBytes);
    yield chunk;
  }
}

function inWords(bytes: number): string {
  const gigabytes = bytes / 1e9;
  return gigabytes >= 1 ? `${gigabytes.toFixed(1)} GB` : `${Math.ceil(bytes / 1e6)} MB`;
}
