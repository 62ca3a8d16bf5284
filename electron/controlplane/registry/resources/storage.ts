// Volumes, claims, their classes and drivers in the resource table.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type {
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  StorageClass,
  VolumeAttachment,
  VolumeAttributesClass,
} from '#kube/api/storage.ts';
import {
  csiDriverColumns,
  csiNodeColumns,
  csiStorageCapacityColumns,
  persistentVolumeClaimColumns,
  persistentVolumeColumns,
  storageClassColumns,
  volumeAttachmentColumns,
  volumeAttributesClassColumns,
} from '../columns/storage.ts';
import type { ResourceDefinition } from '../resource.ts';
import {
  csiDriverStrategy,
  csiNodeStrategy,
  csiStorageCapacityStrategy,
  volumeAttachmentStatus,
  volumeAttachmentStrategy,
} from '../strategies/storage/csi.ts';
import {
  persistentVolumeClaimStatus,
  persistentVolumeClaimStrategy,
} from '../strategies/storage/persistent-volume-claim.ts';
import {
  persistentVolumeStatus,
  persistentVolumeStrategy,
} from '../strategies/storage/persistent-volume.ts';
import {
  storageClassStrategy,
  volumeAttributesClassStrategy,
} from '../strategies/storage/storage-class.ts';
import { core, generic, named } from './define.ts';

const persistentVolumes: ResourceDefinition<PersistentVolume> = {
  ...core('PersistentVolume', 'persistentvolumes', { namespaced: false }),
  shortNames: ['pv'],
  strategy: persistentVolumeStrategy,
  columns: persistentVolumeColumns,
  subresources: { status: persistentVolumeStatus },
};

const persistentVolumeClaims: ResourceDefinition<PersistentVolumeClaim> = {
  ...core('PersistentVolumeClaim', 'persistentvolumeclaims'),
  shortNames: ['pvc'],
  strategy: persistentVolumeClaimStrategy,
  columns: persistentVolumeClaimColumns,
  subresources: { status: persistentVolumeClaimStatus },
};

function storage(kind: string, plural: string, { namespaced = false } = {}) {
  return { ...named('storage.k8s.io', 'storage/v1', kind, plural), namespaced };
}

const storageClasses: ResourceDefinition<StorageClass> = {
  ...storage('StorageClass', 'storageclasses'),
  shortNames: ['sc'],
  strategy: storageClassStrategy,
  columns: storageClassColumns,
  awaitsCache: true,
};

const volumeAttributesClasses: ResourceDefinition<VolumeAttributesClass> = {
  ...storage('VolumeAttributesClass', 'volumeattributesclasses'),
  shortNames: ['vac'],
  strategy: volumeAttributesClassStrategy,
  columns: volumeAttributesClassColumns,
};

const volumeAttachments: ResourceDefinition<VolumeAttachment> = {
  ...storage('VolumeAttachment', 'volumeattachments'),
  strategy: volumeAttachmentStrategy,
  columns: volumeAttachmentColumns,
  subresources: { status: volumeAttachmentStatus },
};

const csiDrivers: ResourceDefinition<CSIDriver> = {
  ...storage('CSIDriver', 'csidrivers'),
  strategy: csiDriverStrategy,
  columns: csiDriverColumns,
};

const csiNodes: ResourceDefinition<CSINode> = {
  ...storage('CSINode', 'csinodes'),
  strategy: csiNodeStrategy,
  columns: csiNodeColumns,
};

const csiStorageCapacities: ResourceDefinition<CSIStorageCapacity> = {
  ...storage('CSIStorageCapacity', 'csistoragecapacities', { namespaced: true }),
  strategy: csiStorageCapacityStrategy,
  columns: csiStorageCapacityColumns,
};

export const storageResources: readonly ResourceDefinition[] = [
  generic(persistentVolumes),
  generic(persistentVolumeClaims),
  generic(storageClasses),
  generic(volumeAttributesClasses),
  generic(volumeAttachments),
  generic(csiDrivers),
  generic(csiNodes),
  generic(csiStorageCapacities),
];
