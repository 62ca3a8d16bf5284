// Why an app's data can't go somewhere, said before anything stops.
import { expect, it } from 'vitest';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { moveAnnotations } from '#kube/machinery/volume-move.ts';
import { obstacleOf } from './obstacles.ts';
import type { MoveWorld } from './world.ts';

const labelsOf = (name: string) => ({
  'kubernetes.io/hostname': name,
  'kubernetes.io/arch': 'arm64',
});

function node(name: string, more: Partial<Node> = {}): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: labelsOf(name), annotations: { [localPath.folderAnnotation]: '/v' } },
    spec: {},
    status: {
      conditions: [{ type: 'Ready', status: 'True' }],
      allocatable: { cpu: '2', memory: '2Gi' },
    },
    ...more,
  };
}

function claim(name: string, volumeName: string, more: object = {}): PersistentVolumeClaim {
  const annotations = { [volumeAnnotations.bindCompleted]: 'yes', ...more };
  const metadata = { namespace: 'default', name, annotations };
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata, spec: { volumeName } };
}

function volume(name: string, place: string, more: object = {}): PersistentVolume {
  const annotations = {
    [volumeAnnotations.provisionedBy]: localPath.provisioner,
    [localPath.madeAnnotation]: 'now',
  };
  const metadata = { name, labels: { [localPath.nodeLabel]: place }, annotations };
  const spec = { local: { path: `/v/${name}` }, ...more };
  return { apiVersion: 'v1', kind: 'PersistentVolume', metadata, spec };
}

interface PodParts {
  readonly owner?: string;
  readonly claims?: readonly string[];
  readonly spec?: Partial<Pod['spec']>;
}

function pod(name: string, { owner = 'ReplicaSet', claims = ['data'], spec = {} }: PodParts): Pod {
  const ref = { apiVersion: 'apps/v1', kind: owner, name: 'films', uid: 'u', controller: true };
  const ownerReferences = owner === '' ? [] : [ref];
  const volumes = claims.map((claimName) => ({
    name: claimName,
    persistentVolumeClaim: { claimName },
  }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'default', name, uid: name, ownerReferences },
    spec: { containers: [{ name: 'main' }], volumes, nodeName: 'pi', ...spec },
    status: { phase: 'Running' },
  };
}

interface Given {
  readonly nodes?: readonly Node[];
  readonly claims?: readonly PersistentVolumeClaim[];
  readonly volumes?: readonly PersistentVolume[];
  readonly pods?: readonly Pod[];
  readonly there?: readonly Pod[];
  readonly spec?: Partial<VolumeMove['spec']>;
}

function byName<T extends { metadata: { name: string } }>(all: readonly T[]) {
  return (name: string) => all.find(({ metadata }) => metadata.name === name);
}

function obstacle(given: Given): string | undefined {
  const { nodes = [node('pi'), node('nas')], pods = [pod('films-1', {})], there = [] } = given;
  const { claims = [claim('data', 'v')], volumes = [volume('v', 'pi')] } = given;
  const world: MoveWorld = {
    claim: byName(claims),
    volume: byName(volumes),
    node: byName(nodes),
    storageClass: () => undefined,
    pods,
    podsOnNode: () => there,
    otherMoves: [],
    nowMs: 0,
  };
  const move: VolumeMove = {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'VolumeMove',
    metadata: { namespace: 'default', name: 'go' },
    spec: { claims: ['data'], nodeName: 'nas', ...given.spec },
  };
  return obstacleOf(move, world);
}

const amd = { ...labelsOf('nas'), 'kubernetes.io/arch': 'amd64' };
const other = node('nas', { metadata: { ...node('nas').metadata, labels: amd } });
const silent = { status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } };
const taint = { key: 'gpu', effect: 'NoSchedule' } as const;
const withPort = { containers: [{ name: 'main', ports: [{ containerPort: 1, hostPort: 80 }] }] };
const withRequest = (name: string, amount: string) => ({
  containers: [{ name: 'main', resources: { requests: { [name]: amount } } }],
});
const nas = { local: undefined, nfs: { server: 'x', path: '/' } };

