// What this machine hands to others of its cluster: images that anybody may have from a registry, or
// that a person handed over, and no other. At its own pace: two at a time, the rest go elsewhere.
import type { ImageStatus, Platform, Runtime } from '../../runtime/runtime.ts';
import { isImageName, parseImageName } from './image-name.ts';
import type { ImageOrigins } from './image-origins.ts';
import type { ImageOffer } from './plan-fetch.ts';
import type { Answer, PeerPull } from './turns/answer.ts';
import type { PullBoard } from './turns/pull-board.ts';

export interface ImageShareDeps {
  readonly runtime: Pick<Runtime, 'imageStatus' | 'saveImage' | 'platform'>;
  readonly origins: Pick<ImageOrigins, 'of'>;
  readonly board: Pick<PullBoard, 'of'>;
}

const transfersMax = 2;

export class ImageShare {
  readonly #deps: ImageShareDeps;
  #transfers = 0;
  #sentBytes = 0;

  constructor(deps: ImageShareDeps) {
    this.#deps = deps;
  }

  async answer(name: string): Promise<Answer> {
    // The board first: what left it is here by now.
    const pull = await this.#pullOf(name);
    const offer = await this.#offer(name);
    const isBusy = this.#transfers >= transfersMax;
    return { offer, pull, busy: isBusy ? { sentBytes: this.#sentBytes } : undefined };
  }

  async #pullOf(name: string): Promise<PeerPull | undefined> {
    const { board, runtime } = this.#deps;
    const state = isImageName(name) ? board.of(parseImageName(name)) : undefined;
    if (state === undefined) return undefined;
    const { phase, progress } = state;
    const { os, architecture, imageIds: ids } = await runtime.platform();
    return { phase, progress, os, architecture, ids };
  }

  async #offer(name: string): Promise<ImageOffer | undefined> {
    const { runtime, origins } = this.#deps;
    if (!isImageName(name)) return undefined;
    const image = await runtime.imageStatus(name);
    const origin = image && origins.of(image.id);
    if (image === undefined || origin === undefined) return undefined;
    return offerOf(image, origin, await runtime.platform());
  }

  /** Undefined: it is not here, or not for others; `busy`: later. */
  async open(
    id: string,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array> | 'busy' | undefined> {
    if (!/^sha256:[0-9a-f]{64}$/.test(id) || (await this.#offer(id))?.id !== id) return undefined;
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
      for await (const chunk of chunks) {
        yield chunk;
        this.#sentBytes += chunk.length;
      }
    } finally {
      this.#transfers--;
    }
  }
}

function offerOf(
  image: ImageStatus,
  origin: ImageOffer['origin'],
  { imageIds: ids }: Platform,
): ImageOffer {
  const { id, names, sizeBytes, createdAtMs, os, architecture } = image;
  const digests = names.filter((name) => name.includes('@'));
  return { id, digests, sizeBytes, createdAtMs, os, architecture, ids, origin };
}
