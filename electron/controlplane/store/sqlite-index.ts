// Which revision wrote which key: the whole history since the last compaction, in memory, without
// values. Pure bookkeeping: no I/O, no time; what it says depends only on the rows it was given.
// Invariant: every revision in (compactedRevision, currentRevision] has exactly one version.
// Source: etcd server/storage/mvcc/{index,key_index}.go (the idea: keys in memory, values on disk).
import { assert } from '#kube/base/assert.ts';
import { compareKeys, SortedEntries } from './sqlite-key-order.ts';

/** Versions looked at in one slice of a compaction: a few milliseconds. */
const sweptPerSlice = 10_000;

/** One write of one key. */
export interface Version {
  readonly key: string;
  readonly revision: number;
  /** Of the write that created the key; for a delete: of the row it deleted. */
  readonly createRevision: number;
  readonly isDelete: boolean;
  /** The version this one replaced, a tombstone included; undefined when there is none any more. */
  previous: Version | undefined;
}

export interface VersionRange {
  /** In key order. */
  readonly versions: readonly Version[];
  /** How many more there are behind the last one. */
  readonly remaining: number;
}

export interface RangeQuery {
  readonly prefix: string;
  readonly revision: number;
  readonly startKey?: string;
  /** 0: no limit. */
  readonly limit?: number;
}

interface KeyEntry {
  readonly key: string;
  newest: Version;
}

export class RevisionIndex {
  readonly #keys = new Map<string, KeyEntry>();
  /** Made when first asked for: sorting once is quicker than adding what start-up reads. */
  #order: SortedEntries<KeyEntry> | undefined;
  /** Versions newer than the compaction mark, by revision. */
  readonly #history = new Map<number, Version>();
  /** Revisions at or below the mark that nothing can ask for any more. */
  #garbage: number[] = [];
  #currentRevision = 0;
  #compactedRevision: number;
  /** How far the history was searched for garbage. */
  #sweptRevision: number;

  constructor(compactedRevision = 0) {
    this.#compactedRevision = compactedRevision;
    this.#sweptRevision = compactedRevision;
    this.#currentRevision = compactedRevision;
  }

  get currentRevision(): number {
    return this.#currentRevision;
  }

  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  /** Adds the next write: a commit, or a row read from disk, in order of revision. */
  add(write: { key: string; revision: number; createRevision: number; isDelete: boolean }): void {
    const { key, revision } = write;
    const previous = this.#keys.get(key)?.newest;
    const version: Version = { ...write, previous };
    if (revision <= this.#compactedRevision) return this.#addCompacted(version);
    assert(revision === this.#currentRevision + 1, `revision ${revision} follows without a gap`);
    assert(revision <= Number.MAX_SAFE_INTEGER, 'revisions are exact numbers');
    this.#setNewest(version);
    this.#history.set(revision, version);
    this.#currentRevision = revision;
  }

  /** A row from before the mark: what it replaced is left over from a compaction cut short. */
  #addCompacted(version: Version): void {
    const { previous } = version;
    if (previous !== undefined) this.#garbage.push(previous.revision);
    version.previous = undefined;
    this.#setNewest(version);
    if (!version.isDelete) return;
    this.#garbage.push(version.revision);
    this.#remove(version.key);
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

  #remove(key: string): void {
    this.#keys.delete(key);
    this.#order?.delete(key);
  }

  /** The write made at this revision; undefined when compacted or not there yet. */
  at(revision: number): Version | undefined {
    return this.#history.get(revision);
  }

  /** The key's version as of `revision`; undefined when it did not exist then. */
  find(key: string, revision = this.#currentRevision): Version | undefined {
    return visibleAt(this.#keys.get(key)?.newest, revision);
  }

  range(query: RangeQuery): VersionRange {
    const { prefix, revision, limit = 0, startKey = prefix } = query;
    const versions: Version[] = [];
    let remaining = 0;
    const start = compareKeys(startKey, prefix) < 0 ? prefix : startKey;
    this.#sorted().visitFrom(start, ({ key, newest }) => {
      if (!key.startsWith(prefix)) return false;
      const version = visibleAt(newest, revision);
      if (version === undefined) return true;
      if (limit > 0 && versions.length >= limit) remaining++;
      else versions.push(version);
      return true;
    });
    return { versions, remaining };
  }

  count(prefix: string): number {
    let count = 0;
    this.#sorted().visitFrom(prefix, ({ key, newest }) => {
      if (!key.startsWith(prefix)) return false;
      if (!newest.isDelete) count++;
      return true;
    });
    return count;
  }

  /** From now on nothing at or before `revision` is answered for; `takeGarbage` does the rest. */
  setCompacted(revision: number): void {
    assert(revision <= this.#currentRevision, 'only the past is compacted');
    this.#compactedRevision = Math.max(this.#compactedRevision, revision);
  }

  /** The next slice: up to `countMax` revisions whose rows may be removed. */
  takeGarbage(countMax: number): {
    readonly revisions: readonly number[];
    readonly isLast: boolean;
  } {
    const end = Math.min(this.#compactedRevision, this.#sweptRevision + sweptPerSlice);
    while (this.#garbage.length < countMax && this.#sweptRevision < end)
      this.#sweep(++this.#sweptRevision);
    const revisions = this.#garbage.slice(0, countMax);
    this.#garbage = this.#garbage.slice(countMax);
    const isSwept = this.#sweptRevision === this.#compactedRevision;
    return { revisions, isLast: isSwept && this.#garbage.length === 0 };
  }

  /** Puts back what could not be removed. */
  returnGarbage(revisions: readonly number[]): void {
    this.#garbage = [...revisions, ...this.#garbage];
  }

  #sweep(revision: number): void {
    const version = this.#history.get(revision);
    assert(version !== undefined, `revision ${revision} is in the history`);
    const { previous } = version;
    // A tombstone was garbage already when its own revision was swept.
    if (previous !== undefined && !previous.isDelete) this.#garbage.push(previous.revision);
    version.previous = undefined;
    this.#history.delete(revision);
    if (!version.isDelete) return;
    this.#garbage.push(revision);
    if (this.#keys.get(version.key)?.newest === version) this.#remove(version.key);
  }
}

function visibleAt(newest: Version | undefined, revision: number): Version | undefined {
  let version = newest;
  while (version !== undefined && version.revision > revision) version = version.previous;
  return version === undefined || version.isDelete ? undefined : version;
}
