// Looks at every file of a volume, in order, while containers may write to it: by open directories and never through a link,
// so that nothing outside of it is read. Sockets are left out: they mean nothing elsewhere.
import { createHash } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { open, readdir, readlink, type FileHandle } from 'node:fs/promises';
import type { Entry, EntryKind } from './entry.ts';

/** Names a file without opening it: of any sort, also a link. */
const pathOnly = 0o10_000_000;
const blockBytes = 512n;
/** The clock of files ticks each few milliseconds, that of some file systems each two seconds. */
const unsureNs = 2_000_000_000n;
const pieceBytes = 1024 * 1024;

export interface WalkOptions {
  readonly nowMs: () => number;
  /** The digest of a file that is as it was; undefined: it is read. */
  readonly knownDigest: (path: string, stamp: string) => Promise<string | undefined> | undefined;
  /** Whether digests are wanted at all. */
  readonly isDigested: boolean;
  readonly signal: AbortSignal;
}

interface Walk extends WalkOptions {
  readonly device: bigint;
  /** By inode: the first name of files that have several. */
  readonly firstNames: Map<bigint, string>;
}

export async function* walkVolume(root: string, options: WalkOptions): AsyncGenerator<Entry> {
  const directory = await open(root, pathOnly | constants.O_NOFOLLOW);
  try {
    const status = await directory.stat({ bigint: true });
    const walk: Walk = { ...options, device: status.dev, firstNames: new Map() };
    yield entryOf('', 'directory', status, walk);
    yield* walkDirectory(walk, directory, '');
  } finally {
    await directory.close();
  }
}

async function* walkDirectory(
  walk: Walk,
  directory: FileHandle,
  path: string,
): AsyncGenerator<Entry> {
  const names = await readdir(magicPath(directory), { encoding: 'buffer' });
  const texts = names.map((name) => name.toString('latin1')).toSorted((a, b) => (a < b ? -1 : 1));
  for (const name of texts) {
    walk.signal.throwIfAborted();
    const child = await openChild(directory, name);
    if (child === undefined) continue;
    try {
      const found = { file: child, path: path === '' ? name : `${path}/${name}` };
      yield* walkChild(walk, found, childPath(directory, name));
    } finally {
      await child.close();
    }
  }
}

interface Found {
  readonly file: FileHandle;
  readonly path: string;
}

/** `link`: the name that it was found by. */
async function* walkChild(
  walk: Walk,
  { file: child, path }: Found,
  link: Buffer,
): AsyncGenerator<Entry> {
  const status = await child.stat({ bigint: true });
  // What is mounted within is not the volume's.
  if (status.dev !== walk.device) return;
  const kind = kindOf(status);
  if (kind === undefined) return;
  const entry = entryOf(path, kind, status, walk);
  if (kind === 'directory') {
    yield entry;
    yield* walkDirectory(walk, child, path);
  } else if (kind === 'link') {
    const target = await readlink(link, { encoding: 'buffer' }).catch(ifGone);
    if (target !== undefined) yield { ...entry, target: target.toString('latin1') };
  } else if (kind === 'file' && walk.isDigested) yield await digested(walk, child, entry);
  else yield entry;
}

/** A file that is written to meanwhile gets no stamp: it is read again the next time. */
async function digested(walk: Walk, file: FileHandle, entry: Entry): Promise<Entry> {
  const known = entry.stamp === '' ? undefined : await walk.knownDigest(entry.path, entry.stamp);
  if (known !== undefined) return { ...entry, digest: known };
  const content = await open(magicPath(file), constants.O_RDONLY);
  try {
    // Pages that a program has mapped and written to: from here on, writing again is seen by the file's times.
    await content.datasync();
    const before = await content.stat({ bigint: true });
    const digest = await digestOf(content, walk.signal);
    const after = await content.stat({ bigint: true });
    const stamp = stampOf(after, walk.nowMs());
    const isQuiet = stamp === stampOf(before, walk.nowMs());
    return { ...entry, size: Number(after.size), digest, stamp: isQuiet ? stamp : '' };
  } finally {
    await content.close();
  }
}

/** Of a file that nobody writes to. */
export async function digestAt(root: string, path: string, signal: AbortSignal): Promise<string> {
  const name = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
  const file = await open(name, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return await digestOf(file, signal);
  } finally {
    await file.close();
  }
}

async function digestOf(file: FileHandle, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(piece, 0, piece.length, null);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(piece.subarray(0, bytesRead));
  }
}

function entryOf(path: string, kind: EntryKind, status: BigIntStats, walk: Walk): Entry {
  const isFile = kind === 'file';
  const entry: Entry = {
    path,
    kind,
    mode: kind === 'link' ? 0 : Number(status.mode & 0o7777n),
    uid: Number(status.uid),
    gid: Number(status.gid),
    modified: Number(status.mtimeNs / 1_000_000_000n),
    size: isFile ? Number(status.size) : 0,
    allocated: Number(status.blocks * blockBytes),
    stamp: stampOf(status, walk.nowMs()),
  };
  if (kind === 'device') return { ...entry, device: Number(status.rdev) };
  if (kind === 'directory' || status.nlink < 2n) return entry;
  const first = walk.firstNames.get(status.ino) ?? path;
  walk.firstNames.set(status.ino, first);
  return { ...entry, first };
}

function stampOf({ ino, size, ctimeNs }: BigIntStats, nowMs: number): string {
  const isOld = BigInt(nowMs) * 1_000_000n - ctimeNs > unsureNs;
  return isOld ? `${ino}:${ctimeNs}:${size}` : '';
}

function kindOf(status: BigIntStats): EntryKind | undefined {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'directory';
  if (status.isSymbolicLink()) return 'link';
  if (status.isFIFO()) return 'fifo';
  return status.isSocket() ? undefined : 'device';
}

/** Undefined: it went while we were at it. */
async function openChild(parent: FileHandle, name: string): Promise<FileHandle | undefined> {
  return open(childPath(parent, name), pathOnly | constants.O_NOFOLLOW).catch(ifGone);
}

function childPath(parent: FileHandle, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${magicPath(parent)}/`), Buffer.from(name, 'latin1')]);
}

/** `EINVAL`: it is no link any more. */
function ifGone(error: unknown): undefined {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code !== 'ENOENT' && code !== 'EINVAL') throw error;
}

function magicPath({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}
