// Quotas and what protects storage, with the real API server and the real controllers.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import {
  configMaps,
  deployments,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  resourceQuotas,
} from '#kube/client/resources.ts';
import { settleMs } from '../../electron/controlplane/controllers/resource-quota.ts';
import { podOf, refusal, workloadOf } from '../setup/kinds.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

const namespace = 'default';

async function limit(hard: Record<string, string>): Promise<void> {
  await sim.client.create(resourceQuotas, {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'team', namespace },
    spec: { hard },
  });
  await sim.settle();
}

async function used(): Promise<unknown> {
  return (await sim.client.get(resourceQuotas, { namespace, name: 'team' })).status?.used;
}

function config(name: string) {
  return sim.client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace },
  });
}

describe('a ResourceQuota', () => {
  it('counts what is there already, of every kind it names', async () => {
    await config('a');
    await sim.client.create(pods, podOf({}, { namespace }) as Pod);
    await limit({
      configmaps: '9',
      'count/configmaps': '9',
      pods: '3',
      'count/deployments.apps': '1',
    });
    expect(await used()).toEqual({
      // The certificate authority of the namespace is one, too.
      configmaps: '2',
      'count/configmaps': '2',
      pods: '1',
      'count/deployments.apps': '0',
    });
  });

  it('gives back what is deleted', async () => {
    await limit({ 'count/configmaps': '2' });
    await config('a');
    expect(await refusal(config('b'))).toBe(
      'configmaps "b" is forbidden: exceeded quota: team, requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2',
    );
    await sim.advance(settleMs);
    await sim.client.delete(configMaps, { namespace, name: 'a' });
    await sim.settle();
    expect(await used()).toEqual({ 'count/configmaps': '1' });
    await config('b');
  });

  it('gives back what a finished pod had', async () => {
    await limit({ pods: '1', 'count/pods': '5' });
    await sim.client.create(pods, podOf({}, { namespace }) as Pod);
    await sim.advance(settleMs);
    const ref = { namespace, name: 'web' };
    await sim.client.patch(
      pods,
      ref,
      { status: { phase: 'Succeeded' } },
      { subresource: 'status' },
    );
    await sim.settle();
    expect(await used()).toEqual({ pods: '0', 'count/pods': '1' });
  });

  it('gives back what was charged for a write that failed, but not while it may still come', async () => {
    await limit({ 'count/configmaps': '5' });
    await config('a');
    await sim.advance(settleMs);
    expect(await refusal(config('a'))).toBe('configmaps "a" already exists');
    await sim.settle();
    expect(await used()).toEqual({ 'count/configmaps': '3' });
    await sim.advance(2 * settleMs);
    expect(await used()).toEqual({ 'count/configmaps': '2' });
  });

  it('follows its limits', async () => {
    await limit({ pods: '1' });
    const spec = { hard: { pods: null, secrets: '7' } };
    await sim.client.patch(resourceQuotas, { namespace, name: 'team' }, { spec });
    await sim.settle();
    const { status } = await sim.client.get(resourceQuotas, { namespace, name: 'team' });
    expect(status).toEqual({ hard: { secrets: '7' }, used: { secrets: '0' } });
  });

  it('holds a Deployment to what there is', async () => {
    await limit({ pods: '2' });
    const deployment = workloadOf('Deployment', { replicas: 4 });
    await sim.client.create(deployments, {
      ...deployment,
      metadata: { name: 'web', namespace },
    } as Deployment);
    await sim.settle();
    expect((await sim.client.list(pods)).items).toHaveLength(2);
    await sim.client.patch(
      resourceQuotas,
      { namespace, name: 'team' },
      { spec: { hard: { pods: '4' } } },
    );
    await sim.advance(30_000);
    expect((await sim.client.list(pods)).items).toHaveLength(4);
  });
});

describe('storage that is used', () => {
  const claim: PersistentVolumeClaim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data', namespace },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  };
  const claims = async () =>
    (await sim.client.list(persistentVolumeClaims)).items.map(
      ({ metadata }) => metadata.finalizers,
    );

  it('stays until the last pod is gone: a claim', async () => {
    await sim.addNode('pi');
    await sim.client.create(persistentVolumeClaims, claim);
    const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'data' } }];
    await sim.client.create(pods, podOf({ volumes, nodeName: 'pi' }, { namespace }) as Pod);
    await sim.settle();
    await sim.client.delete(persistentVolumeClaims, { namespace, name: 'data' });
    await sim.settle();
    expect(await claims()).toEqual([['kubernetes.io/pvc-protection']]);
    await sim.client.delete(pods, { namespace, name: 'web' }, { gracePeriodSeconds: 0 });
    await sim.settle();
    expect(await claims()).toEqual([]);
  });

  it('stays while a claim is bound to it: a volume', async () => {
    const volume: PersistentVolume = {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'disk' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        hostPath: { path: '/d' },
      },
    };
    await sim.client.create(persistentVolumes, volume);
    await sim.client.create(persistentVolumeClaims, claim);
    await sim.settle();
    await sim.client.delete(persistentVolumes, { name: 'disk' });
    await sim.settle();
    expect((await sim.client.list(persistentVolumes)).items).toHaveLength(1);
    await sim.client.delete(persistentVolumeClaims, { namespace, name: 'data' });
    await sim.settle();
    expect((await sim.client.list(persistentVolumes)).items).toEqual([]);
  });
});
