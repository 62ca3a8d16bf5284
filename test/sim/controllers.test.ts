// Every controller against the real API server: what users see of them with kubectl.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DaemonSet, Deployment } from '#kube/api/apps.ts';
import type { Service } from '#kube/api/core.ts';
import { rfc3339Micro } from '#kube/base/clock.ts';
import {
  configMaps,
  controllerRevisions,
  daemonSets,
  deployments,
  endpointSlices,
  events,
  leases,
  namespaces,
  nodes,
  pods,
  replicaSets,
  replicationControllers,
  serviceAccounts,
  services,
  validatingAdmissionPolicies,
} from '#kube/client/resources.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

const web = { namespace: 'default', name: 'web' };

// A template's metadata has no name, which the generated types don't know.
function template(image: string): Deployment['spec']['template'] {
  const metadata = { labels: { app: 'web' } } as unknown as Deployment['metadata'];
  return { metadata, spec: { containers: [{ name: 'main', image }] } };
}

const selector = { matchLabels: { app: 'web' } };

async function deploy(replicas: number): Promise<void> {
  await sim.client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: web,
    spec: { replicas, selector, template: template('web:1') },
  });
  await sim.settle();
}

async function expose(more: Partial<Service['spec']> = {}): Promise<void> {
  const ports = [{ port: 80, targetPort: 8080 }];
  const spec = { selector: { app: 'web' }, ports, ...more };
  await sim.client.create(services, { apiVersion: 'v1', kind: 'Service', metadata: web, spec });
  await sim.settle();
}

async function podNames(): Promise<string[]> {
  return (await sim.client.list(pods)).items.map(({ metadata }) => metadata.name);
}

describe('a Deployment', () => {
  it('rolls out, scales, rolls to a new template and back', async () => {
    await deploy(3);
    await sim.runPods();
    const first = await sim.client.get(deployments, web);
    expect(first.status).toMatchObject({
      observedGeneration: 1,
      readyReplicas: 3,
      updatedReplicas: 3,
    });
    await sim.client.patch(deployments, web, { spec: { template: template('web:2') } });
    await sim.settle();
    for (let round = 0; round < 8; round++) await sim.runPods();
    const second = await sim.client.get(deployments, web);
    expect(second.metadata.annotations).toEqual({ 'deployment.kubernetes.io/revision': '2' });
    expect(second.status).toMatchObject({
      observedGeneration: 2,
      replicas: 3,
      updatedReplicas: 3,
      availableReplicas: 3,
    });
    const sizes = (await sim.client.list(replicaSets)).items.map(({ spec }) => spec.replicas);
    expect(sizes.toSorted((a = 0, b = 0) => a - b)).toEqual([0, 3]);
    await sim.client.patch(deployments, web, { spec: { template: template('web:1') } });
    await sim.settle();
    for (let round = 0; round < 8; round++) await sim.runPods();
    const third = await sim.client.get(deployments, web);
    expect(third.metadata.annotations).toEqual({ 'deployment.kubernetes.io/revision': '3' });
    expect(
      (await sim.client.list(pods)).items.map(({ spec }) => spec.containers[0]?.image),
    ).toEqual(Array.from({ length: 3 }, () => 'web:1'));
  });

  it('takes its ReplicaSets and pods with it when it is deleted', async () => {
    await deploy(2);
    await sim.runPods();
    await sim.client.delete(deployments, web, { propagationPolicy: 'Background' });
    await sim.settle();
    await sim.runPods();
    expect([(await sim.client.list(replicaSets)).items, await podNames()]).toEqual([[], []]);
  });

  it('goes last when it is deleted in the foreground', async () => {
    await deploy(2);
    await sim.runPods();
    await sim.client.delete(deployments, web, { propagationPolicy: 'Foreground' });
    await sim.settle();
    const waiting = await sim.client.get(deployments, web);
    expect(waiting.metadata.finalizers).toEqual(['foregroundDeletion']);
    await sim.runPods();
    await sim.settle();
    expect([
      (await sim.client.list(deployments)).items,
      (await sim.client.list(replicaSets)).items,
      await podNames(),
    ]).toEqual([[], [], []]);
  });

  it('leaves its ReplicaSet without an owner when it is deleted as an orphan', async () => {
    await deploy(2);
    await sim.client.delete(deployments, web, { propagationPolicy: 'Orphan' });
    await sim.settle();
    const [replicaSet] = (await sim.client.list(replicaSets)).items;
    expect(replicaSet?.metadata.ownerReferences ?? []).toEqual([]);
    expect((await sim.client.list(deployments)).items).toEqual([]);
    expect(await podNames()).toHaveLength(2);
    // Made again, it adopts what it finds.
    await deploy(2);
    const [adopted] = (await sim.client.list(replicaSets)).items;
    expect(adopted?.metadata.uid).toBe(replicaSet?.metadata.uid);
    expect(adopted?.metadata.ownerReferences?.[0]).toMatchObject({
      kind: 'Deployment',
      name: 'web',
    });
  });
});

