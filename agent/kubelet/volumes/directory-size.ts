// How much of a disk a directory holds, in bytes and in files: only walked when somebody needs to know.
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const blockBytes = 512;

export interface DiskUse {
  readonly bytes: number;
  /** Directories, too: each takes an inode. */
  readonly files: number;
}

/**
 * Only what lies on the file system of the directory's parent: nothing of a tmpfs that is mounted on
 * it or below. A file of several names counts once. Nothing for what does not exist.
 */
export async function directoryUse(directory: string): Promise<DiskUse> {
  const parent = await statOf(dirname(directory));
  const use = { bytes: 0, files: 0 };
  if (parent !== undefined) await count(directory, parent.dev, new Set(), use);
  return use;
}

async function count(
  path: string,
  device: number,
  linked: Set<number>,
  use: { bytes: number; files: number },
): Promise<void> {
  const status = await statOf(path);
  if (status === undefined || status.dev !== device || linked.has(status.ino)) return;
  use.bytes += status.blocks * blockBytes;
  use.files++;
  if (!status.isDirectory()) {
    if (status.nlink > 1) linked.add(status.ino);
    return;
  }
  // One after the other: a directory of a hundred thousand files must not be opened all at once.
  for (const name of await readdir(path).catch(() => []))
    await count(join(path, name), device, linked, use);
}

/** Files come and go while we look, and without root some can't be looked into: those count as nothing. */
function statOf(path: string) {
  return lstat(path).catch(() => undefined);
}
