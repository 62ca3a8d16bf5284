// A watch of a real etcd as the Store's contract wants it: whole revisions in order, deletes with
// what was deleted, progress. It connects when it is first read. A connection that breaks ends it:
// its reader lists again. A slow reader makes the server wait, which then reads history for it: it
// ends only when that is compacted.
//
// etcd before 3.4.25 and 3.5.8 tells progress ahead of the events it is about. There, what was told
// is compared with the state; should an event come late all the same, the watch ends.
import type { Clock, Timer } from '#kube/base/clock.ts';
import {
  CompactedError,
  UnavailableError,
  type StoreEvent,
  type StoreWatch,
  type WatchBatch,
} from '../store/store.ts';
import type { WatchLimits } from '../store/watch-hub.ts';
import { asStoreError, fromEtcdRevision, toEtcdRevision, type EtcdClient } from './etcd-client.ts';
import { GrpcError } from './grpc.ts';
import type { ClientStream } from './grpc-client.ts';
import * as wire from './protocol.ts';
import { isRefusal } from './status.ts';

/** What a watch asks of its etcd. */
export type WatchedEtcd = Pick<
  EtcdClient,
  'openWatch' | 'ask' | 'compactedRevision' | 'isProgressOrdered' | 'row'
>;

export interface EtcdWatchOptions {
  readonly client: WatchedEtcd;
  readonly clock: Clock;
  readonly limits: WatchLimits;
  readonly range: { readonly key: string; readonly range_end: string };
  readonly afterRevision: number;
  readonly onClose: () => void;
  readonly onCompacted: (revision: number) => void;
}

interface Reader {
  resolve(result: IteratorResult<WatchBatch, undefined>): void;
  reject(error: Error): void;
}

/** Progress that was not told yet is asked for again. */
const askAgainMs = 100;

export class EtcdWatch implements StoreWatch {
  readonly #options: EtcdWatchOptions;
  readonly #readers: Reader[] = [];
  #stream: ClientStream | undefined;
  /** The server watches, and nothing we asked for is compacted. */
  #isVerified = false;
  #buffer: StoreEvent[] = [];
  #bufferedBytes = 0;
  /** Everything up to here is delivered or in the buffer. */
  #position: number;
  #isProgressWanted = false;
  /** To be told behind what is in the buffer. */
  #isProgressDue = false;
  #timer: Timer | undefined;
  #error: Error | undefined;
  #isClosed = false;

  constructor(options: EtcdWatchOptions) {
    this.#options = options;
    this.#position = options.afterRevision;
  }