describe('a ReplicationController', () => {
  it('keeps its pods, releases one that lost its label, and replaces it', async () => {
    await sim.client.create(replicationControllers, {
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: web,
      spec: { replicas: 2, selector: { app: 'web' }, template: template('web:1') },
    });
    await sim.settle();
    await sim.runPods();
    const [name = ''] = await podNames();
    const ref = { namespace: 'default', name };
    await sim.client.patch(pods, ref, { metadata: { labels: { app: 'debug' } } });
    await sim.settle();
    const released = await sim.client.get(pods, ref);
    expect(released.metadata.ownerReferences ?? []).toEqual([]);
    expect(await podNames()).toHaveLength(3);
    await sim.client.patch(replicationControllers, web, { spec: { replicas: 0 } });
    await sim.settle();
    await sim.runPods();
    expect(await podNames()).toEqual([name]);
  });
});

describe('a DaemonSet', () => {
  const daemonSet: DaemonSet = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: web,
    spec: { selector, template: template('web:1') },
  };

  it('puts one pod on every node, also on new ones, and updates one at a time', async () => {
    await sim.addNode('a');
    await sim.client.create(daemonSets, daemonSet);
    await sim.settle();
    await sim.addNode('b');
    const created = (await sim.client.list(pods)).items;
    const meantFor = created.map(
      ({ spec }) =>
        spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
          ?.nodeSelectorTerms[0]?.matchFields,
    );
    expect(meantFor).toHaveLength(2);
    expect(meantFor).toContainEqual([{ key: 'metadata.name', operator: 'In', values: ['b'] }]);
    for (const pod of created) {
      const [field] =
        pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
          ?.nodeSelectorTerms[0]?.matchFields ?? [];
      await sim.client.createSubresource(pods, pod.metadata, 'binding', {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { namespace: 'default', name: pod.metadata.name },
        target: { kind: 'Node', name: field?.values?.[0] },
      });
    }
    await sim.runPods();
    await sim.client.patch(daemonSets, web, { spec: { template: template('web:2') } });
    await sim.settle();
    const dying = (await sim.client.list(pods)).items.filter(
      (p) => p.metadata.deletionTimestamp !== undefined,
    );
    expect(dying).toHaveLength(1);
    const revisions = (await sim.client.list(controllerRevisions)).items.map(
      ({ revision }) => revision,
    );
    expect(revisions.toSorted((a, b) => a - b)).toEqual([1, 2]);
    const { status } = await sim.client.get(daemonSets, web);
    expect(status).toMatchObject({
      desiredNumberScheduled: 2,
      currentNumberScheduled: 2,
      observedGeneration: 2,
    });
  });
});

describe('a DaemonSet made again after an orphaning delete', () => {
  it('adopts its pods and its history', async () => {
    const again: DaemonSet = {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: web,
      spec: { selector, template: template('web:1') },
    };
    await sim.addNode('a');
    await sim.client.create(daemonSets, again);
    await sim.settle();
    const [pod] = await podNames();
    await sim.client.delete(daemonSets, web, { propagationPolicy: 'Orphan' });
    await sim.settle();
    await sim.client.create(daemonSets, again);
    await sim.settle();
    expect(await podNames()).toEqual([pod]);
    const { metadata } = await sim.client.get(daemonSets, web);
    const [revision, ...others] = (await sim.client.list(controllerRevisions)).items;
    expect(others).toEqual([]);
    expect(revision?.metadata.ownerReferences?.[0]?.uid).toBe(metadata.uid);
  });
});

