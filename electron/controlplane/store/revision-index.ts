// Which revision wrote which key: the whole history since the last compaction, in memory, without
// values. Pure bookkeeping: no I/O, no time; what it says depends only on the rows it was given.
// Invariant: every revision in (compactedRevision, currentRevision] has at least one version.
// Source: etcd server/storage/mvcc/{index,key_index}.go (the idea: keys in memory, values on disk).
import { assert } from '#kube/base/assert.ts';
import { isInRange } from './byte-keys.ts';
import type { ByteKey, KeyRange } from './commands.ts';
import { SortedEntries } from './key-order.ts';

/** Versions looked at in one slice of a compaction: a few milliseconds. */
const sweptPerSlice = 10_000;
/** Swept versions are cut off the history when they are this many, and most of it. */
const sweptKeptMax = 1024;

/** One write of one key. */
export interface VersionHead {
  readonly key: ByteKey;
  readonly revision: number;
  /** Number of its row. Rows are numbered in the order they were written. */
  readonly row: number;
  /** Of the write that created the key; for a delete: of the row it deleted. */
  readonly createRevision: number;
  /** Writes since the key was created; 0: the key was deleted. */
  readonly version: number;
  /** 0: none. */
  readonly lease: number;
}

export interface Version extends VersionHead {
  /** The version this one replaced, a tombstone included; undefined when there is none any more. */
  previous: Version | undefined;
}

interface KeyEntry {
  readonly key: ByteKey;
  newest: Version;
}

export class RevisionIndex {
  readonly #keys = new Map<ByteKey, KeyEntry>();
  /** Made when first asked for: sorting once is quicker than adding what start-up reads. */
  #order: SortedEntries<KeyEntry> | undefined;
  /** Versions newer than the compaction mark in the order of writing, behind `#swept` older ones. */
  #history: Version[] = [];
  #swept = 0;
  /** Rows at or below the mark that nothing can ask for any more. */
  #garbage: number[] = [];
  #currentRevision: number;
  #compactedRevision: number;

  constructor(compactedRevision = 0) {
    this.#compactedRevision = compactedRevision;
    this.#currentRevision = compactedRevision;
  }

  get currentRevision(): number {
    return this.#currentRevision;
  }

  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  /** Adds a row: the next one, or one read from disk, in the order of writing. */
  add(write: VersionHead): Version {
    const { key, revision, row, createRevision, version, lease } = write;
    const previous = this.#keys.get(key)?.newest;
    const added = { key, revision, row, createRevision, version, lease, previous };
    if (revision <= this.#compactedRevision) {
      this.#addCompacted(added);
      return added;
    }
    const isNext = revision === this.#currentRevision + 1;
    assert(isNext || revision === this.#currentRevision, `${revision} follows without a gap`);
    assert(revision <= Number.MAX_SAFE_INTEGER, 'revisions are exact numbers');
    this.#setNewest(added);
    this.#history.push(added);
    this.#currentRevision = revision;
    return added;
  }

  /** A row from before the mark: what it replaced is left over from a compaction cut short. */
  #addCompacted(added: Version): void {
    const { previous } = added;
    if (previous !== undefined) this.#garbage.push(previous.row);
    added.previous = undefined;
    this.#setNewest(added);
    if (added.version > 0) return;
    this.#garbage.push(added.row);
    this.#remove(added.key);
  }

  #setNewest(version: Version): void {
    const present = this.#keys.get(version.key);
    if (present !== undefined) {
      present.newest = version;
      return;
    }
    const entry: KeyEntry = { key: version.key, newest: version };
    this.#keys.set(version.key, entry);
    this.#order?.add(entry);
  }

  #sorted(): SortedEntries<KeyEntry> {
    this.#order ??= new SortedEntries(this.#keys.values());
    return this.#order;
  }

  #remove(key: ByteKey): void {
    this.#keys.delete(key);
    this.#order?.delete(key);
  }

  /** The key's version as of `revision`; undefined when it did not exist then. */
  find(key: ByteKey, revision = this.#currentRevision): Version | undefined {
    return visibleAt(this.#keys.get(key)?.newest, revision);
  }

  /** Calls `visit` with the versions of a range as of `revision`, in the order of keys. */
  visit(range: KeyRange, revision: number, visit: (version: Version) => void): void {
    if (range.end === undefined) {
      const version = this.find(range.key, revision);
      if (version !== undefined) visit(version);
      return;
    }
    this.#sorted().visitFrom(range.key, ({ key, newest }) => {
      if (!isInRange(range, key)) return false;
      const version = visibleAt(newest, revision);
      if (version !== undefined) visit(version);
      return true;
    });
  }

  /** Calls `visit` with what was written after `revision`, in that order, while it returns true. */
  visitAfter(revision: number, visit: (version: Version) => boolean): void {
    for (let i = this.#positionAfter(revision); i < this.#history.length; i++) {
      const version = this.#history[i];
      if (version === undefined || !visit(version)) return;
    }
  }

  /** The last write of an uncompacted revision. */
  lastOf(revision: number): Version {
    const version = this.#history[this.#positionAfter(revision) - 1];
    assert(version?.revision === revision, `revision ${revision} is in the history`);
    return version;
  }

  /** Where in the history versions begin that are newer than `revision`. */
  #positionAfter(revision: number): number {
    let low = this.#swept;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#history[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** From now on nothing before `revision` is answered for; `takeGarbage` does the rest. */
  setCompacted(revision: number): void {
    assert(revision <= this.#currentRevision, 'only the past is compacted');
    this.#compactedRevision = Math.max(this.#compactedRevision, revision);
  }

  /** The next slice: up to `countMax` rows that may be removed. */
  takeGarbage(countMax: number): { readonly rows: readonly number[]; readonly isLast: boolean } {
    let isSwept = false;
    for (let i = 0; i < sweptPerSlice && !isSwept && this.#garbage.length < countMax; i++)
      isSwept = !this.#sweepNext();
    if (this.#swept > sweptKeptMax && this.#swept * 2 > this.#history.length) {
      this.#history = this.#history.slice(this.#swept);
      this.#swept = 0;
    }
    const rows = this.#garbage.splice(0, countMax);
    return { rows, isLast: isSwept && this.#garbage.length === 0 };
  }

  /** False when the mark is reached. */
  #sweepNext(): boolean {
    const version = this.#history[this.#swept];
    if (version === undefined || version.revision > this.#compactedRevision) return false;
    this.#swept++;
    const { previous } = version;
    // A tombstone was garbage already when it was swept itself.
    if (previous !== undefined && previous.version > 0) this.#garbage.push(previous.row);
    version.previous = undefined;
    if (version.version > 0) return true;
    this.#garbage.push(version.row);
    if (this.#keys.get(version.key)?.newest === version) this.#remove(version.key);
    return true;
  }
}

function visibleAt(newest: Version | undefined, revision: number): Version | undefined {
  let version = newest;
  while (version !== undefined && version.revision > revision) version = version.previous;
  return version === undefined || version.version === 0 ? undefined : version;
}
