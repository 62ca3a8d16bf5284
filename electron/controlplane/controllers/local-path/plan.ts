// Pure: the volume that a claim of a local-path class gets, or why it gets none.
// Source: rancher/local-path-provisioner README (what a claim of this sort may ask for),
// sig-storage-lib-external-provisioner (names, annotations).
import type { Node, PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { localPath, requestedSize, volumeAnnotations } from '#kube/machinery/volume-binding.ts';

export type ProvisionPlan =
  | { readonly type: 'create'; readonly volume: PersistentVolume }
  /** `isOtherNodeBetter`: the scheduler is to choose again. */
  | { readonly type: 'refuse'; readonly why: string; readonly isOtherNodeBetter: boolean };

const hostname = 'kubernetes.io/hostname';
const fileNameMax = 255;

export function planProvision(
  claim: PersistentVolumeClaim,
  storageClass: StorageClass,
  node: Node | undefined,
): ProvisionPlan {
  const why = problemOf(claim, storageClass);
  if (why !== undefined) return { type: 'refuse', why, isOtherNodeBetter: false };
  const hostName = node?.metadata.labels?.[hostname];
  const wanted = claim.metadata.annotations?.[volumeAnnotations.selectedNode];
  if (node === undefined || hostName === undefined)
    return { type: 'refuse', why: `node "${wanted}" not found`, isOtherNodeBetter: true };
  const folder =
    storageClass.parameters?.['path'] ?? node.metadata.annotations?.[localPath.folderAnnotation];
  if (folder === undefined) {
    const whyNot = `the agent of node "${wanted}" has not told yet in which folder it keeps volumes`;
    return { type: 'refuse', why: whyNot, isOtherNodeBetter: false };
  }
  return { type: 'create', volume: volumeFor(claim, storageClass, { node, hostName, folder }) };
}

function problemOf(
  { spec }: PersistentVolumeClaim,
  { parameters = {} }: StorageClass,
): string | undefined {
  const single = ['ReadWriteOnce', 'ReadWriteOncePod'];
  const mode = spec.accessModes?.find((one) => !single.includes(one));
  if (mode !== undefined)
    return `a local-path volume is on one machine, so it can't be ${mode}: ask for ReadWriteOnce, which all pods of one machine may share, or use an NFS or SMB volume`;
  if (spec.volumeMode === 'Block') return 'a local-path volume is a directory, not a block device';
  if (spec.selector !== undefined) return 'claim Selector is not supported';
  if (spec.dataSource !== undefined || spec.dataSourceRef !== undefined)
    return 'a local-path volume starts empty: dataSource is not supported';
  const unknown = Object.keys(parameters).find((name) => name !== 'path');
  if (unknown !== undefined) return `storage class parameter "${unknown}" is unknown (known: path)`;
  const { path } = parameters;
  const isPlain = path === undefined || (/^\/./.test(path) && !path.split('/').includes('..'));
  if (!isPlain)
    return `storage class parameter path ${JSON.stringify(path)} must be an absolute path`;
  return undefined;
}

function volumeFor(
  claim: PersistentVolumeClaim,
  storageClass: StorageClass,
  place: { readonly node: Node; readonly hostName: string; readonly folder: string },
): PersistentVolume {
  const { namespace, name, uid = '' } = claim.metadata;
  const volumeName = `pvc-${uid}`;
  const directory = `${volumeName}_${namespace}_${name}`.slice(0, fileNameMax);
  const match = { key: hostname, operator: 'In', values: [place.hostName] };
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: volumeName,
      labels: { [localPath.nodeLabel]: place.node.metadata.name },
      annotations: { [volumeAnnotations.provisionedBy]: localPath.provisioner },
      finalizers: [localPath.finalizer],
    },
    spec: {
      capacity: { storage: requestedSize(claim) },
      accessModes: claim.spec.accessModes ?? [],
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? 'Delete',
      storageClassName: storageClass.metadata.name,
      volumeMode: 'Filesystem',
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
      local: { path: `${place.folder.replace(/\/+$/, '')}/${directory}` },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [match] }] } },
    },
  };
}
