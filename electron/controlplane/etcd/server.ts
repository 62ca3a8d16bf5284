// The state served by etcd's v3 API, so that etcdctl and other clients of etcd work with it: keys,
// transactions, compaction, leases, members, maintenance. Watches are in watch-service.ts.
// Any member serves: the Kv makes reads linearizable and brings writes to the leader.
// Source: etcd server/etcdserver/api/v3rpc.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { Command, CommandResult, Kv } from '../store/commands.ts';
import type { ClusterInfo } from './cluster-info.ts';
import { GrpcServer, unary, type GrpcTls, type Method, type UnaryMethod } from './grpc-server.ts';
import { leaseMethods } from './lease-service.ts';
import { maintenanceMethods } from './maintenance-service.ts';
import {
  deleteAnswer,
  deleteOperation,
  putAnswer,
  putOperation,
  rangeAnswer,
  rangeOperation,
  txnAnswer,
  txnOperation,
} from './operations.ts';
import * as wire from './protocol.ts';
import { asRefusal, ofFailure, refusal } from './status.ts';
import { watchMethod } from './watch-service.ts';

export interface EtcdServerOptions {
  readonly kv: Kv;
  readonly cluster: ClusterInfo;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** For the snapshot being sent. */
  readonly temporaryFolder: string;
  /** Without: plain text, anybody. For tests and benchmarks on loopback. */
  readonly tls?: GrpcTls;
}

export interface EtcdServer {
  /** Resolves to the port; 0 takes a free one. */
  listen(port: number, host: string): Promise<number>;
  /** Made anew while running: for connections from now on. */
  setCertificate(certificate: Pick<GrpcTls, 'key' | 'cert'>): void;
  close(): Promise<void>;
}

/** etcd's own bound on a write. What is far beyond it is refused before it is read. */
const writeBytesMax = 1.5 * 1024 * 1024;
const requestBytesMax = 2 * 1024 * 1024;

export function createEtcdServer(options: EtcdServerOptions): EtcdServer {
  const service: ServiceDeps = {
    ...options,
    header: (revision) => headerOf(options.cluster, revision ?? options.kv.currentRevision()),
    write: (command) => write(options.kv, command),
  };
  const methods = new Map<string, Method>([
    ...Object.entries(keyMethods(service)),
    ...Object.entries(leaseMethods(service)),
    ...Object.entries(maintenanceMethods(service)),
    ['/etcdserverpb.Watch/Watch', watchMethod(service)],
  ]);
  const { logger, tls } = options;
  const secured = tls === undefined ? {} : { tls };
  const server = new GrpcServer({ methods, requestBytesMax, logger, ...secured });
  return {
    listen: (port, host) => server.listen(port, host),
    setCertificate: (certificate) => server.setCertificate(certificate),
    close: () => server.close(),
  };
}

/** What each service is made of. */
export interface ServiceDeps extends EtcdServerOptions {
  /** For an answer that is true at `revision`; now when left out. */
  header(revision?: number): wire.ResponseHeader;
  /** The result of a command that was not refused. Throws what the client is to be told. */
  write(command: Command): Promise<Written>;
}

export type Written = Exclude<CommandResult, { readonly type: 'failed' }>;

function headerOf(cluster: ClusterInfo, revision: number): wire.ResponseHeader {
  return {
    cluster_id: cluster.clusterId,
    member_id: cluster.memberId,
    revision,
    raft_term: cluster.position().term,
  };
}

async function write(kv: Kv, command: Command): Promise<Written> {
  const result = await kv.write(command).catch((error: unknown) => {
    throw asRefusal(error);
  });
  if (result.type === 'failed') throw ofFailure(result.failure);
  return result;
}

type TxnCommand = Extract<Command, { readonly type: 'txn' }>;
type TxnWritten = Extract<Written, { readonly type: 'txn' }>;

async function transact(
  { write: commit }: ServiceDeps,
  txn: Omit<TxnCommand, 'type'>,
): Promise<TxnWritten> {
  const result = await commit({ type: 'txn', ...txn });
  if (result.type !== 'txn') throw new Error(`a transaction came back as ${result.type}`);
  return result;
}

function keyMethods(service: ServiceDeps): Readonly<Record<string, Method>> {
  const { kv, header } = service;
  return {
    '/etcdserverpb.KV/Range': unary(wire.rangeRequest, wire.rangeResponse, async (request) => {
      const operation = rangeOperation(request);
      const result = await kv
        .range(operation, { isSerializable: request.serializable })
        .catch((error: unknown) => {
          throw asRefusal(error);
        });
      // As of a revision of the past, the answer is still told with the present one.
      return rangeAnswer(result, header(operation.revision === 0 ? result.revision : undefined));
    }),
    '/etcdserverpb.KV/Put': bounded(
      unary(wire.putRequest, wire.putResponse, async (request) => {
        const operation = putOperation(request);
        const { results, revision } = await transact(service, alone(operation));
        return putAnswer(results[0], header(revision));
      }),
    ),
    '/etcdserverpb.KV/DeleteRange': unary(
      wire.deleteRangeRequest,
      wire.deleteRangeResponse,
      async (request) => {
        const operation = deleteOperation(request);
        const { results, revision } = await transact(service, alone(operation));
        return deleteAnswer(results[0], header(revision));
      },
    ),
    '/etcdserverpb.KV/Txn': bounded(
      unary(wire.txnRequest, wire.txnResponse, async (request) => {
        const result = await transact(service, txnOperation(request));
        return txnAnswer(result, header(result.revision));
      }),
    ),
    '/etcdserverpb.KV/Compact': unary(wire.compactionRequest, wire.headerOnly, async (request) => {
      const { revision } = await service.write({ type: 'compact', revision: request.revision });
      return { header: header(revision) };
    }),
  };
}

function bounded(method: UnaryMethod): UnaryMethod {
  return {
    kind: 'unary',
    answer: (request) =>
      request.length > writeBytesMax
        ? Promise.reject(refusal('requestTooLarge'))
        : method.answer(request),
  };
}

function alone(operation: TxnCommand['success'][number]): Omit<TxnCommand, 'type'> {
  return { compares: [], success: [operation], failure: [] };
}
