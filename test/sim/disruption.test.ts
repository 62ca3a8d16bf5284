// Disruption budgets as `kubectl drain` meets them: the real API server, the real controllers.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import type { PodDisruptionBudgetSpec } from '#kube/api/policy.ts';
import { configMaps, deployments, podDisruptionBudgets, pods } from '#kube/client/resources.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  await sim.addNode('node-1');
});
afterEach(() => sim.stop());

const namespace = 'default';
const ref = { namespace, name: 'web' };
const labels = { app: 'web' };

async function deploy(replicas: number): Promise<void> {
  const template = {
    metadata: { name: '', labels },
    spec: { containers: [{ name: 'c', image: 'i' }] },
  };
  const deployment: Deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: ref,
    spec: { replicas, selector: { matchLabels: labels }, template },
  };
  await sim.client.create(deployments, deployment);
  await sim.settle();
  await sim.runPods();
}

async function protect(spec: PodDisruptionBudgetSpec): Promise<void> {
  await sim.client.create(podDisruptionBudgets, {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: ref,
    spec: { selector: { matchLabels: labels }, ...spec },
  });
  await sim.settle();
}

async function evict(name: string): Promise<number> {
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
  const done = sim.client.createSubresource(pods, { namespace, name }, 'eviction', body);
  const code = await done.then(
    () => 201,
    (error: unknown) => (error instanceof StatusError ? error.code : Promise.reject(error)),
  );
  await sim.settle();
  return code;
}

const names = async () =>
  (await sim.client.list(pods, { namespace })).items.map(({ metadata }) => metadata.name);
const status = async () => (await sim.client.get(podDisruptionBudgets, ref)).status;
const allowed = async () => (await status())?.disruptionsAllowed;

describe('a drain', () => {
  it('takes one pod after the other, each when the last one is replaced', async () => {
    await deploy(3);
    await protect({ maxUnavailable: 1 });
    expect(await status()).toMatchObject({
      currentHealthy: 3,
      desiredHealthy: 2,
      expectedPods: 3,
      disruptionsAllowed: 1,
    });
    const old = await names();
    for (const name of old) {
      expect(await evict(name)).toBe(201);
      expect(await allowed()).toBe(0);
      const next = old.find((other) => other !== name) ?? '';
      if ((await names()).includes(next) && next !== name) expect(await evict(next)).toBe(429);
      // The evicted pod ends and its successor gets ready.
      await sim.runPods();
      await sim.runPods();
      expect(await allowed()).toBe(1);
    }
    expect((await names()).filter((name) => old.includes(name))).toEqual([]);
  });

  it('waits for ever where nothing may go', async () => {
    await deploy(1);
    await protect({ minAvailable: '100%' });
    const [name = ''] = await names();
    expect([await allowed(), await evict(name)]).toEqual([0, 429]);
    await sim.client.patch(deployments, ref, { spec: { replicas: 2 } });
    await sim.settle();
    await sim.runPods();
    // All of two have to stay as well.
    expect([await allowed(), await evict(name)]).toEqual([0, 429]);
  });
});

describe('a budget', () => {
  it('of pods whose owner has no scale says so, and allows nothing', async () => {
    const map = await sim.client.create(configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: ref,
    });
    const { uid = '' } = map.metadata;
    const ownerReferences = [
      { apiVersion: 'v1', kind: 'ConfigMap', name: 'web', uid, controller: true },
    ];
    await sim.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...ref, labels, ownerReferences },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await protect({ maxUnavailable: 1 });
    expect(await status()).toMatchObject({
      disruptionsAllowed: 0,
      conditions: [
        { reason: 'SyncFailed', message: 'configmaps does not implement the scale subresource' },
      ],
    });
  });

  it('of single pods has to be a number', async () => {
    await sim.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...ref, labels },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await sim.runPods();
    await protect({ minAvailable: 0 });
    expect(await allowed()).toBe(1);
    await sim.client.patch(podDisruptionBudgets, ref, { spec: { minAvailable: '50%' } });
    await sim.advance(1000);
    expect(await allowed()).toBe(0);
    expect((await sim.events(namespace)).join()).toContain('UnmanagedPods');
  });

  it('forgets an eviction that came to nothing', async () => {
    await deploy(2);
    await protect({ minAvailable: 1 });
    const [name = ''] = await names();
    const disruptedPods = { [name]: rfc3339(sim.clock.now() - 110_000) };
    await sim.client.patch(
      podDisruptionBudgets,
      ref,
      { status: { disruptionsAllowed: 0, disruptedPods } },
      { subresource: 'status' },
    );
    await sim.settle();
    expect(await allowed()).toBe(0);
    await sim.advance(15_000);
    expect(await allowed()).toBe(1);
  });
});

describe('what was said of a pod that nobody deleted', () => {
  const target = async () =>
    (await sim.client.get(pods, ref)).status?.conditions?.find(
      ({ type }) => type === 'DisruptionTarget',
    )?.status;

  it.each([
    { reason: 'EvictionByEvictionAPI', afterwards: 'False' },
    { reason: 'TerminationByKubelet', afterwards: 'True' },
  ])('by $reason is $afterwards two minutes later', async ({ reason, afterwards }) => {
    await sim.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: ref,
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await sim.runPods();
    const lastTransitionTime = rfc3339(sim.clock.now());
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason, lastTransitionTime }];
    await sim.client.patch(pods, ref, { status: { conditions } }, { subresource: 'status' });
    await sim.advance(115_000);
    expect(await target()).toBe('True');
    await sim.advance(10_000);
    expect(await target()).toBe(afterwards);
  });
});
