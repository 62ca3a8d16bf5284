// How long the log may grow. It keeps a tail for members that were away for a moment, bounded in
// entries and bytes; it asks the state machine to become durable now and then, so that more can be
// forgotten. Invariant: nothing that the state does not hold durably is ever forgotten.
// Decides only; the driver flushes and compacts.
// Source: etcd DefaultSnapshotCount, DefaultSnapshotCatchUpEntries (the idea of a tail).
import type { Entry } from '../raft/types.ts';

export interface LogLimits {
  /** Kept at most, of what the state holds. */
  readonly tailEntries: number;
  readonly tailBytes: number;
  /** The state is asked to be durable, and the log compacted, each time this much came since. */
  readonly stepEntries: number;
  readonly stepBytes: number;
  /** What was applied leaves the log for the state after this time, however little it is. */
  readonly flushMs: number;
  /** Beyond it no proposals are taken: the state's disk does not keep up, or is full. */
  readonly logBytesMax: number;
}

const kib = 1024;
export const defaultLogLimits: LogLimits = {
  tailEntries: 5_000,
  tailBytes: 4 * kib * kib,
  stepEntries: 1_000,
  stepBytes: 4 * kib * kib,
  flushMs: 30 * 60_000,
  logBytesMax: 256 * kib * kib,
};

/** Beside an entry's data: what it costs in memory. */
const entryOverheadBytes = 100;

export class LogKeeper {
  readonly #limits: LogLimits;
  /** Size of each entry the log holds. */
  #sizes: number[] = [];
  /** Of the first entry. */
  #first: number;
  #bytes = 0;
  /** The next try is due when the log is longer than this. */
  #dueEntries: number;
  #dueBytes: number;
  #unflushedBytes = 0;
  #flushedIndex: number;
  #flushedMs: number;

  constructor(limits: LogLimits, start: { index: number; durable: number; nowMs: number }) {
    this.#limits = limits;
    this.#first = start.index + 1;
    this.#dueEntries = limits.tailEntries + limits.stepEntries;
    this.#dueBytes = limits.tailBytes + limits.stepBytes;
    this.#flushedIndex = start.durable;
    this.#flushedMs = start.nowMs;
  }

  /** Of the log in memory. */
  get sizeBytes(): number {
    return this.#bytes;
  }

  get isOverfull(): boolean {
    return this.#bytes > this.#limits.logBytesMax;
  }

  /** What the log held from the first one's index on is gone. */
  appended(entries: readonly Entry[]): void {
    const [next] = entries;
    if (next === undefined) return;
    while (this.#first + this.#sizes.length > next.index && this.#sizes.length > 0)
      this.#bytes -= this.#sizes.pop() ?? 0;
    for (const { data } of entries) {
      const sizeBytes = data.length + entryOverheadBytes;
      this.#sizes.push(sizeBytes);
      this.#bytes += sizeBytes;
      this.#unflushedBytes += sizeBytes;
    }
  }

  /** A snapshot took the place of the log. */
  replaced(index: number, nowMs: number): void {
    this.#sizes = [];
    this.#first = index + 1;
    this.#bytes = 0;
    this.flushed(index, nowMs);
  }

  /** Whether the state should become durable now. */
  isFlushDue(applied: number, nowMs: number): boolean {
    const { stepEntries, stepBytes, flushMs } = this.#limits;
    const entries = applied - this.#flushedIndex;
    if (entries <= 0) {
      this.#flushedMs = nowMs;
      return false;
    }
    return (
      entries >= stepEntries ||
      this.#unflushedBytes >= stepBytes ||
      nowMs - this.#flushedMs >= flushMs
    );
  }

  /** The state was asked to become durable up to `applied`. */
  flushed(applied: number, nowMs: number): void {
    this.#flushedIndex = applied;
    this.#unflushedBytes = 0;
    this.#flushedMs = nowMs;
  }

  /** How far the log may be forgotten; undefined while that is not worth a try. */
  compactTo(durable: number): number | undefined {
    const { tailEntries, tailBytes } = this.#limits;
    const held = this.#sizes.length;
    const isDue = held > this.#dueEntries || this.#bytes > this.#dueBytes;
    // Overfull, nothing is appended any more that could make it due.
    if (!isDue && !this.isOverfull) return undefined;
    const countMax = Math.min(held, durable - this.#first + 1);
    let count = 0;
    let bytes = 0;
    while (count < countMax && (held - count > tailEntries || this.#bytes - bytes > tailBytes)) {
      bytes += this.#sizes[count] ?? 0;
      count++;
    }
    if (count === 0 && !isDue) return undefined;
    return this.#first + count - 1;
  }

  /** Entries up to `index` are forgotten: fewer than wanted, when somebody still needs them. */
  compacted(index: number): void {
    const { tailEntries, tailBytes, stepEntries, stepBytes } = this.#limits;
    const gone = this.#sizes.splice(0, Math.max(0, index + 1 - this.#first));
    for (const sizeBytes of gone) this.#bytes -= sizeBytes;
    this.#first = Math.max(this.#first, index + 1);
    this.#dueEntries = Math.max(tailEntries, this.#sizes.length) + stepEntries;
    this.#dueBytes = Math.max(tailBytes, this.#bytes) + stepBytes;
  }
}
