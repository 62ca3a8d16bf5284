// A node's whole life: it joins, runs twenty pods of all sorts, its agent is killed, its engine goes
// away and comes back, the machine loses its power; then it is drained and removed. What is on the
// machine afterwards is what was there before, but for what people put into folders of their own.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Container, Pod, PodSpec, Service } from '#kube/api/core.ts';
import { pods, services } from '#kube/client/resources.ts';
import { removeRules } from '../../agent/proxy/nft-applier.ts';
import { proxySystem } from '../../agent/proxy/system.ts';
import { shortClusterId } from '../../agent/runtime/pod-network.ts';
import { AgentProcess, clusterWithoutAgent } from '../setup/agent-process.ts';
import { eventually, type Cluster } from '../setup/cluster.ts';
import { EngineProxy } from '../setup/engine-proxy.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';

const engine = new EngineProxy();
/** A user's own, that pods mount. */
const photos = mkdtempSync(path.join(tmpdir(), 'flotilla-photos-'));
let cluster: Cluster;
let agent: AgentProcess;
let clusterId: string;

beforeAll(async () => {
  ensureTestImages();
  await engine.open();
  cluster = await clusterWithoutAgent();
  agent = new AgentProcess(cluster, { DOCKER_HOST: engine.dockerHost });
  clusterId = await cluster.kubectlOk('get', 'ns', 'kube-system', '-o', 'jsonpath={.metadata.uid}');
});
afterAll(async () => {
  await agent.stop();
  await cluster.destroy();
  await engine.destroy();
  rmSync(photos, { recursive: true, force: true });
});

const base = { image: webImage, imagePullPolicy: 'Never' };
const shell = (name: string, script: string, more: Partial<Container> = {}): Container => ({
  name,
  ...base,
  command: ['sh', '-c', script],
  ...more,
});
const sleeps = "trap 'exit 0' TERM; sleep 600 & wait";
const http = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 };
const mount = (name: string) => ({ name, mountPath: `/${name}` });

/** By what is special about them. */
const sorts: readonly { readonly sort: string; readonly count: number; readonly spec: PodSpec }[] =
  [
    {
      sort: 'web',
      count: 3,
      spec: { containers: [{ name: 'web', ...base, readinessProbe: http }] },
    },
    {
      sort: 'prepared',
      count: 3,
      spec: {
        initContainers: [
          shell('init', 'echo ready > /disk/state', { volumeMounts: [mount('disk')] }),
          shell('side', sleeps, { restartPolicy: 'Always' }),
        ],
        containers: [
          shell('main', `cat /disk/state && ${sleeps}`, { volumeMounts: [mount('disk')] }),
        ],
        volumes: [{ name: 'disk', emptyDir: {} }],
      },
    },
    {
      sort: 'volumes',
      count: 3,
      spec: {
        containers: [
          shell('main', `hostname > /photos/$(hostname); ${sleeps}`, {
            volumeMounts: ['memory', 'disk', 'settings', 'downward', 'photos'].map(mount),
          }),
        ],
        volumes: [
          { name: 'memory', emptyDir: { medium: 'Memory' } },
          { name: 'disk', emptyDir: {} },
          {
            name: 'settings',
            projected: { sources: [{ configMap: { name: 'kube-root-ca.crt' } }] },
          },
          {
            name: 'downward',
            downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] },
          },
          { name: 'photos', hostPath: { path: photos } },
        ],
      },
    },
    { sort: 'host', count: 2, spec: { hostNetwork: true, containers: [shell('main', sleeps)] } },
    {
      sort: 'probed',
      count: 3,
      spec: {
        containers: [
          shell('main', sleeps, {
            startupProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
            livenessProbe: { exec: { command: ['true'] }, periodSeconds: 5 },
          }),
        ],
      },
    },
    {
      sort: 'done',
      count: 3,
      spec: { restartPolicy: 'Never', containers: [shell('main', 'true')] },
    },
    { sort: 'crashing', count: 3, spec: { containers: [shell('main', 'exit 3')] } },
  ];

function podsOf(): Pod[] {
  return sorts.flatMap(({ sort, count, spec }) =>
    Array.from({ length: count }, (_, index) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `${sort}-${index}`, namespace: 'default', labels: { sort } },
      spec: { terminationGracePeriodSeconds: 2, ...spec },
    })),
  );
}

/** What is to be seen of the cluster on this machine. */
async function traces() {
  const short = shortClusterId(clusterId);
  const out = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const lines = (text: string, word: string) =>
    text.split('\n').filter((line) => line.includes(word));
  return {
    containers: await cluster.containers(),
    networks: lines(out('docker', 'network', 'ls'), short),
    interfaces: readdirSync('/sys/class/net').filter((name) => name.includes(short)),
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8'), cluster.dataDirectory),
    tables: lines(out('nft', 'list', 'tables'), short),
    firewall: lines(out('iptables-save'), short),
    processes: lines(out('ps', '-e', '-o', 'args='), agent.dataDirectory),
    files: existsSync(agent.dataDirectory) ? readdirSync(agent.dataDirectory) : [],
    logs: readdirSync(path.join(cluster.dataDirectory, 'logs')).filter((name) =>
      name.startsWith('agent'),
    ),
  };
}

