// How much of a disk a directory holds: only walked when somebody needs to know.
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const blockBytes = 512;

/**
 * Only what lies on the file system of the directory's parent: nothing of a tmpfs that is mounted on
 * it or below. A file of several names counts once. 0 for what does not exist.
 */
export async function directoryBytes(directory: string): Promise<number> {
  const parent = await statOf(dirname(directory));
  return parent === undefined ? 0 : sizeOf(directory, parent.dev, new Set());
}

async function sizeOf(path: string, device: number, linked: Set<number>): Promise<number> {
  const status = await statOf(path);
  if (status === undefined || status.dev !== device) return 0;
  let bytes = status.blocks * blockBytes;
  if (!status.isDirectory()) {
    if (status.nlink === 1) return bytes;
    if (linked.has(status.ino)) return 0;
    linked.add(status.ino);
    return bytes;
  }
  // One after the other: a directory of a hundred thousand files must not be opened all at once.
  for (const name of await readdir(path).catch(() => []))
    bytes += await sizeOf(join(path, name), device, linked);
  return bytes;
}

/** Files come and go while we look, and without root some can't be looked into: those count as nothing. */
function statOf(path: string) {
  return lstat(path).catch(() => undefined);
}