const cases: readonly [string, Given, string | undefined][] = [
  ['nothing', {}, undefined],
  ['no machine', { nodes: [node('pi')] }, 'there is no machine nas'],
  [
    'it is off',
    { nodes: [node('pi'), node('nas', silent)] },
    'nas is not ready: turn it on, and try again',
  ],
  [
    'it is paused',
    { nodes: [node('pi'), node('nas', { spec: { unschedulable: true } })] },
    'nas is paused: no app starts there until it is resumed',
  ],
  [
    'who has the data is off',
    { nodes: [node('pi', silent), node('nas')] },
    'pi, which has the data, does not answer: turn it on, and try again',
  ],
  [
    'another processor',
    { nodes: [node('pi'), other] },
    "nas has another processor (amd64) than pi (arm64): set acceptOtherArchitecture if the app's images exist for it",
  ],
  [
    'that was agreed to',
    { nodes: [node('pi'), other], spec: { acceptOtherArchitecture: true } },
    undefined,
  ],
  ['no claim', { claims: [] }, 'there is no claim data in this namespace'],
  [
    'another move has it',
    { claims: [claim('data', 'v', { [moveAnnotations.hold]: 'earlier' })] },
    'claim data is being moved already',
  ],
  [
    'it is on the network',
    { volumes: [volume('v', 'pi', nas)] },
    'the data of claim data is on the network: every machine reaches it, and nothing has to be moved',
  ],
  [
    'a folder of a person',
    { volumes: [{ ...volume('v', 'pi'), metadata: { name: 'v' } }] },
    "volume v of claim data is a folder that somebody chose on its machine: only volumes of Flotilla's own classes are moved",
  ],
  ['it is there', { volumes: [volume('v', 'nas')] }, 'the data is on nas already'],
  [
    'nobody would start it',
    { pods: [pod('lone', { owner: '' })] },
    'pod lone uses the data and belongs to no app: nothing would start it again',
  ],
  [
    'it runs everywhere',
    { pods: [pod('one', { owner: 'DaemonSet' })] },
    'pod one uses the data and runs on every machine (DaemonSet films): it does not move',
  ],
  [
    'half of its data stays',
    {
      claims: [claim('data', 'v'), claim('photos', 'w')],
      volumes: [volume('v', 'pi'), volume('w', 'pi')],
      pods: [pod('films-1', { claims: ['data', 'photos'] })],
    },
    'pod films-1 also uses claim photos, which stays on pi: move both',
  ],
  [
    'it is tied to a machine',
    { pods: [pod('films-1', { spec: { nodeSelector: { 'kubernetes.io/hostname': 'pi' } } })] },
    'pod films-1 may not run on nas: its nodeSelector or affinity wants another machine',
  ],
  [
    'a taint',
    { nodes: [node('pi'), node('nas', { spec: { taints: [taint] } })] },
    'pod films-1 may not run on nas: it has the taint gpu',
  ],
  [
    'a port is taken',
    {
      pods: [pod('films-1', { spec: withPort })],
      there: [pod('web', { claims: [], spec: withPort })],
    },
    'port 80/TCP of nas is taken by pod web, and pod films-1 needs it',
  ],
  [
    'a device is not there',
    { pods: [pod('films-1', { spec: withRequest('devices.flotilla.dev/kvm', '1') })] },
    'nas has no devices.flotilla.dev/kvm, which the app needs',
  ],
  [
    'no room for it',
    {
      pods: [pod('films-1', { spec: withRequest('memory', '1Gi') })],
      there: [pod('web', { claims: [], spec: withRequest('memory', '1500Mi') })],
    },
    'nas has not enough memory left for the app',
  ],
];

it.each(cases)('says why: %s', (_name, given, want) => {
  expect(obstacle(given)).toBe(want);
});
