// The part of a volume that a container sees. Between the look at a path and the engine's mount a container
// of the pod could put a link in its place: so the part is opened once, without following links, and what
// is open is shown at a place of the agent's own, which the engine mounts.
// Without root nothing can be shown elsewhere: there the look has to do.
// Source: kubernetes pkg/volume/util/subpath/subpath_linux.go.
import { mkdir, open, realpath, rmdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { ContainerConfigError } from '../container/environment.ts';
import { isWithin } from './disks/mount-table.ts';
import type { Mounter } from './disks/mounter.ts';
import { openBeneath } from './tree.ts';

export interface SubPathPlace {
  /** Within the pod's own directory. */
  readonly path: string;
  readonly mounter: Mounter;
}

/** What to mount. `place`: left out without root. Throws ContainerConfigError. */
export async function resolveSubPath(
  base: string,
  subPath: string,
  place: SubPathPlace | undefined,
): Promise<string> {
  if (subPath.startsWith('/') || subPath.split('/').includes('..'))
    throw new ContainerConfigError(
      `subPath ${JSON.stringify(subPath)} must be relative and not contain '..'`,
    );
  const root = await realpath(base);
  const real = await resolved(root, subPath);
  const parts = relative(root, real)
    .split('/')
    .filter((part) => part !== '');
  const file = await openBeneath(root, parts);
  try {
    return place === undefined ? real : await show(file, place);
  } finally {
    await file.close();
  }
}

/** Links within the volume are followed (a ConfigMap's files are some); those that lead out are not. */
async function resolved(root: string, subPath: string): Promise<string> {
  const path = join(root, subPath);
  let existing = path;
  while (!(await exists(existing))) existing = dirname(existing);
  const real = await realpath(existing);
  if (!isWithin(root, real))
    throw new ContainerConfigError(`subPath ${JSON.stringify(subPath)} leads out of its volume`);
  return join(real, relative(existing, path));
}

async function show(file: FileHandle, { path, mounter }: SubPathPlace): Promise<string> {
  const wanted = await file.stat();
  const there = await stat(path).catch(() => undefined);
  const isMounted = (await mounter.mounts()).some(({ mountPoint }) => mountPoint === path);
  if (isMounted) {
    if (there?.dev === wanted.dev && there.ino === wanted.ino) return path;
    await mounter.unmount(path);
  }
  // A volume's file may have become a folder since, and the other way round.
  if (there !== undefined) await rmdir(path).catch(() => unlink(path));
  await mkdir(dirname(path), { recursive: true });
  if (wanted.isDirectory()) await mkdir(path);
  else await (await open(path, 'wx')).close();
  await mounter.bindFile(file.fd, path);
  return path;
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
