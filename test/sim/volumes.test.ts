// Claims and volumes: the binder and the local-path provisioner against the real API server, and at the end
// with the real scheduler. The tests play the scheduler before (selected-node) and the agent (the finalizer).
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { ignoreNotFound } from '../../electron/controlplane/controllers/ownership.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import {
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  storageClasses,
} from '#kube/client/resources.ts';
import { localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { Scheduler } from '../../electron/controlplane/scheduler/scheduler.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

const namespace = 'default';

async function makeClass(more: Partial<StorageClass> = {}): Promise<void> {
  await sim.client.create(storageClasses, {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'local-path' },
    provisioner: localPath.provisioner,
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Retain',
    allowVolumeExpansion: true,
    ...more,
  });
}

async function addNode(name: string): Promise<void> {
  const labels = { 'kubernetes.io/hostname': name };
  const annotations = { [localPath.folderAnnotation]: '/var/lib/flotilla/volumes' };
  await sim.addNode(name);
  await sim.client.patch(nodes, { name }, { metadata: { labels, annotations } });
}

async function claim(
  name: string,
  spec: Partial<PersistentVolumeClaim['spec']> = {},
): Promise<void> {
  await sim.client.create(persistentVolumeClaims, {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { namespace, name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      storageClassName: '',
      ...spec,
    },
  });
  await sim.settle();
}

async function makeVolume(
  name: string,
  storage: string,
  more: Partial<PersistentVolume['spec']> = {},
): Promise<void> {
  await sim.client.create(persistentVolumes, {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage },
      hostPath: { path: `/srv/${name}` },
      ...more,
    },
  });
  await sim.settle();
}

const getClaim = (name: string) =>
  sim.client.get(persistentVolumeClaims, { namespace, name }).catch(ignoreNotFound);
const getVolume = (name: string) =>
  sim.client.get(persistentVolumes, { name }).catch(ignoreNotFound);
const stateOf = async (name: string) => {
  const found = await getClaim(name);
  return `${found?.status?.phase} ${found?.spec.volumeName ?? ''}`;
};
const phaseOf = async (name: string) => (await getVolume(name))?.status?.phase;

async function choose(claimName: string, nodeName: string): Promise<string> {
  const annotations = { [volumeAnnotations.selectedNode]: nodeName };
  const ref = { namespace, name: claimName };
  await sim.client.patch(persistentVolumeClaims, ref, { metadata: { annotations } });
  await sim.settle();
  return (await getClaim(claimName))?.spec.volumeName ?? '';
}

async function remove(name: string): Promise<void> {
  await sim.client.delete(persistentVolumeClaims, { namespace, name });
  await sim.settle();
}

