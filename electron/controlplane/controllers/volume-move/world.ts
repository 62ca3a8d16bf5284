// What a move is decided by, and what a decision may be. The plans are pure; the driver (mover.ts) looks and writes.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import type { VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { podClaims } from '#kube/machinery/volume-binding.ts';

export interface MoveWorld {
  /** Of the move's namespace. */
  readonly claim: (name: string) => PersistentVolumeClaim | undefined;
  readonly volume: (name: string) => PersistentVolume | undefined;
  readonly node: (name: string) => Node | undefined;
  readonly storageClass: (name: string) => StorageClass | undefined;
  /** Of the move's namespace. Where something is held they are read anew: a pod that is overlooked would write on. */
  readonly pods: readonly Pod[];
  /** Of all namespaces. */
  readonly podsOnNode: (nodeName: string) => readonly Pod[];
  /** Of the namespace, this one not among them. */
  readonly otherMoves: readonly VolumeMove[];
  readonly nowMs: number;
}

export type MoveWrite =
  | { readonly type: 'create-volume'; readonly volume: PersistentVolume }
  /** `patch` names the resourceVersion that it rests on. */
  | { readonly type: 'patch-volume'; readonly name: string; readonly patch: object }
  | { readonly type: 'delete-volume'; readonly volume: PersistentVolume }
  | { readonly type: 'patch-claim'; readonly claim: PersistentVolumeClaim; readonly patch: object }
  | { readonly type: 'delete-pod'; readonly pod: Pod };

export type MoveStep =
  | { readonly type: 'status'; readonly status: VolumeMoveStatus }
  | { readonly type: 'write'; readonly writes: readonly MoveWrite[] }
  /** Undefined: until something changes. */
  | { readonly type: 'wait'; readonly afterMs?: number };

export const wait: MoveStep = { type: 'wait' };

export function isReady(node: Node | undefined): boolean {
  return getCondition(node?.status?.conditions, 'Ready')?.status === 'True';
}

/** Pods that may write to one of the claims: all that have not ended for good. */
export function podsUsing(pods: readonly Pod[], claims: readonly string[]): Pod[] {
  return pods.filter(
    (pod) => !hasEnded(pod) && podClaims(pod).some(({ name }) => claims.includes(name)),
  );
}

/** Those on a machine: others wait for the claim, and must be left to wait. */
export function podsWriting(pods: readonly Pod[], claims: readonly string[]): Pod[] {
  return podsUsing(pods, claims).filter(({ spec }) => (spec.nodeName ?? '') !== '');
}

export function hasEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

/** A patch that is refused when the object has changed since. */
export function annotating(
  { metadata }: PersistentVolume | PersistentVolumeClaim,
  annotations: Readonly<Record<string, string | null>>,
  more: object = {},
): object {
  const { uid, resourceVersion } = metadata;
  return { metadata: { uid, resourceVersion, annotations }, ...more };
}
