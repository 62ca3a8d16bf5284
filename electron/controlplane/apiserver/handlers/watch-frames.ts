// The bytes of a watch's event, made once for all sockets that they go to: its watchers come one after
// the other, each with the same object at the same moment.
import type { WatchItem } from '../../registry/cache-watch.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';

export type ObjectItem = Extract<WatchItem, { readonly stored: unknown }>;

/** Those that were made last; a slower watcher has its own made. */
const framesMax = 64;
/** Of one: a few of the largest objects would hold as much memory as thousands of others. */
const frameBytesMax = 64 * 1024;

interface Frame {
  readonly type: ObjectItem['type'];
  readonly revision: number;
  readonly bytes: Uint8Array;
}

export class WatchFrames {
  readonly #last = new Map<StoredObject, Frame>();

  /** One line of JSON. Not to be changed. */
  of({ type, stored, revision }: ObjectItem): Uint8Array {
    const known = this.#last.get(stored);
    if (known?.type === type && known.revision === revision) return known.bytes;
    const bytes = frame(type, revision === stored.revision ? stored.json : stored.jsonAt(revision));
    if (bytes.length <= frameBytesMax) this.#remember(stored, { type, revision, bytes });
    return bytes;
  }

  #remember(stored: StoredObject, made: Frame): void {
    this.#last.delete(stored);
    if (this.#last.size >= framesMax)
      for (const oldest of this.#last.keys()) {
        this.#last.delete(oldest);
        break;
      }
    this.#last.set(stored, made);
  }
}

function frame(type: ObjectItem['type'], json: Uint8Array): Uint8Array {
  const head = `{"type":"${type}","object":`;
  // Not of Buffer's pool, of which each that is kept would keep 64 KiB.
  const bytes = Buffer.allocUnsafeSlow(head.length + json.length + 2);
  bytes.write(head, 'latin1');
  bytes.set(json, head.length);
  bytes[bytes.length - 2] = 0x7d;
  bytes[bytes.length - 1] = 0x0a;
  return bytes;
}