const nothing = {
  containers: [],
  networks: [],
  interfaces: [],
  mounts: [],
  tables: [],
  firewall: [],
  processes: [],
  files: [],
  logs: [],
};

async function all(): Promise<readonly Pod[]> {
  const list = await (await cluster.client()).list(pods, { namespace: 'default' });
  return list.items;
}

/** All pods are as they should be; `crashing` ones have crashed and wait. */
async function allAreWell(): Promise<void> {
  await eventually(
    async () => {
      for (const { metadata, status = {} } of await all()) {
        const { sort } = metadata.labels ?? {};
        const [first] = status.containerStatuses ?? [];
        const isWell =
          sort === 'done'
            ? status.phase === 'Succeeded'
            : sort === 'crashing'
              ? first?.state?.waiting?.reason === 'CrashLoopBackOff'
              : status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True');
        if (isWell !== true)
          throw new Error(`${metadata.name} ${status.phase} ${JSON.stringify(first?.state)}`);
      }
      return true;
    },
    'all pods are as they should be',
    280_000,
  );
}

async function nodeIs(status: string): Promise<void> {
  await eventually(
    async () => (await cluster.kubectlOk('get', 'nodes', '--no-headers')).includes(` ${status} `),
    `the node is ${status}`,
  );
}

/** `id` of each container that runs. */
async function running(): Promise<string[]> {
  const filter = `label=flotilla.dev/cluster-id=${clusterId}`;
  const out = execFileSync('docker', ['ps', '-q', '--filter', filter], { encoding: 'utf8' });
  return out
    .split('\n')
    .filter((id) => id !== '')
    .toSorted();
}

async function removal(): Promise<{ stdout: string }> {
  const main = path.join(root, 'out/agent/main.js');
  const flags = ['--data', agent.dataDirectory, '--node-name', agent.nodeName, '--remove'];
  try {
    return await promisify(execFile)(process.execPath, [main, ...flags]);
  } catch (error) {
    // What it says is on its standard output.
    const { stdout = '', code } = error as { readonly stdout?: string; readonly code?: number };
    throw Object.assign(new Error(`the removal ended with ${code}: ${stdout}`), { code });
  }
}

/** All that a loss of power takes: processes, mounts, packet rules. */
async function losePower(): Promise<void> {
  agent.kill();
  await agent.exited();
  // One that ends by itself meanwhile is no failure.
  spawnSync('docker', ['kill', ...(await running())], { stdio: 'ignore' });
  for (const line of (await traces()).mounts) execFileSync('umount', [line.split(' ')[4] ?? '']);
  const short = shortClusterId(clusterId);
  const system = proxySystem(0);
  await removeRules({ system, table: `flotilla_${short}`, bridge: `flt-${short}` });
}

it('joins and runs twenty pods of all sorts', async () => {
  agent.start();
  await nodeIs('Ready');
  const client = await cluster.client();
  for (const pod of podsOf()) await client.create(pods, pod);
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'NodePort', selector: { sort: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  };
  await client.create(services, service);
  await allAreWell();
  expect(await all()).toHaveLength(20);
  expect((await traces()).mounts.length).toBeGreaterThan(0);
}, 300_000);

it('keeps them all when its agent is killed and its engine goes away', async () => {
  const steady = async () =>
    (await all()).filter(({ metadata }) => metadata.labels?.['sort'] !== 'crashing');
  const ids = (list: readonly Pod[]) =>
    list.map(({ metadata, status }) => [
      metadata.name,
      ...(status?.containerStatuses ?? []).map((entry) => `${entry.containerID}`),
    ]);
  const before = ids(await steady());
  agent.kill();
  await agent.exited();
  agent.start();
  await nodeIs('Ready');
  await engine.close();
  await nodeIs('NotReady');
  await engine.open();
  await nodeIs('Ready');
  await allAreWell();
  expect(ids(await steady())).toEqual(before);
}, 300_000);

it('has them all again after it lost its power', async () => {
  const before = await running();
  await losePower();
  expect(await running()).toEqual([]);
  agent.start();
  // Until then the API shows what was before.
  await eventually(
    async () => (await running()).length >= before.length - 3,
    'containers run again, but for those that crash',
    280_000,
  );
  await allAreWell();
}, 300_000);

it('is drained and removed, and leaves only what is not its own', async () => {
  await expect(removal(), 'an agent that runs').rejects.toMatchObject({ code: 1 });
  await cluster.kubectlOk(
    'drain',
    agent.nodeName,
    '--force',
    '--ignore-daemonsets',
    '--delete-emptydir-data',
  );
  expect(await all()).toEqual([]);
  await agent.stop();
  const { stdout } = await removal();
  expect(stdout).toContain(`removed network flotilla-${shortClusterId(clusterId)}`);
  expect(stdout).toContain(`removed ${agent.dataDirectory}`);
  expect(await traces()).toEqual(nothing);
  expect(readdirSync(photos)).toHaveLength(3);
  expect((await removal()).stdout).toContain('nothing to remove');
}, 300_000);
