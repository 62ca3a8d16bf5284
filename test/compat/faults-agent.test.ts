// `kill -9` of the agent right before and right after the calls by which it changes something of the
// engine, from a pod's first sandbox to its last removal, with init containers, a sidecar and hooks: the
// next agent goes on as if nothing had happened, and at the end the machine has nothing more than before.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConfigMap, Container, Pod } from '#kube/api/core.ts';
import { configMaps, pods } from '#kube/client/resources.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { AgentProcess, clusterWithoutAgent } from '../setup/agent-process.ts';
import { eventually, type Cluster } from '../setup/cluster.ts';
import { EngineProxy, type When } from '../setup/engine-proxy.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

const engine = new EngineProxy();
/** Where containers write down that they ran. */
const marks = mkdtempSync(path.join(tmpdir(), 'flotilla-marks-'));
let cluster: Cluster;
let agent: AgentProcess;
let clusterId: string;

beforeAll(async () => {
  ensureTestImages();
  await engine.open();
  cluster = await clusterWithoutAgent();
  agent = new AgentProcess(cluster, { DOCKER_HOST: engine.dockerHost }).start();
  clusterId = await cluster.kubectlOk('get', 'ns', 'kube-system', '-o', 'jsonpath={.metadata.uid}');
  const metadata = { name: 'settings', namespace: 'default' };
  const object: ConfigMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { a: 'b' } };
  await (await cluster.client()).create(configMaps, object);
});
afterAll(async () => {
  await agent.stop();
  await cluster.destroy();
  await engine.destroy();
  rmSync(marks, { recursive: true });
});

/** So many containers with a postStart hook, as each can be cut off only once. */
const hooked = ['hook-1', 'hook-2', 'hook-3', 'hook-4'];

/** With four kinds of volumes; bound here, so that no time goes by before. */
function podOf(name: string): Pod {
  const mounts = ['settings', 'memory', 'disk', 'marks'].map((volume) => ({
    name: volume,
    mountPath: `/${volume}`,
  }));
  const container = (own: string, script: string, more: Partial<Container> = {}): Container => {
    const command = ['sh', '-c', `echo ${own} >> /marks/ran; ${script}`];
    return {
      name: own,
      image: webImage,
      imagePullPolicy: 'Never',
      command,
      volumeMounts: mounts,
      ...more,
    };
  };
  const goesOn = "trap 'exit 0' TERM; sleep 600 & wait";
  const mark = (text: string) => ({
    exec: { command: ['sh', '-c', `echo ${text} >> /marks/ran`] },
  });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      nodeName: agent.nodeName,
      terminationGracePeriodSeconds: 5,
      automountServiceAccountToken: false,
      initContainers: [
        // It ends while no agent is there.
        container('first', 'sleep 0.2'),
        container('beside', goesOn, { restartPolicy: 'Always' }),
        container('second', 'true'),
      ],
      containers: [
        container('main', goesOn, { lifecycle: { preStop: mark('preStop') } }),
        ...hooked.map((own) =>
          container(own, goesOn, { lifecycle: { postStart: mark('postStart') } }),
        ),
      ],
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'memory', emptyDir: { medium: 'Memory' } },
        { name: 'disk', emptyDir: {} },
        { name: 'marks', hostPath: { path: marks } },
      ],
    },
  };
}

interface Leftovers {
  readonly containers: readonly string[];
  readonly mounts: readonly string[];
  readonly folders: readonly string[];
  readonly networks: readonly string[];
}

/** What is on this machine of the cluster. */
async function leftovers(): Promise<Leftovers> {
  const table = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const filter = `label=flotilla.dev/cluster-id=${clusterId}`;
  const args = ['network', 'ls', '-q', '--filter', filter];
  const networks = execFileSync('docker', args, { encoding: 'utf8' });
  const folder = path.join(agent.dataDirectory, 'pods');
  return {
    containers: await cluster.containers(),
    mounts: table.filter((line) => line.includes(agent.dataDirectory)),
    folders: existsSync(folder) ? readdirSync(folder) : [],
    networks: networks.trim().split('\n').toSorted(),
  };
}

async function find(name: string): Promise<Pod | undefined> {
  try {
    return await (await cluster.client()).get(pods, { namespace: 'default', name });
  } catch (error) {
    if (hasReason(error, 'NotFound')) return undefined;
    throw error;
  }
}

