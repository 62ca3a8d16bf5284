// The scheduler's vocabulary: plugins and their extension points, under Kubernetes' names. Types
// and tiny constructors only; schedule-pod.ts runs the plugins.
// Plugins decide purely: no I/O, no clock, no randomness.
// Source: kubernetes pkg/scheduler/framework/interface.go.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import type { NodeInfo, PodInfo } from './node-info.ts';

/** Highest score of a node at any plugin; the lowest is 0. */
export const scoreMax = 100;

export type StatusCode =
  /** Other pods leaving the node could help. */
  | 'Unschedulable'
  /** They could not. */
  | 'UnschedulableAndUnresolvable';

/** Why a node (or, from PreFilter, every node) is refused. Undefined stands for success. */
export interface Status {
  readonly code: StatusCode;
  /** In Kubernetes' wording. */
  readonly reasons: readonly string[];
}

export function unschedulable(...reasons: readonly string[]): Status {
  return { code: 'Unschedulable', reasons };
}

export function unresolvable(...reasons: readonly string[]): Status {
  return { code: 'UnschedulableAndUnresolvable', reasons };
}

/** What plugins remember between the extension points of one pod's cycle, under their own name. */
export type CycleState = Map<string, unknown>;

/** The nodes at the moment of a decision, in order of their names. */
export interface Snapshot {
  readonly nodes: readonly NodeInfo[];
  readonly volumes?: VolumeView;
}

/** Volumes and claims at the moment of a decision. */
export interface VolumeView {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  volumes(): readonly PersistentVolume[];
  storageClass(name: string): StorageClass | undefined;
  /** A decision promised the volume to a claim, and it is not seen yet. */
  isTaken(volumeName: string): boolean;
  /** The node on which a decision had a volume made for the claim, if that is not seen yet. */
  chosenNode(claim: PersistentVolumeClaim): string | undefined;
}

export interface PreFilterResult {
  readonly status?: Status;
  /** Only these nodes can be right; all when left out. */
  readonly nodeNames?: ReadonlySet<string>;
}

/** A change in the cluster that may make a pod schedulable. */
export type ClusterEvent =
  | { readonly type: 'node-added'; readonly node: Node }
  | { readonly type: 'node-updated'; readonly old: Node; readonly node: Node }
  /** A pod that has a node appeared or changed. */
  | { readonly type: 'assigned-pod-changed'; readonly pod: Pod }
  /** A pod that had a node ended or was deleted. */
  | { readonly type: 'assigned-pod-removed'; readonly pod: Pod }
  /** A volume, claim or class of storage. */
  | { readonly type: 'storage-changed' };

export interface Plugin {
  readonly name: string;
  /** Computes what `filter` needs; may refuse the pod or narrow the nodes. */
  preFilter?(state: CycleState, pod: PodInfo, snapshot: Snapshot): PreFilterResult | undefined;
  filter?(state: CycleState, pod: PodInfo, node: NodeInfo): Status | undefined;
  /** Computes what `score` needs; 'skip' leaves this plugin out of the scoring. */
  preScore?(
    state: CycleState,
    pod: PodInfo,
    nodes: readonly NodeInfo[],
    snapshot: Snapshot,
  ): 'skip' | undefined;
  /** Any number, if there is a `normalizeScore`; else 0 to scoreMax. */
  score?(state: CycleState, pod: PodInfo, node: NodeInfo): number;
  /** To 0…scoreMax, whole numbers, in the same order. */
  normalizeScore?(scores: readonly number[]): readonly number[];
  /** Whether the event may help a pod this plugin refused; all do when left out. */
  queueingHint?(pod: Pod, event: ClusterEvent): boolean;
}

/** A plugin with the weight of its scores. */
export interface ProfileEntry {
  readonly plugin: Plugin;
  readonly weight: number;
}

/**
 * Scales so that the highest becomes scoreMax; `isReversed`: the highest becomes 0.
 * Source: kubernetes pkg/scheduler/framework/plugins/helper/normalize_score.go.
 */
export function defaultNormalizeScore(
  scores: readonly number[],
  isReversed: boolean,
): readonly number[] {
  const highest = Math.max(0, ...scores);
  if (highest === 0) return scores.map(() => (isReversed ? scoreMax : 0));
  return scores.map((score) => {
    const scaled = Math.floor((score * scoreMax) / highest);
    return isReversed ? scoreMax - scaled : scaled;
  });
}
