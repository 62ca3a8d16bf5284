// An agent whose disk is full: what runs goes on, what can't be written is told in Kubernetes' words and never
// shown by halves, and all comes right when there is room again. The engine has another disk.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConfigMap, Pod, Volume } from '#kube/api/core.ts';
import { configMaps, events as eventResource, nodes, pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { AgentProcess, clusterWithoutAgent } from '../setup/agent-process.ts';
import { eventually, type Cluster } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { SmallDisk } from '../setup/small-disk.ts';

const disk = new SmallDisk(16);
let cluster: Cluster;
let client: RestClient;
let agent: AgentProcess;

beforeAll(async () => {
  ensureTestImages();
  cluster = await clusterWithoutAgent();
  client = await cluster.client();
  const folder = path.join(disk.directory, 'agent');
  cpSync(path.join(cluster.dataDirectory, 'agent'), folder, { recursive: true });
  agent = new AgentProcess(cluster, {}, folder).start();
  await client.create(configMaps, settings('old'));
  await client.create(pods, podOf('goes-on', [configMap]));
  await eventually(() => isReady('goes-on'), 'a pod runs');
});
afterAll(async () => {
  await agent.stop();
  await cluster.destroy();
  for (const mounted of mountsBelow(disk.directory)) execFileSync('umount', [mounted]);
  disk.destroy();
  rmSync(disk.directory, { recursive: true, force: true });
});

function mountsBelow(folder: string): string[] {
  const table = execFileSync('findmnt', ['-rno', 'TARGET'], { encoding: 'utf8' }).split('\n');
  return table.filter((target) => target.startsWith(`${folder}/`));
}

const large = 'x'.repeat(20_000);

function settings(word: string): ConfigMap {
  const data = { word, large };
  const metadata = { name: 'settings', namespace: 'default' };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
}

const configMap: Volume = { name: 'settings', configMap: { name: 'settings' } };
const projected: Volume = {
  name: 'settings',
  projected: {
    sources: [
      { configMap: { name: 'settings' } },
      { serviceAccountToken: { path: 'token' } },
      { downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
    ],
  },
};

function podOf(name: string, volumes: readonly Volume[]): Pod {
  // Something that is on the engine's disk: nothing to end it for.
  const script = "head -c 3000000 /dev/zero > /layer; trap 'exit 0' TERM; sleep 600 & wait";
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      nodeName: agent.nodeName,
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      containers: [
        {
          name: 'main',
          image: webImage,
          imagePullPolicy: 'Never',
          command: ['sh', '-c', script],
          volumeMounts: [{ name: 'settings', mountPath: '/settings' }],
        },
      ],
      volumes: [...volumes],
    },
  };
}

const find = (name: string): Promise<Pod> => client.get(pods, { namespace: 'default', name });

async function isReady(name: string): Promise<boolean | undefined> {
  const { status } = await find(name);
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True');
}

async function told(name: string, start: string): Promise<string> {
  const options = { namespace: 'default', fieldSelector: `involvedObject.name=${name}` };
  return eventually(async () => {
    const { items } = await client.list(eventResource, options);
    const all = items.map(({ reason, message }) => `${reason}: ${message}`);
    return all.find((text) => text.startsWith(start));
  }, `an event about ${name}: ${start}`);
}

/** What a container sees, and what lies on the disk for it. */
async function shown(name: string): Promise<string> {
  return cluster.kubectlOk('exec', name, '--', 'sh', '-c', 'cat /settings/word; ls -A /settings');
}

async function filesOf(name: string): Promise<string[]> {
  const { uid = '' } = (await find(name)).metadata;
  const folder = path.join(agent.dataDirectory, 'pods', uid, 'volumes/settings');
  return existsSync(folder) ? readdirSync(folder) : [];
}

async function facts(name: string): Promise<unknown> {
  const [status] = (await find(name)).status?.containerStatuses ?? [];
  return [status?.containerID, status?.restartCount];
}

async function pressure(): Promise<string | undefined> {
  const node = await client.get(nodes, { name: agent.nodeName });
  return node.status?.conditions?.find(({ type }) => type === 'DiskPressure')?.status;
}

const full = (volume: string) =>
  `FailedMount: MountVolume.SetUp failed for volume "${volume}" : no space left on device: the disk that holds ${disk.directory}`;

it('what runs goes on with what it has, and it is told what could not be written', async () => {
  const before = await facts('goes-on');
  const was = await shown('goes-on');
  expect(await pressure()).toBe('False');
  disk.fill();
  await client.update(configMaps, settings('new'));
  await told('goes-on', full('settings'));
  expect(await shown('goes-on')).toBe(was);
  await eventually(async () => (await pressure()) === 'True', 'DiskPressure');
  expect([await facts('goes-on'), await isReady('goes-on')]).toEqual([before, true]);
});

it('a new pod waits, and nothing of its files is there', async () => {
  const name = 'waits';
  await client.create(pods, podOf(name, [configMap]));
  await told(name, full('settings'));
  const { status } = await find(name);
  expect(status?.phase).toBe('Pending');
  expect(status?.containerStatuses?.[0]?.state).toEqual({
    waiting: { reason: 'ContainerCreating' },
  });
  // A look may fall into the next attempt.
  await eventually(async () => (await filesOf(name)).length === 0, 'nothing of its files is there');
});

it('a new pod whose volume is in memory, as what is secret is, has that, and waits for the rest', async () => {
  await client.create(pods, podOf('in-memory', [projected]));
  await told('in-memory', 'Failed: Error: no space left on device: the disk that holds ');
  expect(await filesOf('in-memory')).toEqual(
    expect.arrayContaining(['large', 'name', 'token', 'word']) as string[],
  );
});

it('an agent that starts on it adopts what runs', async () => {
  const before = await facts('goes-on');
  agent.kill();
  await agent.exited();
  agent.start();
  await eventually(async () => (await shown('goes-on')).startsWith('old'), 'it can be looked into');
  expect([await facts('goes-on'), await isReady('goes-on')]).toEqual([before, true]);
});

it('all comes right by itself when there is room', async () => {
  const before = await facts('goes-on');
  disk.free();
  for (const name of ['waits', 'in-memory'])
    await eventually(() => isReady(name), `${name} is ready`);
  expect((await shown('in-memory')).split('\n')).toContain('token');
  expect((await shown('waits')).split('\n')).toEqual(
    expect.arrayContaining(['new..data', 'large', 'word']) as string[],
  );
  await eventually(async () => (await shown('goes-on')).startsWith('new'), 'the new files');
  expect((await filesOf('goes-on')).filter((name) => name.startsWith('..files_'))).toHaveLength(1);
  expect(await facts('goes-on')).toEqual(before);
});
