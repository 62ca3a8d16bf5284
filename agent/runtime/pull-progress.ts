// Pure: what Docker says of a pull, layer by layer, summed up. A layer's size is told only when its
// download begins, so the total is known late: until then it is left out instead of guessed.
// Source: docker distribution/xfer/download.go, pkg/progress/progress.go.
import type { PullProgress } from './runtime.ts';

/** One line of Docker's answer to a pull. */
export interface PullEvent {
  readonly status?: string;
  /** The layer; on the first line the tag. */
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

interface Layer {
  readonly sizeBytes: number | undefined;
  readonly downloadedBytes: number;
  readonly unpackedBytes: number;
  readonly isDownloaded: boolean;
}

const announced: Layer = {
  sizeBytes: undefined,
  downloadedBytes: 0,
  unpackedBytes: 0,
  isDownloaded: false,
};

export class PullLayers {
  readonly #layers = new Map<string, Layer>();

  /** Undefined: the line changes nothing that is counted. */
  take(event: PullEvent): PullProgress | undefined {
    const { id } = event;
    if (id === undefined) return undefined;
    const layer = layerAfter(this.#layers.get(id) ?? announced, event);
    if (layer === undefined) return undefined;
    this.#layers.set(id, layer);
    return this.#sum();
  }

  #sum(): PullProgress {
    const layers = [...this.#layers.values()];
    const isKnown = layers.every(({ sizeBytes }) => sizeBytes !== undefined);
    const isUnpacking = layers.every(({ isDownloaded }) => isDownloaded);
    const doneBytes = layers.reduce(
      (sum, layer) => sum + (isUnpacking ? layer.unpackedBytes : layer.downloadedBytes),
      0,
    );
    const totalBytes = isKnown
      ? layers.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0)
      : undefined;
    return { step: isUnpacking ? 'unpacking' : 'downloading', doneBytes, totalBytes };
  }
}

function layerAfter(layer: Layer, { status, progressDetail = {} }: PullEvent): Layer | undefined {
  const { current = 0, total = 0 } = progressDetail;
  const sizeBytes = total > 0 ? total : layer.sizeBytes;
  switch (status) {
    case 'Pulling fs layer':
    case 'Waiting':
      return layer;
    case 'Downloading':
      return { ...layer, sizeBytes, downloadedBytes: current };
    case 'Verifying Checksum':
    case 'Download complete': {
      // A small layer may come whole, without a word on its size.
      const size = layer.sizeBytes ?? layer.downloadedBytes;
      return { ...layer, sizeBytes: size, downloadedBytes: size, isDownloaded: true };
    }
    case 'Extracting':
      return { ...layer, sizeBytes, unpackedBytes: current, isDownloaded: true };
    case 'Pull complete':
      return { ...layer, unpackedBytes: layer.sizeBytes ?? 0, isDownloaded: true };
    default:
      // `Already exists` and all that is not about a layer: nothing is fetched.
      return undefined;
  }
}
