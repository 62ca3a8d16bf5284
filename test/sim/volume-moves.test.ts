// An app's data goes to another machine: the mover, binder, provisioner and scheduler against the real API server, with the
// rights that each has. The tests play the agents.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import {
  deployments,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  storageClasses,
  volumeMoves,
} from '#kube/client/resources.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { copyOrderOf, copyStateOf, holdOf, moveAnnotations } from '#kube/machinery/volume-move.ts';
import { Scheduler } from '../../electron/controlplane/scheduler/scheduler.ts';
import { ignoreNotFound } from '../../electron/controlplane/controllers/ownership.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const namespace = 'default';
let sim: SimulatedControlPlane;
let stop: AbortController;

beforeEach(async () => {
  sim = await startControlPlane();
  stop = new AbortController();
  const { clock } = sim;
  const deps = { clock, random: seededRandom(1), logger: silentLogger };
  new Scheduler({ ...deps, client: sim.clientAs('system:kube-scheduler') }).start(stop.signal);
  await sim.client.create(storageClasses, {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'local-path' },
    provisioner: localPath.provisioner,
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Delete',
  });
  await addNode('pi');
  await deploy();
  await addNode('nas');
});
afterEach(async () => {
  stop.abort();
  await sim.stop();
});

async function addNode(name: string): Promise<void> {
  await sim.addNode(name, {
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/arch': 'arm64' },
      annotations: { [localPath.folderAnnotation]: `/volumes-of-${name}` },
    },
  });
  const allocatable = { cpu: '4', memory: '4Gi', pods: '110' };
  await sim.client.patch(nodes, { name }, { status: { allocatable } }, { subresource: 'status' });
}

async function deploy(): Promise<void> {
  await sim.client.create(persistentVolumeClaims, {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { namespace, name: 'data' },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      storageClassName: 'local-path',
    },
  });
  const labels = { app: 'films' };
  await sim.client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace, name: 'films' },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      strategy: { type: 'Recreate' },
      template: {
        metadata: { name: '', labels },
        spec: {
          containers: [{ name: 'main', image: 'films' }],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
        },
      },
    },
  });
  await live();
}

/** Agents and kubelets do what they see, and time goes on. */
async function live(turns = 10): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    await agents();
    await kubelets();
    await sim.advance(1_000);
  }
}

/** What has a node runs, what dies goes. */
async function kubelets(): Promise<void> {
  for (const { metadata, spec, status } of (await sim.client.list(pods)).items) {
    const ref = { namespace, name: metadata.name };
    if (metadata.deletionTimestamp !== undefined)
      await sim.client.delete(pods, ref, { gracePeriodSeconds: 0 });
    else if ((spec.nodeName ?? '') !== '' && status?.phase === 'Pending')
      await sim.client.patch(
        pods,
        ref,
        { status: { phase: 'Running' } },
        { subresource: 'status' },
      );
  }
}

async function agents(): Promise<void> {
  for (const { metadata, spec, ...rest } of (await sim.client.list(persistentVolumes)).items) {
    const volume = { metadata, spec, ...rest };
    const { name, annotations = {} } = metadata;
    if (metadata.deletionTimestamp !== undefined) {
      if ((metadata.finalizers ?? []).includes('kubernetes.io/pv-protection')) continue;
      await sim.client.patch(persistentVolumes, { name }, { metadata: { finalizers: null } });
      continue;
    }
    if (annotations[localPath.madeAnnotation] !== undefined) continue;
    const order = copyOrderOf(volume);
    const state = copyStateOf(volume);
    if (order !== undefined && state?.pass === order.pass) continue;
    const done = order && {
      [moveAnnotations.state]: JSON.stringify({ pass: order.pass, state: 'Done' }),
    };
    const made = order?.pass === 'live' ? {} : { [localPath.madeAnnotation]: 'now' };
    const told = { metadata: { annotations: { ...done, ...made } } };
    await sim.client.patch(persistentVolumes, { name }, told);
  }
}

async function move(spec: Partial<VolumeMove['spec']> = {}): Promise<void> {
  await sim.client.create(volumeMoves, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'VolumeMove',
    metadata: { namespace, name: 'go' },
    spec: { claims: ['data'], nodeName: 'nas', ...spec },
  });
  await sim.settle();
}

