// A store that lays values below some prefixes down encrypted, each bound to its key, in front of
// another. What was written in the clear before stays readable; `renew` writes it anew.
// Below it (log, database, snapshots, backups, peers) nobody sees those values.
import type { SealingKeys } from '#platform/sealing-keys.ts';
import { SealedValueError } from '#platform/sealing-keys.ts';
import type {
  GetResult,
  KeyValue,
  ListOptions,
  ListResult,
  PutOptions,
  Store,
  StoreWatch,
  TxnWrite,
  WatchBatch,
  WriteResult,
} from './store.ts';

export interface EncryptedStoreDeps {
  readonly inner: Store;
  /** Of the keys whose values are encrypted. */
  readonly prefixes: readonly string[];
  readonly keys: SealingKeys;
  /** A value can't be opened. Its reader gets the error as well. */
  readonly onUnreadable: (error: SealedValueError) => void;
}

export class EncryptedStore implements Store {
  readonly #deps: EncryptedStoreDeps;
  readonly #inner: Store;

  constructor(deps: EncryptedStoreDeps) {
    this.#deps = deps;
    this.#inner = deps.inner;
  }

  currentRevision(options?: { readonly linearizable?: boolean }): Promise<number> {
    return this.#inner.currentRevision(options);
  }

  async get(key: string, revision?: number): Promise<GetResult> {
    const result = await this.#inner.get(key, revision);
    return this.#isSecret(key) ? { ...result, kv: this.#openRow(result.kv) } : result;
  }

  modRevision(key: string): Promise<number> {
    return this.#inner.modRevision(key);
  }

  async list(prefix: string, options?: ListOptions): Promise<ListResult> {
    const result = await this.#inner.list(prefix, options);
    if (!this.#holdsSecrets(prefix)) return result;
    return { ...result, items: result.items.map((kv) => this.#openRow(kv)) };
  }

  count(prefix: string): Promise<number> {
    return this.#inner.count(prefix);
  }

  async put(
    key: string,
    value: Uint8Array,
    expectedRevision: number,
    options?: PutOptions,
  ): Promise<WriteResult> {
    const sealed = this.#seal(key, value);
    const result = await this.#inner.put(key, sealed, expectedRevision, options);
    return sealed === value ? result : { ...result, kv: this.#openRow(result.kv) };
  }

  async delete(key: string, expectedRevision: number): Promise<WriteResult> {
    const result = await this.#inner.delete(key, expectedRevision);
    return this.#isSecret(key) ? { ...result, kv: this.#openRow(result.kv) } : result;
  }

  txn(writes: readonly TxnWrite[]): Promise<{ readonly ok: boolean; readonly revision: number }> {
    return this.#inner.txn(
      writes.map((write) =>
        write.value instanceof Uint8Array
          ? { ...write, value: this.#seal(write.key, write.value) }
          : write,
      ),
    );
  }

  watch(prefix: string, afterRevision: number): StoreWatch {
    const watch = this.#inner.watch(prefix, afterRevision);
    if (!this.#holdsSecrets(prefix)) return watch;
    const open = (batch: WatchBatch): WatchBatch => ({
      ...batch,
      events: batch.events.map((event) => ({
        ...event,
        kv: this.#openRow(event.kv),
        previous: this.#openRow(event.previous),
      })),
    });
    return {
      requestProgress: () => watch.requestProgress(),
      close: () => watch.close(),
      async *[Symbol.asyncIterator]() {
        for await (const batch of watch) yield open(batch);
      },
    };
  }

  compact(revision: number): Promise<void> {
    return this.#inner.compact(revision);
  }

  compactedRevision(): number {
    return this.#inner.compactedRevision();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /**
   * Writes anew what lies in the clear or under an older key, until `signal` aborts. Resolves to
   * how many there were. Whoever is faster has written with the present key anyhow.
   */
  async renew(signal: AbortSignal): Promise<number> {
    const { prefixes, keys } = this.#deps;
    let count = 0;
    for (const prefix of prefixes) {
      const { items } = await this.#inner.list(prefix);
      for (const kv of items) {
        if (signal.aborted) return count;
        if (keys.isCurrent(kv.value)) continue;
        const { ok } = await this.put(kv.key, this.#openRow(kv).value, kv.modRevision);
        if (ok) count += 1;
      }
    }
    return count;
  }

  #isSecret(key: string): boolean {
    return this.#deps.prefixes.some((prefix) => key.startsWith(prefix));
  }

  #holdsSecrets(prefix: string): boolean {
    return this.#deps.prefixes.some((one) => one.startsWith(prefix) || prefix.startsWith(one));
  }

  #seal(key: string, value: Uint8Array): Uint8Array {
    return this.#isSecret(key) ? this.#deps.keys.seal(value, key) : value;
  }

  #openRow<T extends KeyValue | undefined>(kv: T): T {
    if (kv === undefined || !this.#isSecret(kv.key)) return kv;
    return { ...kv, value: this.#open(kv) };
  }

  #open({ key, value: sealed }: KeyValue): Uint8Array {
    const { keys, onUnreadable } = this.#deps;
    if (!keys.isSealed(sealed)) return sealed;
    try {
      return keys.open(sealed, key);
    } catch (error) {
      if (error instanceof SealedValueError) onUnreadable(error);
      throw error;
    }
  }
}
