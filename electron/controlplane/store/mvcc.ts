// The state itself: what each command does to keys, history, leases and hashes, and reads at any
// revision. Deterministic: no clock, randomness or locale; the same commands give the same state
// and results on every member. It fills the tail and never writes to storage.
// One revision for each command that writes, whatever the number of keys.
// Source: etcd server/storage/mvcc, server/etcdserver/apply (what each operation means).
import { assert, unreachable } from '#kube/base/assert.ts';
import type {
  ByteKey,
  Command,
  CommandFailure,
  CommandResult,
  KvEvent,
  LeaseDue,
  RangeOperation,
  RangeResult,
  Row,
} from './commands.ts';
import { LeaseTable } from './leases.ts';
import { RevisionIndex, type Version, type VersionHead } from './revision-index.ts';
import { chainHash, rowChecksum, type RowStorage, type StateMeta } from './rows.ts';
import { Tail } from './tail.ts';
import { runTxn } from './transaction.ts';

/** A row of storage is not what was written. Its message says where and what to do. */
export class DamagedRowError extends Error {
  override readonly name = 'DamagedRowError';
}

export class Mvcc {
  readonly index: RevisionIndex;
  readonly leases = new LeaseTable();
  readonly tail = new Tail();
  readonly #storage: RowStorage;
  #nextRow = 1;
  #hash: number;
  #compactedHash: number;
  /** Written since they were taken last. */
  #written: Version[] = [];

  private constructor(storage: RowStorage, index: RevisionIndex, meta: StateMeta) {
    this.#storage = storage;
    this.index = index;
    this.#hash = meta.hash;
    this.#compactedHash = meta.compactedHash;
  }

  /** The state that storage holds. Throws what storage throws. */
  static load(storage: RowStorage): { readonly mvcc: Mvcc; readonly meta: StateMeta } {
    const rows: VersionHead[] = [];
    const meta = storage.load((row) => rows.push(row));
    const index = new RevisionIndex(meta.compactedRevision);
    for (const row of rows) index.add(row);
    const isWhole = index.currentRevision === meta.revision;
    assert(isWhole, `${storage.place} ends at its own revision`);
    const mvcc = new Mvcc(storage, index, meta);
    mvcc.#nextRow = (rows.at(-1)?.row ?? 0) + 1;
    for (const { id, ttlSeconds, keptAt = 0 } of meta.leases)
      mvcc.leases.grant(id, ttlSeconds, keptAt);
    if (meta.leases.length > 0)
      index.visit({ key: '', end: '\0' }, meta.revision, (version) =>
        mvcc.leases.move(version.key, undefined, version),
      );
    return { mvcc, meta };
  }

  /** `at`: the entry it stands in. */
  apply(command: Command | undefined, at: EntryPosition = nowhere): CommandResult {
    if (command === undefined) return this.#failed('unknown-command');
    switch (command.type) {
      case 'put-if':
        return this.#putIf(command.key, command.value, command.expectedRevision);
      case 'delete-if':
        return this.#deleteIf(command.key, command.expectedRevision);
      case 'txn': {
        const result = runTxn(this, command);
        if (typeof result === 'string') return this.#failed(result);
        return { ...result, revision: this.index.currentRevision };
      }
      case 'compact':
        return this.#compact(command.revision);
      case 'lease-grant':
        if (this.leases.get(command.id) !== undefined) return this.#failed('lease-exists');
        this.leases.grant(command.id, command.ttlSeconds, at.index);
        return this.#done();
      case 'lease-revoke':
        return this.#revoke(command.id, command.due, at.term);
      case 'lease-keep':
        return this.leases.keep(command.id, at.index)
          ? this.#done()
          : this.#failed('lease-not-found');
      case 'hash-claim':
        return this.#done();
      default:
        return unreachable(command);
    }
  }

