// Objects as files in a folder: of this machine, of a disk that is plugged in, of a share that is mounted.
// A file is written beside its name, flushed, renamed, and its folder flushed. The folder carries a mark
// once it was taken into use, so that an empty mount point is not mistaken for the disk that is missing.
import { randomBytes } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { type FileHandle, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Chunks } from '../age/byte-reader.ts';
import { readFileIfExists, syncFolder, writeFileAtomic } from '../atomic-file.ts';
import {
  assertObjectName,
  type ObjectStore,
  ObjectStoreError,
  type StoredObject,
} from './object-store.ts';

const markName = '.flotilla-backups';
const markText = 'Flotilla keeps backups here. Without this file it takes the disk for missing.\n';
const unfinishedEnding = '.part';
/** What is unfinished for so long was left by a process that died. */
const abandonedMs = 24 * 3_600_000;
const readBytes = 256 * 1024;

export class FolderStore implements ObjectStore {
  readonly place: string;
  readonly #root: string;
  readonly #clock: Clock;

  /** `root`: absolute; throws ObjectStoreError when it is not. */
  constructor(root: string, clock: Clock) {
    if (!path.isAbsolute(root))
      throw new ObjectStoreError('bad-name', `"${root}" is no folder: give its whole path.`);
    this.#root = path.normalize(root);
    this.#clock = clock;
    this.place = `the folder ${this.#root}`;
  }

  /** Takes the folder into use, which has to be there. To be done once, when a person chose it. */
  async claim(): Promise<void> {
    await this.#inWords(async () => {
      if (!(await stat(this.#root)).isDirectory())
        throw new ObjectStoreError('refused', `${this.#root} is no folder: choose another one.`);
      const mark = path.join(this.#root, markName);
      if ((await readFileIfExists(mark)) === undefined)
        await writeFileAtomic(mark, markText, { mode: 0o644 });
    });
  }

  put(name: string, chunks: Chunks, signal?: AbortSignal): Promise<StoredObject> {
    return this.#inWords(async () => {
      const file = await this.#fileOf(name);
      await this.#makeFolder(path.dirname(name));
      await this.#forgetAbandoned(path.dirname(file));
      const unfinished = path.join(
        path.dirname(file),
        `.${randomBytes(6).toString('hex')}${unfinishedEnding}`,
      );
      try {
        await write(unfinished, chunks, signal);
        await rename(unfinished, file);
      } catch (error) {
        await rm(unfinished, { force: true }).catch(() => undefined);
        throw error;
      }
      await syncFolder(path.dirname(file));
      return await objectAt(file, name);
    });
  }

