// The node agent beside Docker's own calls in the same run: starting pods, standing still, sampling
// containers, restarting what crashed, taking what is not ready out of a service.
import { execFileSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { endpointSlices, pods, services } from '#kube/client/resources.ts';
import { label } from '../../agent/runtime/docker-config.ts';
import { build, isStale } from '../../electron/build.ts';
import { followStats, type Sampling } from './agent/docker-peer.ts';
import {
  benchPod,
  deletePods,
  Follower,
  isRunning,
  openScene,
  socketPath,
  startPods,
  type Scene,
} from './agent/scene.ts';
import { row, type Benchmark, type Row } from './harness.ts';
import { cpuMs, cpuMsOfThreads, residentMb } from './process-usage.ts';

const peer = 'Docker';
const manyPods = 20;
const idleMs = 60_000;
const watchMs = 8_000;
/** What a start leaves behind is collected and told. */
const settleMs = 20_000;
/** And written: names, a minute after the last change of a Service. */
const writtenMs = 65_000;
const newline = 10;

const parts: Readonly<Record<string, (scene: Scene) => Promise<Row[]>>> = {
  start: startOne,
  many: startMany,
  crash: crashes,
  ready: readiness,
  idle,
  metrics,
};

export const agent: Benchmark = {
  name: 'agent',
  about: 'the node agent: pods started, idle cost, metrics, crashes, readiness',
  parts: Object.keys(parts),
  async run({ say, only, pairs }) {
    if (isStale()) await build();
    const { scene, close } = await openScene(say, pairs);
    const rows: Row[] = [];
    try {
      for (const [name, part] of Object.entries(parts))
        if (only.length === 0 || only.includes(name)) {
          say(name);
          rows.push(...(await part(scene)));
        }
    } finally {
      await close();
    }
    return rows;
  },
};

/** The pod whose two containers the peer starts, too; made once, so that nothing is first any more. */
async function bodies(scene: Scene) {
  if (scene.pods.get('model') === undefined) await startPods(scene, ['model']);
  return scene.peer.bodiesOf(scene.pods.get('model')?.metadata.uid ?? '');
}

async function startOne(scene: Scene): Promise<Row[]> {
  const model = await bodies(scene);
  const ours: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < scene.rounds(10); round++) {
    const name = `one-${round}`;
    await inTurn(round, [
      async () => ours.push(await startPods(scene, [name])),
      async () => peers.push(await scene.peer.startMany(model, 1, 1)),
    ]);
    await scene.peer.removeAll();
    await deletePods(scene, [name]);
  }
  return [
    row('pod create → Running observed', ours, {
      unit: 'ms',
      goal: { of: 'ratio', atMost: 1.3 },
      peer: { name: `${peer} create+start`, samples: peers },
    }),
  ];
}

/** The second finds a warmer machine, and what the first left running: each is it every other time. */
async function inTurn(round: number, both: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const one of round % 2 === 0 ? both : both.toReversed()) await one();
}

async function startMany(scene: Scene): Promise<Row[]> {
  const model = await bodies(scene);
  const parallel = await bestParallelism(scene, model);
  const ours: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < scene.rounds(2); round++) {
    const names = Array.from({ length: manyPods }, (_, i) => `many-${round}-${i}`);
    await inTurn(round, [
      async () => {
        ours.push(await startPods(scene, names));
        await deletePods(scene, names);
      },
      async () => {
        peers.push(await scene.peer.startMany(model, manyPods, parallel));
        await scene.peer.removeAll();
      },
    ]);
  }
  return [
    row(`${manyPods} pods at once → all Running`, ours, {
      unit: 'ms',
      goal: { of: 'ratio', atMost: 1.2 },
      peer: { name: `${peer}, ${parallel} at a time`, samples: peers },
    }),
  ];
}

/** Docker's best, tried with fewer pods. */
async function bestParallelism(
  { peer: docker, say }: Scene,
  model: Awaited<ReturnType<typeof bodies>>,
): Promise<number> {
  let best = { parallel: 0, ms: Infinity };
  for (const parallel of [2, 4, 8]) {
    const ms = await docker.startMany(model, 8, parallel);
    await docker.removeAll();
    say(`Docker, 8 pods, ${parallel} at a time: ${ms.toFixed(0)} ms`);
    if (ms < best.ms) best = { parallel, ms };
  }
  return best.parallel;
}