const find = () => sim.client.get(volumeMoves, { namespace, name: 'go' });
const statusOf = async () => (await find()).status;
const claim = () => sim.client.get(persistentVolumeClaims, { namespace, name: 'data' });
const volumeNames = async () =>
  (await sim.client.list(persistentVolumes)).items.map(({ metadata }) => metadata.name);
const placesOf = async () => (await sim.client.list(pods)).items.map(({ spec }) => spec.nodeName);
const wish = (spec: Partial<VolumeMove['spec']>) =>
  sim.client.patch(volumeMoves, { namespace, name: 'go' }, { spec });

describe('an app with its data', () => {
  it('goes to another machine; its claim stays the same one', async () => {
    const before = await claim();
    expect(await placesOf()).toEqual(['pi']);
    await move();
    await live();
    const after = await claim();
    expect([await placesOf(), (await statusOf())?.phase]).toEqual([['nas'], 'Done']);
    expect(after.metadata.uid).toBe(before.metadata.uid);
    expect(holdOf(after)).toBeUndefined();
    const volume = await sim.client.get(persistentVolumes, { name: after.spec.volumeName ?? '' });
    expect([volume.status?.phase, volume.spec.local?.path, volume.metadata.labels]).toEqual([
      'Bound',
      `/volumes-of-nas/${volume.metadata.name}_default_data`,
      { [localPath.nodeLabel]: 'nas' },
    ]);
    const old = await sim.client.get(persistentVolumes, { name: before.spec.volumeName ?? '' });
    expect([old.status?.phase, old.spec.persistentVolumeReclaimPolicy]).toEqual([
      'Released',
      'Retain',
    ]);
  });

  it('waits, with a reason, while its data is on the way', async () => {
    await move();
    for (let turn = 0; turn < 20 && (await statusOf())?.phase !== 'Finishing'; turn++) {
      // No agent copies the last time.
      if ((await statusOf())?.phase !== 'Stopping') await agents();
      await kubelets();
      await sim.settle();
    }
    await sim.advance(5_000);
    const [pod] = (await sim.client.list(pods)).items;
    const condition = pod?.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    expect(condition?.message).toContain(
      'the data of persistentvolumeclaim "data" is being moved (volumemove "go")',
    );
  });

  it('goes back to its old copy, which is there until it is removed', async () => {
    const before = (await claim()).spec.volumeName;
    await move();
    await live();
    await wish({ goBack: true });
    await live();
    expect([await placesOf(), (await claim()).spec.volumeName]).toEqual([['pi'], before]);
    expect((await statusOf())?.phase).toBe('Undone');
    expect(await volumeNames()).toHaveLength(2);
    await wish({ removeOldCopy: true });
    await live(6);
    expect(await volumeNames()).toEqual([before]);
  });

  it('stays, and nothing is left, when the move is called off or deleted', async () => {
    const before = await volumeNames();
    await move();
    await wish({ goBack: true });
    await live(6);
    expect([(await statusOf())?.phase, await volumeNames()]).toEqual(['Failed', before]);
    await sim.client.delete(volumeMoves, { namespace, name: 'go' });
    await sim.settle();
    expect(await find().catch(ignoreNotFound)).toBeUndefined();
    expect(await placesOf()).toEqual(['pi']);
  });

  it.each([
    ['a machine that is not there', { nodeName: 'attic' }, 'there is no machine attic'],
    ['where it is', { nodeName: 'pi' }, 'the data is on pi already'],
    ['no such claim', { claims: ['photos'] }, 'there is no claim photos in this namespace'],
  ])('is refused, before anything stops: %s', async (_name, spec, message) => {
    await move(spec);
    await live(2);
    expect(await statusOf()).toEqual({ phase: 'Refused', message });
    expect(await placesOf()).toEqual(['pi']);
  });

  it('is refused on a machine with another processor, unless that was agreed to', async () => {
    const labels = { 'kubernetes.io/arch': 'amd64' };
    await sim.client.patch(nodes, { name: 'nas' }, { metadata: { labels } });
    await move();
    await live(2);
    expect((await statusOf())?.message).toContain(
      'nas has another processor (amd64) than pi (arm64)',
    );
  });
});

it('lets nobody give a claim another volume without a move', async () => {
  const patch = sim.client.patch(
    persistentVolumeClaims,
    { namespace, name: 'data' },
    { spec: { volumeName: 'other' } },
  );
  await expect(patch).rejects.toThrow('spec is immutable after creation');
});
