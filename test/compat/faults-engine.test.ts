// A node whose container engine goes away, comes back, or never was: what it says, and that nothing
// is lost or started twice.
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { EngineProxy } from '../setup/engine-proxy.ts';
import { ensureTestImages } from '../setup/images.ts';
import { webApp } from './manifests.ts';

interface ReadyCondition {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

async function nodeReady(cluster: Cluster): Promise<ReadyCondition | undefined> {
  const text = await cluster.kubectlOk('get', 'nodes', '-o', 'json');
  const { items } = JSON.parse(text) as {
    items: { status: { conditions?: (ReadyCondition & { type: string })[] } }[];
  };
  return items[0]?.status.conditions?.find(({ type }) => type === 'Ready');
}

/** `kubectl get nodes`' second column. */
async function shownStatus(cluster: Cluster): Promise<string | undefined> {
  const line = await cluster.kubectlOk('get', 'nodes', '--no-headers');
  return line.split(/\s+/)[1];
}

async function podFacts(cluster: Cluster): Promise<string> {
  const columns = [
    '{.metadata.uid}',
    '{.status.phase}',
    '{.status.podIP}',
    '{.status.containerStatuses[0].restartCount}',
    '{.status.containerStatuses[0].containerID}',
  ].join(' ');
  const path = `jsonpath={range .items[*]}${columns}{"\\n"}{end}`;
  return await cluster.kubectlOk('get', 'pods', '-o', path);
}

async function containerStates(cluster: Cluster): Promise<string[]> {
  const ids = await cluster.containers();
  const format = '{{.Id}} {{.State.Status}} {{.State.StartedAt}}';
  const out = execFileSync('docker', ['inspect', '--format', format, ...ids], { encoding: 'utf8' });
  return out.trim().split('\n').toSorted();
}

describe('an engine that stops while pods run', () => {
  const engine = new EngineProxy();
  const cluster = new Cluster(['--no-install'], undefined, {
    env: { DOCKER_HOST: engine.dockerHost },
  });

  beforeAll(async () => {
    ensureTestImages();
    await engine.open();
    await cluster.start();
    await cluster.apply(webApp('kept', { replicas: 2 }));
    await cluster.kubectlOk('rollout', 'status', 'deployment/kept', '--timeout=60s');
  });
  afterAll(async () => {
    await cluster.destroy();
    await engine.destroy();
  });

  it('makes the node NotReady within seconds, saying why; the pods stay as they are', async () => {
    const before = await podFacts(cluster);
    const containers = await containerStates(cluster);
    await engine.close();
    await eventually(async () => (await shownStatus(cluster)) === 'NotReady', 'NotReady', 10_000);
    expect(await nodeReady(cluster)).toMatchObject({
      status: 'False',
      reason: 'ContainerEngineStopped',
      message: expect.stringContaining(`does not answer at ${engine.socketPath}`) as string,
    });
    expect(await cluster.kubectlOk('describe', 'nodes')).toContain('ContainerEngineStopped');
    expect(await podFacts(cluster)).toBe(before);
    expect(await containerStates(cluster)).toEqual(containers);
  });

  it('is made up for when it is back: Ready by itself, nothing restarted, nothing twice', async () => {
    const before = await podFacts(cluster);
    const containers = await containerStates(cluster);
    await engine.open();
    await eventually(async () => (await shownStatus(cluster)) === 'Ready', 'Ready again');
    await cluster.kubectlOk('wait', '--for=condition=Ready', 'pods', '--all', '--timeout=60s');
    await cluster.kubectlOk('rollout', 'status', 'deployment/kept', '--timeout=60s');
    expect(await podFacts(cluster)).toBe(before);
    expect(await containerStates(cluster)).toEqual(containers);
  });

  it('takes up what was asked for meanwhile', async () => {
    await engine.close();
    await eventually(async () => (await shownStatus(cluster)) === 'NotReady', 'NotReady', 10_000);
    await cluster.kubectlOk('scale', 'deployment/kept', '--replicas=3');
    await cluster.kubectlOk('delete', 'pod', '-l', 'app=kept', '--wait=false');
    await engine.open();
    await eventually(async () => (await shownStatus(cluster)) === 'Ready', 'Ready again');
    await cluster.kubectlOk('rollout', 'status', 'deployment/kept', '--timeout=60s');
    const pods = await eventually(async () => {
      const names = (await cluster.kubectlOk('get', 'pods', '-o', 'name')).trim().split('\n');
      return names.length === 3 && names;
    }, 'three pods and no more');
    expect(pods).toHaveLength(3);
    await eventually(
      async () => (await cluster.containers()).length === 6,
      'a sandbox and a container for each pod, and no more',
    );
  });

  it('may be slow: everything takes its time, nothing is done twice', async () => {
    const before = (await cluster.containers()).length;
    engine.delayMs = 700;
    await cluster.kubectlOk('scale', 'deployment/kept', '--replicas=4');
    await cluster.kubectlOk('rollout', 'status', 'deployment/kept', '--timeout=60s');
    expect(await shownStatus(cluster)).toBe('Ready');
    engine.delayMs = 0;
    await cluster.kubectlOk('scale', 'deployment/kept', '--replicas=3');
    await eventually(
      async () => (await cluster.containers()).length === before,
      'as many containers as before',
    );
  });

  it('is survived by the agent when it stops and comes back five times in a row', async () => {
    const before = await podFacts(cluster);
    const containers = await containerStates(cluster);
    const [agent] = cluster.childPids('agent');
    for (let round = 0; round < 5; round++) {
      await engine.close();
      await engine.open();
    }
    await eventually(async () => (await shownStatus(cluster)) === 'Ready', 'Ready');
    await cluster.kubectlOk('wait', '--for=condition=Ready', 'pods', '--all', '--timeout=60s');
    expect(await podFacts(cluster)).toBe(before);
    expect(await containerStates(cluster)).toEqual(containers);
    expect(cluster.childPids('agent')).toEqual([agent]);
  });
});

describe('a machine without an engine', () => {
  const nowhere = '/nowhere/docker.sock';
  const cluster = new Cluster(['--no-install'], undefined, {
    env: { DOCKER_HOST: `unix://${nowhere}` },
  });

  beforeAll(async () => {
    await cluster.start();
  });
  afterAll(() => cluster.destroy());

  it('gets its control plane and user interface all the same', async () => {
    expect(cluster.apiUrl).toMatch(/^https:/);
    expect((await fetch(cluster.uiUrl)).status).toBe(200);
    expect((await cluster.kubectl('get', 'namespaces')).code).toBe(0);
  });

  it('shows its node NotReady, with a reason and what to do', async () => {
    const ready = await eventually(() => nodeReady(cluster), 'a registered node');
    expect(ready.status).toBe('False');
    expect(ready.reason).toBe('ContainerEngineStopped');
    expect(ready.message).toBe(
      `Docker Engine does not answer at ${nowhere}, which DOCKER_HOST names: start it there, or start Flotilla without DOCKER_HOST`,
    );
    const described = await cluster.kubectlOk('describe', 'nodes');
    expect(described).toContain(ready.message);
    expect(await shownStatus(cluster)).toBe('NotReady');
  });

  it('keeps what is deployed pending, and says that no node can take it', async () => {
    await cluster.apply(webApp('waits', { replicas: 1 }));
    const told = await eventually(async () => {
      const described = await cluster.kubectlOk('describe', 'pods', '-l', 'app=waits');
      return described.includes('FailedScheduling') && described;
    }, 'an event that says why');
    expect(told).toContain('0/1 nodes are available: 1 node(s) had untolerated taint');
    expect(await cluster.kubectlOk('get', 'pods', '--no-headers')).toContain('Pending');
  });
});
