// Which disks are connected: mounts, what fstab expects, and file systems' UUIDs as udev links them.
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine } from './disk.ts';
import { parseFstab } from './mount-table.ts';
import type { Mounter } from './mounter.ts';

const uuidFolder = '/dev/disk/by-uuid';

export async function readMachine(nodeName: string, mounter: Mounter): Promise<Machine> {
  const [mounts, fstab, uuids] = await Promise.all([
    mounter.mounts(),
    readFile('/etc/fstab', 'utf8').catch(() => ''),
    readUuids(),
  ]);
  return { nodeName, mounts, expectedMountPoints: parseFstab(fstab), uuids };
}

/** By `major:minor`, and by the device's own path for file systems that hide it (btrfs). */
async function readUuids(): Promise<ReadonlyMap<string, string>> {
  const uuids = new Map<string, string>();
  for (const uuid of await readdir(uuidFolder).catch(() => [])) {
    const link = join(uuidFolder, uuid);
    try {
      const { rdev } = await stat(link);
      uuids.set(deviceNumbers(rdev), uuid);
      uuids.set(await realpath(link), uuid);
    } catch {
      // Unplugged just now.
    }
  }
  return uuids;
}

/** As Linux packs them into one number. */
function deviceNumbers(rdev: number): string {
  const packed = BigInt(rdev);
  const major = ((packed >> 8n) & 0xfffn) | ((packed >> 32n) & 0xfffff000n);
  const minor = (packed & 0xffn) | ((packed >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}
