// The whole API over TLS with keep-alive, one node, one client program on the same two cores. The
// peer's figures are published ones (Kubernetes 1.20 with etcd on a machine like this one): its API
// server can't be had here, so they are not measured anew and their ratios say only so much.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import { build, isStale } from '../../electron/build.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ApiConnection } from './api-client.ts';
import { quantile, row, type Benchmark, type Goal, type Row } from './harness.ts';
import { residentMb } from './process-usage.ts';

const peer = 'Kubernetes 1.20';
const podCount = 5_000;
const loadMs = 5_000;
const core = '/api/v1/namespaces/default';

interface Scene {
  readonly cluster: Cluster;
  readonly config: ClientConfig;
  readonly say: (text: string) => void;
  /** Longest stall of the control plane's event loop since the last call. */
  readonly stallMs: () => Promise<number>;
}

type Part = (scene: Scene) => Promise<Row[]>;

const parts: Readonly<Record<string, Part>> = {
  memory: idleMemory,
  create: creates,
  get: gets,
  events: latencies,
  list: lists,
};

export const api: Benchmark = {
  name: 'api',
  about: 'the whole API over TLS: creates, gets, lists, events, memory, stalls',
  parts: ['start', ...Object.keys(parts)],
  async run({ say, only }) {
    if (isStale()) await build();
    const isWanted = (name: string): boolean => only.length === 0 || only.includes(name);
    const rows = isWanted('start') ? await starts(say) : [];
    const wanted = Object.entries(parts).filter(([name]) => isWanted(name));
    return wanted.length === 0 ? rows : [...rows, ...(await onOneCluster(wanted, say))];
  },
};

async function starts(say: (text: string) => void): Promise<Row[]> {
  const samples: number[] = [];
  for (let round = 1; round <= 5; round++) {
    say(`empty directory to ready, ${round} of 5`);
    const cluster = await new Cluster(['--no-agent']).start();
    samples.push(cluster.readyMs);
    await cluster.destroy();
  }
  return [row('empty directory → ready', samples, published('ms', { atMost: 1_500 }, 6_150))];
}

async function onOneCluster(
  wanted: readonly (readonly [string, Part])[],
  say: (text: string) => void,
): Promise<Row[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bench-'));
  const stalls = path.join(folder, 'stalls');
  const probe = path.join(import.meta.dirname, 'loop-probe.mjs');
  const profile = process.env['FLOTILLA_BENCH_PROFILE'];
  const profiling = profile === undefined ? '' : ` --cpu-prof --cpu-prof-dir=${profile}`;
  const env = { FLOTILLA_BENCH_STALLS: stalls, NODE_OPTIONS: `--import ${probe}${profiling}` };
  const cluster = await new Cluster(['--no-agent'], undefined, { env }).start();
  const config = await readKubeconfig(cluster.kubeconfig);
  const stallMs = async (): Promise<number> => {
    rmSync(stalls, { force: true });
    await eventually(() => existsSync(stalls), 'the probe tells');
    return Number(readFileSync(stalls, 'utf8'));
  };
  const rows: Row[] = [];
  try {
    for (const [name, part] of wanted) {
      say(name);
      await stallMs();
      rows.push(...(await part({ cluster, config, say, stallMs })));
      const longest = [await stallMs()];
      rows.push(
        row(`longest event-loop stall during ${name}`, longest, {
          unit: 'ms',
          goal: { of: 'value', atMost: 50 },
        }),
      );
    }
  } finally {
    await cluster.destroy();
    rmSync(folder, { recursive: true, force: true });
  }
  return rows;
}

async function idleMemory({ cluster }: Scene): Promise<Row[]> {
  return [row('RSS, idle', [residentOf(cluster)], published('MiB', { atMost: 130 }, 517))];
}

async function creates({ config }: Scene): Promise<Row[]> {
  const one = await ApiConnection.open(config);
  let serial = 0;
  const create = async (connection: ApiConnection): Promise<void> => {
    const body = configMap(`c${serial++}`);
    const { status } = await connection.request('POST', `${core}/configmaps`, body);
    if (status !== 201) throw new Error(`create: ${status}`);
  };
  await callsOf(200, () => create(one));
  const alone = await callsOf(500, () => create(one));
  one.close();
  const many = await manyClients(config, create);
  return [
    row('create 1 KB ConfigMap, 1 client, p50', alone, published('ms', { atMost: 1.5 }, 3.55)),
    row('create, 32 clients', [many.perSecond], published('/s', { atLeast: 2_000 }, 955)),
    row('create, 32 clients, p99', [quantile(many.ms, 0.99)], published('ms', { atMost: 30 }, 88)),
  ];
}

