// How long a cold start takes, what stands in memory, how fast the API answers. The peer is etcd
// (Debian's etcd-server): a bare key-value store, without an API server in front of it; so a ratio
// above 1 is the price of the whole Kubernetes API over one bare write.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { configMaps, deployments } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { readKubeconfig } from '#platform/kubeconfig.ts';
import { nodeChild } from '#platform/supervisor.ts';
import { build, isStale } from '../../electron/build.ts';
import { ClusterProcesses } from '../../electron/cluster-processes.ts';
import { parseOptions } from '../../electron/options.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { root } from '../setup/machine.ts';
import { ensureEtcd, startEtcdGroup } from './etcd-group.ts';
import { quantile, row, type Benchmark, type Row } from './harness.ts';
import { residentMb } from './process-usage.ts';

const rounds = 5;
const calls = 300;
const podCount = 100;
const peerName = 'etcd';

export const start: Benchmark = {
  name: 'start',
  about: 'cold start to ready, memory idle and with 100 pods, API get and create',
  async run({ say }) {
    if (isStale()) await build();
    ensureEtcd(say);
    return [...(await coldStarts(say)), ...(await memoryWithPods(say)), ...(await apiCalls(say))];
  },
};

async function coldStarts(say: (text: string) => void): Promise<Row[]> {
  const ours: number[] = [];
  const empty: number[] = [];
  const idle: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < rounds; round++) {
    say(`cold start ${round + 1} of ${rounds}`);
    const cluster = await new Cluster(['--no-agent']).start();
    empty.push(cluster.readyMs);
    await cluster.stop();
    const again = await new Cluster(['--no-agent'], cluster.dataDirectory).start();
    ours.push(again.readyMs);
    idle.push(residentOf(again.childPids('controlplane')));
    await again.destroy();
    const etcd = await startEtcd();
    peers.push(etcd.readyMs);
    await etcd.stop();
  }
  return [
    row('start to ready, first (makes the cluster)', empty, {
      unit: 'ms',
      goal: { of: 'value', atMost: 3000 },
    }),
    row('start to ready, again', ours, {
      unit: 'ms',
      goal: { of: 'value', atMost: 3000 },
      peer: { name: peerName, samples: peers },
    }),
    row('control plane RSS, idle', idle, { unit: 'MB', goal: { of: 'value', atMost: 200 } }),
  ];
}

function residentOf(pids: readonly number[]): number {
  return pids.map(residentMb).reduce((sum, mb) => sum + mb, 0);
}

/** The real control plane and the real agent, whose runtime only pretends to run containers. */
async function memoryWithPods(say: (text: string) => void): Promise<Row[]> {
  say(`${podCount} pods on a fake runtime`);
  const directory = mkdtempSync(path.join(tmpdir(), 'flotilla-bench-'));
  const pids = new Map<string, number>();
  const flags = [
    '--headless',
    '--data',
    directory,
    '--port',
    '0',
    '--ui-port',
    '0',
    '--no-install',
  ];
  const { promise: kubeconfig, resolve, reject } = Promise.withResolvers<string>();
  const processes = new ClusterProcesses({
    options: parseOptions(flags, {}),
    bundles: path.join(root, 'out'),
    spawn(file, args) {
      const isAgent = file.includes('agent');
      const child = nodeChild(file, isAgent ? [...args, '--runtime', 'fake'] : args);
      pids.set(isAgent ? 'agent' : 'controlplane', child.pid ?? 0);
      return child;
    },
    clock: systemClock,
    logger: silentLogger,
    onReady: (ready) => resolve(ready.kubeconfig),
    onAgent() {},
    onCannotRun: (sentence) => reject(new Error(sentence)),
  });
  const keepAlive = setInterval(() => {}, 60_000);
  processes.start();
  try {
    const client = await connect(await kubeconfig);
    const startedMs = performance.now();
    await client.create(deployments, deploymentOf(podCount));
    await eventually(
      async () => {
        const deployment = await client.get(deployments, { namespace: 'default', name: 'bench' });
        return deployment.status?.readyReplicas === podCount;
      },
      `${podCount} pods are ready`,
      180_000,
    );
    const allReadyMs = performance.now() - startedMs;
    const of = (name: string): number[] => [residentMb(pids.get(name) ?? 0)];
    return [
      row(`${podCount} pods from create to ready`, [allReadyMs], {
        unit: 'ms',
        goal: { of: 'value', atMost: 20_000 },
      }),
      row(`control plane RSS, ${podCount} pods`, of('controlplane'), {
        unit: 'MB',
        goal: { of: 'value', atMost: 250 },
      }),
      row(`agent RSS, ${podCount} pods`, of('agent'), {
        unit: 'MB',
        goal: { of: 'value', atMost: 120 },
      }),
    ];
  } finally {
    await processes.stop();
    clearInterval(keepAlive);
    rmSync(directory, { recursive: true, force: true });
  }
}

