// A Store whose state is a real etcd, for those whose cluster outgrew one of its own or who have
// etcd already. Nothing is kept here but what waits.
//
// Differs from the contract when others write to the same etcd: their writes count as revisions, so
// ours have gaps. Order, uniqueness and completeness hold all the same. Writes of one key go one
// after the other, since etcd does not keep the order in which they were asked for.
import type { Clock } from '#kube/base/clock.ts';
import {
  CompactedError,
  FutureRevisionError,
  UnavailableError,
  type GetResult,
  type ListOptions,
  type ListResult,
  type Store,
  type StoreWatch,
  type TxnWrite,
  type WriteResult,
} from '../store/store.ts';
import { defaultWatchLimits, type WatchLimits } from '../store/watch-hub.ts';
import { EtcdClient, fromEtcdRevision, toEtcdRevision } from './etcd-client.ts';
import { EtcdWatch } from './etcd-watch.ts';
import * as wire from './protocol.ts';
import { isRefusal } from './status.ts';

export interface EtcdStoreOptions {
  /** `https://host:port`, or `http://…` for plain text. At least one; tried in turn. */
  readonly endpoints: readonly string[];
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly clock: Clock;
  /** Everything is kept below it: one etcd can hold several clusters. */
  readonly prefix?: string;
  readonly watchLimits?: WatchLimits;
}

/** Connects when first asked, and again after a failure. */
export function openEtcdStore(options: EtcdStoreOptions): Store {
  return new EtcdStore(options);
}

const compareMod = 2;

class EtcdStore implements Store {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #limits: WatchLimits;
  readonly #watches = new Set<EtcdWatch>();
  /** The last write of each key that is being written. */
  readonly #writing = new Map<string, Promise<unknown>>();
  /** Ours; as far as it was told. */
  #compacted = 0;
  #isClosed = false;

  constructor({ prefix = '/flotilla', watchLimits, ...options }: EtcdStoreOptions) {
    this.#client = new EtcdClient({ ...options, prefix });
    this.#clock = options.clock;
    this.#limits = watchLimits ?? defaultWatchLimits;
  }

  async currentRevision(options: { readonly linearizable?: boolean } = {}): Promise<number> {
    this.#checkOpen();
    const serializable = options.linearizable !== true;
    const { header } = await this.#client.ask({ key: this.#client.key(''), serializable });
    return fromEtcdRevision(header?.revision ?? 0);
  }

  async get(key: string, revision?: number): Promise<GetResult> {
    const answer = await this.#read({ key: this.#client.key(key) }, revision);
    const [kv] = answer.kvs;
    return { kv: kv && this.#client.row(kv), revision: revision ?? revisionOf(answer) };
  }

  async modRevision(key: string): Promise<number> {
    const { kvs } = await this.#read({ key: this.#client.key(key), keys_only: true }, undefined);
    return kvs[0] === undefined ? 0 : this.#client.row(kvs[0]).modRevision;
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    const { revision, limit = 0, startKey } = options;
    const answer = await this.#read({ ...this.#client.range(prefix, startKey), limit }, revision);
    return {
      items: answer.kvs.map((kv) => this.#client.row(kv)),
      revision: revision ?? revisionOf(answer),
      remaining: answer.count - answer.kvs.length,
    };
  }

  async count(prefix: string): Promise<number> {
    const request = { ...this.#client.range(prefix), count_only: true };
    return (await this.#read(request, undefined)).count;
  }

  put(key: string, value: Uint8Array, expectedRevision: number): Promise<WriteResult> {
    return this.#inTurn([key], async () => {
      const etcdKey = this.#client.key(key);
      const put = wire.putRequest.make({ key: etcdKey, value });
      // The answer to a put does not tell when the key was created.
      const created = wire.rangeRequest.make({ key: etcdKey, keys_only: true });
      const expected = expectedOf(expectedRevision);
      const success = [{ request_put: put }, { request_range: created }];
      const answer = await this.#client.transact(writeIf(etcdKey, expected, success));
      if (!answer.succeeded) return this.#refused(answer);
      const found = answer.responses[1]?.response_range?.kvs[0];
      const kv = found && { ...this.#client.row(found), value };
      return { ok: true, revision: revisionOf(answer), kv };
    });
  }

  delete(key: string, expectedRevision: number): Promise<WriteResult> {
    return this.#inTurn([key], async () => {
      const etcdKey = this.#client.key(key);
      const request = wire.deleteRangeRequest.make({ key: etcdKey, prev_kv: true });
      // What must not exist can't be deleted: -1 is nobody's revision.
      const expected = expectedRevision === 0 ? -1 : toEtcdRevision(expectedRevision);
      const success = [{ request_delete_range: request }];
      const answer = await this.#client.transact(writeIf(etcdKey, expected, success));
      if (!answer.succeeded) return this.#refused(answer);
      const found = answer.responses[0]?.response_delete_range?.prev_kvs[0];
      const kv = found && this.#client.row(found);
      return { ok: true, revision: revisionOf(answer), kv };
    });
  }

  /** Of at most 128 keys, unless etcd was started with another `--max-txn-ops`. */
  txn(writes: readonly TxnWrite[]): Promise<{ readonly ok: boolean; readonly revision: number }> {
    const keys = writes.map(({ key }) => key);
    return this.#inTurn(keys, async () => {
      const answer = await this.#client.transact({
        compare: writes.map(({ key, expectedRevision }) =>
          modIs(this.#client.key(key), expectedOf(expectedRevision)),
        ),
        success: writes.flatMap(({ key, value }) => operationOf(this.#client.key(key), value)),
        failure: [],
      });
      return { ok: answer.succeeded, revision: revisionOf(answer) };
    });
  }