/** `name state` of what the engine has of the pod. */
async function shown(): Promise<string[]> {
  const format = '{{index .Config.Labels "io.kubernetes.container.name"}} {{.State.Status}}';
  const ids = await cluster.containers();
  if (ids.length === 0) return [];
  const out = execFileSync('docker', ['inspect', '--format', format, ...ids], { encoding: 'utf8' });
  return out.trim().split('\n').toSorted();
}

async function isReady(name: string): Promise<boolean | undefined> {
  const { status } = (await find(name)) ?? {};
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True');
}

async function isGone(name: string): Promise<boolean> {
  return (await find(name)) === undefined;
}

/** Names of containers by their ids: an answer to a cut call names none. */
const names = new Map<string, string>();
let lastExec = '';

/** What a call is about: `start main`. */
function labelOf(call: string): string {
  const created = /\/containers\/create\?.*\bname=k8s_([^_]+)_/.exec(call)?.[1];
  if (created !== undefined) return `create ${created}`;
  if (call.includes('/exec/')) return call.includes('/start') ? `run ${lastExec}` : call;
  const [, id = '', verb = 'remove'] = /\/containers\/([0-9a-f]{64})(?:\/(\w+))?/.exec(call) ?? [];
  if (id === '') return call;
  const name = names.get(id) ?? nameOf(id);
  names.set(id, name);
  if (verb === 'exec') lastExec = name;
  return `${verb} ${name}`;
}

function nameOf(id: string): string {
  const format = '{{index .Config.Labels "io.kubernetes.container.name"}}';
  return execFileSync('docker', ['inspect', '--format', format, id], { encoding: 'utf8' }).trim();
}

/** Kills the agent at each of these points, in whatever order it comes by, until all is as it shall be. */
async function killedAtEach(points: readonly string[], isDone: () => Promise<unknown>) {
  const left = new Set(points);
  const at = (call: string): When | undefined => {
    const label = labelOf(call);
    const when = (['before', 'after'] as const).find((one) => left.has(`${one} ${label}`));
    left.delete(`${when} ${label}`);
    return when;
  };
  engine.cutAt({ at, onCut: () => agent.kill() });
  let isOver = false;
  const done = eventually(isDone, 'what shall come about', 300_000).finally(() => (isOver = true));
  for (;;) {
    await Promise.race([done, agent.exited()]);
    if (isOver) break;
    agent.start();
  }
  engine.cutAt(undefined);
  await done;
  expect([...left], 'points that the agent did not come by').toEqual([]);
}

const both = (label: string) => [`before ${label}`, `after ${label}`];
const starts = [
  ...['POD', 'first', 'beside', 'second', 'main'].flatMap((name) => [
    ...both(`create ${name}`),
    ...both(`start ${name}`),
  ]),
  // Its hook is lost with the agent, as in Kubernetes.
  'before exec hook-1',
  'after exec hook-2',
  'before run hook-3',
  'after run hook-4',
];
const stops = ['exec main', 'run main', 'stop main', 'stop beside', 'kill POD']
  .concat('remove first', 'remove main', 'remove POD')
  .flatMap(both);

it('an agent that is killed at any point of a pod leaves nothing, doubles nothing', async () => {
  const before = await leftovers();
  expect(before).toMatchObject({ containers: [], mounts: [], folders: [] });
  const client = await cluster.client();
  await client.create(pods, podOf('killed'));
  await killedAtEach(starts, () => isReady('killed'));
  const up = ['POD', 'beside', 'main', ...hooked].map((name) => `${name} running`);
  const over = ['first', 'second'].map((name) => `${name} exited`);
  // The last agent tidies up after it has told.
  await eventually(async () => {
    expect(await shown()).toEqual([...up, ...over].toSorted());
    return true;
  }, 'one of each container, and no other');
  const { status } = (await find('killed')) ?? {};
  const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  expect(all.map(({ restartCount }) => restartCount)).toEqual(all.map(() => 0));
  const ran = readFileSync(path.join(marks, 'ran'), 'utf8').trim().split('\n');
  const once = all.map(({ name }) => name).toSorted();
  expect(ran.filter((name) => name !== 'postStart').toSorted()).toEqual(once);
  await client.delete(pods, { namespace: 'default', name: 'killed' });
  await killedAtEach(stops, () => isGone('killed'));
  expect(await leftovers()).toEqual({ ...before, networks: [expect.any(String)] });
}, 600_000);