describe('a Service', () => {
  it('has a slice with its ready pods, and none that are going', async () => {
    await expose();
    const [empty] = (await sim.client.list(endpointSlices)).items;
    expect(empty?.endpoints ?? []).toEqual([]);
    await deploy(2);
    await sim.runPods();
    const [slice, ...others] = (await sim.client.list(endpointSlices)).items;
    expect(others).toEqual([]);
    expect(slice?.metadata.labels).toMatchObject({
      'kubernetes.io/service-name': 'web',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    });
    expect(slice?.ports).toEqual([{ name: '', port: 8080, protocol: 'TCP' }]);
    expect(slice?.endpoints?.map(({ conditions, nodeName }) => [conditions, nodeName])).toEqual(
      Array.from({ length: 2 }, () => [
        { ready: true, serving: true, terminating: false },
        'node-1',
      ]),
    );
    const [name = ''] = await podNames();
    await sim.client.delete(pods, { namespace: 'default', name });
    await sim.settle();
    const [after] = (await sim.client.list(endpointSlices)).items;
    const going = after?.endpoints?.find(({ targetRef }) => targetRef?.name === name);
    expect(going?.conditions).toEqual({ ready: false, serving: true, terminating: true });
  });

  it('takes its slices with it', async () => {
    await expose();
    await sim.client.delete(services, web);
    await sim.settle();
    expect((await sim.client.list(endpointSlices)).items).toEqual([]);
  });
});

describe('a namespace', () => {
  it('gets its default ServiceAccount, and again when that is deleted', async () => {
    const ref = { namespace: 'default', name: 'default' };
    const { metadata } = await sim.client.get(serviceAccounts, ref);
    await sim.client.delete(serviceAccounts, ref);
    await sim.settle();
    const again = await sim.client.get(serviceAccounts, ref);
    expect(again.metadata.uid).not.toBe(metadata.uid);
  });

  it('goes with all it holds, pods first', async () => {
    await sim.client.create(namespaces, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop' },
      spec: {},
    });
    await sim.settle();
    const metadata = { namespace: 'shop', name: 'settings' };
    await sim.client.create(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
    await sim.client.create(deployments, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { namespace: 'shop', name: 'web' },
      spec: { replicas: 1, selector, template: template('web:1') },
    });
    await sim.settle();
    await sim.runPods();
    await sim.client.delete(namespaces, { name: 'shop' });
    await sim.settle();
    const waiting = await sim.client.get(namespaces, { name: 'shop' });
    expect(waiting.status?.phase).toBe('Terminating');
    const remaining = waiting.status?.conditions?.find(
      ({ type }) => type === 'NamespaceContentRemaining',
    );
    expect(remaining).toMatchObject({ status: 'True', reason: 'SomeResourcesRemain' });
    expect(remaining?.message).toContain('pods has 1 resource instances');
    for (let round = 0; round < 4; round++) await sim.runPods();
    await sim.advance(10_000);
    const left = (await sim.client.list(namespaces)).items.map(
      (namespace) => namespace.metadata.name,
    );
    expect(left).not.toContain('shop');
    expect((await sim.client.list(configMaps, { namespace: 'shop' })).items).toEqual([]);
  });
});