async function gets({ config, cluster, say }: Scene): Promise<Row[]> {
  const one = await ApiConnection.open(config);
  await one.request('POST', `${core}/configmaps`, configMap('to-get'));
  const url = `${core}/configmaps/to-get`;
  const read = async (connection: ApiConnection): Promise<void> => {
    const { status } = await connection.request('GET', url);
    if (status !== 200) throw new Error(`get: ${status}`);
  };
  await callsOf(500, () => read(one));
  const alone = await callsOf(2_000, () => read(one));
  one.close();
  const wrk = await getsByWrk(cluster, config, url);
  if (wrk === undefined) say('no wrk (apt install wrk): 32 clients are this program');
  const many = wrk ?? (await manyClients(config, read)).perSecond;
  const name = `get, 32 clients${wrk === undefined ? ' (Node)' : ' (wrk)'}`;
  return [
    row('get, 1 client, p50', alone, published('ms', { atMost: 0.6 }, 1.35)),
    row('get, 1 client, p99', [quantile(alone, 0.99)], published('ms', { atMost: 2 }, 5)),
    row(name, [many], published('/s', { atLeast: 6_000 }, 2_075)),
  ];
}

/** It knows no client certificates: an account's token opens the door. */
async function getsByWrk(
  cluster: Cluster,
  { server }: ClientConfig,
  url: string,
): Promise<number | undefined> {
  try {
    execFileSync('wrk', ['-v'], { stdio: 'ignore' });
  } catch (error) {
    // It says its version with exit code 1.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  }
  await cluster.kubectlOk('create', 'serviceaccount', 'wrk');
  const role = ['--clusterrole=view', '--serviceaccount=default:wrk'];
  await cluster.kubectlOk('create', 'clusterrolebinding', 'wrk', ...role);
  const token = (await cluster.kubectlOk('create', 'token', 'wrk')).trim();
  const header = `Authorization: Bearer ${token}`;
  const load = ['-t1', '-c32', `-d${loadMs / 1000}s`, '-H', header, `${server}${url}`];
  const out = execFileSync('wrk', load, { encoding: 'utf8' });
  if (out.includes('Non-2xx')) throw new Error(out);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]);
}

async function lists({ config, cluster, say }: Scene): Promise<Row[]> {
  say(`makes ${podCount} pods`);
  let serial = 0;
  const clients = await Promise.all(Array.from({ length: 16 }, () => ApiConnection.open(config)));
  const make = async (client: ApiConnection): Promise<void> => {
    while (serial < podCount) {
      const { status, body } = await client.request('POST', `${core}/pods`, pod(`p${serial++}`));
      if (status !== 201) throw new Error(`pod: ${status} ${body.toString()}`);
    }
  };
  await Promise.all(clients.map(make));
  const [one] = clients;
  if (one === undefined) throw new Error('there is a client');
  const whole = await callsOf(9, async () => {
    const { body } = await one.request('GET', `${core}/pods`);
    if (body.length < 5_000_000) throw new Error(`the list has ${body.length} bytes`);
  });
  const paged = await callsOf(7, () => allPages(one));
  for (const client of clients) client.close();
  return [
    row('list of 5,000 pods, consistent', whole, published('ms', { atMost: 100 }, 304)),
    row('list of 5,000 pods, pages of 500', paged, published('ms', { atMost: 200 }, 480)),
    row(
      'RSS after 5,000 pods and their lists',
      [residentOf(cluster)],
      published('MiB', { atMost: 300 }, 1_028),
    ),
  ];
}

async function allPages(connection: ApiConnection): Promise<void> {
  let next = '';
  let count = 0;
  do {
    const query = next === '' ? '' : `&continue=${encodeURIComponent(next)}`;
    const { body } = await connection.request('GET', `${core}/pods?limit=500${query}`);
    // Near the beginning; a client that parses everything would be measured itself.
    next = /"continue":"([^"]+)"/.exec(body.subarray(0, 2_000).toString())?.[1] ?? '';
    count += 1;
  } while (next !== '');
  if (count !== podCount / 500) throw new Error(`${count} pages`);
}