async function crashes(scene: Scene): Promise<Row[]> {
  const model = await bodies(scene);
  const samples: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < scene.rounds(5); round++) {
    await inTurn(round, [
      async () => samples.push(await crashOne(scene, `crash-${round}`)),
      async () => peers.push(await scene.peer.restartCrashed(model)),
    ]);
    await scene.peer.removeAll();
  }
  return [
    row('container killed → running again, observed', samples, {
      unit: 'ms',
      goal: { of: 'value', atMost: 1_000 },
      peer: { name: `${peer}: its event, create, start`, samples: peers },
    }),
  ];
}

async function crashOne(scene: Scene, name: string): Promise<number> {
  await startPods(scene, [name]);
  const [status] = scene.pods.get(name)?.status?.containerStatuses ?? [];
  const id = (status?.containerID ?? '').replace('docker://', '');
  const { State } = await scene.docker.inspectContainer(id);
  const killedMs = performance.now();
  process.kill(State.Pid, 'SIGKILL');
  const back = await scene.pods.until((all) => {
    const [now] = all.get(name)?.status?.containerStatuses ?? [];
    return now?.state?.running !== undefined && now.restartCount === 1;
  }, 'the container runs again');
  await deletePods(scene, [name]);
  return back - killedMs;
}

/** The probe is answered here: the moment it fails is known exactly. */
async function readiness(scene: Scene): Promise<Row[]> {
  const stop = new AbortController();
  const slices = new Follower(scene.client, endpointSlices, stop.signal);
  await slices.start();
  const probe = await probedServer();
  const labels = { app: 'ready' };
  const samples: number[] = [];
  try {
    await scene.client.create(services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'ready', namespace: 'default' },
      spec: { selector: labels, ports: [{ port: 80 }] },
    });
    const httpGet = { host: '127.0.0.1', port: probe.port, path: '/' };
    const readinessProbe = { httpGet, periodSeconds: 1, failureThreshold: 1 };
    await scene.client.create(pods, benchPod('ready', { probe: readinessProbe, labels }));
    for (let round = 0; round < scene.rounds(5); round++) {
      await slices.until((all) => isServed(all, true), 'the endpoint is ready');
      const failedMs = await probe.failNext();
      samples.push((await slices.until((all) => isServed(all, false), 'it is out')) - failedMs);
      probe.recover();
    }
  } finally {
    stop.abort();
    probe.server.close();
    await deletePods(scene, ['ready']);
  }
  return [
    row('readiness probe failed → out of the endpoints', samples, {
      unit: 'ms',
      goal: { of: 'value', atMost: 1_000 },
    }),
  ];
}

