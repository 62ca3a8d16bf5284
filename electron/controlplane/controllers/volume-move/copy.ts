// Pure: the volume that a copy of a claim's data goes to.
import type { PersistentVolume } from '#kube/api/core.ts';
import type { MovedVolume, VolumeMove } from '#kube/api/volume-move.ts';
import { localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { moveAnnotations, nodeOfVolume, type CopyOrder } from '#kube/machinery/volume-move.ts';
import { folderOf } from './obstacles.ts';
import type { MoveWorld } from './world.ts';

const hostname = 'kubernetes.io/hostname';
const fileNameMax = 255;

/** Undefined: what it is made of is gone. */
export function copyFor(
  { metadata, spec }: VolumeMove,
  { claim, claimUid, from, to }: MovedVolume,
  world: MoveWorld,
): PersistentVolume | undefined {
  const { namespace = '', name: moveName } = metadata;
  const { nodeName } = spec;
  const [old, node] = [world.volume(from), world.node(nodeName)];
  const source = old && nodeOfVolume(old);
  const folder = node && folderOf(claim, node, world);
  if (old === undefined || source === undefined || folder === undefined) return undefined;
  const order: CopyOrder = { from, node: source, pass: 'live' };
  const values = [node?.metadata.labels?.[hostname] ?? nodeName];
  const { claimRef: _ref, nodeAffinity: _place, local: _local, ...rest } = old.spec;
  const directory = `${to}_${namespace}_${claim}`.slice(0, fileNameMax);
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: to,
      labels: { [localPath.nodeLabel]: nodeName },
      annotations: {
        [volumeAnnotations.provisionedBy]: localPath.provisioner,
        [moveAnnotations.owner]: `${namespace}/${moveName}`,
        [moveAnnotations.order]: JSON.stringify(order),
      },
      finalizers: [localPath.finalizer],
    },
    spec: {
      ...rest,
      // Until a claim has it: nothing is removed by itself.
      persistentVolumeReclaimPolicy: 'Retain',
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        namespace,
        name: claim,
        uid: claimUid,
      },
      local: { path: `${folder}/${directory}` },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: hostname, operator: 'In', values }] }],
        },
      },
    },
  };
}
