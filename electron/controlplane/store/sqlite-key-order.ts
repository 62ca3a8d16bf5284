// Keys in the order of their UTF-8 bytes, in memory: blocks of at most 512 keys, each sorted, so
// that an insertion moves a few hundred pointers whatever the number of keys.
// What the entries say of their keys is in revision-index.ts.
import { assert } from '#kube/base/assert.ts';

const blockLengthMax = 512;
const beyondPlain = /[\ud800-\uffff]/;

/**
 * Compares as UTF-8 bytes compare. UTF-16 units sort the same way, except that surrogates (which
 * stand for code points above U+FFFF) come before U+E000 to U+FFFF.
 */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Entries by key, in order. */
export class SortedEntries<T extends { readonly key: string }> {
  /** Never holds an empty block. */
  readonly #blocks: T[][] = [];
  /** While no key has a unit from U+D800 on, JavaScript's own comparison is right, and faster. */
  #isPlain: boolean;

  /** In any order, each key once. */
  constructor(entries: Iterable<T> = []) {
    const all = Array.from(entries);
    this.#isPlain = !all.some((entry) => beyondPlain.test(entry.key));
    all.sort((a, b) => (this.#isBefore(a.key, b.key) ? -1 : 1));
    for (let i = 0; i < all.length; i += blockLengthMax)
      this.#blocks.push(all.slice(i, i + blockLengthMax));
  }

  /** No entry of the same key may be there yet. */
  add(entry: T): void {
    if (this.#isPlain) this.#isPlain = !beyondPlain.test(entry.key);
    const at = Math.max(0, this.#blockOf(entry.key));
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([entry]);
      return;
    }
    block.splice(this.#lowerBound(block, entry.key), 0, entry);
    if (block.length > blockLengthMax) this.#split(at, block, entry);
  }

  /** The key must be there. */
  delete(key: string): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    const position = block === undefined ? -1 : this.#lowerBound(block, key);
    assert(
      block !== undefined && block[position]?.key === key,
      'the key to delete is in the order',
    );
    block.splice(position, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  /** Calls `visit` with entries from `start` (inclusive) on, in order, while it returns true. */
  visitFrom(start: string, visit: (entry: T) => boolean): void {
    const first = Math.max(0, this.#blockOf(start));
    for (let at = first; at < this.#blocks.length; at++) {
      const block = this.#blocks[at] ?? [];
      const begin = at === first ? this.#lowerBound(block, start) : 0;
      for (let i = begin; i < block.length; i++) {
        const entry = block[i];
        if (entry !== undefined && !visit(entry)) return;
      }
    }
  }

  /** The last block whose first key is not behind `key`; -1 when `key` is before all. */
  #blockOf(key: string): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBefore(key, this.#blocks[middle]?.[0]?.key ?? '')) high = middle;
      else low = middle + 1;
    }
    return low - 1;
  }

  /** The first position whose key is not before `key`. */
  #lowerBound(block: readonly T[], key: string): number {
    let low = 0;
    let high = block.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBefore(block[middle]?.key ?? '', key)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #isBefore(a: string, b: string): boolean {
    return this.#isPlain ? a < b : compareKeys(a, b) < 0;
  }

  /** In the middle; at the end when keys come in order, so that blocks are full. */
  #split(at: number, block: T[], added: T): void {
    const isLast = at === this.#blocks.length - 1 && block[block.length - 1] === added;
    const tail = block.splice(isLast ? block.length - 1 : block.length >>> 1);
    this.#blocks.splice(at + 1, 0, tail);
  }
}
