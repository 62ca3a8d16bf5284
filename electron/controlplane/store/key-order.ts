// Keys in the order of their UTF-8 bytes, in memory: blocks of at most 512 keys, each sorted, so
// that an insertion moves a few hundred pointers whatever the number of keys.
// Holds keys only; what they stand for is in revision-index.ts.
import { assert } from '#kube/base/assert.ts';

const blockLengthMax = 512;

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

/** A set of keys in order. */
export class SortedKeys {
  /** Never holds an empty block. */
  readonly #blocks: string[][] = [];

  /** The key must not be there yet. */
  add(key: string): void {
    const at = Math.max(0, this.#blockOf(key));
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([key]);
      return;
    }
    block.splice(lowerBound(block, key), 0, key);
    if (block.length > blockLengthMax) this.#split(at, block, key);
  }

  /** The key must be there. */
  delete(key: string): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    const position = block === undefined ? -1 : lowerBound(block, key);
    assert(block !== undefined && block[position] === key, 'the key to delete is in the order');
    block.splice(position, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  /** Keys from `start` (inclusive) on, in order. Not to be changed while it runs. */
  *from(start: string): Generator<string, void> {
    const first = Math.max(0, this.#blockOf(start));
    for (let at = first; at < this.#blocks.length; at++) {
      const block = this.#blocks[at] ?? [];
      const begin = at === first ? lowerBound(block, start) : 0;
      for (let i = begin; i < block.length; i++) yield block[i] ?? '';
    }
  }

  /** The last block whose first key is not behind `key`; -1 when `key` is before all. */
  #blockOf(key: string): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#blocks[middle]?.[0] ?? '', key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** In the middle; at the end when keys come in order (start-up), so that blocks are full. */
  #split(at: number, block: string[], added: string): void {
    const isLast = at === this.#blocks.length - 1 && block[block.length - 1] === added;
    const tail = block.splice(isLast ? block.length - 1 : block.length >>> 1);
    this.#blocks.splice(at + 1, 0, tail);
  }
}

/** The first position whose key is not before `key`. */
function lowerBound(block: readonly string[], key: string): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(block[middle] ?? '', key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