describe('a claim of no class', () => {
  it('gets the smallest volume that fits, and both tell of it', async () => {
    await makeVolume('big', '10Gi');
    await makeVolume('right', '2Gi');
    await makeVolume('small', '500Mi');
    await claim('data');
    const found = await getClaim('data');
    expect(found?.metadata.annotations).toEqual({
      [volumeAnnotations.bindCompleted]: 'yes',
      [volumeAnnotations.boundByController]: 'yes',
    });
    expect([found?.spec.volumeName, found?.status]).toEqual([
      'right',
      { phase: 'Bound', accessModes: ['ReadWriteOnce'], capacity: { storage: '2Gi' } },
    ]);
    const volume = await getVolume('right');
    expect(volume?.spec.claimRef).toMatchObject({ name: 'data', uid: found?.metadata.uid });
    expect([volume?.status?.phase, await phaseOf('big')]).toEqual(['Bound', 'Available']);
  });

  it('waits with a reason, and is served when a volume comes', async () => {
    await claim('data');
    expect(await stateOf('data')).toBe('Pending ');
    expect(await sim.events(namespace)).toEqual([
      'FailedBinding: no persistent volumes available for this claim and no storage class is set',
    ]);
    await makeVolume('late', '1Gi');
    expect(await stateOf('data')).toBe('Bound late');
  });

  it('never shares a volume with another', async () => {
    await claim('one');
    await claim('two');
    await makeVolume('only', '1Gi');
    const states = [await stateOf('one'), await stateOf('two')].toSorted();
    expect(states).toEqual(['Bound only', 'Pending ']);
  });

  it('gets the volume that names it, or that it names', async () => {
    await makeVolume('mine', '5Gi', { claimRef: { namespace, name: 'data' } });
    await makeVolume('named', '5Gi');
    await makeVolume('smaller', '1Gi');
    await claim('other', { volumeName: 'named' });
    await claim('data');
    expect([await stateOf('data'), await stateOf('other')]).toEqual(['Bound mine', 'Bound named']);
    const marks = (await getVolume('mine'))?.metadata.annotations ?? {};
    expect(marks[volumeAnnotations.boundByController]).toBeUndefined();
  });

  it('that took another gives a volume with data back', async () => {
    await claim('data', { volumeName: 'kept' });
    const found = await getClaim('data');
    await sim.client.create(persistentVolumes, {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: {
        name: 'photos',
        annotations: {
          [volumeAnnotations.provisionedBy]: localPath.provisioner,
          [volumeAnnotations.boundByController]: 'yes',
        },
      },
      spec: {
        accessModes: ['ReadWriteOnce'],
        capacity: { storage: '1Gi' },
        persistentVolumeReclaimPolicy: 'Delete',
        claimRef: {
          kind: 'PersistentVolumeClaim',
          namespace,
          name: 'data',
          uid: found?.metadata.uid ?? '',
        },
        hostPath: { path: '/srv/photos' },
      },
    });
    await sim.settle();
    const photos = await getVolume('photos');
    expect([photos?.status?.phase, photos?.spec.claimRef]).toEqual(['Available', undefined]);
  });

  it('is not given a volume that is being deleted', async () => {
    await makeVolume('going', '5Gi');
    const finalizers = ['example.com/stays'];
    await sim.client.patch(persistentVolumes, { name: 'going' }, { metadata: { finalizers } });
    await sim.client.delete(persistentVolumes, { name: 'going' });
    await claim('data', { volumeName: 'going' });
    expect(await stateOf('data')).toBe('Pending going');
  });

  it('is told why the volume it names is not right', async () => {
    await makeVolume('small', '500Mi');
    await claim('data', { volumeName: 'small' });
    expect([await stateOf('data'), await sim.events(namespace)]).toEqual([
      'Pending small',
      ['VolumeMismatch: Cannot bind to requested volume "small": requested PV is too small'],
    ]);
  });

  it('is Lost when its volume is gone', async () => {
    await makeVolume('pv', '1Gi');
    await claim('data');
    await sim.client.delete(persistentVolumes, { name: 'pv' });
    await sim.settle();
    expect(await phaseOf('pv')).toBe('Bound');
    await sim.client.patch(persistentVolumes, { name: 'pv' }, { metadata: { finalizers: null } });
    await sim.settle();
    expect([await getVolume('pv'), await stateOf('data')]).toEqual([undefined, 'Lost pv']);
  });
});

describe('a volume whose claim was deleted', () => {
  it('is Released, keeps its data and serves nobody else', async () => {
    await makeVolume('pv', '1Gi');
    await claim('data');
    await remove('data');
    expect([await getClaim('data'), await phaseOf('pv')]).toEqual([undefined, 'Released']);
    await claim('data');
    expect(await stateOf('data')).toBe('Pending ');
    // A person says that it may be used again.
    await sim.client.patch(persistentVolumes, { name: 'pv' }, { spec: { claimRef: null } });
    await sim.settle();
    expect(await stateOf('data')).toBe('Bound pv');
  });

  it('is Failed with a reason when nobody can do what its policy says', async () => {
    await makeVolume('deleted', '1Gi', { persistentVolumeReclaimPolicy: 'Delete' });
    await makeVolume('recycled', '2Gi', { persistentVolumeReclaimPolicy: 'Recycle' });
    await claim('one', { volumeName: 'deleted' });
    await claim('two', { volumeName: 'recycled' });
    await remove('one');
    await remove('two');
    const told = await Promise.all([getVolume('deleted'), getVolume('recycled')]);
    expect(told.map((volume) => [volume?.status?.phase, volume?.status?.message])).toEqual([
      [
        'Failed',
        'error getting deleter volume plugin for volume "deleted": no deletable volume plugin matched',
      ],
      ['Failed', 'recycling is not supported here: the data stays, and so does the volume'],
    ]);
  });
});

