// Who owns an object: owner references and the one among them that is the controller.
// Source: kubernetes apimachinery pkg/apis/meta/v1/controller_ref.go.
import type { OwnerReference } from '../api/meta.ts';
import type { KubeObject } from '../api/object.ts';

/** The reference that `owner` puts into what it manages. */
export function controllerRef(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

type Owned = Pick<KubeObject, 'metadata'>;

export function getControllerOf(object: Owned): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

/** By uid: a namesake made later is another owner. */
export function isControlledBy(object: Owned, owner: Owned): boolean {
  const controller = getControllerOf(object);
  return controller !== undefined && controller.uid === owner.metadata.uid;
}
