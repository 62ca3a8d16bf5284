// What outlives what: containers outlive the control plane and the agent; a killed container comes
// back; nothing acknowledged is lost.
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ensureTestImages } from '../setup/images.ts';
import { webApp } from './manifests.ts';

const cluster = new Cluster();

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
});
afterAll(() => cluster.destroy());

interface ContainerState {
  readonly id: string;
  readonly startedAt: string;
}

async function containerStates(): Promise<ContainerState[]> {
  const ids = await cluster.containers();
  const format = '{{.Id}} {{.State.StartedAt}}';
  const out = execFileSync('docker', ['inspect', '--format', format, ...ids], { encoding: 'utf8' });
  const states = out
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  return states
    .map(([id = '', startedAt = '']) => ({ id, startedAt }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

async function deploy(name: string, replicas: number): Promise<void> {
  await cluster.apply(webApp(name, { replicas }));
  await cluster.kubectlOk('rollout', 'status', `deployment/${name}`, '--timeout=60s');
}

async function restartCounts(name: string): Promise<string> {
  return await cluster.kubectlOk(
    'get',
    'pods',
    '-l',
    `app=${name}`,
    '-o',
    'jsonpath={.items[*].status.containerStatuses[0].restartCount}',
  );
}

describe('a container that dies', () => {
  it('is started again, is counted, and its pod answers again within seconds', async () => {
    await deploy('killed', 1);
    const nodePort = await cluster.kubectlOk(
      'get',
      'service',
      'killed',
      '-o',
      'jsonpath={.spec.ports[0].nodePort}',
    );
    const id = await cluster.kubectlOk(
      'get',
      'pods',
      '-l',
      'app=killed',
      '-o',
      'jsonpath={.items[0].status.containerStatuses[0].containerID}',
    );
    execFileSync('docker', ['kill', id.replace('docker://', '')], { stdio: 'ignore' });
    await eventually(
      async () => (await restartCounts('killed')) === '1',
      'the restart is counted',
      10_000,
    );
    await eventually(
      async () => (await fetch(`http://127.0.0.1:${nodePort}/`)).ok,
      'it answers again',
      10_000,
    );
    expect(await cluster.kubectlOk('get', 'pods', '-l', 'app=killed')).toMatch(
      /Running +1 \(\d+s ago\)/,
    );
  });
});

describe('a restart', () => {
  it('of the killed control plane loses nothing and restarts nothing', async () => {
    await deploy('kept', 2);
    const before = await containerStates();
    const objects = await cluster.kubectlOk('get', 'deployments,services,pods', '-o', 'name');
    cluster.killChild('controlplane');
    await eventually(
      async () => (await cluster.kubectl('get', 'nodes')).code === 0,
      'the API serves again',
    );
    expect(await cluster.kubectlOk('get', 'deployments,services,pods', '-o', 'name')).toBe(objects);
    await deploy('kept-after', 1);
    const after = await containerStates();
    expect(after).toEqual(expect.arrayContaining(before));
    expect(await restartCounts('kept')).toBe('0 0');
  });

  it('of the killed agent adopts its containers', async () => {
    await deploy('adopted', 2);
    const before = await containerStates();
    const agent = cluster.killChild('agent');
    await eventually(() => cluster.childPids('agent').some((pid) => pid !== agent), 'a new agent');
    await cluster.kubectlOk('scale', 'deployment/adopted', '--replicas=3');
    await cluster.kubectlOk('rollout', 'status', 'deployment/adopted', '--timeout=60s');
    const after = await containerStates();
    expect(after).toEqual(expect.arrayContaining(before));
    expect(after).toHaveLength(before.length + 2);
  });

  it('of everything keeps containers running meanwhile, and adopts them', async () => {
    await deploy('outlives', 2);
    const before = await containerStates();
    const pods = await cluster.kubectlOk('get', 'pods', '-o', 'name');
    expect(await cluster.stop()).toBe(0);
    expect(await containerStates()).toEqual(before);
    await cluster.start();
    await cluster.kubectlOk('wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s');
    await cluster.kubectlOk('rollout', 'status', 'deployment/outlives', '--timeout=60s');
    expect(await cluster.kubectlOk('get', 'pods', '-o', 'name')).toBe(pods);
    expect(await containerStates()).toEqual(before);
    expect(await restartCounts('outlives')).toBe('0 0');
  });
});
