// DefaultStorageClass and DefaultIngressClass: a claim or an Ingress that names no class gets the one
// that is marked as default; of several, the newest.
// Source: kubernetes plugin/pkg/admission/{storage/storageclass/setdefault,network/defaultingressclass}.
import type { PersistentVolumeClaim } from '#kube/api/core.ts';
import type { Ingress } from '#kube/api/networking.ts';
import type { GroupVersionResource } from '#kube/api/object.ts';
import type { AdmissionPlugin, ObjectReader } from '../chain.ts';

const storageClasses = { group: 'storage.k8s.io', version: 'v1', resource: 'storageclasses' };
const ingressClasses = { group: 'networking.k8s.io', version: 'v1', resource: 'ingressclasses' };

export function defaultStorageClass(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'DefaultStorageClass',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'persistentvolumeclaims',
    admit({ object }) {
      const { metadata, spec } = object as PersistentVolumeClaim;
      const hasOldForm =
        metadata.annotations?.['volume.beta.kubernetes.io/storage-class'] !== undefined;
      // An empty name is one: it asks for a volume of no class.
      if (hasOldForm || spec.storageClassName !== undefined) return;
      const name = defaultOf(reader, storageClasses, [
        'storageclass.kubernetes.io/is-default-class',
        'storageclass.beta.kubernetes.io/is-default-class',
      ]);
      if (name !== undefined) spec.storageClassName = name;
    },
  };
}

export function defaultIngressClass(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'DefaultIngressClass',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === 'networking.k8s.io' &&
      resource.resource === 'ingresses',
    admit({ object }) {
      const ingress = object as Ingress;
      const { annotations } = ingress.metadata;
      if (annotations?.['kubernetes.io/ingress.class'] !== undefined) return;
      if (ingress.spec?.ingressClassName !== undefined) return;
      const name = defaultOf(reader, ingressClasses, [
        'ingressclass.kubernetes.io/is-default-class',
      ]);
      if (name !== undefined) ingress.spec = { ...ingress.spec, ingressClassName: name };
    },
  };
}

function defaultOf(
  reader: ObjectReader,
  classes: GroupVersionResource,
  annotations: readonly string[],
): string | undefined {
  const marked = reader
    .list(classes, '')
    .map(({ metadata }) => metadata)
    .filter((metadata) => annotations.some((key) => metadata.annotations?.[key] === 'true'));
  const madeAt = ({ creationTimestamp = '' }: (typeof marked)[number]) => creationTimestamp;
  // Lists are by name, and the sort keeps that order.
  return marked.toSorted((a, b) => (madeAt(a) > madeAt(b) ? -1 : madeAt(a) < madeAt(b) ? 1 : 0))[0]
    ?.name;
}