describe('a node', () => {
  async function renewLease(name: string): Promise<void> {
    const renewTime = rfc3339Micro(sim.clock.now());
    const ref = { namespace: 'kube-node-lease', name };
    const existing = await sim.client.get(leases, ref).catch(() => undefined);
    if (existing !== undefined)
      return void (await sim.client.patch(leases, ref, { spec: { renewTime } }));
    const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime };
    await sim.client.create(leases, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: ref,
      spec,
    });
  }

  /** Time passes; only the named nodes give signs of life. */
  async function live(seconds: number, ...names: string[]): Promise<void> {
    for (let second = 0; second < seconds; second += 10) {
      for (const name of names) await renewLease(name);
      await sim.advance(10_000);
    }
  }

  async function readyStatus(name: string): Promise<unknown[]> {
    const { status, spec } = await sim.client.get(nodes, { name });
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    const taints = (spec.taints ?? []).map(({ key, effect }) => `${key}:${effect}`).toSorted();
    return [ready?.status, ready?.reason, ready?.message, taints];
  }

  it('stays ready while its lease is renewed', async () => {
    await sim.addNode('node-1');
    await live(100, 'node-1');
    expect(await readyStatus('node-1')).toEqual(['True', 'KubeletReady', undefined, []]);
  });

  it('that falls silent becomes Unknown and tainted, its pods unready, then evicted', async () => {
    await sim.addNode('node-1');
    await sim.addNode('node-2');
    await deploy(1);
    await expose();
    await sim.runPods('node-1');
    await live(60, 'node-2');
    expect(await readyStatus('node-1')).toEqual([
      'Unknown',
      'NodeStatusUnknown',
      'Kubelet stopped posting node status.',
      ['node.kubernetes.io/unreachable:NoExecute', 'node.kubernetes.io/unreachable:NoSchedule'],
    ]);
    expect((await readyStatus('node-2'))[0]).toBe('True');
    const pod = (await sim.client.list(pods)).items.find(({ spec }) => spec.nodeName === 'node-1');
    expect(pod?.status?.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('False');
    const [slice] = (await sim.client.list(endpointSlices)).items;
    expect(slice?.endpoints?.[0]?.conditions?.ready).toBe(false);
    expect(pod?.metadata.deletionTimestamp).toBeDefined();
    expect(pod?.status?.conditions?.find(({ type }) => type === 'DisruptionTarget')).toMatchObject({
      reason: 'DeletionByTaintManager',
    });
    expect(await podNames()).toHaveLength(2);
  });

  it('that was put to sleep keeps its pods, however long it sleeps', async () => {
    await sim.addNode('node-1');
    await sim.addNode('node-2');
    await deploy(1);
    await sim.runPods('node-1');
    const { metadata, status } = await sim.client.get(nodes, { name: 'node-1' });
    const conditions = [...(status?.conditions ?? []), { type: 'Asleep', status: 'True' }];
    await sim.client.patch(nodes, metadata, { status: { conditions } }, { subresource: 'status' });
    await live(1_000, 'node-2');
    expect(await readyStatus('node-1')).toEqual([
      'Unknown',
      'NodeAsleep',
      'The machine was put to sleep; its pods wait until it wakes up.',
      ['flotilla.dev/asleep:NoSchedule', 'node.kubernetes.io/unreachable:NoSchedule'],
    ]);
    const all = (await sim.client.list(pods)).items;
    expect(all.map((pod) => pod.metadata.deletionTimestamp)).toEqual([undefined]);
  });

  it('is not evicted from when no node is ready: then it is us who are cut off', async () => {
    await sim.addNode('node-1');
    await deploy(1);
    await sim.runPods('node-1');
    await live(700);
    expect(await readyStatus('node-1')).toMatchObject([
      'Unknown',
      'NodeStatusUnknown',
      expect.anything(),
      ['node.kubernetes.io/unreachable:NoSchedule'],
    ]);
    const [pod] = (await sim.client.list(pods)).items;
    expect(pod?.metadata.deletionTimestamp).toBeUndefined();
  });

  it('takes its lease with it', async () => {
    await sim.addNode('node-1');
    const { metadata } = await sim.client.get(nodes, { name: 'node-1' });
    const owner = { apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: metadata.uid ?? '' };
    await sim.client.create(leases, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { namespace: 'kube-node-lease', name: 'node-1', ownerReferences: [owner] },
      spec: {},
    });
    await sim.client.delete(nodes, { name: 'node-1' });
    await sim.settle();
    expect((await sim.client.list(leases)).items).toEqual([]);
  });

  it('leaves events alone, in both groups', async () => {
    const owner = { apiVersion: 'v1', kind: 'Pod', name: 'gone', uid: 'gone' };
    await sim.client.create(events, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'told', namespace: 'default', ownerReferences: [owner] },
      involvedObject: { kind: 'Pod', namespace: 'default', name: 'gone' },
      reason: 'Told',
    });
    await sim.settle();
    const { items } = await sim.client.list(events, { namespace: 'default' });
    expect(items.map(({ metadata }) => metadata.name)).toContain('told');
  });
  it('that is deleted loses its pods after a while', async () => {
    await sim.addNode('node-1');
    await deploy(1);
    await sim.runPods('node-1');
    const [name = ''] = await podNames();
    await sim.client.delete(nodes, { name: 'node-1' });
    await sim.advance(30_000);
    expect(await podNames()).toContain(name);
    await sim.advance(20_000);
    expect(await podNames()).not.toContain(name);
  });
});

it('a policy says which of its generations is looked at', async () => {
  const rule = { operations: ['*'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] };
  const made = await sim.client.create(validatingAdmissionPolicies, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: 'small' },
    spec: {
      matchConstraints: { resourceRules: [rule] },
      validations: [{ expression: 'true' }],
    },
  });
  expect(made.status).toEqual({ observedGeneration: 1, typeChecking: {} });
  const spec = { validations: [{ expression: 'false' }] };
  const name = { name: 'small' };
  await sim.client.patch(validatingAdmissionPolicies, name, { spec });
  const { status } = await sim.client.get(validatingAdmissionPolicies, name);
  expect(status?.observedGeneration).toBe(2);
});
