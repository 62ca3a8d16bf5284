// Writes a volume's files so that a reader sees all of the old ones or all of the new ones: a new
// directory, then one rename of the link `..data`. Every user-visible name links through it.
// Source: kubernetes pkg/volume/util/atomic_writer.go.
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Payload } from './payload.ts';

const dataLink = '..data';
const freshPrefix = '..files_';

/**
 * Returns whether the files changed. `groupId`: owns the files when set (fsGroup). A failed write changes
 * nothing; what one that was killed left is made whole or goes.
 */
export async function writePayload(
  directory: string,
  payload: Payload,
  groupId?: number,
): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  const current = await linkTarget(join(directory, dataLink));
  // First of all: what is half done lies on a disk that may be full for it.
  await removeOthers(directory, current);
  const isNew = current === undefined || !(await isSame(join(directory, current), payload));
  if (isNew) await swapLink(directory, await writeFresh(directory, payload, groupId));
  await linkNames(directory, payload);
  if (isNew && current !== undefined)
    await rm(join(directory, current), { recursive: true, force: true });
  return isNew;
}

/** The name of a new set of files in it. */
async function writeFresh(directory: string, payload: Payload, groupId?: number): Promise<string> {
  // Not join(): that would take the leading dots for the parent directory.
  const fresh = await mkdtemp(`${directory}/${freshPrefix}`);
  try {
    await chmod(fresh, 0o755);
    for (const [path, { bytes, mode, userId }] of payload) {
      const target = join(fresh, path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, bytes);
      // As root: the container's group has to be able to read what only the owner could.
      if (groupId !== undefined || userId !== undefined)
        await chown(target, userId ?? -1, groupId ?? -1);
      await chmod(target, groupId === undefined ? mode : mode | ((mode & 0o400) >> 3));
    }
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
  return fresh.slice(directory.length + 1);
}

async function removeOthers(directory: string, current: string | undefined): Promise<void> {
  for (const name of await readdir(directory))
    if (name.startsWith(freshPrefix) && name !== current)
      await rm(join(directory, name), { recursive: true, force: true });
}

async function swapLink(directory: string, target: string): Promise<void> {
  const temporary = join(directory, '..data_tmp');
  await rm(temporary, { force: true });
  await symlink(target, temporary);
  await rename(temporary, join(directory, dataLink));
}

/** First path segments: links of what is there, none of what is not. */
async function linkNames(directory: string, payload: Payload): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/')[0] ?? ''));
  for (const name of await readdir(directory))
    if (!name.startsWith('..') && !wanted.delete(name)) await rm(join(directory, name));
  for (const name of wanted) await symlink(join(dataLink, name), join(directory, name));
}

async function isSame(directory: string, payload: Payload): Promise<boolean> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(
    missingAsUndefined,
  );
  if (entries === undefined) return false;
  if (entries.filter((entry) => entry.isFile()).length !== payload.size) return false;
  for (const [path, file] of payload) {
    const target = join(directory, path);
    const bytes = await readFile(target).catch(missingAsUndefined);
    if (bytes === undefined || !bytes.equals(file.bytes)) return false;
    if (((await stat(target)).mode & 0o700) !== (file.mode & 0o700)) return false;
  }
  return true;
}

async function linkTarget(path: string): Promise<string | undefined> {
  return readlink(path).catch(missingAsUndefined);
}

function missingAsUndefined(error: unknown): undefined {
  if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
  throw error;
}