  #putIf(key: ByteKey, value: Uint8Array, expectedRevision: number): CommandResult {
    const before = this.index.find(key);
    if ((before?.revision ?? 0) !== expectedRevision) return this.#refused(before);
    const revision = this.index.currentRevision + 1;
    const head = this.put({ key, value, lease: 0, before, revision });
    return { type: 'write', isOk: true, revision, row: rowOf(head, value) };
  }

  #deleteIf(key: ByteKey, expectedRevision: number): CommandResult {
    const before = this.index.find(key);
    // A delete of nothing changes nothing, so it is no revision.
    if (before === undefined || before.revision !== expectedRevision) return this.#refused(before);
    const row = this.row(before);
    const revision = this.index.currentRevision + 1;
    this.delete(before, revision);
    return { type: 'write', isOk: true, revision, row };
  }

  #refused(present: Version | undefined): CommandResult {
    const row = present && this.row(present);
    return { type: 'write', isOk: false, revision: this.index.currentRevision, row };
  }

  #compact(revision: number): CommandResult {
    const { currentRevision, compactedRevision } = this.index;
    if (revision > currentRevision) return this.#failed('future-revision');
    if (revision <= compactedRevision) return this.#failed('compacted');
    this.#compactedHash = this.hashAt(revision);
    this.index.setCompacted(revision);
    return this.#done();
  }

  #revoke(id: number, due: LeaseDue | undefined, term: number): CommandResult {
    const lease = this.leases.get(id);
    if (lease === undefined) return this.#failed('lease-not-found');
    if (due !== undefined && (due.term !== term || due.keptAt !== lease.keptAt))
      return this.#failed('lease-kept');
    const revision = this.index.currentRevision + 1;
    for (const key of Array.from(lease.keys).toSorted(byUnits)) {
      const version = this.index.find(key);
      assert(version?.lease === id, 'a key of a lease hangs on it');
      this.delete(version, revision);
    }
    this.leases.revoke(id);
    return this.#done();
  }

  #done(): CommandResult {
    return { type: 'done', revision: this.index.currentRevision };
  }

  #failed(failure: CommandFailure): CommandResult {
    return { type: 'failed', failure, revision: this.index.currentRevision };
  }

  /** Writes a version. `before`: the key's present one. */
  put(write: {
    readonly key: ByteKey;
    readonly value: Uint8Array;
    readonly lease: number;
    readonly before: Version | undefined;
    readonly revision: number;
  }): VersionHead {
    const { key, value, lease, before, revision } = write;
    const createRevision = before?.createRevision ?? revision;
    const version = (before?.version ?? 0) + 1;
    const row = this.#nextRow++;
    return this.#add({ key, revision, row, createRevision, version, lease }, before, value);
  }

  /** Writes a tombstone over the key's present version. */
  delete(before: Version, revision: number): void {
    const { key, createRevision } = before;
    const row = this.#nextRow++;
    this.#add({ key, revision, row, createRevision, version: 0, lease: 0 }, before, undefined);
  }

  #add(head: VersionHead, before: Version | undefined, value: Uint8Array | undefined): VersionHead {
    const version = this.index.add(head);
    const checksum = rowChecksum(head, value);
    this.#hash = chainHash(this.#hash, checksum);
    this.tail.add({ ...head, value, checksum, hash: this.#hash });
    this.leases.move(head.key, before, head);
    this.#written.push(version);
    return head;
  }

  /** What was written since the last call, in order. */
  takeWritten(): readonly Version[] {
    const written = this.#written;
    if (written.length > 0) this.#written = [];
    return written;
  }

  /** Up to `countMax` rows that were compacted leave the tail, or are to leave storage. */
  dropGarbage(countMax: number): { readonly isLast: boolean } {
    const { rows, isLast } = this.index.takeGarbage(countMax);
    for (const row of rows) this.tail.drop(row);
    return { isLast };
  }

  /** As of `revision`, or now. The caller has checked that it is neither compacted nor to come. */
  range(operation: RangeOperation): RangeResult {
    const { range, limit, keysOnly, countOnly, sort } = operation;
    const revision = operation.revision > 0 ? operation.revision : this.index.currentRevision;
    const isPlain = sort === undefined && !hasBounds(operation);
    const found: Version[] = [];
    let count = 0;
    this.index.visit(range, revision, (version) => {
      count++;
      if (countOnly === true) return;
      if (isPlain && limit > 0 && found.length > limit) return;
      if (isPlain || isWithin(version, operation)) found.push(version);
    });
    const needsValues = keysOnly !== true || sort?.by === 'value';
    const hasMore = limit > 0 && found.length > limit;
    if (isPlain && hasMore) found.length = limit;
    let rows = found.map((version) => (needsValues ? this.row(version) : rowOf(version, noValue)));
    if (sort !== undefined) rows = rows.toSorted(comparison(sort));
    if (hasMore) rows.length = limit;
    if (keysOnly === true) rows = rows.map((row) => ({ ...row, value: noValue }));
    return { type: 'range', rows, count, hasMore };
  }

  row(version: VersionHead): Row {
    return rowOf(version, this.value(version));
  }

  /** Throws DamagedRowError, and what storage throws. */
  value(version: VersionHead): Uint8Array {
    const waiting = this.tail.get(version.row);
    if (waiting !== undefined) return waiting.value ?? noValue;
    const { value, checksum } = this.#storage.value(version.row);
    if (checksum !== rowChecksum(version, value))
      throw new DamagedRowError(
        `The database ${this.#storage.place} is damaged: revision ${version.revision} is not ` +
          'what was written. Put a backup in its place, or take this member out of the cluster ' +
          'and let it join again with an empty data directory.',
      );
    return value;
  }

  /** The event of one write. Its own and the previous row must not be compacted. */
  event(version: Version): KvEvent {
    const before = version.previous;
    const previous = before === undefined || before.version === 0 ? undefined : this.row(before);
    if (version.version > 0) return { type: 'put', row: this.row(version), previous };
    return { type: 'delete', row: rowOf(version, previous?.value ?? noValue), previous };
  }

  /** Of history up to `revision`, which is not compacted away nor to come. */
  hashAt(revision: number): number {
    if (revision === this.index.currentRevision) return this.#hash;
    if (revision === this.index.compactedRevision) return this.#compactedHash;
    const { row } = this.index.lastOf(revision);
    return this.tail.get(row)?.hash ?? this.#storage.hash(row);
  }

  /** What storage is to hold besides rows. */
  meta(
    of: Pick<StateMeta, 'applied' | 'clusterId' | 'ancestors' | 'damage' | 'installedIndex'>,
  ): StateMeta {
    const { currentRevision, compactedRevision } = this.index;
    const leases = this.leases.ids.map((id) => {
      const { ttlSeconds = 0, keptAt = 0 } = this.leases.get(id) ?? {};
      return { id, ttlSeconds, keptAt };
    });
    return {
      ...of,
      revision: currentRevision,
      compactedRevision,
      compactedHash: this.#compactedHash,
      hash: this.#hash,
      leases,
    };
  }
}