function isServed(all: ReadonlyMap<string, EndpointSlice>, isReady: boolean): boolean {
  const own = [...all.values()].filter(
    ({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === 'ready',
  );
  const endpoints = own.flatMap((slice) => slice.endpoints ?? []);
  return endpoints.length > 0 && endpoints.every(({ conditions }) => conditions?.ready === isReady);
}

interface ProbedServer {
  readonly server: Server;
  readonly port: number;
  /** Resolves when a probe was told no. */
  failNext(): Promise<number>;
  recover(): void;
}

async function probedServer(): Promise<ProbedServer> {
  let onFailed: ((atMs: number) => void) | undefined;
  let isFailing = false;
  const server = createServer((_request, response) => {
    response.writeHead(isFailing ? 500 : 200).end();
    if (isFailing) onFailed?.(performance.now());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    server,
    port: (server.address() as AddressInfo).port,
    failNext() {
      isFailing = true;
      return new Promise((resolve) => (onFailed = resolve));
    },
    recover() {
      isFailing = false;
    },
  };
}

const crowd = Array.from({ length: manyPods }, (_, i) => `idle-${i}`);

async function gather(scene: Scene): Promise<void> {
  if (!crowd.every((name) => isRunning(scene.pods.get(name)))) await startPods(scene, crowd);
}

async function idle(scene: Scene): Promise<Row[]> {
  await gather(scene);
  await new Promise((resolve) => setTimeout(resolve, writtenMs));
  const pid = scene.agentPid();
  const folder = path.join(scene.cluster.dataDirectory, 'agent');
  const before = { cpu: cpuMs(pid), written: writtenBytes(pid), files: filesOf(folder) };
  const startMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const tookMs = performance.now() - startMs;
  const changed = filesOf(folder).filter((line) => !before.files.includes(line));
  for (const line of changed) scene.say(`changed: ${line}`);
  return [
    row(`agent RSS, ${manyPods} pods (${2 * manyPods} containers), idle`, [residentMb(pid)], {
      unit: 'MB',
      goal: { of: 'value', atMost: 60 },
    }),
    row('agent CPU, idle', [((cpuMs(pid) - before.cpu) * 100) / tookMs], {
      unit: '% of a core',
      goal: { of: 'value', atMost: 1 },
    }),
    row('agent bytes written a minute, idle', [writtenBytes(pid) - before.written], {
      unit: 'B',
      goal: { of: 'value', atMost: 0 },
    }),
    row("files of the agent's that changed in that minute", [changed.length], {
      unit: '',
      goal: { of: 'value', atMost: 0 },
    }),
  ];
}

/** What the process gave to disks, as the kernel counts it. */
function writtenBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/io`, 'utf8');
  return Number(/^write_bytes: (\d+)$/m.exec(text)?.[1]);
}

function filesOf(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => `${file} ${statSync(file).mtimeMs} ${statSync(file).size}`);
}

/**
 * Processor time of who works for a sample, less what they need without it: three stretches of time in each
 * round, since each has work of its own at times. Ours is the agent: it asks the engine for nothing
 * (`say` tells how often it did meanwhile).
 */
async function metrics(scene: Scene): Promise<Row[]> {
  await gather(scene);
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const engine = ['dockerd', 'containerd'].flatMap(pidsOf);
  const engineMs = (): number => sumOf(engine.map(cpuMsOfThreads));
  const agentMs = (): number => cpuMsOfThreads(scene.agentPid());
  const peerMs = (): number => {
    const { user, system } = process.cpuUsage();
    return engineMs() + (user + system) / 1000;
  };
  const ids = await appIds(scene);
  const ours: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < scene.rounds(4); round++) {
    const [agentIdleMs, peerIdleMs] = await spent(agentMs, peerMs);
    await inTurn(round, [
      async () => {
        const before = await engineCalls(scene);
        ours.push(await costOfSample(agentMs, agentIdleMs, watchAgent(scene)));
        scene.say(`calls to the engine meanwhile: ${(await engineCalls(scene)) - before}`);
      },
      async () => peers.push(await costOfSample(peerMs, peerIdleMs, followStats(socketPath, ids))),
    ]);
  }
  return [
    row('processor time per container and sample', ours, {
      unit: 'ms',
      goal: { of: 'ratio', atMost: 1 / 20 },
      peer: { name: `${peer} stats, with its client`, samples: peers },
    }),
  ];
}

/** As the agent counts them. */
async function engineCalls({ client, pods: known }: Scene): Promise<number> {
  const node = known.get('idle-0')?.spec.nodeName ?? '';
  const { chunks } = await client.stream({
    method: 'GET',
    path: `/api/v1/nodes/${node}/proxy/metrics`,
  });
  const pieces: Uint8Array[] = [];
  for await (const chunk of chunks) pieces.push(chunk);
  const text = Buffer.concat(pieces).toString();
  return sumOf(
    [...text.matchAll(/^kubelet_runtime_operations_total\{.*\} (\d+)/gm)].map(([, count]) =>
      Number(count),
    ),
  );
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

async function appIds({ docker }: Scene): Promise<string[]> {
  const all = await docker.listContainers({ label: [`${label.type}=container`] });
  return all.map(({ Id }) => Id).slice(0, manyPods);
}

/** Samples of the machine and all its containers, one a second, as a page gets them. */
function watchAgent({ client, pods: known }: Scene): Sampling {
  const stop = new AbortController();
  const node = known.get('idle-0')?.spec.nodeName ?? '';
  let samples = 0;
  const request = client.stream({
    method: 'GET',
    path: `/api/v1/nodes/${node}/proxy/stats/stream`,
    signal: stop.signal,
  });
  void request.then(async ({ chunks }) => {
    for await (const chunk of chunks) if (chunk.at(-1) === newline) samples += manyPods;
  });
  return { samples: () => samples, stop: () => stop.abort() };
}

/** Milliseconds of processor for one sample of one container. */
async function costOfSample(
  cpu: () => number,
  withoutMs: number,
  sampling: Sampling,
): Promise<number> {
  // The first sample opens what the others read again.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const before = sampling.samples();
  const [busyMs] = await spent(cpu, cpu);
  const taken = sampling.samples() - before;
  sampling.stop();
  return (busyMs - withoutMs) / taken;
}

async function spent(one: () => number, other: () => number): Promise<[number, number]> {
  const before = [one(), other()] as const;
  await new Promise((resolve) => setTimeout(resolve, watchMs));
  return [one() - before[0], other() - before[1]];
}

function pidsOf(name: string): number[] {
  const out = execFileSync('pgrep', ['-x', name], { encoding: 'utf8' });
  return out.trim().split('\n').map(Number);
}