describe('a claim of a local-path class', () => {
  beforeEach(async () => {
    await addNode('pi-1');
    await makeClass();
  });

  it('waits for its first pod, then gets a directory on the node that was chosen', async () => {
    await claim('data', { storageClassName: 'local-path' });
    expect([await stateOf('data'), await sim.events(namespace)]).toEqual([
      'Pending ',
      ['WaitForFirstConsumer: waiting for first consumer to be created before binding'],
    ]);
    const name = await choose('data', 'pi-1');
    const { uid } = (await getClaim('data'))?.metadata ?? {};
    expect([name, await stateOf('data')]).toEqual([`pvc-${uid}`, `Bound pvc-${uid}`]);
    expect(await getVolume(name)).toMatchObject({
      metadata: { labels: { [localPath.nodeLabel]: 'pi-1' } },
      spec: {
        local: { path: `/var/lib/flotilla/volumes/pvc-${uid}_default_data` },
        persistentVolumeReclaimPolicy: 'Retain',
        capacity: { storage: '1Gi' },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              {
                matchExpressions: [
                  { key: 'kubernetes.io/hostname', operator: 'In', values: ['pi-1'] },
                ],
              },
            ],
          },
        },
      },
      status: { phase: 'Bound' },
    });
  });

  it('leaves its data when it goes, until a person sets the policy to Delete', async () => {
    await claim('data', { storageClassName: 'local-path' });
    const name = await choose('data', 'pi-1');
    await remove('data');
    expect(await phaseOf(name)).toBe('Released');
    const policy = { persistentVolumeReclaimPolicy: 'Delete' };
    await sim.client.patch(persistentVolumes, { name }, { spec: policy });
    await sim.settle();
    const going = (await getVolume(name))?.metadata;
    expect([going?.deletionTimestamp === undefined, going?.finalizers]).toEqual([
      false,
      [localPath.finalizer],
    ]);
  });

  it('lets its volume go when its machine left the cluster', async () => {
    await claim('data', { storageClassName: 'local-path' });
    const name = await choose('data', 'pi-1');
    await remove('data');
    await sim.client.delete(persistentVolumes, { name });
    await sim.settle();
    expect(await phaseOf(name)).toBe('Released');
    await sim.client.delete(nodes, { name: 'pi-1' });
    await sim.settle();
    expect(await getVolume(name)).toBeUndefined();
  });

  it('is told what a directory can not be', async () => {
    await claim('many', { storageClassName: 'local-path', accessModes: ['ReadWriteMany'] });
    await choose('many', 'pi-1');
    expect(await stateOf('many')).toBe('Pending ');
    expect((await sim.events(namespace)).filter((line) => line.startsWith('Provisioning'))).toEqual(
      [
        'ProvisioningFailed: failed to provision volume with StorageClass "local-path": a local-path volume is on one machine, so it can\'t be ReadWriteMany: ask for ReadWriteOnce, which all pods of one machine may share, or use an NFS or SMB volume',
      ],
    );
  });

  it('gives the choice back to the scheduler when the node is gone', async () => {
    await claim('data', { storageClassName: 'local-path' });
    await choose('data', 'nowhere');
    const annotations = (await getClaim('data'))?.metadata.annotations ?? {};
    expect(annotations[volumeAnnotations.selectedNode]).toBeUndefined();
    await choose('data', 'pi-1');
    expect(await stateOf('data')).toMatch(/^Bound pvc-/);
  });

  it('grows when it asks for more', async () => {
    await claim('data', { storageClassName: 'local-path' });
    const name = await choose('data', 'pi-1');
    const resources = { requests: { storage: '3Gi' } };
    const ref = { namespace, name: 'data' };
    await sim.client.patch(persistentVolumeClaims, ref, { spec: { resources } });
    await sim.settle();
    expect([
      (await getClaim('data'))?.status?.capacity,
      (await getVolume(name))?.spec.capacity,
    ]).toEqual([{ storage: '3Gi' }, { storage: '3Gi' }]);
  });
});

