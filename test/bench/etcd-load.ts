// A process of its own that loads a server of etcd's API (etcd, or ours): started by store.ts with
// its task as one JSON argument; prints its result as one JSON line.
import { systemClock } from '#kube/base/clock.ts';
import { GrpcClient } from '../../electron/controlplane/etcd/grpc-client.ts';
import * as wire from '../../electron/controlplane/etcd/protocol.ts';
import { load, type LoadOptions, type Put } from './load.ts';

export interface EtcdLoadTask extends LoadOptions {
  readonly endpoint: string;
}

const types = { request: wire.putRequest, response: wire.putResponse };
const timeoutMs = 30_000;

export function etcdPut(client: GrpcClient): Put {
  return (key, value) =>
    client.unary(
      '/etcdserverpb.KV/Put',
      types,
      wire.putRequest.make({
        key,
        value: Buffer.from(value.buffer, value.byteOffset, value.length),
      }),
      timeoutMs,
    );
}

const [argument] = process.argv.slice(2);
if (argument !== undefined && process.argv[1] === import.meta.filename) {
  const task = JSON.parse(argument) as EtcdLoadTask;
  const client = new GrpcClient({ endpoints: [`http://${task.endpoint}`], clock: systemClock });
  const result = await load(etcdPut(client), task);
  client.close();
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
