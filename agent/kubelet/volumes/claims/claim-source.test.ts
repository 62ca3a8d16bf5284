import { beforeEach, describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import {
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  secrets,
} from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { serviceUnavailable } from '#kube/machinery/status.ts';
import { diskAnnotation, localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { MemoryApi } from '../../../../electron/controlplane/controllers/testing/memory-api.ts';
import { ClaimSource } from './claim-source.ts';

let api: MemoryApi;
let client: RestClient;
let claims: ClaimSource;

beforeEach(async () => {
  const clock = new ManualClock();
  api = new MemoryApi(clock, [nodes, persistentVolumeClaims, persistentVolumes, secrets]);
  client = new RestClient({ transport: api, clock, random: seededRandom(1) });
  claims = new ClaimSource({ client, nodeName: 'pi-1' });
  const labels = { 'kubernetes.io/hostname': 'pi-1' };
  await client.create(nodes, {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'pi-1', labels },
    spec: {},
  });
});

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'ns', name: 'web', uid: 'u-web' },
  spec: {
    containers: [],
    volumes: [
      { name: 'v', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'other', emptyDir: {} },
    ],
  },
};

async function claim(more: Partial<PersistentVolumeClaim> = {}): Promise<void> {
  await client.create(persistentVolumeClaims, {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      namespace: 'ns',
      name: 'data',
      annotations: { [volumeAnnotations.bindCompleted]: 'yes' },
    },
    spec: { volumeName: 'pv' },
    status: { phase: 'Bound' },
    ...more,
  });
}

async function volume(
  spec: Partial<PersistentVolume['spec']>,
  metadata: Partial<PersistentVolume['metadata']> = {},
): Promise<void> {
  const { uid } = api.get(persistentVolumeClaims, 'data', 'ns').metadata;
  await client.create(persistentVolumes, {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { ...metadata, name: 'pv' },
    spec: {
      claimRef: { namespace: 'ns', name: 'data', uid },
      accessModes: ['ReadWriteOnce'],
      ...spec,
    },
  });
}

const load = async () => (await claims.load(pod)).get('v');

describe('what a claim stands for', () => {
  it('is a folder, with the disk that was written down', async () => {
    const disk = { mountPoint: '/mnt/usb', fsType: 'ext4', uuid: 'aaaa' };
    await claim();
    await volume(
      { local: { path: '/mnt/usb/x' } },
      { annotations: { [diskAnnotation]: JSON.stringify(disk) } },
    );
    expect(await load()).toEqual({
      kind: 'host',
      name: 'pv',
      path: '/mnt/usb/x',
      isReadOnly: false,
      isOfOneNode: false,
      disk,
    });
  });

  it('is a share, with the password of its Secret in another namespace', async () => {
    const data = { username: Buffer.from('ada').toString('base64') };
    const metadata = { namespace: 'home', name: 'nas' };
    await client.create(secrets, { apiVersion: 'v1', kind: 'Secret', metadata, data });
    await claim();
    await volume({
      accessModes: ['ReadOnlyMany'],
      mountOptions: ['vers=3.0'],
      csi: {
        driver: 'smb.csi.k8s.io',
        volumeHandle: 'h',
        volumeAttributes: { source: '//nas/media' },
        nodeStageSecretRef: metadata,
      },
    });
    expect(await load()).toMatchObject({
      kind: 'network',
      isReadOnly: true,
      source: { source: '//nas/media', options: ['vers=3.0', 'ro'], credentials: 'username=ada\n' },
    });
  });

  it('is asked for once, and known with the API server gone', async () => {
    await claim();
    await volume({ hostPath: { path: '/srv' } });
    const first = await load();
    api.intercept = () => serviceUnavailable('gone');
    expect([await load(), claims.isUsed('pv')]).toEqual([first, true]);
    claims.release('u-web');
    expect(claims.isUsed('pv')).toBe(false);
  });

  it('gets its disk written down, for this pod too', async () => {
    await claim();
    await volume({ local: { path: '/mnt/usb/x' } });
    await load();
    const disk = { mountPoint: '/mnt/usb', fsType: 'ext4' };
    await claims.recordDisk('pv', disk);
    const written = api.get(persistentVolumes, 'pv').metadata.annotations?.[diskAnnotation] ?? '';
    expect([JSON.parse(written), (await load()) as { disk?: unknown }]).toMatchObject([
      disk,
      { disk },
    ]);
  });
});

describe('a pod waits, with a reason, for a claim', () => {
  it('that is not there', async () => {
    await expect(load()).rejects.toThrow(
      'error processing PVC ns/data: persistentvolumeclaim "data" not found',
    );
  });

  it('that is not bound', async () => {
    await claim({ status: { phase: 'Pending' } });
    await expect(load()).rejects.toThrow('error processing PVC ns/data: PVC is not bound');
  });

  const cases: readonly (readonly [string, Partial<PersistentVolume['spec']>, object, string])[] = [
    [
      'whose volume is another claim’s',
      { hostPath: { path: '/x' }, claimRef: { namespace: 'ns', name: 'data', uid: 'old' } },
      {},
      'volume pv is bound to another claim',
    ],
    [
      'whose volume is elsewhere',
      {
        local: { path: '/x' },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              {
                matchExpressions: [
                  { key: 'kubernetes.io/hostname', operator: 'In', values: ['nas'] },
                ],
              },
            ],
          },
        },
      },
      {},
      'node affinity of volume "pv" excludes node pi-1: no matching NodeSelectorTerms',
    ],
    [
      'whose directory is not made yet',
      { local: { path: '/x' } },
      { labels: { [localPath.nodeLabel]: 'pi-1' } },
      'the directory of volume "pv" is not made yet',
    ],
    [
      'whose volume would have to be formatted',
      { local: { path: '/dev/sda', fsType: 'ext4' } },
      {},
      'a local volume is a folder; disks are not formatted',
    ],
    [
      'whose volume is of a sort that nobody here mounts',
      { csi: { driver: 'ebs.csi.aws.com', volumeHandle: 'h' } },
      {},
      'volume "pv": ebs.csi.aws.com is not supported (supported: local, hostPath, nfs, csi of nfs.csi.k8s.io and smb.csi.k8s.io)',
    ],
  ];
  it.each(cases)('%s', async (_name, spec, metadata, why) => {
    await claim();
    await volume(spec, metadata);
    await expect(load()).rejects.toThrow(why);
  });
});
