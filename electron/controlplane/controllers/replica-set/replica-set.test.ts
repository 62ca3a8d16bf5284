import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReplicaSet } from '#kube/api/apps.ts';
import type { Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { pods, replicaSets } from '#kube/client/resources.ts';
import { forbidden } from '#kube/machinery/status.ts';
import { slowStartBatch } from '../pod-control.ts';
import { TestCluster } from '../testing/cluster.ts';
import { deletionCostAnnotation, inDeletionOrder } from './deletion-order.ts';
import { createReplicaSetController } from './replica-set.ts';

const nowMs = 1_700_000_000_000;

interface PodFacts {
  readonly node?: string;
  readonly phase?: string;
  readonly readyForMs?: number;
  readonly ageMs?: number;
  readonly cost?: string;
  readonly restarts?: number;
}

function pod(name: string, facts: PodFacts = {}): Pod {
  const { node = 'a', phase = 'Running', readyForMs, ageMs = 0, cost, restarts = 0 } = facts;
  const lastTransitionTime = rfc3339(nowMs - (readyForMs ?? 0));
  const status = readyForMs === undefined ? 'False' : 'True';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      uid: name,
      creationTimestamp: rfc3339(nowMs - ageMs),
      annotations: cost === undefined ? {} : { [deletionCostAnnotation]: cost },
    },
    spec: { nodeName: node, containers: [] },
    status: {
      phase,
      conditions: [{ type: 'Ready', status, lastTransitionTime }],
      containerStatuses: [
        { name: 'c', image: '', imageID: '', ready: true, restartCount: restarts },
      ],
    },
  };
}

describe('the order of deletion', () => {
  const hour = 3_600_000;
  const cases: { name: string; first: Pod; second: Pod }[] = [
    {
      name: 'unscheduled before scheduled',
      first: pod('z', { node: '', phase: 'Pending' }),
      second: pod('a', { phase: 'Pending' }),
    },
    { name: 'pending before running', first: pod('z', { phase: 'Pending' }), second: pod('a') },
    { name: 'unready before ready', first: pod('z'), second: pod('a', { readyForMs: 1 }) },
    {
      name: 'a lower deletion cost first',
      first: pod('z', { readyForMs: hour, cost: '-5' }),
      second: pod('a', { readyForMs: 1 }),
    },
    {
      name: 'ready for a shorter time first',
      first: pod('z', { readyForMs: 1000 }),
      second: pod('a', { readyForMs: hour }),
    },
    {
      name: 'more restarts first',
      first: pod('z', { readyForMs: hour, restarts: 3 }),
      second: pod('a', { readyForMs: hour }),
    },
    {
      name: 'the younger first',
      first: pod('z', { ageMs: 1000 }),
      second: pod('a', { ageMs: hour }),
    },
    {
      name: 'of about the same age the lower uid first',
      first: pod('a', { ageMs: hour }),
      second: pod('z', { ageMs: hour - 1000 }),
    },
    {
      name: 'a deletion cost that is no number counts as 0',
      first: pod('z', { cost: '-1' }),
      second: pod('a', { cost: '-007' }),
    },
  ];
  it.each(cases)('$name', ({ first, second }) => {
    for (const given of [
      [first, second],
      [second, first],
    ])
      expect(inDeletionOrder({ pods: given, relatedPods: [], nowMs })).toEqual([first, second]);
  });

  it('empties the node with most pods of the application first', () => {
    const [a, b] = [pod('a', { readyForMs: 1 }), pod('b', { node: 'b', readyForMs: 1 })];
    const relatedPods = [a, b, pod('x', { node: 'b' })];
    expect(inDeletionOrder({ pods: [a, b], relatedPods, nowMs })).toEqual([b, a]);
  });
});

describe('a slow start', () => {
  it('doubles its batches and stops after the one that failed', async () => {
    let calls = 0;
    const result = await slowStartBatch(100, () => {
      calls++;
      return calls === 5 ? Promise.reject(new Error('quota')) : Promise.resolve();
    });
    expect([calls, result.succeeded, (result.error as Error).message]).toEqual([7, 6, 'quota']);
  });
});

