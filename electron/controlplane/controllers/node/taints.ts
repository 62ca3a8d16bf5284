// Which taints a node's conditions call for, and how long a pod may stay despite them. Pure.
// Source: kubernetes pkg/controller/nodelifecycle, pkg/controller/tainteviction.
import type { Node, PersistentVolume, Pod, Taint, Toleration } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { tolerates } from '#kube/machinery/tolerations.ts';

export const notReadyTaint = 'node.kubernetes.io/not-ready';
export const unreachableTaint = 'node.kubernetes.io/unreachable';
/**
 * How long a machine that went down in order may take to come back before its pods go elsewhere: a Pi with a full
 * card checks its file system.
 */
export const restartMs = 180_000;
/** The reason of the conditions of a machine that went down in order and is silent since. */
export const shutDownReason = 'NodeShutDown';
/** Clocks of members differ a little; what is further ahead was written by one that was wrong. */
const clockErrorMs = 60_000;
/** Ours: the machine was put to sleep and said so. */
export const asleepTaint = 'flotilla.dev/asleep';
export const unschedulableTaint = 'node.kubernetes.io/unschedulable';

/** Condition → status → the key of its NoSchedule taint. */
const conditionTaints: readonly (readonly [type: string, status: string, key: string])[] = [
  ['Ready', 'False', notReadyTaint],
  ['Ready', 'Unknown', unreachableTaint],
  ['MemoryPressure', 'True', 'node.kubernetes.io/memory-pressure'],
  ['DiskPressure', 'True', 'node.kubernetes.io/disk-pressure'],
  ['NetworkUnavailable', 'True', 'node.kubernetes.io/network-unavailable'],
  ['PIDPressure', 'True', 'node.kubernetes.io/pid-pressure'],
  ['Asleep', 'True', asleepTaint],
];

const managedKeys: ReadonlySet<string> = new Set([
  ...conditionTaints.map(([, , key]) => key),
  unschedulableTaint,
]);

/**
 * All taints the node should have; those of others are kept. `mayEvict` is false while no node at
 * all is ready: then it is rather us who are cut off, and nobody is evicted. Nor is anybody from a
 * machine that sleeps: it comes back with all it had; nor yet from one that restarts.
 */
export function taintsFor(node: Node, mayEvict: boolean, nowMs: number): Taint[] {
  const current = node.spec.taints ?? [];
  const wanted: Taint[] = [];
  for (const [type, status, key] of conditionTaints)
    if (getCondition(node.status?.conditions, type)?.status === status)
      wanted.push({ key, effect: 'NoSchedule' });
  if (node.spec.unschedulable === true)
    wanted.push({ key: unschedulableTaint, effect: 'NoSchedule' });
  const ready = getCondition(node.status?.conditions, 'Ready')?.status;
  const isLost = mayEvict && !isAsleep(node) && restartsUntilMs(node) <= nowMs;
  if (isLost && ready === 'False') wanted.push({ key: notReadyTaint, effect: 'NoExecute' });
  if (isLost && ready === 'Unknown') wanted.push({ key: unreachableTaint, effect: 'NoExecute' });
  const isManaged = ({ key, effect }: Taint): boolean =>
    managedKeys.has(key) && (effect === 'NoSchedule' || effect === 'NoExecute');
  const kept = current.filter(
    (taint) =>
      !isManaged(taint) ||
      (!isOfTheFuture(taint, nowMs) && wanted.some((other) => isSameTaint(taint, other))),
  );
  const added = wanted.filter((taint) => !kept.some((other) => isSameTaint(taint, other)));
  return [...kept, ...added.map((taint) => ({ ...taint, timeAdded: rfc3339(nowMs) }))];
}

/** Until when a machine that went down in order is waited for; 0: it did not. */
export function restartsUntilMs(node: Node): number {
  const ready = getCondition(node.status?.conditions, 'Ready');
  if (ready?.status !== 'Unknown' || ready.reason !== shutDownReason) return 0;
  return (Date.parse(ready.lastTransitionTime ?? '') || 0) + restartMs;
}

/** The clock was set back: by such a time nobody would ever have to leave. */
function isOfTheFuture({ timeAdded }: Taint, nowMs: number): boolean {
  return Date.parse(timeAdded ?? '') > nowMs + clockErrorMs;
}

export function isAsleep(node: Node): boolean {
  return getCondition(node.status?.conditions, 'Asleep')?.status === 'True';
}

function isSameTaint(a: Taint, b: Taint): boolean {
  return a.key === b.key && a.effect === b.effect;
}

/** It lies on one machine. */
export function isPinned(volume: PersistentVolume | undefined): boolean {
  const terms = volume?.spec.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return (
    terms.length === 1 &&
    terms.every(({ matchExpressions = [], matchFields = [] }) =>
      [...matchExpressions, ...matchFields].some(
        ({ key, operator, values = [] }) =>
          (key === 'kubernetes.io/hostname' || key === 'metadata.name') &&
          operator === 'In' &&
          values.length === 1,
      ),
    )
  );
}

/** Taints of the given effects that none of the tolerations covers. */
export function untolerated(
  taints: readonly Taint[] | undefined,
  tolerations: readonly Toleration[] | undefined,
  effects: readonly string[],
): Taint[] {
  return (taints ?? []).filter(
    (taint) =>
      effects.includes(taint.effect) &&
      !(tolerations ?? []).some((toleration) => tolerates(toleration, taint)),
  );
}

/**
 * When a pod has to leave its node, in milliseconds since the epoch; undefined: it may stay.
 * A taint without `timeAdded` counts from `seenMs`.
 */
export function evictionTimeMs(node: Node, pod: Pod, seenMs: number): number | undefined {
  let earliest: number | undefined;
  for (const taint of node.spec.taints ?? []) {
    if (taint.effect !== 'NoExecute') continue;
    const fitting = (pod.spec.tolerations ?? []).filter((toleration) =>
      tolerates(toleration, taint),
    );
    const limits = fitting
      .map(({ tolerationSeconds }) => tolerationSeconds)
      .filter((seconds) => seconds !== undefined);
    if (fitting.length > 0 && limits.length === 0) continue;
    const sinceMs = Date.parse(taint.timeAdded ?? '') || seenMs;
    const dueMs = fitting.length === 0 ? seenMs : sinceMs + Math.max(0, Math.min(...limits)) * 1000;
    earliest = Math.min(earliest ?? dueMs, dueMs);
  }
  return earliest;
}
