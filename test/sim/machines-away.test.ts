// Machines that go away and come back, and a control plane that does: whose pods run elsewhere, when, and whose stay. The
// real API server and controllers, on one clock; the test plays the agents.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeCondition, Pod } from '#kube/api/core.ts';
import { rfc3339, rfc3339Micro } from '#kube/base/clock.ts';
import {
  deployments,
  leases,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from '#kube/client/resources.ts';
import { setCondition } from '#kube/machinery/conditions.ts';
import { shuttingDown } from '#kube/machinery/node-shutdown.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  for (const name of ['attic', 'kitchen']) await sim.addNode(name);
});
afterEach(() => sim.stop());

/** One copy of an app, which runs on the attic's machine. */
async function runApp(volumes: Pod['spec']['volumes'] = []): Promise<void> {
  const labels = { app: 'web' };
  await sim.client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'default', name: 'web' },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels } as unknown as Pod['metadata'],
        spec: { containers: [{ name: 'main', image: 'web:1' }], volumes },
      },
    },
  });
  await sim.settle();
  await sim.runPods('attic');
}

async function renewLease(name: string): Promise<void> {
  const renewTime = rfc3339Micro(sim.clock.now());
  const ref = { namespace: 'kube-node-lease', name };
  const patched = await sim.client.patch(leases, ref, { spec: { renewTime } }).catch(() => false);
  if (patched !== false) return;
  const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime };
  await sim.client.create(leases, {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: ref,
    spec,
  });
}

/** Time passes; only these are heard of. */
async function live(seconds: number, ...names: string[]): Promise<void> {
  for (let second = 0; second < seconds; second += 5) {
    if (second % 10 === 0) for (const name of names) await renewLease(name);
    await sim.advance(5_000);
  }
}

/** What its agent says, as often as it posts its status. */
async function say(name: string, next: Omit<NodeCondition, 'lastTransitionTime'>): Promise<void> {
  const { status } = await sim.client.get(nodes, { name });
  const now = rfc3339(sim.clock.now());
  const conditions = setCondition(status?.conditions, { ...next, lastHeartbeatTime: now }, now);
  await sim.client.patch(nodes, { name }, { status: { conditions } }, { subresource: 'status' });
  await sim.settle();
}

const sayReady = (name: string) =>
  say(name, { type: 'Ready', status: 'True', reason: 'KubeletReady' });

/** Of each pod its node and whether it is about to go. */
async function where(): Promise<string[]> {
  const { items } = await sim.client.list(pods);
  return items
    .map(({ metadata, spec }) => {
      const leaves = metadata.deletionTimestamp === undefined ? '' : ', leaves';
      return `${spec.nodeName ?? 'not yet placed'}${leaves}`;
    })
    .toSorted();
}

const moved = ['attic, leaves', 'not yet placed'];

async function judgement(name: string): Promise<string> {
  const { spec, status } = await sim.client.get(nodes, { name });
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const evicts = (spec.taints ?? []).some(({ effect }) => effect === 'NoExecute');
  return `${ready?.reason}${evicts ? ', evicts' : ''}`;
}

describe('a machine', () => {
  it('that vanished has its pods run elsewhere within a minute, and not at the first silence', async () => {
    await runApp();
    await live(35, 'kitchen');
    expect(await where()).toEqual(['attic']);
    await live(20, 'kitchen');
    expect(await judgement('attic')).toBe('NodeStatusUnknown, evicts');
    expect(await where()).toEqual(moved);
  });

  it('that is back in time keeps them', async () => {
    await runApp();
    await live(10, 'attic', 'kitchen');
    await live(25, 'kitchen');
    await live(60, 'attic', 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual(['KubeletReady', ['attic']]);
  });

  it('that restarts is waited for three minutes, then no longer', async () => {
    await runApp();
    await live(10, 'attic', 'kitchen');
    await say('attic', { type: 'Ready', status: 'False', ...shuttingDown });
    await live(170, 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual(['NodeShutDown', ['attic']]);
    await sayReady('attic');
    await live(30, 'attic', 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual(['KubeletReady', ['attic']]);
    await say('attic', { type: 'Ready', status: 'False', ...shuttingDown });
    await live(240, 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual(['NodeShutDown, evicts', moved]);
  });

  it('keeps a pod whose data lies on it: it could run nowhere else', async () => {
    const hosts = [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['attic'] }];
    const capacity = { storage: '1Gi' };
    await sim.client.create(persistentVolumes, {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'photos' },
      spec: {
        capacity,
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        local: { path: '/srv/photos' },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: hosts }] } },
      },
    });
    await sim.client.create(persistentVolumeClaims, {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { namespace: 'default', name: 'photos' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        volumeName: 'photos',
        resources: { requests: capacity },
      },
    });
    await runApp([{ name: 'photos', persistentVolumeClaim: { claimName: 'photos' } }]);
    await live(400, 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual([
      'NodeStatusUnknown, evicts',
      ['attic'],
    ]);
  });
});

describe('a laptop with the control plane', () => {
  /** Nothing runs on it, and all its timers are late when it wakes. */
  async function sleep(ms: number): Promise<void> {
    sim.clock.advance(ms);
    await sim.settle();
  }

  it('that slept for an hour evicts nobody: it was not listening', async () => {
    await runApp();
    await live(20, 'attic', 'kitchen');
    await sleep(3_600_000);
    expect([await judgement('attic'), await judgement('kitchen')]).toEqual([
      'KubeletReady',
      'KubeletReady',
    ]);
    await live(120, 'attic', 'kitchen');
    expect(await where()).toEqual(['attic']);
  });

  it('finds who is gone since, a while after it woke', async () => {
    await runApp();
    await live(20, 'attic', 'kitchen');
    await sleep(3_600_000);
    await live(60, 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual(['NodeStatusUnknown, evicts', moved]);
  });

  it('that fell asleep over an eviction waits until the machine had time to be heard of', async () => {
    await runApp();
    await live(40, 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual([
      'NodeStatusUnknown, evicts',
      ['attic'],
    ]);
    await sleep(3_600_000);
    await live(20, 'kitchen');
    await sayReady('attic');
    await live(120, 'attic', 'kitchen');
    expect([await judgement('attic'), await where()]).toEqual(['KubeletReady', ['attic']]);
  });
});
