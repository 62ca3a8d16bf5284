// One real etcd (or group) as the engine asks it: typed calls, keys under a prefix, revisions as the
// store counts them, errors as the store names them.
//
// etcd begins at revision 1, a Store at 0: ours is etcd's less 1, everywhere and always.
import type { Clock } from '#kube/base/clock.ts';
import { byteKeyOf, prefixRange, textOfKey } from '../store/byte-keys.ts';
import {
  NoSpaceError,
  OutcomeUnknownError,
  UnavailableError,
  type KeyValue,
} from '../store/store.ts';
import { GrpcError, grpcCodes } from './grpc.ts';
import {
  ConnectionError,
  GrpcClient,
  type ClientStream,
  type ClientStreamHandler,
  type GrpcClientOptions,
} from './grpc-client.ts';
import { statusResponse } from './protocol-admin.ts';
import * as wire from './protocol.ts';
import { isRefusal } from './status.ts';
import type { MessageType } from './wire.ts';

export interface EtcdClientOptions extends GrpcClientOptions {
  /** Everything is kept below it, and nothing else is looked at. */
  readonly prefix: string;
  readonly clock: Clock;
}

/** etcd's own bound on a request is 5 s and the time of an election. */
const timeoutMs = 15_000;
const revisionOffset = 1;

export function toEtcdRevision(revision: number): number {
  return revision + revisionOffset;
}

export function fromEtcdRevision(revision: number): number {
  return revision - revisionOffset;
}

export class EtcdClient {
  readonly #client: GrpcClient;
  readonly #attempts: number;
  readonly #prefix: string;
  #isProgressOrdered: Promise<boolean> | undefined;

  constructor(options: EtcdClientOptions) {
    this.#client = new GrpcClient(options);
    this.#attempts = options.endpoints.length;
    this.#prefix = options.prefix.endsWith('/') ? options.prefix : `${options.prefix}/`;
  }

  close(): void {
    this.#client.close();
  }

  /** Throws for a key that is not well-formed Unicode: it could not be told from another. */
  key(key: string): string {
    if (!key.isWellFormed()) throw new Error(`the key "${key}" is not well-formed Unicode`);
    return byteKeyOf(this.#prefix + key);
  }

  /** All keys that start with `prefix`, from `startKey` on. */
  range(prefix: string, startKey = prefix): { readonly key: string; readonly range_end: string } {
    const { key: start, end = '' } = prefixRange(this.key(prefix));
    const from = this.key(startKey);
    return { key: from > start ? from : start, range_end: end };
  }

  row(found: wire.KeyValue): KeyValue {
    return {
      key: textOfKey(found.key).slice(this.#prefix.length),
      value: found.value,
      createRevision: fromEtcdRevision(found.create_revision),
      modRevision: fromEtcdRevision(found.mod_revision),
    };
  }

  ask(request: Partial<wire.RangeRequest>): Promise<wire.RangeResponse> {
    const types = { request: wire.rangeRequest, response: wire.rangeResponse };
    return this.#call('KV/Range', types, wire.rangeRequest.make(request), false);
  }

  transact(request: wire.TxnRequest): Promise<wire.TxnResponse> {
    const types = { request: wire.txnRequest, response: wire.txnResponse };
    return this.#call('KV/Txn', types, request, true);
  }

  /** `revision` is etcd's. Resolves when the space is free. */
  compact(revision: number): Promise<wire.Headed> {
    const types = { request: wire.compactionRequest, response: wire.headerOnly };
    return this.#call('KV/Compact', types, { revision, physical: true }, true);
  }

  /** May throw ConnectionError, as its handler may be told. */
  openWatch(handler: ClientStreamHandler): ClientStream {
    return this.#client.open('/etcdserverpb.Watch/Watch', handler);
  }

  /** What etcd has compacted, by its own count; found by watching from the beginning. */
  compactedRevision(): Promise<number> {
    return new Promise((resolve, reject) => {
      const stream = this.openWatch({
        message(bytes) {
          const answer = wire.watchResponse.decode(bytes);
          if (answer.created) return;
          resolve(answer.compact_revision);
          stream.cancel();
        },
        close: (error) => reject(asStoreError(error ?? new Error('the watch ended'), false)),
      });
      const create_request = wire.watchCreateRequest.make({
        key: this.key(''),
        start_revision: 1,
      });
      stream.send(wire.watchRequest.encodeFrame(wire.watchRequest.make({ create_request })));
    });
  }

  /**
   * Whether this server tells progress only behind the events up to it.
   * Source: etcd CHANGELOG: 3.4.25, 3.5.8 (issue "progress notification should only be sent when
   * watcher is synchronized").
   */
  isProgressOrdered(): Promise<boolean> {
    const types = { request: wire.emptyMessage, response: statusResponse };
    this.#isProgressOrdered ??= this.#call('Maintenance/Status', types, {}, false).then(
      ({ version }) => isOrderedSince(version),
      (error: unknown) => {
        this.#isProgressOrdered = undefined;
        throw error;
      },
    );
    return this.#isProgressOrdered;
  }

  /** Goes to the next server as long as the last one can't have acted on it. */
  async #call<I extends object, O extends object>(
    method: string,
    types: { readonly request: MessageType<I>; readonly response: MessageType<O> },
    request: I,
    isWrite: boolean,
  ): Promise<O> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#client.unary(`/etcdserverpb.${method}`, types, request, timeoutMs);
      } catch (error) {
        const mayRepeat = error instanceof ConnectionError && !(isWrite && error.isSent);
        if (!mayRepeat || attempt >= this.#attempts) throw asStoreError(error, isWrite);
      }
    }
  }
}

function isOrderedSince(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map((part) => parseInt(part, 10));
  if (major !== 3) return major > 3;
  if (minor === 4) return patch >= 25;
  return minor > 5 || (minor === 5 && patch >= 8);
}

/** etcd refuses these before it does anything. */
const nothingHappened = [
  'etcdserver: no leader',
  'etcdserver: too many requests',
  'etcdserver: not capable',
  'etcdserver: server stopped',
  'etcdserver: rpc not supported for learner',
];

/** Anything else is given back as it is. */
export function asStoreError(error: unknown, isWrite: boolean): unknown {
  if (error instanceof ConnectionError) {
    const isUnknown = isWrite && error.isSent;
    const Kind = isUnknown ? OutcomeUnknownError : UnavailableError;
    return new Kind(`etcd: ${error.message}`, { cause: error });
  }
  if (!(error instanceof GrpcError)) return error;
  const text = `etcd: ${error.message}`;
  if (isRefusal(error, 'noSpace'))
    return new NoSpaceError(
      `no space left in the etcd (${error.message}): compact and defragment it, then disarm its alarm`,
      { cause: error },
    );
  if (nothingHappened.includes(error.message)) return new UnavailableError(text, { cause: error });
  const { unavailable, deadlineExceeded, canceled, unknown } = grpcCodes;
  if (![unavailable, deadlineExceeded, canceled, unknown].some((code) => code === error.code))
    return error;
  const Kind = isWrite ? OutcomeUnknownError : UnavailableError;
  return new Kind(text, { cause: error });
}