describe('a ReplicaSet', () => {
  let cluster: TestCluster;
  beforeEach(async () => {
    cluster = new TestCluster();
    await cluster.run(createReplicaSetController);
  });
  afterEach(() => cluster.stop());

  async function create(spec: Partial<ReplicaSet['spec']> = {}): Promise<void> {
    const metadata = { labels: { app: 'web' } } as unknown as ReplicaSet['metadata'];
    await cluster.client.create(replicaSets, {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { namespace: 'default', name: 'web' },
      spec: {
        replicas: 3,
        selector: { matchLabels: { app: 'web' } },
        template: { metadata, spec: { containers: [{ name: 'c', image: 'i' }] } },
        ...spec,
      },
    });
    await cluster.settle();
  }

  it('replaces a pod that is deleted, without waiting for its grace period', async () => {
    await create();
    await cluster.runPods();
    const [victim] = cluster.api.list(pods);
    await cluster.client.delete(pods, { namespace: 'default', name: victim?.metadata.name ?? '' });
    await cluster.settle();
    expect(cluster.api.list(pods)).toHaveLength(4);
  });

  it('replaces pods that failed and keeps them for whoever wants to look', async () => {
    await create({ replicas: 1 });
    const [failed] = cluster.api.list(pods);
    const ref = { namespace: 'default', name: failed?.metadata.name ?? '' };
    await cluster.client.patch(
      pods,
      ref,
      { status: { phase: 'Failed' } },
      { subresource: 'status' },
    );
    await cluster.settle();
    expect(cluster.api.list(pods).map(({ status }) => status?.phase)).toEqual([
      'Failed',
      undefined,
    ]);
  });

  it('adopts matching orphans instead of creating pods', async () => {
    const metadata = { namespace: 'default', name: 'stray', labels: { app: 'web' } };
    const spec = { containers: [] };
    await cluster.client.create(pods, { apiVersion: 'v1', kind: 'Pod', metadata, spec });
    await create({ replicas: 1 });
    const [only, ...others] = cluster.api.list(pods);
    expect(others).toEqual([]);
    expect(only?.metadata.ownerReferences?.[0]).toMatchObject({ name: 'web', controller: true });
  });

  it('reports pods it may not create, and recovers when it may', async () => {
    cluster.api.intercept = ({ method, path }) =>
      method === 'POST' && path.endsWith('/pods')
        ? forbidden(pods, '', 'exceeded quota')
        : undefined;
    await create();
    const { status } = cluster.api.get(replicaSets, 'web');
    expect(status?.conditions).toMatchObject([
      {
        type: 'ReplicaFailure',
        status: 'True',
        reason: 'FailedCreate',
        message: 'pods is forbidden: exceeded quota',
      },
    ]);
    expect(cluster.events()).toContain(
      'FailedCreate: Error creating: pods is forbidden: exceeded quota',
    );
    cluster.api.intercept = undefined;
    await cluster.advance(60_000);
    const after = cluster.api.get(replicaSets, 'web').status;
    expect([cluster.api.list(pods).length, after?.conditions]).toEqual([3, undefined]);
  });

  it('creates no pod twice while its cache has not seen the first ones', async () => {
    cluster.api.hold(pods);
    await create();
    expect(cluster.api.list(pods)).toHaveLength(3);
    const ref = { namespace: 'default', name: 'web' };
    await cluster.client.patch(replicaSets, ref, { metadata: { annotations: { touched: 'yes' } } });
    await cluster.settle();
    expect(cluster.api.list(pods)).toHaveLength(3);
    cluster.api.release(pods);
    await cluster.settle();
    expect([
      cluster.api.list(pods).length,
      cluster.api.get(replicaSets, 'web').status?.replicas,
    ]).toEqual([3, 3]);
  });

  it('deletes no further pods while its cache has not seen the first ones go', async () => {
    await create();
    await cluster.runPods();
    cluster.api.hold(pods);
    const ref = { namespace: 'default', name: 'web' };
    await cluster.client.patch(replicaSets, ref, { spec: { replicas: 2 } });
    await cluster.settle();
    await cluster.client.patch(replicaSets, ref, { spec: { replicas: 1 } });
    await cluster.settle();
    const dying = (): number =>
      cluster.api.list(pods).filter(({ metadata }) => metadata.deletionTimestamp !== undefined)
        .length;
    expect(dying()).toBe(1);
    cluster.api.release(pods);
    await cluster.settle();
    expect(dying()).toBe(2);
  });

  it('counts a pod as available only after minReadySeconds', async () => {
    await create({ replicas: 1, minReadySeconds: 30 });
    await cluster.runPods();
    const { status } = cluster.api.get(replicaSets, 'web');
    expect([status?.readyReplicas, status?.availableReplicas]).toEqual([1, undefined]);
    await cluster.advance(31_000);
    expect(cluster.api.get(replicaSets, 'web').status?.availableReplicas).toBe(1);
  });
});
