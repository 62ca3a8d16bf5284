// How much of a disk a directory holds: only walked when somebody needs to know.
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const blockBytes = 512;

/** Without what other file systems mounted below it hold. 0 for what does not exist. */
export async function directoryBytes(directory: string): Promise<number> {
  const root = await statOf(directory);
  return root === undefined ? 0 : sizeOf(directory, root.dev);
}

async function sizeOf(path: string, device: number): Promise<number> {
  const status = await statOf(path);
  if (status === undefined || status.dev !== device) return 0;
  let bytes = status.blocks * blockBytes;
  if (!status.isDirectory()) return bytes;
  // One after the other: a directory of a hundred thousand files must not be opened all at once.
  for (const name of await readdir(path).catch(() => []))
    bytes += await sizeOf(join(path, name), device);
  return bytes;
}

/** Files come and go while we look. */
function statOf(path: string) {
  return lstat(path).catch(() => undefined);
}
