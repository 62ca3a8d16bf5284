// Which objects belong to a controlling object: adoption of matching orphans, release of those that match no longer. Deciding is pure; `claim` does the writes.
// Source: kubernetes pkg/controller/controller_ref_manager.go.
import type { OwnerReference } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Lister } from '#kube/client/lister.ts';
import { controllerIndex } from '#kube/client/lister.ts';
import type { Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { controllerRef, getControllerOf } from '#kube/machinery/ownership.ts';
import type { LabelMatcher } from '#kube/machinery/selector.ts';
import { hasReason } from '#kube/machinery/status.ts';

/** Index of objects that no controller owns, by namespace. */
export const orphanIndex = 'orphan';

export const orphanIndexer = {
  [orphanIndex]: (object: KubeObject): string[] =>
    getControllerOf(object) === undefined ? [object.metadata.namespace ?? ''] : [],
};

/** Owned objects plus orphans of the namespace: all that `claim` has to look at. */
export function claimCandidates<T extends KubeObject>(lister: Lister<T>, owner: KubeObject): T[] {
  return [
    ...lister.byIndex(controllerIndex, owner.metadata.uid ?? ''),
    ...lister.byIndex(orphanIndex, owner.metadata.namespace ?? ''),
  ];
}

export interface ClaimPlan<T> {
  readonly keep: readonly T[];
  readonly adopt: readonly T[];
  readonly release: readonly T[];
}

export function planClaim<T extends KubeObject>(
  owner: KubeObject,
  candidates: readonly T[],
  selector: LabelMatcher,
): ClaimPlan<T> {
  const keep: T[] = [];
  const adopt: T[] = [];
  const release: T[] = [];
  const isOwnerDeleting = owner.metadata.deletionTimestamp !== undefined;
  for (const object of candidates) {
    const controller = getControllerOf(object);
    const isMatch = selector.matches(object.metadata.labels ?? {});
    if (controller === undefined) {
      const isDeleting = object.metadata.deletionTimestamp !== undefined;
      if (isMatch && !isOwnerDeleting && !isDeleting) adopt.push(object);
    } else if (controller.uid === owner.metadata.uid) {
      if (isMatch) keep.push(object);
      else if (!isOwnerDeleting) release.push(object);
    }
  }
  return { keep, adopt, release };
}

export interface ClaimOptions<T extends KubeObject, O extends KubeObject> {
  readonly client: RestClient;
  readonly resource: Resource<T>;
  readonly ownerResource: Resource<O>;
  readonly owner: O;
  readonly candidates: readonly T[];
  readonly selector: LabelMatcher;
}

/** Adopts and releases; answers what the owner owns afterwards. */
export async function claim<T extends KubeObject, O extends KubeObject>(
  options: ClaimOptions<T, O>,
): Promise<T[]> {
  const { client, resource, owner } = options;
  const plan = planClaim(owner, options.candidates, options.selector);
  const owned = [...plan.keep];
  for (const object of plan.release) {
    const references = object.metadata.ownerReferences ?? [];
    const others = references.filter((reference) => reference.uid !== owner.metadata.uid);
    await setOwners(client, resource, object, others);
  }
  if (plan.adopt.length === 0 || !(await isAlive(options))) return owned;
  for (const object of plan.adopt) {
    const owners = [...(object.metadata.ownerReferences ?? []), controllerRef(owner)];
    const adopted = await setOwners(client, resource, object, owners);
    if (adopted !== undefined) owned.push(adopted);
  }
  return owned;
}

/** The cache may not know yet that the owner is being deleted, or is another by now. */
async function isAlive<T extends KubeObject, O extends KubeObject>(
  options: ClaimOptions<T, O>,
): Promise<boolean> {
  const { client, ownerResource, owner } = options;
  const { namespace, name, uid } = owner.metadata;
  const live = await client.get(ownerResource, { namespace, name }).catch(ignoreNotFound);
  return live?.metadata.uid === uid && live?.metadata.deletionTimestamp === undefined;
}

/** Undefined when the object is gone. Throws a Conflict when somebody changed it meanwhile. */
async function setOwners<T extends KubeObject>(
  client: RestClient,
  resource: Resource<T>,
  object: T,
  ownerReferences: readonly OwnerReference[],
): Promise<T | undefined> {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  const patch = { metadata: { uid, resourceVersion, ownerReferences } };
  return client.patch(resource, { namespace, name }, patch).catch(ignoreNotFound);
}

export function ignoreNotFound(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}