async function latencies({ config }: Scene): Promise<Row[]> {
  const one = await eventLatencies(config, 1);
  const fifty = await eventLatencies(config, 50);
  const p99 = (samples: readonly number[]): number[] => [quantile(samples, 0.99)];
  return [
    row('create → event, 1 watcher, p50', one, published('ms', { atMost: 2 }, 4.4)),
    row('create → event, 1 watcher, p99', p99(one), published('ms', { atMost: 8 }, 35)),
    row('create → event, 50 watchers, p50', fifty, published('ms', { atMost: 3 }, 6.9)),
    row('create → event, 50 watchers, p99', p99(fifty), published('ms', { atMost: 10 }, 19)),
  ];
}

/** From before the request to when each watcher has the event, of 300 creates. */
async function eventLatencies(config: ClientConfig, watchers: number): Promise<number[]> {
  const started = new Map<string, number>();
  const samples: number[] = [];
  let wanted = 0;
  let onAll = (): void => undefined;
  const seen = (chunk: Buffer): void => {
    const nowMs = performance.now();
    for (const [, name = ''] of chunk.toString('latin1').matchAll(/"name":"(e\d+-\d+)"/g)) {
      const startMs = started.get(name);
      if (startMs !== undefined) samples.push(nowMs - startMs);
    }
    if (samples.length >= wanted) onAll();
  };
  const watches = await Promise.all(
    Array.from({ length: watchers }, () => openWatch(config, seen)),
  );
  const writer = await ApiConnection.open(config);
  for (let n = 0; n < 300; n++) {
    const name = `e${watchers}-${n}`;
    wanted = (n + 1) * watchers;
    const all = new Promise<void>((resolve) => (onAll = resolve));
    started.set(name, performance.now());
    await writer.request('POST', `${core}/configmaps`, configMap(name));
    await all;
  }
  writer.close();
  for (const watch of watches) watch.close();
  return samples;
}

async function openWatch(
  config: ClientConfig,
  onBytes: (bytes: Buffer) => void,
): Promise<ApiConnection> {
  const connection = await ApiConnection.open(config);
  const { body } = await connection.request('GET', `${core}/configmaps?limit=1`);
  const version = /"resourceVersion":"(\d+)"/.exec(body.subarray(0, 200).toString())?.[1] ?? '';
  const url = `${core}/configmaps?watch=true&resourceVersion=${version}`;
  await connection.stream(url, onBytes);
  return connection;
}

async function manyClients(
  config: ClientConfig,
  call: (connection: ApiConnection) => Promise<void>,
): Promise<{ readonly perSecond: number; readonly ms: readonly number[] }> {
  const clients = await Promise.all(Array.from({ length: 32 }, () => ApiConnection.open(config)));
  const ms: number[] = [];
  const startMs = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() - startMs < loadMs) ms.push(await timed(() => call(client)));
    }),
  );
  const tookMs = performance.now() - startMs;
  for (const client of clients) client.close();
  return { perSecond: (ms.length * 1000) / tookMs, ms };
}

async function callsOf(count: number, call: () => Promise<void>): Promise<number[]> {
  const samples: number[] = [];
  for (let n = 0; n < count; n++) samples.push(await timed(call));
  return samples;
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await action();
  return performance.now() - startedMs;
}

function published(unit: string, goal: Omit<Goal, 'of'>, figure: number) {
  return { unit, goal: { of: 'value' as const, ...goal }, peer: { name: peer, samples: [figure] } };
}

function residentOf(cluster: Cluster): number {
  return cluster.childPids('controlplane').reduce((sum, pid) => sum + residentMb(pid), 0);
}

function configMap(name: string): string {
  const data = { text: 'x'.repeat(1024) };
  return JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data });
}

/** 1.8 KB as it is stored. No scheduler looks at it. */
function pod(name: string): string {
  const env = Array.from({ length: 8 }, (_, n) => ({ name: `VARIABLE_${n}`, value: `value-${n}` }));
  const container = {
    name: 'web',
    image: 'registry.example/team/web:1.2.3',
    env,
    ports: [{ containerPort: 8080 }],
    resources: { requests: { cpu: '100m', memory: '64Mi' } },
  };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'web', tier: 'front' } },
    spec: { schedulerName: 'nobody', containers: [container] },
  });
}