async function connect(kubeconfig: string): Promise<RestClient> {
  const transport = new HttpsTransport(await readKubeconfig(kubeconfig), systemClock);
  return new RestClient({ transport });
}

function deploymentOf(replicas: number) {
  const labels = { app: 'bench' };
  return {
    apiVersion: 'apps/v1' as const,
    kind: 'Deployment' as const,
    metadata: { name: 'bench', namespace: 'default' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { name: '', labels },
        spec: { containers: [{ name: 'c', image: 'fake:1' }] },
      },
    },
  };
}

async function apiCalls(say: (text: string) => void): Promise<Row[]> {
  say(`${calls} creates and gets, ours and etcd's in turn`);
  const cluster = await new Cluster(['--no-agent']).start();
  const etcd = await startEtcd();
  const client = await connect(cluster.kubeconfig);
  const data = { text: 'x'.repeat(1024) };
  const times = {
    create: [] as number[],
    put: [] as number[],
    get: [] as number[],
    range: [] as number[],
  };
  try {
    for (let n = 0; n < calls; n++) {
      const metadata = { name: `c${n}`, namespace: 'default' };
      const object = { apiVersion: 'v1' as const, kind: 'ConfigMap' as const, metadata, data };
      times.create.push(await timed(() => client.create(configMaps, object)));
      times.put.push(await timed(() => etcd.put(`c${n}`, JSON.stringify(object))));
      times.get.push(await timed(() => client.get(configMaps, metadata)));
      times.range.push(await timed(() => etcd.get(`c${n}`)));
    }
  } finally {
    await cluster.destroy();
    await etcd.stop();
  }
  return [
    row('create 1 KB ConfigMap, p50', times.create, {
      unit: 'ms',
      goal: { of: 'value', atMost: 5 },
      peer: { name: `${peerName} put`, samples: times.put },
    }),
    row('create 1 KB ConfigMap, p99', [quantile(times.create, 0.99)], {
      unit: 'ms',
      goal: { of: 'value', atMost: 20 },
      peer: { name: `${peerName} put`, samples: [quantile(times.put, 0.99)] },
    }),
    row('get ConfigMap, p50', times.get, {
      unit: 'ms',
      goal: { of: 'value', atMost: 2 },
      peer: { name: `${peerName} range`, samples: times.range },
    }),
    row('get ConfigMap, p99', [quantile(times.get, 0.99)], {
      unit: 'ms',
      goal: { of: 'value', atMost: 10 },
      peer: { name: `${peerName} range`, samples: [quantile(times.range, 0.99)] },
    }),
  ];
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await action();
  return performance.now() - startedMs;
}

interface Etcd {
  readonly readyMs: number;
  put(key: string, value: string): Promise<void>;
  get(key: string): Promise<void>;
  stop(): Promise<void>;
}

/** One etcd, spoken to by its JSON gateway. */
async function startEtcd(): Promise<Etcd> {
  const startedMs = performance.now();
  const group = await startEtcdGroup(mkdtempSync(path.join(tmpdir(), 'etcd-bench-')), 1);
  const readyMs = performance.now() - startedMs;
  const { endpoint } = await group.leader();
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  async function call(name: string, body: unknown): Promise<void> {
    const response = await fetch(`http://${endpoint}/v3/kv/${name}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`etcd ${name}: ${response.status}`);
    await response.text();
  }
  return {
    readyMs,
    put: (key, value) => call('put', { key: base64(key), value: base64(value) }),
    get: (key) => call('range', { key: base64(key) }),
    stop: () => group.stop(),
  };
}
