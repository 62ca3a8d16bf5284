// StorageObjectInUseProtection: claims and volumes stay while they are used; controllers take the
// finalizers off. PersistentVolumeClaimResize: only a bound claim grows, if its class allows it.
// Source: kubernetes plugin/pkg/admission/storage/{storageobjectinuseprotection,persistentvolume/resize}.
import type { PersistentVolumeClaim } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { storageClassOf } from '#kube/machinery/quota/evaluators.ts';
import { compareQuantities } from '#kube/machinery/quantity.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionPlugin, ObjectReader } from '../chain.ts';

const finalizers: Readonly<Record<string, string>> = {
  persistentvolumeclaims: 'kubernetes.io/pvc-protection',
  persistentvolumes: 'kubernetes.io/pv-protection',
};

export function storageObjectInUseProtection(): AdmissionPlugin {
  return {
    name: 'StorageObjectInUseProtection',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === '' &&
      Object.hasOwn(finalizers, resource.resource),
    admit({ resource, object }) {
      const finalizer = finalizers[resource.resource];
      const metadata = object?.metadata;
      if (metadata === undefined || finalizer === undefined) return;
      const given = metadata.finalizers ?? [];
      if (!given.includes(finalizer)) metadata.finalizers = [...given, finalizer];
    },
  };
}

const storageClasses = { group: 'storage.k8s.io', version: 'v1', resource: 'storageclasses' };

export function persistentVolumeClaimResize(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'PersistentVolumeClaimResize',
    handles: ({ operation, resource, subresource }) =>
      operation === 'UPDATE' &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'persistentvolumeclaims',
    async validate({ resource, name, object, oldObject }) {
      const [next, old] = [object, oldObject] as PersistentVolumeClaim[];
      if (next === undefined || old === undefined || !isLarger(next, old)) return;
      if (old.status?.phase !== 'Bound')
        throw forbidden(resource, name, 'Only bound persistent volume claims can be expanded');
      const className = storageClassOf(next);
      const found =
        className !== '' && className === storageClassOf(old)
          ? ((await reader.get(storageClasses, '', className)) as StorageClass | undefined)
          : undefined;
      if (found?.allowVolumeExpansion !== true)
        throw forbidden(
          resource,
          name,
          'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
        );
    },
  };
}

function isLarger(next: PersistentVolumeClaim, old: PersistentVolumeClaim): boolean {
  const sizeOf = ({ spec }: PersistentVolumeClaim) => spec.resources?.requests?.['storage'] ?? 0;
  return compareQuantities(sizeOf(next), sizeOf(old)) > 0;
}
