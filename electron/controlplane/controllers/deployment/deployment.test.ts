import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import { deployments, pods, replicaSets } from '#kube/client/resources.ts';
import { createReplicaSetController } from '../replica-set/replica-set.ts';
import { TestCluster } from '../testing/cluster.ts';
import { createDeploymentController } from './deployment.ts';

let cluster: TestCluster;
beforeEach(async () => {
  cluster = new TestCluster();
  await cluster.run(createReplicaSetController, createDeploymentController);
});
afterEach(() => cluster.stop());

function deployment(spec: Partial<Deployment['spec']> = {}): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'default', name: 'web', labels: { app: 'web' } },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: 'web' } },
      progressDeadlineSeconds: 600,
      revisionHistoryLimit: 10,
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' },
      },
      template: template('v1'),
      ...spec,
    },
  };
}

function template(image: string): Deployment['spec']['template'] {
  return {
    metadata: { labels: { app: 'web' } } as unknown as Deployment['metadata'],
    spec: { containers: [{ name: 'main', image }] },
  };
}

async function create(spec: Partial<Deployment['spec']> = {}): Promise<void> {
  await cluster.client.create(deployments, deployment(spec));
  await cluster.settle();
}

async function change(spec: Partial<Deployment['spec']>): Promise<void> {
  await cluster.client.patch(deployments, { namespace: 'default', name: 'web' }, { spec });
  await cluster.settle();
}

async function setImage(image: string): Promise<void> {
  await change({ template: template(image) });
}

/** Image → spec.replicas of its ReplicaSet. */
function sizes(): Record<string, number | undefined> {
  const entries = cluster.api
    .list(replicaSets)
    .map(({ spec }) => [spec.template?.spec?.containers[0]?.image ?? '', spec.replicas]);
  return Object.fromEntries(entries) as Record<string, number>;
}

function conditions(): Record<string, string> {
  const all = cluster.api.get(deployments, 'web').status?.conditions ?? [];
  return Object.fromEntries(all.map(({ type, status, reason }) => [type, `${status} ${reason}`]));
}

async function runUntilStill(): Promise<number> {
  let most = 0;
  for (let round = 0; round < 12; round++) {
    most = Math.max(most, cluster.api.list(pods).length);
    await cluster.runPods();
  }
  return most;
}

describe('a new Deployment', () => {
  it('becomes a ReplicaSet of revision 1 and is complete when its pods are ready', async () => {
    await create();
    expect(sizes()).toEqual({ v1: 3 });
    expect(conditions()).toEqual({
      Available: 'False MinimumReplicasUnavailable',
      Progressing: 'True ReplicaSetUpdated',
    });
    await cluster.runPods();
    const { metadata, status } = cluster.api.get(deployments, 'web');
    expect(metadata.annotations).toEqual({ 'deployment.kubernetes.io/revision': '1' });
    const { conditions: _conditions, ...counts } = status ?? {};
    expect(counts).toEqual({
      observedGeneration: 1,
      replicas: 3,
      updatedReplicas: 3,
      readyReplicas: 3,
      availableReplicas: 3,
      terminatingReplicas: 0,
    });
    expect(conditions()).toEqual({
      Available: 'True MinimumReplicasAvailable',
      Progressing: 'True NewReplicaSetAvailable',
    });
  });

  it('of no replicas is complete, and leaves out the counts that are zero', async () => {
    await create({ replicas: 0 });
    const { status } = cluster.api.get(deployments, 'web');
    const { conditions: _conditions, ...counts } = status ?? {};
    expect(counts).toEqual({ observedGeneration: 1, terminatingReplicas: 0 });
    expect(conditions()['Progressing']).toBe('True NewReplicaSetAvailable');
    expect(cluster.api.list(replicaSets)[0]?.status).toEqual({
      observedGeneration: 1,
      replicas: 0,
      terminatingReplicas: 0,
    });
  });

  it('marks pods and ReplicaSet with the template hash, which the name ends with', async () => {
    await create();
    const [replicaSet] = cluster.api.list(replicaSets);
    const hash = replicaSet?.metadata.labels?.['pod-template-hash'] ?? '';
    expect(replicaSet?.metadata.name).toBe(`web-${hash}`);
    expect(hash).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]+$/);
    expect(replicaSet?.spec.selector.matchLabels).toEqual({
      app: 'web',
      'pod-template-hash': hash,
    });
    expect(cluster.api.list(pods).map((pod) => pod.metadata.labels)).toEqual(
      Array.from({ length: 3 }, () => ({ app: 'web', 'pod-template-hash': hash })),
    );
    expect(replicaSet?.metadata.annotations).toEqual({
      'deployment.kubernetes.io/desired-replicas': '3',
      'deployment.kubernetes.io/max-replicas': '4',
      'deployment.kubernetes.io/revision': '1',
    });
  });

  it('tells its events in Kubernetes words', async () => {
    await create({ replicas: 1 });
    const [replicaSet] = cluster.api.list(replicaSets);
    const [pod] = cluster.api.list(pods);
    expect(cluster.events()).toEqual([
      `ScalingReplicaSet: Scaled up replica set ${replicaSet?.metadata.name} from 0 to 1`,
      `SuccessfulCreate: Created pod: ${pod?.metadata.name}`,
    ]);
  });

  it('writes nothing more once it is settled', async () => {
    await create();
    await runUntilStill();
    cluster.api.writes.length = 0;
    await cluster.advance(700_000);
    expect(cluster.api.writes).toEqual([]);
  });
});

