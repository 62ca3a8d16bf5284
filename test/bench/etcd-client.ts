// A client of etcd's API (etcd's, or ours) as a process of its own, as an API server is one beside
// its etcd: one connection, many calls. `EtcdClient` is the parent's side.
import path from 'node:path';
import { systemClock } from '#kube/base/clock.ts';
import { GrpcClient } from '../../electron/controlplane/etcd/grpc-client.ts';
import * as wire from '../../electron/controlplane/etcd/protocol.ts';
import { Child, serve } from './child.ts';
import type { StallOptions } from './member.ts';
import {
  keyOf,
  load,
  paced,
  valueOf,
  worstPutMs,
  type LoadOptions,
  type LoadResult,
  type PaceOptions,
  type Put,
} from './load.ts';

const timeoutMs = 60_000;
const putTypes = { request: wire.putRequest, response: wire.putResponse };
const txnTypes = { request: wire.txnRequest, response: wire.txnResponse };
const compactionTypes = { request: wire.compactionRequest, response: wire.headerOnly };
const keysPerTxn = 50;
const fillers = 4;
/** Whose history is compacted; a multiple of `keysPerTxn`. */
const historyKeys = 1000;

interface FillOptions {
  readonly endpoint: string;
  readonly keyCount: number;
}

type EtcdStallOptions = StallOptions & { readonly endpoint: string };

export class EtcdClient {
  readonly #child = new Child(import.meta.filename, { args: ['serve'] });

  get pid(): number {
    return this.#child.pid;
  }

  load(task: LoadOptions & { readonly endpoint: string }): Promise<LoadResult> {
    return this.#child.call('load', task);
  }

  paced(task: PaceOptions & { readonly endpoint: string }): Promise<void> {
    return this.#child.call('paced', task);
  }

  /** Writes every key once, many in a transaction. */
  writeKeys(task: FillOptions): Promise<void> {
    return this.#child.call('fill', task);
  }

  /** Writes history, many rows in a transaction, compacts it, and gives the worst put meanwhile. */
  stall(task: EtcdStallOptions): Promise<number> {
    return this.#child.call('stall', task);
  }

  end(): Promise<void> {
    return this.#child.end();
  }
}

export function connect(endpoint: string): GrpcClient {
  return new GrpcClient({ endpoints: [`http://${endpoint}`], clock: systemClock });
}

export function etcdPut(client: GrpcClient): Put {
  return (key, value) =>
    client.unary(
      '/etcdserverpb.KV/Put',
      putTypes,
      wire.putRequest.make({ key, value: bufferOf(value) }),
      timeoutMs,
    );
}

/** `rowCount` puts of `keyCount` keys in turn. */
async function fill(client: GrpcClient, rowCount: number, keyCount = rowCount): Promise<void> {
  let next = 0;
  async function filler(): Promise<void> {
    while (next < rowCount) {
      const first = next;
      next += keysPerTxn;
      const success = Array.from({ length: Math.min(keysPerTxn, rowCount - first) }, (_, i) => ({
        request_put: wire.putRequest.make({
          key: keyOf((first + i) % keyCount),
          value: bufferOf(valueOf(first + i)),
        }),
      }));
      const txn = wire.txnRequest.make({ success });
      await client.unary('/etcdserverpb.KV/Txn', txnTypes, txn, timeoutMs);
    }
  }
  await Promise.all(Array.from({ length: fillers }, filler));
}

async function stall(client: GrpcClient, { revisions, ...look }: StallOptions): Promise<number> {
  const put = etcdPut(client);
  await fill(client, revisions, historyKeys);
  const last = (await put(keyOf(0), valueOf(0))) as wire.PutResponse;
  const request = wire.compactionRequest.make({
    revision: last.header?.revision ?? 0,
    physical: true,
  });
  return worstPutMs(put, look, () =>
    client.unary('/etcdserverpb.KV/Compact', compactionTypes, request, timeoutMs),
  );
}

function bufferOf(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}

async function withClient<T>(endpoint: string, use: (client: GrpcClient) => Promise<T>) {
  const client = connect(endpoint);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

const isChild =
  process.argv[1] !== undefined && path.resolve(process.argv[1]) === import.meta.filename;
if (isChild)
  serve({
    load: (task: LoadOptions & { readonly endpoint: string }) =>
      withClient(task.endpoint, (client) => load(etcdPut(client), task)),
    paced: (task: PaceOptions & { readonly endpoint: string }) =>
      withClient(task.endpoint, (client) => paced(etcdPut(client), task)),
    fill: ({ endpoint, keyCount }: FillOptions) =>
      withClient(endpoint, (client) => fill(client, keyCount)),
    stall: (task: EtcdStallOptions) => withClient(task.endpoint, (client) => stall(client, task)),
  });
