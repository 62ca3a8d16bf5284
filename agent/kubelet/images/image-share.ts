// What this machine hands to others of its cluster: images that anybody may have from a registry, or
// that a person handed over, and no other. At its own pace: two at a time, the rest go elsewhere.
import type { ImageStatus, Runtime } from '../../runtime/runtime.ts';
import { isImageName } from './image-name.ts';
import type { ImageOrigins } from './image-origins.ts';
import type { ImageOffer } from './plan-fetch.ts';

export interface ImageShareDeps {
  readonly runtime: Pick<Runtime, 'imageStatus' | 'saveImage' | 'platform'>;
  readonly origins: Pick<ImageOrigins, 'of'>;
}

const transfersMax = 2;

export class ImageShare {
  readonly #deps: ImageShareDeps;
  #transfers = 0;

  constructor(deps: ImageShareDeps) {
    this.#deps = deps;
  }

  /** Undefined: it is not here, or not for others. */
  async offer(name: string): Promise<ImageOffer | undefined> {
    const { runtime, origins } = this.#deps;
    if (!isImageName(name)) return undefined;
    if (!(await runtime.platform()).hasPortableIds) return undefined;
    const image = await runtime.imageStatus(name);
    const origin = image && origins.of(image.id);
    return image === undefined || origin === undefined ? undefined : offerOf(image, origin);
  }

  /** Undefined: it is not here, or not for others; `busy`: later. */
  async open(
    id: string,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array> | 'busy' | undefined> {
    if (!/^sha256:[0-9a-f]{64}$/.test(id) || (await this.offer(id))?.id !== id) return undefined;
    if (this.#transfers >= transfersMax) return 'busy';
    this.#transfers++;
    try {
      return this.#counted(await this.#deps.runtime.saveImage(id, signal));
    } catch (error) {
      this.#transfers--;
      throw error;
    }
  }

  async *#counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } finally {
      this.#transfers--;
    }
  }
}

function offerOf(image: ImageStatus, origin: ImageOffer['origin']): ImageOffer {
  const { id, names, sizeBytes, createdAtMs, os, architecture } = image;
  const digests = names.filter((name) => name.includes('@'));
  return { id, digests, sizeBytes, createdAtMs, os, architecture, origin };
}
