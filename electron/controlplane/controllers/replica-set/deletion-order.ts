// Which pods go first when there are too many: the ones nobody would miss. Pure.
// Source: kubernetes pkg/controller/controller_utils.go ActivePodsWithRanks.
import type { Pod } from '#kube/api/core.ts';
import { isPodReady, podCondition } from '../pod-state.ts';

export const deletionCostAnnotation = 'controller.kubernetes.io/pod-deletion-cost';

const phaseRank: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

export interface RankedPods {
  readonly pods: readonly Pod[];
  /** Active pods of the same application (all ReplicaSets of a Deployment), also on other nodes. */
  readonly relatedPods: readonly Pod[];
  readonly nowMs: number;
}

/** The pods in the order to delete them. */
export function inDeletionOrder({ pods, relatedPods, nowMs }: RankedPods): Pod[] {
  const perNode = new Map<string, number>();
  for (const { spec } of relatedPods) {
    const node = spec.nodeName ?? '';
    if (node !== '') perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const crowd = (pod: Pod): number => perNode.get(pod.spec.nodeName ?? '') ?? 0;
  return pods.toSorted((a, b) => compare(a, b, crowd, nowMs));
}

/** Negative: `a` goes first. */
function compare(a: Pod, b: Pod, crowd: (pod: Pod) => number, nowMs: number): number {
  return (
    Number(isAssigned(a)) - Number(isAssigned(b)) ||
    phase(a) - phase(b) ||
    Number(isPodReady(a)) - Number(isPodReady(b)) ||
    deletionCost(a) - deletionCost(b) ||
    crowd(b) - crowd(a) ||
    (isPodReady(a) ? byAge(a, b, readySinceMs(a), readySinceMs(b), nowMs) : 0) ||
    restarts(b) - restarts(a) ||
    byAge(a, b, createdMs(a), createdMs(b), nowMs)
  );
}

/**
 * The younger goes first, but ages of the same power of two count as equal and the uid decides, so
 * that scaling down does not always empty the node added last.
 */
function byAge(a: Pod, b: Pod, aMs: number, bMs: number, nowMs: number): number {
  if (aMs === bMs) return 0;
  if (Number.isNaN(aMs) || Number.isNaN(bMs))
    return Number(Number.isNaN(bMs)) - Number(Number.isNaN(aMs));
  const rank = logRank(nowMs - aMs) - logRank(nowMs - bMs);
  if (rank !== 0) return rank;
  return (a.metadata.uid ?? '') < (b.metadata.uid ?? '') ? -1 : 1;
}

function logRank(ageMs: number): number {
  return ageMs > 0 ? Math.floor(Math.log2(ageMs * 1e6)) : -1;
}

function isAssigned(pod: Pod): boolean {
  return (pod.spec.nodeName ?? '') !== '';
}

function phase(pod: Pod): number {
  return phaseRank[pod.status?.phase ?? ''] ?? 0;
}

function deletionCost(pod: Pod): number {
  const text = pod.metadata.annotations?.[deletionCostAnnotation] ?? '';
  return /^(0|[+-]?[1-9]\d*)$/.test(text) ? Number(text) : 0;
}

function readySinceMs(pod: Pod): number {
  return Date.parse(podCondition(pod, 'Ready')?.lastTransitionTime ?? '');
}

function createdMs(pod: Pod): number {
  return Date.parse(pod.metadata.creationTimestamp ?? '');
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount));
}