  watch(prefix: string, afterRevision: number): StoreWatch {
    const watch = new EtcdWatch({
      client: this.#client,
      clock: this.#clock,
      limits: this.#limits,
      range: this.#client.range(prefix),
      afterRevision,
      onClose: () => this.#watches.delete(watch),
      onCompacted: (revision) => this.#learnCompacted(revision),
    });
    this.#watches.add(watch);
    if (this.#isClosed) watch.fail(closedError());
    return watch;
  }

  async compact(revision: number): Promise<void> {
    this.#checkOpen();
    try {
      await this.#client.compact(toEtcdRevision(revision));
    } catch (error) {
      // Done before, by whoever.
      if (!isRefusal(error, 'compacted')) throw await this.#explained(error, revision);
    }
    this.#learnCompacted(revision);
  }

  compactedRevision(): number {
    return this.#compacted;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const watch of Array.from(this.#watches)) watch.fail(closedError());
    await Promise.allSettled(this.#writing.values());
    this.#client.close();
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError();
  }

  #learnCompacted(revision: number): void {
    this.#compacted = Math.max(this.#compacted, revision);
  }

  async #read(
    request: Partial<wire.RangeRequest>,
    revision: number | undefined,
  ): Promise<wire.RangeResponse> {
    this.#checkOpen();
    try {
      const at = revision === undefined ? 0 : toEtcdRevision(revision);
      return await this.#client.ask({ ...request, revision: at });
    } catch (error) {
      throw await this.#explained(error, revision ?? 0);
    }
  }

  /** With the revision that etcd's own error leaves out. */
  async #explained(error: unknown, revision: number): Promise<unknown> {
    if (isRefusal(error, 'compacted')) {
      this.#learnCompacted(fromEtcdRevision(await this.#client.compactedRevision()));
      return new CompactedError(revision, this.#compacted);
    }
    if (!isRefusal(error, 'futureRevision')) return error;
    return new FutureRevisionError(revision, await this.currentRevision());
  }

  #refused(answer: wire.TxnResponse): WriteResult {
    const found = answer.responses[0]?.response_range?.kvs[0];
    const kv = found && this.#client.row(found);
    return { ok: false, revision: revisionOf(answer), kv };
  }

  /** After the writes of these keys that were asked for before. */
  async #inTurn<T>(keys: readonly string[], write: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    const before = keys.flatMap((key) => this.#writing.get(key) ?? []);
    const mine = before.length === 0 ? write() : Promise.all(before).then(write);
    // Whether it succeeds is its caller's matter.
    const settled = mine.then(
      () => {},
      () => {},
    );
    for (const key of keys) this.#writing.set(key, settled);
    try {
      return await mine;
    } finally {
      for (const key of keys) if (this.#writing.get(key) === settled) this.#writing.delete(key);
    }
  }
}

function closedError(): UnavailableError {
  return new UnavailableError('the store is closed');
}

function revisionOf({ header }: wire.Headed): number {
  return fromEtcdRevision(header?.revision ?? 0);
}

function expectedOf(revision: number): number {
  return revision === 0 ? 0 : toEtcdRevision(revision);
}

function modIs(key: string, mod_revision: number): wire.Compare {
  return wire.compareMessage.make({ key, target: compareMod, mod_revision });
}

function operationOf(key: string, value: TxnWrite['value']): wire.RequestOp[] {
  if (value === undefined) return [];
  return value === null
    ? [{ request_delete_range: wire.deleteRangeRequest.make({ key }) }]
    : [{ request_put: wire.putRequest.make({ key, value }) }];
}

/** When the key is at `expected` (etcd's), these; else what the key is. */
function writeIf(
  key: string,
  expected: number,
  success: readonly wire.RequestOp[],
): wire.TxnRequest {
  const current = { request_range: wire.rangeRequest.make({ key }) };
  return { compare: [modIs(key, expected)], success, failure: [current] };
}
