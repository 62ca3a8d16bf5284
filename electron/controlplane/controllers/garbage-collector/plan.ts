// What happens to one object, given the state of its owners and dependents. Pure.
// Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go attemptToDeleteItem.
import type { OwnerReference } from '#kube/api/meta.ts';
import type { GraphNode } from './graph.ts';

export type OwnerState = 'solid' | 'absent' | 'waiting-for-dependents';

export type DeletionPolicy = 'Foreground' | 'Background' | 'Orphan';

export type GarbagePlan =
  | { readonly kind: 'keep' }
  | { readonly kind: 'drop-owners'; readonly uids: readonly string[] }
  | { readonly kind: 'delete'; readonly policy: DeletionPolicy };

export interface GarbageView {
  readonly owners: readonly { readonly reference: OwnerReference; readonly state: OwnerState }[];
  readonly dependents: readonly GraphNode[];
  readonly finalizers: readonly string[];
}

/** For an object that has owners and isn't being deleted. */
export function planGarbage({ owners, dependents, finalizers }: GarbageView): GarbagePlan {
  const isSolid = owners.some(({ state }) => state === 'solid');
  const others = owners.filter(({ state }) => state !== 'solid');
  if (isSolid) {
    const uids = others.map(({ reference }) => reference.uid);
    return uids.length === 0 ? { kind: 'keep' } : { kind: 'drop-owners', uids };
  }
  const isWaitedFor = owners.some(({ state }) => state === 'waiting-for-dependents');
  // Its own dependents go before it, as they do for its owner.
  if (isWaitedFor && dependents.length > 0) return { kind: 'delete', policy: 'Foreground' };
  if (finalizers.includes('orphan')) return { kind: 'delete', policy: 'Orphan' };
  if (finalizers.includes('foregroundDeletion')) return { kind: 'delete', policy: 'Foreground' };
  return { kind: 'delete', policy: 'Background' };
}

/** Dependents that a foreground deletion has to wait for. */
export function blockingDependents(
  owner: GraphNode,
  dependents: readonly GraphNode[],
): GraphNode[] {
  return dependents.filter((dependent) =>
    dependent.owners.some(
      ({ uid, blockOwnerDeletion }) => uid === owner.uid && blockOwnerDeletion === true,
    ),
  );
}
