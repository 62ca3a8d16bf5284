// Loads images that a person hands over as a file (`docker save`). One at a time on a machine, at the
// pace of its disk; what can't be loaded as a whole leaves the machine's images as they were.
import { isRuntimeError, type ImageStatus, type Runtime } from '../../runtime/runtime.ts';
import type { DiskSpace } from '../pressure/image-garbage.ts';
import { messageOf } from '../../error-message.ts';
import { archiveOnly, ArchiveError, loadProblem } from './image-archive.ts';
import { platformProblem } from './platform.ts';

export interface ImageLoaderDeps {
  readonly runtime: Runtime;
  readonly diskSpace: (directory: string) => Promise<DiskSpace>;
  /** They were handed over for the cluster. */
  readonly onLoaded: (images: readonly ImageStatus[]) => void;
}

export interface LoadedImage {
  /** Tag, or id of what has none. */
  readonly name: string;
  readonly id: string;
  readonly sizeBytes: number;
  /** Why it can't run here. */
  readonly problem?: string;
}

export class LoadError extends Error {
  override readonly name = 'LoadError';
  /** As of HTTP: 400 the file, 409 another is being loaded, 413 too large, 500 the engine. */
  readonly code: 400 | 409 | 413 | 500;

  constructor(code: LoadError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface LoadRequest {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Undefined: the sender does not say. */
  readonly sizeBytes: number | undefined;
  /** Of the layer that is unpacked just now. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  readonly signal: AbortSignal;
}

export class ImageLoader {
  readonly #deps: ImageLoaderDeps;
  #isLoading = false;

  constructor(deps: ImageLoaderDeps) {
    this.#deps = deps;
  }

  /** Throws LoadError. */
  async load(request: LoadRequest): Promise<readonly LoadedImage[]> {
    if (this.#isLoading)
      throw new LoadError(
        409,
        'another image is being loaded on this machine: try again when it is done',
      );
    this.#isLoading = true;
    try {
      return await this.#load(request);
    } catch (error) {
      if (error instanceof LoadError) throw error;
      const isFile = !isRuntimeError(error, 'unavailable');
      throw new LoadError(isFile ? 400 : 500, loadProblem(error), { cause: error });
    } finally {
      this.#isLoading = false;
    }
  }

  async #load({ chunks, sizeBytes, onProgress, signal }: LoadRequest): Promise<LoadedImage[]> {
    const { runtime, diskSpace } = this.#deps;
    const { availableBytes } = await diskSpace(await runtime.storageDirectory());
    const room = new Room(availableBytes);
    room.check(sizeBytes ?? 0);
    const before = new Map<string, string>();
    for (const { id, names } of await runtime.listImages())
      for (const name of [id, ...names]) before.set(name, id);
    const loaded: string[] = [];
    try {
      await runtime.loadImages(archiveOnly(room.within(chunks)), {
        onLoaded: (name) => void loaded.push(name),
        onProgress,
        signal,
      });
      if (loaded.length === 0) throw new ArchiveError('there is no image in this archive');
      return await this.#describe(loaded);
    } catch (error) {
      await this.#undo(loaded, before).catch((undoError: unknown) => {
        const rest = `what came before the failure could not be taken back: ${messageOf(undoError)}`;
        throw new Error(`${loadProblem(error)}; ${rest}`, { cause: error });
      });
      throw error;
    }
  }

  async #describe(names: readonly string[]): Promise<LoadedImage[]> {
    const { runtime, onLoaded } = this.#deps;
    const machine = await runtime.platform();
    const images: ImageStatus[] = [];
    const described: LoadedImage[] = [];
    for (const name of names) {
      const image = await runtime.imageStatus(name);
      if (image === undefined) throw new Error(`image "${name}" is gone right after it was loaded`);
      const { id, sizeBytes } = image;
      const problem = platformProblem(name, image, machine);
      images.push(image);
      described.push({ name, id, sizeBytes, ...(problem === undefined ? {} : { problem }) });
    }
    onLoaded(images);
    return described;
  }

  /** Names that came go again, names that moved go back, and with them what has no name then. */
  async #undo(names: readonly string[], before: ReadonlyMap<string, string>): Promise<void> {
    const { runtime } = this.#deps;
    const came = new Set<string>();
    for (const name of names) {
      const image = await runtime.imageStatus(name);
      if (image === undefined) continue;
      const old = before.get(name);
      if (!before.has(image.id)) came.add(image.id);
      else if (old === undefined) await runtime.removeImage({ ...image, names: [name] });
      if (old !== undefined && old !== name) await runtime.tagImage(old, name);
    }
    for (const id of came) {
      const image = await runtime.imageStatus(id);
      if (image !== undefined) await runtime.removeImage(image);
    }
  }
}

/** An archive lies on the disk twice for a while: as it came, and unpacked. */
class Room {
  readonly #availableBytes: number;

  constructor(availableBytes: number) {
    this.#availableBytes = availableBytes;
  }

  /** Throws LoadError. */
  check(sizeBytes: number): void {
    if (sizeBytes * 2 <= this.#availableBytes) return;
    const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
    const message = `the disk that holds images has ${gb(this.#availableBytes)} left; loading this file takes twice its size, more than ${gb(sizeBytes * 2)}`;
    throw new LoadError(413, message);
  }

  async *within(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let sizeBytes = 0;
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      this.check(sizeBytes);
      yield chunk;
    }
  }
}