  async *get(name: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const file = await this.#inWords(async () => await this.#open(name));
    try {
      for (;;) {
        signal?.throwIfAborted();
        const buffer = Buffer.allocUnsafe(readBytes);
        const { bytesRead } = await this.#inWords(async () => await file.read(buffer));
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  list(prefix = '', signal?: AbortSignal): Promise<readonly StoredObject[]> {
    return this.#inWords(async () => {
      await this.#assertThere();
      const found: StoredObject[] = [];
      await this.#collect('', prefix, found, signal);
      return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  delete(name: string): Promise<void> {
    return this.#inWords(async () => {
      const file = await this.#fileOf(name);
      await rm(file, { force: true });
      await syncFolder(path.dirname(file)).catch(unlessMissing);
    });
  }

  async #open(name: string): Promise<FileHandle> {
    const file = await this.#fileOf(name);
    try {
      const opened = await open(file, 'r');
      if ((await opened.stat()).isFile()) return opened;
      await opened.close();
    } catch (error) {
      unlessMissing(error);
    }
    throw new ObjectStoreError('missing', `There is no ${name} in ${this.place}.`);
  }

  async #fileOf(name: string): Promise<string> {
    assertObjectName(name);
    await this.#assertThere();
    return path.join(this.#root, ...name.split('/'));
  }

  async #assertThere(): Promise<void> {
    const mark = await readFileIfExists(path.join(this.#root, markName));
    if (mark === undefined)
      throw new ObjectStoreError(
        'away',
        `The folder ${this.#root} is not there, or is not the one backups were kept in: is its disk plugged in and mounted?`,
      );
  }

  /** Each new folder durable in the one above it. */
  async #makeFolder(name: string): Promise<void> {
    let folder = this.#root;
    for (const part of name.split('/').filter((one) => one !== '.')) {
      const above = folder;
      folder = path.join(folder, part);
      const made = await mkdir(folder, { recursive: true, mode: 0o700 });
      if (made !== undefined) await syncFolder(above);
    }
  }

  async #forgetAbandoned(folder: string): Promise<void> {
    for (const entry of await entriesOf(folder)) {
      if (!entry.name.startsWith('.') || !entry.name.endsWith(unfinishedEnding)) continue;
      const file = path.join(folder, entry.name);
      const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Infinity }));
      if (mtimeMs < this.#clock.now() - abandonedMs) await rm(file, { force: true });
    }
  }

  async #collect(
    folder: string,
    prefix: string,
    found: StoredObject[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    for (const entry of await entriesOf(path.join(this.#root, folder))) {
      signal?.throwIfAborted();
      if (entry.name.startsWith('.')) continue;
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      const mayHold = name.startsWith(prefix) || prefix.startsWith(`${name}/`);
      if (entry.isDirectory() && mayHold) await this.#collect(name, prefix, found, signal);
      if (!entry.isFile() || !name.startsWith(prefix)) continue;
      const object = await objectAt(path.join(this.#root, name), name).catch(unlessMissing);
      if (object !== undefined) found.push(object);
    }
  }

  async #inWords<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof SourceError) throw error.cause;
      throw diskSentence(error, this.#root) ?? error;
    }
  }
}

/** What is to be kept could not be read: not the doing of the disk it was to be kept on. */
class SourceError extends Error {}

async function* fromSource(chunks: Chunks): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (cause) {
    throw new SourceError('the source failed', { cause });
  }
}

async function write(file: string, chunks: Chunks, signal: AbortSignal | undefined): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    for await (const chunk of fromSource(chunks)) {
      signal?.throwIfAborted();
      await handle.writeFile(chunk);
    }
    signal?.throwIfAborted();
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function objectAt(file: string, name: string): Promise<StoredObject> {
  const { size, mtimeMs } = await stat(file);
  return { name, sizeBytes: size, modifiedMs: mtimeMs };
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries: Dirent[] = [];
  try {
    for await (const entry of await opendir(folder)) entries.push(entry);
  } catch (error) {
    unlessMissing(error);
  }
  return entries;
}

function unlessMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  return undefined;
}

/** Undefined: no error of the disk's. */
export function diskSentence(error: unknown, root: string): ObjectStoreError | undefined {
  if (error instanceof ObjectStoreError) return undefined;
  const { code, message } = error as NodeJS.ErrnoException;
  const say = (problem: ObjectStoreError['problem'], text: string): ObjectStoreError =>
    new ObjectStoreError(problem, text, { cause: error });
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return say('full', `The disk of ${root} is full: delete something there, or choose another.`);
    case 'EFBIG':
      return say('full', `The disk of ${root} can't hold a file of this size: FAT ends at 4 GB.`);
    case 'ENOENT':
    case 'ENOTDIR':
      return say('away', `There is no folder ${root}: is its disk plugged in and mounted?`);
    case 'EACCES':
    case 'EPERM':
      return say(
        'refused',
        `Flotilla may not write in ${root}: allow it, or choose another folder.`,
      );
    case 'EROFS':
      return say('refused', `The disk of ${root} can only be read: mount it for writing.`);
    case 'EIO':
    case 'ENODEV':
    case 'ENXIO':
    case 'ESTALE':
    case 'ETIMEDOUT':
      return say('away', `The disk of ${root} does not answer (${code}): is it still connected?`);
    case undefined:
      return undefined;
    default:
      return say('failed', `Something went wrong in ${root}: ${message}.`);
  }
}