describe('a rolling update', () => {
  it('never has more than maxSurge extra pods nor fewer than maxUnavailable allows', async () => {
    await create({
      replicas: 4,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    });
    await runUntilStill();
    await setImage('v2');
    const seen: unknown[] = [];
    for (let round = 0; round < 12; round++) {
      const living = cluster.api
        .list(pods)
        .filter((pod) => pod.metadata.deletionTimestamp === undefined);
      seen.push([
        living.length <= 5,
        living.filter((pod) => pod.status?.phase === 'Running').length >= 4,
      ]);
      await cluster.runPods();
    }
    expect(seen).toEqual(Array.from({ length: 12 }, () => [true, true]));
    expect(sizes()).toEqual({ v1: 0, v2: 4 });
    expect(conditions()['Progressing']).toBe('True NewReplicaSetAvailable');
  });

  it('stops at new pods that do not become ready, and reports it after the deadline', async () => {
    await create();
    await runUntilStill();
    await setImage('broken');
    expect(sizes()).toEqual({ v1: 3, broken: 1 });
    await cluster.advance(602_000);
    expect(conditions()).toEqual({
      Available: 'True MinimumReplicasAvailable',
      Progressing: 'False ProgressDeadlineExceeded',
    });
  });

  it('takes the old ReplicaSet, as a new revision, when the template goes back', async () => {
    await create();
    await runUntilStill();
    await setImage('v2');
    await runUntilStill();
    await setImage('v1');
    await runUntilStill();
    expect(sizes()).toEqual({ v1: 3, v2: 0 });
    const revisions = cluster.api
      .list(replicaSets)
      .map(({ spec, metadata }) => [
        spec.template?.spec?.containers[0]?.image,
        metadata.annotations?.['deployment.kubernetes.io/revision'],
        metadata.annotations?.['deployment.kubernetes.io/revision-history'],
      ]);
    expect(revisions.toSorted((a, b) => (String(a) < String(b) ? -1 : 1))).toEqual([
      ['v1', '3', '1'],
      ['v2', '2', undefined],
    ]);
    const { metadata } = cluster.api.get(deployments, 'web');
    expect(metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('3');
  });

  it('keeps no more old ReplicaSets than the history limit', async () => {
    await create({ revisionHistoryLimit: 1 });
    for (const image of ['v1', 'v2', 'v3', 'v4']) {
      await setImage(image);
      await runUntilStill();
    }
    expect(sizes()).toEqual({ v3: 0, v4: 3 });
  });
});

describe('other ways', () => {
  it('Recreate lets no old and new pods live together', async () => {
    await create({ strategy: { type: 'Recreate' } });
    await runUntilStill();
    await setImage('v2');
    expect(sizes()).toEqual({ v1: 0 });
    expect(
      cluster.api.list(pods).every((pod) => pod.metadata.deletionTimestamp !== undefined),
    ).toBe(true);
    const most = await runUntilStill();
    expect([sizes(), most]).toEqual([{ v1: 0, v2: 3 }, 3]);
  });

  it('scales at once, also while paused, and then rolls nothing', async () => {
    await create();
    await runUntilStill();
    await change({ paused: true });
    expect(conditions()['Progressing']).toBe('Unknown DeploymentPaused');
    await setImage('v2');
    await change({ replicas: 5 });
    expect(sizes()).toEqual({ v1: 5 });
    await change({ paused: false });
    await runUntilStill();
    expect(sizes()).toEqual({ v1: 0, v2: 5 });
  });

  it('shares a scale between the ReplicaSets of a rollout under way', async () => {
    await create({
      replicas: 10,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 2, maxUnavailable: 2 } },
    });
    await runUntilStill();
    await setImage('v2');
    // 12 in all: 8 old, 4 new that aren't ready.
    expect(sizes()).toEqual({ v1: 8, v2: 4 });
    await change({ replicas: 20 });
    const after = sizes();
    expect((after['v1'] ?? 0) + (after['v2'] ?? 0)).toBe(22);
    expect(after['v1']).toBe(15);
  });

  it('scales to zero and back', async () => {
    await create();
    await runUntilStill();
    await change({ replicas: 0 });
    await runUntilStill();
    expect([sizes(), cluster.api.list(pods).length]).toEqual([{ v1: 0 }, 0]);
    await change({ replicas: 2 });
    await runUntilStill();
    expect(cluster.api.list(pods)).toHaveLength(2);
  });
});