interface EntryPosition {
  readonly index: number;
  readonly term: number;
}

const nowhere: EntryPosition = { index: 0, term: 0 };
const noValue = new Uint8Array();

function rowOf(head: VersionHead, value: Uint8Array): Row {
  const { key, createRevision, revision, version, lease } = head;
  return { key, value, createRevision, modRevision: revision, version, lease };
}

function byUnits(a: ByteKey, b: ByteKey): number {
  return a < b ? -1 : Number(a > b);
}

function hasBounds(operation: RangeOperation): boolean {
  const { modRevisionMin, modRevisionMax, createRevisionMin, createRevisionMax } = operation;
  const bounds = [modRevisionMin, modRevisionMax, createRevisionMin, createRevisionMax];
  return bounds.some((bound) => bound !== undefined);
}

function isWithin({ revision, createRevision }: Version, bounds: RangeOperation): boolean {
  const { modRevisionMin = 0, modRevisionMax = Infinity } = bounds;
  const { createRevisionMin = 0, createRevisionMax = Infinity } = bounds;
  return (
    revision >= modRevisionMin &&
    revision <= modRevisionMax &&
    createRevision >= createRevisionMin &&
    createRevision <= createRevisionMax
  );
}

/** Rows that are equal stay in the order of keys, whichever the direction. */
function comparison(sort: NonNullable<RangeOperation['sort']>): (a: Row, b: Row) => number {
  const direction = sort.isDescending ? -1 : 1;
  return (a, b) => direction * compareBy(sort.by, a, b);
}

function compareBy(by: NonNullable<RangeOperation['sort']>['by'], a: Row, b: Row): number {
  switch (by) {
    case 'key':
      return byUnits(a.key, b.key);
    case 'version':
      return a.version - b.version;
    case 'create':
      return a.createRevision - b.createRevision;
    case 'mod':
      return a.modRevision - b.modRevision;
    case 'value':
      return Buffer.compare(a.value, b.value);
    default:
      return unreachable(by);
  }
}
