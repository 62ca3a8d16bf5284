// The log in memory: everything behind the last compaction, how far it is committed, handed out and
// durable. Raft never reads a disk. Invariant: start ≤ handedOut ≤ commit ≤ last.
// What is durable is known by writes, not by indexes: a write's acknowledgement counts only for
// entries which were not cut off and written anew since it was handed out.
// Source: etcd-io/raft log.go, log_unstable.go.
import { assert } from '#kube/base/assert.ts';
import type { Entry } from './types.ts';

export const noEntries: readonly Entry[] = [];

/** What an entry counts beside its data, so that many empty ones also fill a message. */
const entryOverheadBytes = 24;

export function entryBytes(entry: Entry): number {
  return entry.data.length + entryOverheadBytes;
}

interface Write {
  readonly id: number;
  /** The last entry it, or one before it, makes durable. */
  upTo: number;
}

export class RaftLog {
  /** entries[0] has index startIndex + 1. */
  private entries: Entry[];
  private startIndex: number;
  private startTerm: number;
  /** Everything up to here is committed. */
  commit: number;
  /** Everything up to here was given to the state machine. */
  handedOut: number;
  /** Everything up to here survives a crash of this machine. */
  durable: number;
  /** Handed out to be written, not durable yet; by id, ascending. */
  private writes: Write[] = [];
  /** The first entry that is not handed out to be written. */
  private unsavedFrom: number;

  constructor(start: { index: number; term: number }, entries: readonly Entry[]) {
    this.startIndex = start.index;
    this.startTerm = start.term;
    this.entries = [];
    this.unsavedFrom = start.index + 1;
    this.commit = start.index;
    this.handedOut = start.index;
    for (const entry of entries) this.append(entry);
    this.durable = this.lastIndex;
    this.unsavedFrom = this.lastIndex + 1;
  }

  /**
   * After a start. `commit` was a lower bound, and may have been written ahead of the last entries,
   * which a crash then lost: nobody was told of those.
   */
  startAt(commit: number, applied: number): void {
    assert(
      applied >= this.startIndex && applied <= this.lastIndex,
      `the state holds entry ${applied}, but the log has ${this.startIndex} to ${this.lastIndex}: ` +
        'one of the two was replaced or lost',
    );
    this.commit = Math.max(Math.min(commit, this.lastIndex), applied);
    this.handedOut = applied;
  }

  get firstIndex(): number {
    return this.startIndex + 1;
  }

  get lastIndex(): number {
    return this.startIndex + this.entries.length;
  }

  get lastTerm(): number {
    return this.entries.at(-1)?.term ?? this.startTerm;
  }

  /** Undefined: compacted, or beyond the end. */
  termAt(index: number): number | undefined {
    if (index === this.startIndex) return this.startTerm;
    return this.entries[index - this.startIndex - 1]?.term;
  }

  append(entry: Entry): void {
    assert(
      entry.index === this.lastIndex + 1 && entry.term >= this.lastTerm,
      `entry ${entry.index} of term ${entry.term} cannot follow entry ${this.lastIndex} of term ${this.lastTerm}`,
    );
    this.entries.push(entry);
  }

  /** Cuts off `index` and everything behind it; writes under way no longer speak for those. */
  truncateFrom(index: number): void {
    assert(index > this.commit, `committed entry ${index} would be cut off`);
    this.entries.length = index - this.startIndex - 1;
    this.unsavedFrom = Math.min(this.unsavedFrom, index);
    this.forgetDurable(index - 1);
  }

  /** A snapshot takes the place of the whole log. */
  restore(index: number, term: number): void {
    assert(index > this.commit, `snapshot ${index} is older than the log`);
    this.forgetDurable(this.commit);
    this.entries = [];
    this.startIndex = index;
    this.startTerm = term;
    this.unsavedFrom = index + 1;
    this.commit = index;
    this.handedOut = index;
  }

  private forgetDurable(last: number): void {
    this.durable = Math.min(this.durable, last);
    for (const write of this.writes) write.upTo = Math.min(write.upTo, last);
  }

  /** Entries up to and including `index` are forgotten. */
  compact(index: number): void {
    if (index <= this.startIndex) return;
    assert(index <= this.handedOut, `entry ${index} would be forgotten before it is applied`);
    this.startTerm = this.termAt(index) ?? 0;
    this.entries.splice(0, index - this.startIndex);
    this.startIndex = index;
  }

  /** Entries [from, to]. */
  slice(from: number, to: number): readonly Entry[] {
    if (from > to) return noEntries;
    return this.entries.slice(from - this.startIndex - 1, to - this.startIndex);
  }

  /** Entries from `from` on that fit into `maxBytes`, at least one if there is one. */
  sliceBytes(from: number, maxBytes: number): readonly Entry[] {
    let bytes = 0;
    let to = from - 1;
    for (let at = from - this.startIndex - 1; at < this.entries.length; at += 1) {
      const entry = this.entries[at];
      if (entry === undefined) break;
      bytes += entryBytes(entry);
      if (bytes > maxBytes && to >= from) break;
      to = entry.index;
    }
    return this.slice(from, to);
  }

  /** Bytes of data in entries [from, to]. */
  dataBytes(from: number, to: number): number {
    let bytes = 0;
    for (let at = from; at <= to; at += 1)
      bytes += this.entries[at - this.startIndex - 1]?.data.length ?? 0;
    return bytes;
  }

  /**
   * The last entry up to `index` whose term is at most `term`, as far as the log reaches back: logs
   * that differ skip a whole term in one exchange. Terms never fall, so this is a binary search.
   */
  lastUpTo(index: number, term: number): { readonly index: number; readonly term: number } {
    let low = this.startIndex;
    let high = Math.max(Math.min(index, this.lastIndex), low);
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.termAt(middle) ?? 0) <= term) low = middle;
      else high = middle - 1;
    }
    return { index: low, term: this.termAt(low) ?? 0 };
  }

  /** Whether somebody whose log ends so may lead: everything committed is in his log (§3.6.1). */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    if (lastTerm !== this.lastTerm) return lastTerm > this.lastTerm;
    return lastIndex >= this.lastIndex;
  }

  /** Entries to be written, each once unless it was cut off meanwhile. */
  takeUnsaved(): readonly Entry[] {
    const entries = this.slice(this.unsavedFrom, this.lastIndex);
    this.unsavedFrom = this.lastIndex + 1;
    return entries;
  }

  /** The write `id` was handed out: with it, everything up to the last entry will be durable. */
  writeBegan(id: number): void {
    this.writes.push({ id, upTo: this.lastIndex });
  }

  /** All writes up to `id` are durable. */
  persisted(id: number): void {
    for (
      let write = this.writes[0];
      write !== undefined && write.id <= id;
      write = this.writes[0]
    ) {
      this.durable = Math.max(this.durable, write.upTo);
      this.writes.shift();
    }
  }

  /** What the state machine has not got yet, is committed and survives a crash here. */
  takeCommitted(): readonly Entry[] {
    const to = Math.min(this.commit, this.durable);
    if (to <= this.handedOut) return noEntries;
    const entries = this.slice(this.handedOut + 1, to);
    this.handedOut = to;
    return entries;
  }
}
