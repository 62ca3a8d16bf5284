// Store over any Kv: Unicode keys for byte keys, prefixes for ranges, errors for failures. It holds
// nothing. Rows and events of plain keys are handed on as they are, without copies.
import { assert } from '#kube/base/assert.ts';
import { byteKeyOf, prefixRange, textOfKey } from './byte-keys.ts';
import type {
  Command,
  CommandResult,
  Kv,
  KvEvent,
  KvWatch,
  RangeOperation,
  Row,
} from './commands.ts';
import {
  CompactedError,
  FutureRevisionError,
  UnavailableError,
  type GetResult,
  type KeyValue,
  type ListOptions,
  type ListResult,
  type PutOptions,
  type Store,
  type StoreEvent,
  type StoreWatch,
  type TxnWrite,
  type WatchBatch,
  type WriteResult,
} from './store.ts';

/** A Kv that can be closed, and asked to be as new as all others. */
export interface ClosableKv extends Kv {
  confirm(): Promise<void>;
  close(): Promise<void>;
}

export class KvStore implements Store {
  readonly #kv: ClosableKv;
  #isClosed = false;

  constructor(kv: ClosableKv) {
    this.#kv = kv;
  }

  async currentRevision(options: { readonly linearizable?: boolean } = {}): Promise<number> {
    if (this.#isClosed) throw new UnavailableError('the store is closed');
    if (options.linearizable === true) await this.#kv.confirm();
    return this.#kv.currentRevision();
  }

  async get(key: string, revision?: number): Promise<GetResult> {
    const found = await this.#range({ key: byteKeyOf(key) }, revision);
    const [row] = found.rows;
    return { kv: row && keyValueOf(row), revision: found.revision };
  }

  async modRevision(key: string): Promise<number> {
    const { rows } = await this.#range({ key: byteKeyOf(key) }, undefined, { keysOnly: true });
    return rows[0]?.modRevision ?? 0;
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    const range = prefixRange(byteKeyOf(prefix));
    const startKey = byteKeyOf(options.startKey ?? '');
    const from = startKey > range.key ? { ...range, key: startKey } : range;
    const { limit = 0 } = options;
    const found = await this.#range(from, options.revision, { limit });
    const remaining = found.count - found.rows.length;
    return { items: found.rows.map(keyValueOf), revision: found.revision, remaining };
  }

  async count(prefix: string): Promise<number> {
    const range = prefixRange(byteKeyOf(prefix));
    const { count } = await this.#range(range, undefined, { countOnly: true });
    return count;
  }

  async #range(
    range: RangeOperation['range'],
    revision: number | undefined,
    options: Pick<RangeOperation, 'countOnly' | 'keysOnly'> & { readonly limit?: number } = {},
  ): ReturnType<Kv['range']> {
    // Kv has no name for the empty beginning: 0 means now.
    if (revision === 0) return this.#beginning();
    return this.#kv.range({ type: 'range', limit: 0, ...options, range, revision: revision ?? 0 });
  }

  async #beginning(): ReturnType<Kv['range']> {
    if (this.#isClosed) throw new UnavailableError('the store is closed');
    const compacted = this.#kv.compactedRevision();
    if (compacted > 0) throw new CompactedError(0, compacted);
    return { type: 'range', rows: [], count: 0, hasMore: false, revision: 0 };
  }

  async put(
    key: string,
    value: Uint8Array,
    expectedRevision: number,
    options?: PutOptions,
  ): Promise<WriteResult> {
    return this.#write({ type: 'put-if', key: writable(key), value, expectedRevision }, options);
  }

  async delete(key: string, expectedRevision: number): Promise<WriteResult> {
    return this.#write({ type: 'delete-if', key: writable(key), expectedRevision });
  }

  async #write(command: Command, options?: PutOptions): Promise<WriteResult> {
    const result = await this.#kv.write(command, options);
    assert(result.type === 'write', 'an optimistic write is answered as one');
    const { isOk, revision, row } = result;
    return { ok: isOk, revision, kv: row && keyValueOf(row) };
  }

  async txn(writes: readonly TxnWrite[]): Promise<{ ok: boolean; revision: number }> {
    const keyed = writes.map((write) => ({ ...write, key: writable(write.key) }));
    const result = await this.#kv.write({
      type: 'txn',
      compares: keyed.map(({ key, expectedRevision }) => ({
        range: { key },
        target: 'mod',
        relation: 'equal',
        operand: expectedRevision,
      })),
      success: keyed.flatMap(({ key, value }) =>
        value === null
          ? { type: 'delete', range: { key } }
          : value === undefined
            ? []
            : { type: 'put', key, value, lease: 0 },
      ),
      failure: [],
    });
    if (result.type !== 'txn')
      throw new TypeError(`a transaction was refused: ${reasonOf(result)}`);
    return { ok: result.isSuccess, revision: result.revision };
  }

  watch(prefix: string, afterRevision: number): StoreWatch {
    return storeWatch(this.#kv.watch(prefixRange(byteKeyOf(prefix)), afterRevision));
  }

  async compact(revision: number): Promise<void> {
    const result = await this.#kv.write({ type: 'compact', revision });
    if (result.type !== 'failed' || result.failure === 'compacted') return;
    if (result.failure === 'future-revision')
      throw new FutureRevisionError(revision, result.revision);
    throw new Error(`a compaction was refused: ${result.failure}`);
  }

  compactedRevision(): number {
    return this.#kv.compactedRevision();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#kv.close();
  }
}

function writable(key: string): string {
  if (!key.isWellFormed()) throw new TypeError('a key must be well-formed Unicode');
  return byteKeyOf(key);
}

function reasonOf(result: CommandResult): string {
  return result.type === 'failed' ? result.failure : result.type;
}

/** The row itself where its key reads the same as text. */
function keyValueOf(row: Row): KeyValue {
  const key = textOfKey(row.key);
  return key === row.key ? row : { ...row, key };
}

function storeEvent(event: KvEvent): StoreEvent {
  const kv = keyValueOf(event.row);
  if (kv === event.row) return { type: event.type, kv, previous: event.previous };
  return { type: event.type, kv, previous: event.previous && keyValueOf(event.previous) };
}

function storeWatch(watch: KvWatch): StoreWatch {
  return {
    requestProgress: () => watch.requestProgress(),
    close: () => watch.close(),
    [Symbol.asyncIterator]: () => {
      const iterator = watch[Symbol.asyncIterator]();
      return {
        async next(): Promise<IteratorResult<WatchBatch, undefined>> {
          const next = await iterator.next();
          if (next.done === true) return { done: true, value: undefined };
          const { revision, events } = next.value;
          return { done: false, value: { revision, events: events.map(storeEvent) } };
        },
        async return(): Promise<IteratorResult<WatchBatch, undefined>> {
          watch.close();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
