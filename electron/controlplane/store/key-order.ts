// Keys in byte order, in memory: blocks of at most 512 keys, each sorted, so that an insertion
// moves a few hundred pointers whatever the number of keys.
// What the entries say of their keys is in revision-index.ts.
import { assert } from '#kube/base/assert.ts';
import type { ByteKey } from './commands.ts';

const blockLengthMax = 512;

/** Entries by key, in order. */
export class SortedEntries<T extends { readonly key: ByteKey }> {
  /** Never holds an empty block. */
  readonly #blocks: T[][] = [];

  /** In any order, each key once. */
  constructor(entries: Iterable<T> = []) {
    const all = Array.from(entries);
    all.sort((a, b) => (a.key < b.key ? -1 : 1));
    for (let i = 0; i < all.length; i += blockLengthMax)
      this.#blocks.push(all.slice(i, i + blockLengthMax));
  }

  /** No entry of the same key may be there yet. */
  add(entry: T): void {
    const at = Math.max(0, this.#blockOf(entry.key));
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([entry]);
      return;
    }
    block.splice(lowerBound(block, entry.key), 0, entry);
    if (block.length > blockLengthMax) this.#split(at, block, entry);
  }

  /** The key must be there. */
  delete(key: ByteKey): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    const position = block === undefined ? -1 : lowerBound(block, key);
    assert(
      block !== undefined && block[position]?.key === key,
      'the key to delete is in the order',
    );
    block.splice(position, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  /** Calls `visit` with entries from `start` (inclusive) on, in order, while it returns true. */
  visitFrom(start: ByteKey, visit: (entry: T) => boolean): void {
    const first = Math.max(0, this.#blockOf(start));
    for (let at = first; at < this.#blocks.length; at++) {
      const block = this.#blocks[at] ?? [];
      const begin = at === first ? lowerBound(block, start) : 0;
      for (let i = begin; i < block.length; i++) {
        const entry = block[i];
        if (entry !== undefined && !visit(entry)) return;
      }
    }
  }

  /** The last block whose first key is not behind `key`; -1 when `key` is before all. */
  #blockOf(key: ByteKey): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (key < (this.#blocks[middle]?.[0]?.key ?? '')) high = middle;
      else low = middle + 1;
    }
    return low - 1;
  }

  /** In the middle; at the end when keys come in order, so that blocks are full. */
  #split(at: number, block: T[], added: T): void {
    const isLast = at === this.#blocks.length - 1 && block[block.length - 1] === added;
    const tail = block.splice(isLast ? block.length - 1 : block.length >>> 1);
    this.#blocks.splice(at + 1, 0, tail);
  }
}

/** The first position whose key is not before `key`. */
function lowerBound(block: readonly { readonly key: ByteKey }[], key: ByteKey): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((block[middle]?.key ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
