// The JSON of a list, from the bytes of its items. A long one is never put together: it is written a
// slice at a time, so that it neither holds up others nor takes its size in memory.
import type { StoredObject } from '../../registry/storage-codec.ts';
import type { SlicedBody } from '../http.ts';

/** Copying one takes some 20 µs, and to encrypt it ten times as long. */
const sliceBytes = 128 * 1024;
const comma = 0x2c;
const brace = 0x7b;
const listEnd = new TextEncoder().encode(']}\n');

/** `head` ends with the bracket; of each item the first `cut` bytes become a brace. */
export function listBody(
  head: Uint8Array,
  items: readonly StoredObject[],
  cut: number,
): SlicedBody {
  let byteLength = head.length + Math.max(0, items.length - 1) + listEnd.length;
  for (const { json } of items) byteLength += json.length - cut + 1;
  return {
    byteLength,
    slices: () => slicesOf(partsOf(head, items, cut), Math.min(sliceBytes, byteLength)),
  };
}

function* partsOf(
  head: Uint8Array,
  items: readonly StoredObject[],
  cut: number,
): Generator<Uint8Array> {
  yield head;
  const first = Uint8Array.of(brace);
  const next = Uint8Array.of(comma, brace);
  for (const [index, { json }] of items.entries()) {
    yield index === 0 ? first : next;
    yield json.subarray(cut);
  }
  yield listEnd;
}

/** All slices lie in one buffer, each over the one before. */
function* slicesOf(parts: Iterable<Uint8Array>, size: number): Generator<Uint8Array> {
  const slice = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    let from = 0;
    while (from < part.length) {
      const count = Math.min(part.length - from, size - at);
      slice.set(from === 0 && count === part.length ? part : part.subarray(from, from + count), at);
      at += count;
      from += count;
      if (at < size) continue;
      yield slice;
      at = 0;
    }
  }
  if (at > 0) yield slice.subarray(0, at);
}
