// What this machine hands of a volume to the one machine that may have a copy of it: a list of its files, and the files
// that the other lacks. The last time only when no pod here has the volume, from beginning to end.
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { PersistentVolume } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { moveAnnotations, nodeOfVolume, type CopyOrder } from '#kube/machinery/volume-move.ts';
import { packTree } from './archive.ts';
import { formatEntry } from './entry.ts';
import { endLine, EntryCursor, EntryWriter, readEntries } from './entry-files.ts';
import { walkVolume } from './walk.ts';

export interface VolumeShareDeps {
  readonly volume: (name: string) => PersistentVolume | undefined;
  /** A pod here has it, or still ends. */
  readonly isUsed: (volumeName: string) => boolean;
  readonly nodeName: string;
  /** Of the agent: what is known of volumes that are copied. */
  readonly folder: string;
  readonly clock: Clock;
}

export interface ShareRequest {
  readonly volume: string;
  readonly pass: CopyOrder['pass'];
  /** Who asks, by its certificate. */
  readonly peer: string;
  readonly signal: AbortSignal;
}

export class ShareRefusal extends Error {
  override readonly name = 'ShareRefusal';
  readonly status: 403 | 409;

  constructor(status: 403 | 409, message: string) {
    super(message);
    this.status = status;
  }
}

/** One large file takes its time. */
const aliveMs = 15_000;

export class VolumeShare {
  readonly #deps: VolumeShareDeps;

  constructor(deps: VolumeShareDeps) {
    this.#deps = deps;
  }

  /** Throws ShareRefusal before the first line. */
  async list(request: ShareRequest): Promise<AsyncIterable<Uint8Array>> {
    const path = this.#checked(request);
    await mkdir(this.#deps.folder, { recursive: true, mode: 0o700 });
    return Readable.from(this.#lines(request, path), { objectMode: true });
  }

  /** `exclude`: names that the other has as they are, a line each. */
  async content(
    request: ShareRequest,
    exclude: AsyncIterable<Uint8Array>,
  ): Promise<AsyncIterable<Uint8Array>> {
    const path = this.#checked(request);
    const { folder } = this.#deps;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const excludeFile = join(folder, `${request.volume}.exclude`);
    await pipeline(exclude, createWriteStream(excludeFile, { mode: 0o600 }));
    return this.#packed(request, path, excludeFile);
  }

  /** Nobody may have it any more. */
  async forget(volumeName: string): Promise<void> {
    for (const name of [volumeName, `${volumeName}.new`, `${volumeName}.exclude`])
      await rm(join(this.#deps.folder, name), { force: true });
  }

  async *#packed(
    request: ShareRequest,
    path: string,
    excludeFile: string,
  ): AsyncGenerator<Uint8Array> {
    const { pass, signal } = request;
    yield* packTree(path, { signal, excludeFile, isLive: pass === 'live' });
    this.#checkUse(request);
  }

  async *#lines(request: ShareRequest, path: string): AsyncGenerator<Uint8Array> {
    const { folder, clock } = this.#deps;
    const file = join(folder, request.volume);
    const known = new EntryCursor(readEntries(file));
    const writer = await EntryWriter.create(file);
    try {
      const walk = walkVolume(path, {
        nowMs: () => clock.now(),
        isDigested: true,
        signal: request.signal,
        async knownDigest(name, stamp) {
          const entry = await known.at(name);
          return entry?.stamp === stamp ? entry.digest : undefined;
        },
      });
      for await (const entry of alive(walk, clock)) {
        if (entry === undefined) {
          yield encode('\n');
          continue;
        }
        await writer.add(entry);
        yield encode(formatEntry(entry));
      }
      this.#checkUse(request);
      await writer.finish();
      yield encode(endLine);
    } catch (error) {
      await writer.abandon();
      // Also when it is what can't be read.
      await rm(file, { force: true });
      throw error;
    } finally {
      await known.close();
    }
  }

  /** The directory that may be read. */
  #checked(request: ShareRequest): string {
    const { volume: name, peer } = request;
    const volume = this.#deps.volume(name);
    const { annotations = {} } = volume?.metadata ?? {};
    const path = volume?.spec.local?.path;
    // No more is told to who may not have it.
    if (
      volume === undefined ||
      path === undefined ||
      annotations[moveAnnotations.readableBy] !== peer ||
      nodeOfVolume(volume) !== this.#deps.nodeName
    )
      throw new ShareRefusal(403, `volume ${name} is not for ${peer}\n`);
    if (annotations[localPath.madeAnnotation] === undefined)
      throw new ShareRefusal(409, `the directory of volume ${name} is not made\n`);
    this.#checkUse(request);
    return path;
  }

  #checkUse({ volume, pass }: ShareRequest): void {
    if (pass === 'final' && this.#deps.isUsed(volume))
      throw new ShareRefusal(409, `a pod on ${this.#deps.nodeName} still has volume ${volume}\n`);
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Undefined in between, when the next one is long in coming. */
async function* alive<T>(
  entries: AsyncGenerator<T>,
  clock: Pick<Clock, 'timer'>,
): AsyncGenerator<T | undefined> {
  try {
    for (;;) {
      const next = entries.next();
      for (;;) {
        const isLate = Promise.withResolvers<undefined>();
        const timer = clock.timer(aliveMs, () => isLate.resolve(undefined));
        const result = await Promise.race([next, isLate.promise]).finally(() => timer.cancel());
        if (result === undefined) {
          yield undefined;
          continue;
        }
        if (result.done === true) return;
        yield result.value;
        break;
      }
    }
  } finally {
    await entries.return(undefined);
  }
}
