// hostPath volumes: whether the path is what its type asks for, and creating it where the type says
// so. Source: kubernetes pkg/volume/hostpath/host_path.go.
import { mkdir, stat, writeFile } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { HostPathVolumeSource } from '#kube/api/core.ts';
import { VolumeError } from './payload.ts';

const checks: Readonly<Record<string, readonly [(stats: Stats) => boolean, string]>> = {
  Directory: [(stats) => stats.isDirectory(), 'is not a directory'],
  DirectoryOrCreate: [(stats) => stats.isDirectory(), 'is not a directory'],
  File: [(stats) => stats.isFile(), 'is not a file'],
  FileOrCreate: [(stats) => stats.isFile(), 'is not a file'],
  Socket: [(stats) => stats.isSocket(), 'is not a socket file'],
  CharDevice: [(stats) => stats.isCharacterDevice(), 'is not a character device'],
  BlockDevice: [(stats) => stats.isBlockDevice(), 'is not a block device'],
};

/** Throws VolumeError. */
export async function prepareHostPath({ path, type = '' }: HostPathVolumeSource): Promise<void> {
  const stats = await stat(path).catch((error: { code?: string; message: string }) => {
    if (error.code === 'ENOENT') return undefined;
    throw new VolumeError(`hostPath ${path}: ${error.message}`);
  });
  if (stats === undefined) return create(path, type);
  const check = checks[type];
  if (check !== undefined && !check[0](stats))
    throw new VolumeError(`hostPath type check failed: ${path} ${check[1]}`);
}

async function create(path: string, type: string): Promise<void> {
  // No type: the engine makes a directory, as it does for any bind mount.
  if (type === '' || type === 'DirectoryOrCreate') await mkdir(path, { recursive: true });
  else if (type === 'FileOrCreate') await writeFile(path, '', { flag: 'a', mode: 0o644 });
  else
    throw new VolumeError(
      `hostPath type check failed: ${path} ${checks[type]?.[1] ?? 'is missing'}`,
    );
}
