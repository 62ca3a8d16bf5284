// `kill -9` of the agent right before and right after each call by which it changes something of the
// engine, from a pod's first sandbox to its last removal: the next agent goes on as if nothing had
// happened, and at the end the machine has nothing more than before.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConfigMap, Pod } from '#kube/api/core.ts';
import { configMaps, pods } from '#kube/client/resources.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { AgentProcess, clusterWithoutAgent } from '../setup/agent-process.ts';
import { eventually, type Cluster } from '../setup/cluster.ts';
import { EngineProxy, type Cut } from '../setup/engine-proxy.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

const engine = new EngineProxy();
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
});

/** With three kinds of volumes; bound here, so that no time goes by before. */
function podOf(name: string): Pod {
  const mounts = ['settings', 'memory', 'disk'].map((volume) => ({
    name: volume,
    mountPath: `/${volume}`,
  }));
  const base = { image: webImage, imagePullPolicy: 'Never', volumeMounts: mounts };
  const command = (script: string) => ({ ...base, command: ['sh', '-c', script] });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      nodeName: agent.nodeName,
      terminationGracePeriodSeconds: 5,
      automountServiceAccountToken: false,
      containers: [{ name: 'main', ...command("trap 'exit 0' TERM; sleep 600 & wait") }],
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'memory', emptyDir: { medium: 'Memory' } },
        { name: 'disk', emptyDir: {} },
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
  return {
    containers: await cluster.containers(),
    mounts: table.filter((line) => line.includes(agent.dataDirectory)),
    folders: readdirSync(path.join(agent.dataDirectory, 'pods')),
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

async function isUp(name: string): Promise<void> {
  await eventually(async () => {
    const { status } = (await find(name)) ?? {};
    return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True');
  }, `${name} is ready`);
  expect(await shown()).toEqual(['POD running', 'main running']);
  const { status } = (await find(name)) ?? {};
  expect(status?.containerStatuses?.map(({ restartCount }) => restartCount)).toEqual([0]);
}

async function isGone(name: string): Promise<void> {
  await eventually(async () => (await find(name)) === undefined, `${name} is gone`);
}

/** Lets the agent die at that call, and another one take its place. */
async function killedAt(cut: Omit<Cut, 'onCut'>, act: () => Promise<unknown>): Promise<void> {
  engine.cutAt({ ...cut, onCut: () => agent.kill() });
  await act();
  await agent.exited();
  engine.cutAt(undefined);
  agent.start();
}

async function create(name: string): Promise<void> {
  await (await cluster.client()).create(pods, podOf(name));
}

async function remove(name: string): Promise<void> {
  await (await cluster.client()).delete(pods, { namespace: 'default', name });
}

it('an agent that is killed at any point of a pod leaves nothing, doubles nothing', async () => {
  await create('first');
  await isUp('first');
  await remove('first');
  await isGone('first');
  const before = await leftovers();
  expect(before).toMatchObject({ containers: [], mounts: [], folders: [] });
  engine.cutAt(undefined);
  await create('counted');
  await isUp('counted');
  const starts = engine.calls;
  engine.cutAt(undefined);
  await remove('counted');
  await isGone('counted');
  const stops = engine.calls;
  // Sandbox and container are created and started; later stopped and removed.
  expect([starts.length, stops.length], `${starts.join()} ${stops.join()}`).toEqual([4, 4]);
  for (let call = 1; call <= starts.length; call++)
    for (const when of ['before', 'after'] as const) {
      const name = `killed-${when}-${call}`;
      await killedAt({ call, when }, () => create(name));
      await isUp(name);
      await killedAt({ call, when }, () => remove(name));
      await isGone(name);
      expect(await leftovers(), name).toEqual(before);
    }
}, 600_000);
