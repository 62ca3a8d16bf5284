// Trees of files that containers wrote to: walked by open directories, never by paths, so that a link put in
// the way while we are at it leads nowhere. Linux only. Source: openat(2), kubernetes
// pkg/volume/util/subpath/subpath_linux.go (doSafeOpen), pkg/volume/volume_linux.go.
import { constants } from 'node:fs';
import {
  chmod,
  chown,
  lchown,
  mkdir,
  open,
  readdir,
  rmdir,
  unlink,
  type FileHandle,
} from 'node:fs/promises';

/** Names a file without opening it: of any sort, also a link. */
const pathOnly = 0o10_000_000;
const isMissing = (error: unknown) => (error as { code?: string }).code === 'ENOENT';

export class TreeError extends Error {
  override readonly name = 'TreeError';
}

/** What the open file is, under a name that no rename changes. */
function magicPath({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

function openAt(parent: FileHandle, name: string): Promise<FileHandle> {
  return open(`${magicPath(parent)}/${name}`, pathOnly | constants.O_NOFOLLOW);
}

/** Undefined: it went while we were at it. */
async function openIfThere(parent: FileHandle, name: string): Promise<FileHandle | undefined> {
  try {
    return await openAt(parent, name);
  } catch (error) {
    if (!isMissing(error)) throw error;
    return undefined;
  }
}

/** Throws what the system says when it is not there. */
export function openPath(path: string | Buffer): Promise<FileHandle> {
  return open(path, pathOnly | constants.O_NOFOLLOW);
}

/**
 * The file at `parts` below `root`, none of which may be a link; directories that are missing are made
 * with the root's mode. The caller closes it.
 */
export async function openBeneath(root: string, parts: readonly string[]): Promise<FileHandle> {
  let current = await openPath(root);
  const { mode } = await current.stat();
  try {
    for (const part of parts) {
      const next = await openAt(current, part).catch(async (error: unknown) => {
        if (!isMissing(error)) throw error;
        await mkdir(`${magicPath(current)}/${part}`, { mode: 0o750 });
        const made = await openAt(current, part);
        if ((await made.stat()).isDirectory()) await chmod(magicPath(made), mode & 0o7777);
        return made;
      });
      await current.close();
      current = next;
      if ((await current.stat()).isSymbolicLink())
        throw new TreeError(`${part} of ${parts.join('/')} is a link by now`);
    }
    return current;
  } catch (error) {
    await current.close();
    throw error;
  }
}

/** Removes what is in the directory, not the directory. Throws at the border of another file system. */
export async function removeContents(directory: FileHandle): Promise<void> {
  const { dev } = await directory.stat();
  for (const name of await readdir(magicPath(directory))) {
    const child = await openIfThere(directory, name);
    if (child === undefined) continue;
    try {
      const status = await child.stat();
      if (status.dev !== dev)
        throw new TreeError(`${name} is on another file system: unmount it first`);
      if (status.isDirectory()) {
        await removeContents(child);
        await rmdir(`${magicPath(directory)}/${name}`);
      } else await unlink(`${magicPath(directory)}/${name}`);
    } finally {
      await child.close();
    }
  }
}

const readWrite = 0o660;
const enter = 0o110;
const setGroupId = 0o2000;

export interface GroupOptions {
  readonly groupId: number;
  /** Nothing is done when the root has it all already. */
  readonly onlyOnMismatch: boolean;
}

/** Gives the tree to the group, as fsGroup asks: readable and writable, new files too. */
export async function setTreeGroup(
  path: string,
  { groupId, onlyOnMismatch }: GroupOptions,
): Promise<void> {
  const root = await openPath(path);
  try {
    const status = await root.stat();
    const wanted = status.mode | readWrite | enter | setGroupId;
    if (onlyOnMismatch && status.gid === groupId && wanted === status.mode) return;
    await setGroup(root, status.dev, groupId);
  } finally {
    await root.close();
  }
}

async function setGroup(file: FileHandle, device: number, groupId: number): Promise<void> {
  const { dev, mode } = await file.stat();
  // What is mounted within is not the volume's.
  if (dev !== device) return;
  if (!isDirectory(mode)) return giveFile(file, groupId);
  for (const name of await readdir(magicPath(file))) {
    const child = await openIfThere(file, name);
    if (child === undefined) continue;
    try {
      const status = await child.stat();
      if (status.isSymbolicLink()) {
        if (status.dev === device && status.gid !== groupId)
          await lchown(`${magicPath(file)}/${name}`, status.uid, groupId);
      } else await setGroup(child, device, groupId);
    } finally {
      await child.close();
    }
  }
  await giveFile(file, groupId);
}

async function giveFile(file: FileHandle, groupId: number): Promise<void> {
  const { mode, gid, uid } = await file.stat();
  const wanted = mode | readWrite | (isDirectory(mode) ? enter | setGroupId : 0);
  const path = magicPath(file);
  if (gid !== groupId) await chown(path, uid, groupId);
  // Changing the group takes the bits away that run a file as its owner.
  if (wanted !== mode || gid !== groupId) await chmod(path, wanted & 0o7777);
}

function isDirectory(mode: number): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFDIR;
}
