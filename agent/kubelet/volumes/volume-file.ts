// A file in a volume, as a container left it there: read without being led out of the volume, held up by a
// pipe, or filled with more than is to be read.
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { isWithin } from './disks/mount-table.ts';

const fileBytesMax = 1024 * 1024;

/** Undefined: there is none. Throws when it can't be read, or is none of the volume's. */
export async function readVolumeFile(base: string, path: string): Promise<string | undefined> {
  const isMissing = (error: { code?: string }): undefined => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  };
  const root = await realpath(base);
  const real = await realpath(join(root, path)).catch(isMissing);
  if (real === undefined) return undefined;
  if (!isWithin(root, real)) throw new Error(`${path} leads out of its volume`);
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await open(real, flags).catch(isMissing);
  if (file === undefined) return undefined;
  try {
    // Between the look and the opening somebody could have put a link to elsewhere in the way.
    const opened = await realpath(`/proc/self/fd/${file.fd}`);
    if (!isWithin(root, opened)) throw new Error(`${path} leads out of its volume`);
    const status = await file.stat();
    if (!status.isFile()) throw new Error(`${path} is no file`);
    if (status.size > fileBytesMax) throw new Error(`${path} is larger than 1 MiB`);
    const bytes = Buffer.alloc(fileBytesMax);
    const { bytesRead } = await file.read(bytes, 0, fileBytesMax, 0);
    return bytes.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