describe('the scheduler', () => {
  let stop = new AbortController();
  beforeEach(async () => {
    stop = new AbortController();
    for (const name of ['pi-1', 'pi-2']) {
      await addNode(name);
      const status = { allocatable: { cpu: '4', memory: '8Gi', pods: '110' } };
      await sim.client.patch(nodes, { name }, { status }, { subresource: 'status' });
    }
    await makeClass();
    new Scheduler({
      client: sim.clientAs('system:kube-scheduler'),
      clock: sim.clock,
      random: seededRandom(1),
      logger: silentLogger,
    }).start(stop.signal);
    await sim.settle();
  });
  afterEach(() => stop.abort());

  async function runPod(name: string, claimNames: readonly string[]): Promise<void> {
    await sim.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name },
      spec: {
        containers: [{ name: 'main', image: 'web' }],
        volumes: claimNames.map((claimName) => ({
          name: claimName,
          persistentVolumeClaim: { claimName },
        })),
      },
    });
    await sim.settle();
    await sim.settle();
  }

  const nodeOf = async (name: string) =>
    (await sim.client.get(pods, { namespace, name })).spec.nodeName;
  const whyNot = async (name: string) =>
    (await sim.client.get(pods, { namespace, name })).status?.conditions?.find(
      ({ type }) => type === 'PodScheduled',
    )?.message;

  const onPi2: PersistentVolume['spec'] = {
    storageClassName: 'by-hand',
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [
          {
            matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['pi-2'] }],
          },
        ],
      },
    },
  };

  it('has a volume made where it puts the pod, and later pods follow it there', async () => {
    await claim('data', { storageClassName: 'local-path' });
    await runPod('first', ['data']);
    const node = await nodeOf('first');
    expect(await stateOf('data')).toMatch(/^Bound pvc-/);
    for (const name of ['second', 'third', 'fourth']) await runPod(name, ['data']);
    const others = await Promise.all(['second', 'third', 'fourth'].map(nodeOf));
    expect([node === undefined, others]).toEqual([false, [node, node, node]]);
  });

  it('takes a volume of the node that has one, for claims that wait', async () => {
    await makeClass({ metadata: { name: 'by-hand' }, provisioner: 'kubernetes.io/no-provisioner' });
    await makeVolume('disk', '5Gi', onPi2);
    await claim('data', { storageClassName: 'by-hand' });
    expect(await stateOf('data')).toBe('Pending ');
    await runPod('web', ['data']);
    expect([await nodeOf('web'), await stateOf('data')]).toEqual(['pi-2', 'Bound disk']);
    await claim('more', { storageClassName: 'by-hand' });
    await runPod('other', ['more']);
    expect(await whyNot('other')).toBe(
      "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    );
    await makeVolume('second-disk', '5Gi', onPi2);
    await sim.advance(10_000);
    expect(await nodeOf('other')).toBe('pi-2');
  });

  it('waits for the volume that a claim names, wherever that is', async () => {
    await claim('data', { storageClassName: 'local-path', volumeName: 'kept' });
    await runPod('web', ['data']);
    expect(await whyNot('web')).toContain('pod has unbound immediate PersistentVolumeClaims');
    await makeVolume('kept', '5Gi', { ...onPi2, storageClassName: 'local-path' });
    await sim.advance(10_000);
    expect([await nodeOf('web'), await stateOf('data')]).toEqual(['pi-2', 'Bound kept']);
    const { annotations = {} } = (await getClaim('data'))?.metadata ?? {};
    expect(annotations[volumeAnnotations.selectedNode]).toBeUndefined();
  });

  it('brings two pods of one claim to the volume that it got', async () => {
    await makeClass({ metadata: { name: 'by-hand' }, provisioner: 'kubernetes.io/no-provisioner' });
    const text = JSON.stringify(onPi2);
    await makeVolume('on-1', '5Gi', JSON.parse(text.replace('pi-2', 'pi-1')));
    await makeVolume('on-2', '5Gi', onPi2);
    await claim('data', { storageClassName: 'by-hand' });
    await Promise.all([runPod('one', ['data']), runPod('two', ['data'])]);
    await sim.advance(30_000);
    const [node] =
      /pi-\d/.exec(
        JSON.stringify(await getVolume((await getClaim('data'))?.spec.volumeName ?? '')),
      ) ?? [];
    expect([await nodeOf('one'), await nodeOf('two')]).toEqual([node, node]);
  });

  it('says what keeps a pod from its volumes', async () => {
    await makeVolume('disk', '5Gi', { ...onPi2, storageClassName: '' });
    await claim('data');
    await claim('unbound');
    await sim.client.patch(nodes, { name: 'pi-2' }, { spec: { unschedulable: true } });
    await sim.settle();
    await runPod('web', ['data']);
    await runPod('waits', ['unbound']);
    await runPod('nothing', ['missing']);
    const told = await Promise.all(['web', 'waits', 'nothing'].map(whyNot));
    expect(told.map((text) => text?.split(' preemption')[0])).toEqual([
      '0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) were unschedulable.',
      '0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.',
      '0/2 nodes are available: persistentvolumeclaim "missing" not found.',
    ]);
  });

  it('lets one pod at a time have a claim that is ReadWriteOncePod', async () => {
    await claim('data', { storageClassName: 'local-path', accessModes: ['ReadWriteOncePod'] });
    await runPod('first', ['data']);
    await runPod('second', ['data']);
    expect((await whyNot('second'))?.split(' preemption')[0]).toBe(
      '0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.',
    );
    await sim.client.delete(pods, { namespace, name: 'first' }, { gracePeriodSeconds: 0 });
    await sim.advance(10_000);
    expect(await nodeOf('second')).toMatch(/^pi-/);
  });

  it('waits for the claim of an ephemeral volume, which goes with its pod', async () => {
    const volumeClaimTemplate = {
      spec: {
        storageClassName: 'local-path',
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
      },
    };
    await sim.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name: 'web' },
      spec: {
        containers: [{ name: 'main', image: 'web' }],
        volumes: [{ name: 'scratch', ephemeral: { volumeClaimTemplate } }],
      },
    });
    await sim.advance(10_000);
    expect([await nodeOf('web'), await stateOf('web-scratch')]).toEqual([
      expect.stringMatching(/^pi-/),
      expect.stringMatching(/^Bound pvc-/),
    ]);
    await sim.client.delete(pods, { namespace, name: 'web' }, { gracePeriodSeconds: 0 });
    await sim.settle();
    expect(await getClaim('web-scratch')).toBeUndefined();
  });
});
