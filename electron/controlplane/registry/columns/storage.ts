// Columns of volumes, claims, their classes, and what drivers tell.
// Source: kubernetes pkg/printers/internalversion/printers.go.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type {
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  StorageClass,
  VolumeAttachment,
  VolumeAttributesClass,
} from '#kube/api/storage.ts';
import type { Column } from '../resource.ts';
import { ageColumn, count, nameColumn, orNone, textColumn, wide } from './cells.ts';

export const persistentVolumeColumns: readonly Column<PersistentVolume>[] = [
  nameColumn,
  textColumn(
    'Capacity',
    'Size of the volume.',
    ({ spec }) => `${spec.capacity?.['storage'] ?? '0'}`,
  ),
  textColumn('Access Modes', 'How it can be mounted.', ({ spec }) => shortModes(spec.accessModes)),
  textColumn(
    'Reclaim Policy',
    'What becomes of it when its claim goes.',
    ({ spec }) => spec.persistentVolumeReclaimPolicy ?? '',
  ),
  textColumn('Status', 'Whether it is free, bound or released.', phase),
  textColumn('Claim', 'Who has it.', ({ spec: { claimRef } }) =>
    claimRef === undefined ? '' : `${claimRef.namespace ?? ''}/${claimRef.name ?? ''}`,
  ),
  textColumn('StorageClass', 'Class of the volume.', classOf),
  textColumn(
    'VolumeAttributesClass',
    'Class of its attributes.',
    ({ spec }) => spec.volumeAttributesClassName ?? '<unset>',
  ),
  textColumn('Reason', 'Why it is in this state.', ({ status }) => status?.reason ?? ''),
  ageColumn,
  wide(
    textColumn('VolumeMode', 'File system or device.', ({ spec }) => spec.volumeMode ?? '<unset>'),
  ),
];

export const persistentVolumeClaimColumns: readonly Column<PersistentVolumeClaim>[] = [
  nameColumn,
  textColumn('Status', 'Whether it has a volume.', phase),
  textColumn('Volume', 'The volume it has.', ({ spec }) => spec.volumeName ?? ''),
  textColumn('Capacity', 'Size of that volume.', ({ spec, status }) =>
    (spec.volumeName ?? '') === '' ? '' : `${status?.capacity?.['storage'] ?? '0'}`,
  ),
  textColumn('Access Modes', 'How it can be mounted.', ({ spec, status }) =>
    (spec.volumeName ?? '') === '' ? '' : shortModes(status?.accessModes),
  ),
  textColumn('StorageClass', 'Class of the volume wanted.', classOf),
  textColumn(
    'VolumeAttributesClass',
    'Class of the attributes wanted.',
    ({ spec }) => spec.volumeAttributesClassName ?? '<unset>',
  ),
  ageColumn,
  wide(
    textColumn('VolumeMode', 'File system or device.', ({ spec }) => spec.volumeMode ?? '<unset>'),
  ),
];

const modeNames = [
  ['ReadWriteOnce', 'RWO'],
  ['ReadOnlyMany', 'ROX'],
  ['ReadWriteMany', 'RWX'],
  ['ReadWriteOncePod', 'RWOP'],
] as const;

function shortModes(modes: readonly string[] = []): string {
  return modeNames
    .filter(([mode]) => modes.includes(mode))
    .map(([, short]) => short)
    .join(',');
}

function phase({ metadata, status }: PersistentVolume | PersistentVolumeClaim): string {
  return metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating';
}

/** The annotation is older than the field. */
function classOf({ metadata, spec }: PersistentVolume | PersistentVolumeClaim): string {
  return (
    metadata.annotations?.['volume.beta.kubernetes.io/storage-class'] ?? spec.storageClassName ?? ''
  );
}

/** Its name, with a word for the default class. */
function className<T extends KubeObject>(annotations: readonly string[]): Column<T> {
  return {
    ...nameColumn,
    cell: ({ metadata }) => {
      const isDefault = annotations.some((key) => metadata.annotations?.[key] === 'true');
      return isDefault ? `${metadata.name} (default)` : metadata.name;
    },
  };
}

export const storageClassColumns: readonly Column<StorageClass>[] = [
  className([
    'storageclass.kubernetes.io/is-default-class',
    'storageclass.beta.kubernetes.io/is-default-class',
  ]),
  textColumn('Provisioner', 'Who makes the volumes.', ({ provisioner }) => provisioner),
  textColumn(
    'ReclaimPolicy',
    'What becomes of a volume when its claim goes.',
    ({ reclaimPolicy }) => reclaimPolicy ?? 'Delete',
  ),
  textColumn(
    'VolumeBindingMode',
    'When a volume is made.',
    ({ volumeBindingMode }) => volumeBindingMode ?? 'Immediate',
  ),
  textColumn(
    'AllowVolumeExpansion',
    'Whether volumes can grow.',
    ({ allowVolumeExpansion }) => allowVolumeExpansion ?? false,
  ),
  ageColumn,
];

export const volumeAttributesClassColumns: readonly Column<VolumeAttributesClass>[] = [
  className(['volumeattributesclass.alpha.kubernetes.io/is-default-class']),
  textColumn('DriverName', 'Whose volumes it is for.', ({ driverName }) => driverName),
  ageColumn,
];

export const volumeAttachmentColumns: readonly Column<VolumeAttachment>[] = [
  nameColumn,
  {
    ...textColumn<VolumeAttachment>('Attacher', 'Who attaches it.', ({ spec }) => spec.attacher),
    format: 'name',
  },
  textColumn('PV', 'The volume.', ({ spec }) => spec.source.persistentVolumeName ?? ''),
  textColumn('Node', 'The node it is attached to.', ({ spec }) => spec.nodeName),
  {
    name: 'Attached',
    type: 'boolean',
    description: 'Whether it is.',
    cell: ({ status }) => status?.attached ?? false,
  },
  ageColumn,
];

export const csiNodeColumns: readonly Column<CSINode>[] = [
  nameColumn,
  count('Drivers', 'Drivers on the node.', ({ spec }) => spec.drivers.length),
  ageColumn,
];

function flag(
  name: string,
  description: string,
  cell: (driver: CSIDriver) => boolean,
): Column<CSIDriver> {
  return { name, type: 'boolean', description, cell };
}

export const csiDriverColumns: readonly Column<CSIDriver>[] = [
  nameColumn,
  flag('AttachRequired', 'Attaches volumes to nodes.', ({ spec }) => spec.attachRequired ?? true),
  flag('PodInfoOnMount', 'Wants to know the pod.', ({ spec }) => spec.podInfoOnMount ?? false),
  flag('StorageCapacity', 'Tells what is free.', ({ spec }) => spec.storageCapacity ?? false),
  textColumn(
    'TokenRequests',
    'Audiences of the tokens it wants.',
    ({ spec }) => spec.tokenRequests?.map(({ audience }) => audience).join(',') ?? '<unset>',
  ),
  flag(
    'RequiresRepublish',
    'Wants to be called again and again.',
    ({ spec }) => spec.requiresRepublish ?? false,
  ),
  textColumn('Modes', 'Kinds of volumes it has.', ({ spec }) =>
    orNone((spec.volumeLifecycleModes ?? []).join(',')),
  ),
  ageColumn,
];

export const csiStorageCapacityColumns: readonly Column<CSIStorageCapacity>[] = [
  nameColumn,
  textColumn(
    'StorageClassName',
    'Class of the storage.',
    ({ storageClassName }) => storageClassName,
  ),
  textColumn('Capacity', 'What is free.', ({ capacity }) => `${capacity ?? '<unset>'}`),
];
