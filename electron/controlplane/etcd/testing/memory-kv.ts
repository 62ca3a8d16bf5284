// A Kv in memory, for tests of what serves one: every version of every key in a list, read from end
// to end. No persistence, no group, no bounds; leases end by the clock it is given.
import { assert, unreachable } from '#kube/base/assert.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type {
  Command,
  CommandFailure,
  CommandResult,
  Compare,
  KeyRange,
  Kv,
  KvEvent,
  KvWatch,
  KvWatchBatch,
  Operation,
  OperationResult,
  RangeOperation,
  RangeResult,
  Row,
} from '../../store/commands.ts';
import { CompactedError, FutureRevisionError, UnavailableError } from '../../store/store.ts';
import { contains } from '../operations.ts';

interface Lease {
  readonly ttlSeconds: number;
  dueMs: number;
  timer: Timer | undefined;
}

class Failed extends Error {
  readonly failure: CommandFailure;
  constructor(failure: CommandFailure) {
    super(failure);
    this.failure = failure;
  }
}

export class MemoryKv implements Kv {
  #events: KvEvent[] = [];
  #rows = new Map<string, Row>();
  #revision = 0;
  #compacted = 0;
  readonly #leases = new Map<number, Lease>();
  readonly #watches = new Set<Watch>();
  readonly #clock: Clock;
  /** Thrown by what is asked next, while set. */
  failure: Error | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  range(operation: RangeOperation): Promise<RangeResult & { readonly revision: number }> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    try {
      const result = this.#range(operation);
      return Promise.resolve({ ...result, revision: operation.revision || this.#revision });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  write(command: Command): Promise<CommandResult> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return Promise.resolve(this.#apply(command));
  }

  watch(range: KeyRange, afterRevision: number): KvWatch {
    const watch = new Watch(this, range, afterRevision, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    return watch;
  }

  get watchCount(): number {
    return this.#watches.size;
  }

  /** From `after` on. */
  since(range: KeyRange, after: number): KvEvent[] {
    if (after < this.#compacted) throw new CompactedError(after, this.#compacted);
    return this.#events.filter(({ row }) => row.modRevision > after && contains(range, row.key));
  }

  keepLease(id: number): Promise<{ readonly ttlSeconds: number } | undefined> {
    const lease = this.#leases.get(id);
    if (lease !== undefined) this.#arm(id, lease);
    return Promise.resolve(lease);
  }

  lease(id: number) {
    const lease = this.#leases.get(id);
    if (lease === undefined) return Promise.resolve(undefined);
    const remainingSeconds = (lease.dueMs - this.#clock.monotonicMs()) / 1000;
    const keys = Array.from(this.#rows.values())
      .filter((row) => row.lease === id)
      .map((row) => row.key);
    return Promise.resolve({ id, ttlSeconds: lease.ttlSeconds, remainingSeconds, keys });
  }

  leases(): Promise<readonly number[]> {
    return Promise.resolve(Array.from(this.#leases.keys()));
  }

  currentRevision(): number {
    return this.#revision;
  }

  compactedRevision(): number {
    return this.#compacted;
  }

  hash(revision: number) {
    return { hash: this.#events.length, revision: revision || this.#revision };
  }

  size() {
    return { totalBytes: 8192, usedBytes: 4096 };
  }

  #range(operation: RangeOperation): RangeResult {
    const { revision, sort, limit } = operation;
    if (revision > this.#revision) throw new FutureRevisionError(revision, this.#revision);
    if (revision > 0 && revision < this.#compacted)
      throw new CompactedError(revision, this.#compacted);
    const all = this.#rowsAt(revision).filter((row) => contains(operation.range, row.key));
    const { modRevisionMin = 0, modRevisionMax = Infinity } = operation;
    const { createRevisionMin = 0, createRevisionMax = Infinity } = operation;
    let rows = all.filter(
      (row) =>
        row.modRevision >= modRevisionMin &&
        row.modRevision <= modRevisionMax &&
        row.createRevision >= createRevisionMin &&
        row.createRevision <= createRevisionMax,
    );
    rows.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    if (sort !== undefined) {
      rows.sort((a, b) => order(columnOf(a, sort.by), columnOf(b, sort.by)));
      if (sort.isDescending) rows.reverse();
    }
    const hasMore = limit > 0 && rows.length > limit;
    if (hasMore) rows = rows.slice(0, limit);
    if (operation.keysOnly === true)
      rows = rows.map((row) => ({ ...row, value: new Uint8Array() }));
    if (operation.countOnly === true) rows = [];
    return { type: 'range', rows, count: all.length, hasMore };
  }

  #rowsAt(revision: number): Row[] {
    if (revision === 0) return Array.from(this.#rows.values());
    const rows = new Map<string, Row>();
    for (const { type, row } of this.#events) {
      if (row.modRevision > revision) break;
      if (type === 'put') rows.set(row.key, row);
      else rows.delete(row.key);
    }
    return Array.from(rows.values());
  }

  #apply(command: Command): CommandResult {
    const before = { rows: new Map(this.#rows), events: this.#events.length };
    const next = this.#revision + 1;
    try {
      const result = this.#execute(command, next);
      if (this.#events.length > before.events) this.#revision = next;
      for (const watch of this.#watches) watch.pump();
      return { ...result, revision: this.#revision };
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      this.#rows = before.rows;
      this.#events.length = before.events;
      return { type: 'failed', failure: error.failure, revision: this.#revision };
    }
  }

  #execute(command: Command, next: number): CommandResult {
    const revision = next;
    switch (command.type) {
      case 'txn':
        return { ...this.#txn(command, next), revision };
      case 'put-if':
      case 'delete-if': {
        const { key, expectedRevision } = command;
        const row = this.#rows.get(key);
        const isOk = (row?.modRevision ?? 0) === expectedRevision;
        if (isOk && command.type === 'put-if')
          this.#put({ key, value: command.value, lease: 0, revision: next });
        else if (isOk && row !== undefined) this.#delete(row, next);
        return { type: 'write', isOk, revision, row: isOk ? this.#rows.get(key) : row };
      }
      case 'compact':
        if (command.revision > this.#revision) throw new Failed('future-revision');
        if (command.revision <= this.#compacted) throw new Failed('compacted');
        this.#compacted = command.revision;
        return { type: 'done', revision };
      case 'lease-grant':
        if (this.#leases.has(command.id)) throw new Failed('lease-exists');
        this.#arm(command.id, { ttlSeconds: command.ttlSeconds, dueMs: 0, timer: undefined });
        return { type: 'done', revision };
      case 'lease-revoke':
        if (!this.#leases.delete(command.id)) throw new Failed('lease-not-found');
        for (const row of this.#rows.values())
          if (row.lease === command.id) this.#delete(row, next);
        return { type: 'done', revision };
      case 'lease-keep': {
        const lease = this.#leases.get(command.id);
        if (lease === undefined) throw new Failed('lease-not-found');
        this.#arm(command.id, lease);
        return { type: 'done', revision };
      }
      default:
        return unreachable(command);
    }
  }

  #arm(id: number, lease: Lease): void {
    lease.timer?.cancel();
    lease.dueMs = this.#clock.monotonicMs() + lease.ttlSeconds * 1000;
    lease.timer = this.#clock.timer(lease.ttlSeconds * 1000, () => {
      this.#apply({ type: 'lease-revoke', id });
    });
    this.#leases.set(id, lease);
  }

  #txn(
    txn: Pick<Extract<Operation, { type: 'txn' }>, 'compares' | 'success' | 'failure'>,
    next: number,
  ): Extract<OperationResult, { type: 'txn' }> {
    const isSuccess = txn.compares.every((compare) => this.#holds(compare));
    const operations = isSuccess ? txn.success : txn.failure;
    const results = operations.map((operation) => this.#operate(operation, next));
    return { type: 'txn', isSuccess, results };
  }

  #operate(operation: Operation, next: number): OperationResult {
    switch (operation.type) {
      case 'range':
        return this.#range(operation);
      case 'put': {
        const { key, wantsPrevious, keepsValue, keepsLease } = operation;
        const previous = this.#rows.get(key);
        if (previous === undefined && (keepsValue === true || keepsLease === true))
          throw new Failed('key-not-found');
        const value = keepsValue === true ? previous?.value : operation.value;
        const lease = keepsLease === true ? previous?.lease : operation.lease;
        assert(value !== undefined && lease !== undefined, 'there is something to keep');
        if (lease !== 0 && !this.#leases.has(lease)) throw new Failed('lease-not-found');
        this.#put({ key, value, lease, revision: next });
        return wantsPrevious === true && previous !== undefined
          ? { type: 'put', previous }
          : { type: 'put' };
      }
      case 'delete': {
        const rows = Array.from(this.#rows.values()).filter((row) =>
          contains(operation.range, row.key),
        );
        for (const row of rows) this.#delete(row, next);
        const previous = operation.wantsPrevious === true ? rows : [];
        return { type: 'delete', deleted: rows.length, previous };
      }
      case 'txn':
        return this.#txn(operation, next);
      default:
        return unreachable(operation);
    }
  }

  #put(put: { key: string; value: Uint8Array; lease: number; revision: number }): void {
    const { key, value, lease, revision } = put;
    const previous = this.#rows.get(key);
    const createRevision = previous?.createRevision ?? revision;
    const version = (previous?.version ?? 0) + 1;
    const row = { key, value, lease, createRevision, modRevision: revision, version };
    this.#rows.set(key, row);
    this.#events.push({ type: 'put', row, previous });
  }

  #delete(row: Row, revision: number): void {
    this.#rows.delete(row.key);
    this.#events.push({ type: 'delete', row: { ...row, modRevision: revision }, previous: row });
  }

  #holds({ range, target, relation, operand }: Compare): boolean {
    const found = Array.from(this.#rows.values()).filter((row) => contains(range, row.key));
    if (found.length === 0 && target === 'value') return false;
    const columns = found.length === 0 ? [0] : found.map((row) => columnOf(row, target));
    return columns.every((column) => {
      const compared = order(column, typeof operand === 'number' ? operand : hex(operand));
      if (relation === 'equal') return compared === 0;
      if (relation === 'not-equal') return compared !== 0;
      return relation === 'greater' ? compared > 0 : compared < 0;
    });
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function columnOf(row: Row, by: Compare['target'] | 'key'): number | string {
  if (by === 'key') return row.key;
  if (by === 'value') return hex(row.value);
  if (by === 'create') return row.createRevision;
  if (by === 'mod') return row.modRevision;
  return by === 'lease' ? row.lease : row.version;
}

function order(a: number | string, b: number | string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

class Watch implements KvWatch {
  readonly #kv: MemoryKv;
  readonly #range: KeyRange;
  #after: number;
  #isProgressWanted = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  readonly #onClose: () => void;

  constructor(kv: MemoryKv, range: KeyRange, after: number, onClose: () => void) {
    this.#onClose = onClose;
    this.#kv = kv;
    this.#range = range;
    this.#after = after;
  }

  requestProgress(): void {
    this.#isProgressWanted = true;
    this.pump();
  }

  close(): void {
    this.#isClosed = true;
    this.#onClose();
    this.pump();
  }

  pump(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<KvWatchBatch> {
    while (!this.#isClosed) {
      if (this.#kv.failure !== undefined) throw new UnavailableError('the store is closed');
      const events = this.#kv.since(this.#range, this.#after);
      const revision = this.#kv.currentRevision();
      const isDue = this.#isProgressWanted && revision >= this.#after;
      if (events.length > 0 || isDue) {
        if (events.length === 0) this.#isProgressWanted = false;
        this.#after = Math.max(this.#after, revision);
        yield { revision, events };
      } else await new Promise<void>((resolve) => void (this.#wake = resolve));
    }
  }
}
