// Where the log ends, and the term of each of its entries, in a few numbers: entries of one term
// follow each other. Pure.
import { assert } from '#kube/base/assert.ts';
import type { Entry } from '../raft/types.ts';
import type { Position } from './log-codec.ts';

export class LogTerms {
  #start: Position;
  #lastIndex: number;
  /** Ascending; each term's first index. */
  #runs: { readonly firstIndex: number; readonly term: number }[] = [];

  constructor(start: Position, entries: readonly Entry[]) {
    this.#start = start;
    this.#lastIndex = start.index;
    this.append(entries);
  }

  /** The log begins behind it. */
  get start(): Position {
    return this.#start;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Entries from the first one's index on are replaced. */
  append(entries: readonly Entry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    const { index } = first;
    assert(index > this.#start.index, `entry ${index} is before the log's start`);
    assert(index <= this.#lastIndex + 1, `entry ${index} leaves a gap behind ${this.#lastIndex}`);
    while ((this.#runs.at(-1)?.firstIndex ?? 0) >= index) this.#runs.pop();
    for (const entry of entries)
      if (entry.term !== this.#runs.at(-1)?.term)
        this.#runs.push({ firstIndex: entry.index, term: entry.term });
    this.#lastIndex = index + entries.length - 1;
  }

  beginAnew(start: Position): void {
    this.#start = { index: start.index, term: start.term };
    this.#lastIndex = start.index;
    this.#runs = [];
  }

  /** Forgets entries up to `index`. */
  compact(index: number): void {
    assert(index <= this.#lastIndex, `the log ends at ${this.#lastIndex}, before ${index}`);
    if (index <= this.#start.index) return;
    while ((this.#runs[1]?.firstIndex ?? Infinity) <= index) this.#runs.shift();
    this.#start = { index, term: this.#runs[0]?.term ?? this.#start.term };
    while ((this.#runs[1]?.firstIndex ?? Infinity) <= index + 1) this.#runs.shift();
  }
}