  requestProgress(): void {
    if (this.#isClosed) return;
    this.#isProgressWanted = true;
    if (this.#isVerified) this.#askProgress();
    else this.#open();
  }

  close(): void {
    this.#end();
    this.#pump();
  }

  fail(error: Error): void {
    if (this.#isClosed) return;
    this.#end();
    this.#error = error;
    this.#pump();
  }

  [Symbol.asyncIterator](): AsyncIterator<WatchBatch, undefined> {
    return {
      next: () =>
        new Promise((resolve, reject) => {
          this.#readers.push({ resolve, reject });
          if (!this.#isClosed) this.#open();
          this.#pump();
        }),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#buffer = [];
    this.#timer?.cancel();
    this.#stream?.cancel();
    this.#options.onClose();
  }

  #pump(): void {
    while (this.#readers.length > 0) {
      const batch = this.#isClosed ? undefined : this.#take();
      if (batch === undefined && !this.#isClosed) return;
      const reader = this.#readers.shift();
      const error = this.#error;
      this.#error = undefined;
      if (batch !== undefined) reader?.resolve({ done: false, value: batch });
      else if (error !== undefined) reader?.reject(error);
      else reader?.resolve({ done: true, value: undefined });
    }
  }

  #take(): WatchBatch | undefined {
    if (!this.#isVerified) return undefined;
    if (this.#buffer.length > 0) {
      const events = this.#buffer;
      this.#buffer = [];
      this.#bufferedBytes = 0;
      this.#stream?.resume();
      return { revision: events.at(-1)?.kv.modRevision ?? this.#position, events };
    }
    if (!this.#isProgressDue) return undefined;
    this.#isProgressDue = false;
    return { revision: this.#position, events: [] };
  }

  #open(): void {
    if (this.#stream !== undefined) return;
    try {
      this.#stream = this.#options.client.openWatch({
        message: (bytes) => this.#receive(wire.watchResponse.decode(bytes)),
        close: (error) =>
          this.fail(storeError(error ?? new UnavailableError('etcd ended the watch'))),
      });
    } catch (error) {
      return this.fail(storeError(error));
    }
    const create_request = wire.watchCreateRequest.make({
      ...this.#options.range,
      start_revision: toEtcdRevision(this.#options.afterRevision) + 1,
      prev_kv: true,
    });
    this.#stream.send(wire.watchRequest.encodeFrame(wire.watchRequest.make({ create_request })));
  }

  #receive(answer: wire.WatchResponse): void {
    if (this.#isClosed) return;
    const revision = fromEtcdRevision(answer.header?.revision ?? 0);
    if (answer.canceled) return this.#canceled(answer);
    if (answer.created) void this.#verify();
    else if (answer.events.length > 0) this.#accept(answer.events);
    else void this.#hearProgress(revision);
  }

  #canceled({ compact_revision, cancel_reason }: wire.WatchResponse): void {
    const { afterRevision, onCompacted } = this.#options;
    if (compact_revision === 0)
      return this.fail(new UnavailableError(`etcd ended the watch: ${cancel_reason}`));
    const compacted = fromEtcdRevision(compact_revision);
    onCompacted(compacted);
    this.fail(new CompactedError(afterRevision, compacted));
  }

  /**
   * etcd starts a watch at the very revision it compacted, whose deletes are gone. A read as of the
   * revision before tells.
   */
  async #verify(): Promise<void> {
    const { client, afterRevision, range, onCompacted } = this.#options;
    const revision = toEtcdRevision(afterRevision);
    try {
      await client.ask({ key: range.key, revision, count_only: true });
    } catch (error) {
      if (isRefusal(error, 'compacted')) {
        const found = await client.compactedRevision().catch(() => revision + 1);
        onCompacted(fromEtcdRevision(found));
        return this.fail(new CompactedError(afterRevision, fromEtcdRevision(found)));
      }
      // A revision that does not exist yet is waited for.
      if (!isRefusal(error, 'futureRevision')) return this.fail(storeError(error));
    }
    this.#isVerified = true;
    if (this.#isProgressWanted) this.#askProgress();
    this.#pump();
  }

  #accept(events: readonly wire.Event[]): void {
    for (const event of events) {
      const revision = fromEtcdRevision(event.kv?.mod_revision ?? 0);
      if (revision <= this.#options.afterRevision) continue;
      // Events of the same revision come together, so an older one is late.
      const told = this.#eventOf(event, revision);
      if (told === undefined || revision < this.#position || this.#isPast(revision))
        return this.fail(new UnavailableError(`etcd told of revision ${revision} too late`));
      this.#buffer.push(told);
      this.#bufferedBytes += told.kv.value.byteLength + (told.previous?.value.byteLength ?? 0);
    }
    this.#position = this.#buffer.at(-1)?.kv.modRevision ?? this.#position;
    this.#bound();
    this.#pump();
  }

  /** Whether progress was told up to it. */
  #isPast(revision: number): boolean {
    return this.#buffer.length === 0 && revision <= this.#position;
  }

  /** Goes on when the buffer is read. */
  #bound(): void {
    const { bufferedEventsMax, bufferedBytesMax } = this.#options.limits;
    if (this.#buffer.length > bufferedEventsMax || this.#bufferedBytes > bufferedBytesMax)
      this.#stream?.pause();
  }

  /** Undefined when what was there before is compacted. */
  #eventOf({ type, kv, prev_kv }: wire.Event, revision: number): StoreEvent | undefined {
    if (kv === undefined) return undefined;
    const { client } = this.#options;
    const previous = prev_kv && client.row(prev_kv);
    if (type === wire.eventTypes.delete)
      return previous && { type: 'delete', kv: { ...previous, modRevision: revision }, previous };
    if (previous === undefined && kv.create_revision !== kv.mod_revision) return undefined;
    return { type: 'put', kv: client.row(kv), previous };
  }

  /** Again until it is told: a server that is behind says nothing. */
  #askProgress(): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.timer(askAgainMs, () => this.#askProgress());
    const request = wire.watchRequest.make({ progress_request: {} });
    this.#stream?.send(wire.watchRequest.encodeFrame(request));
  }

  async #hearProgress(revision: number): Promise<void> {
    if (!this.#isProgressWanted) return;
    const isTrue = await this.#hasAllUpTo(revision).catch((error: unknown) => {
      this.fail(storeError(error));
      return false;
    });
    if (this.#isClosed || !this.#isProgressWanted) return;
    if (!isTrue || revision < this.#options.afterRevision) return;
    this.#timer?.cancel();
    this.#isProgressWanted = false;
    this.#isProgressDue = true;
    this.#position = Math.max(this.#position, revision);
    this.#pump();
  }

  /** Whether no event up to `revision` is still to come. */
  async #hasAllUpTo(revision: number): Promise<boolean> {
    const { client, range } = this.#options;
    if (await client.isProgressOrdered()) return true;
    const seen = this.#position;
    if (revision <= seen) return true;
    const now = await client.ask({
      ...range,
      revision: toEtcdRevision(revision),
      min_mod_revision: toEtcdRevision(seen) + 1,
      keys_only: true,
      limit: 1,
    });
    if (now.kvs.length > 0) return false;
    const then = await client.ask({
      ...range,
      revision: toEtcdRevision(seen),
      count_only: true,
    });
    return now.count === then.count;
  }
}

/** Whatever else etcd says, the reader is to begin anew. */
function storeError(error: unknown): Error {
  const told = asStoreError(error, false);
  if (told instanceof Error && !(told instanceof GrpcError)) return told;
  return new UnavailableError(`etcd: ${String(told)}`, { cause: error });
}
