// Which daemon pods to create and delete: one on every fitting node, and replacements during an
// update within its bounds. Also the status. Pure.
// Source: kubernetes pkg/controller/daemon/{daemon_controller,update}.go.
import type { DaemonSet, DaemonSetStatus } from '#kube/api/apps.ts';
import type { Node, Pod } from '#kube/api/core.ts';
import { scaledValue } from '../percentage.ts';
import { withoutZeros } from '../counts.ts';
import { isPodAvailable, isPodReady, isPodTerminating } from '../pod-state.ts';
import { fitsNode, nodeNameOf, revisionHashLabel } from './daemon-pods.ts';

export interface DaemonView {
  readonly daemonSet: DaemonSet;
  readonly nodes: readonly Node[];
  /** All its pods. */
  readonly pods: readonly Pod[];
  /** Of the current template. */
  readonly hash: string;
  readonly nowMs: number;
}

export interface DaemonPlan {
  /** Names of nodes. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
  /** Finished pods among `remove`: they are replaced on a node of their own accord. */
  readonly finished: readonly Pod[];
}

export function podsByNode(pods: readonly Pod[]): Map<string, Pod[]> {
  const byNode = new Map<string, Pod[]>();
  for (const pod of pods) {
    const name = nodeNameOf(pod);
    byNode.set(name, [...(byNode.get(name) ?? []), pod]);
  }
  return byNode;
}

export function planPlacement(view: DaemonView): DaemonPlan {
  const byNode = podsByNode(view.pods);
  const create: string[] = [];
  const remove: Pod[] = [];
  const finished: Pod[] = [];
  for (const node of view.nodes) {
    const { name } = node.metadata;
    const { shouldRun, shouldContinue } = fitsNode(view.daemonSet, node);
    const pods = (byNode.get(name) ?? []).filter((pod) => !isPodTerminating(pod));
    const isVacant = byNode.get(name) === undefined;
    byNode.delete(name);
    if (!shouldContinue) remove.push(...pods);
    else if (isVacant) {
      if (shouldRun) create.push(name);
    } else {
      const ended = pods.filter(isFinished);
      finished.push(...ended);
      const running = pods.filter((pod) => !isFinished(pod));
      remove.push(...ended, ...surplusOf(running, view));
      const { surge } = updateBounds(view.daemonSet, 1);
      if (shouldRun && surge > 0 && needsSurge(running, view)) create.push(name);
    }
  }
  // Meant for nodes that are gone; those that ran there are the pod garbage collector's.
  for (const [name, pods] of byNode)
    for (const pod of pods)
      if (name !== '' && !isPodTerminating(pod) && (pod.spec.nodeName ?? '') === '')
        remove.push(pod);
  return { create, remove, finished };
}

function isFinished({ status }: Pod): boolean {
  return status?.phase === 'Failed' || status?.phase === 'Succeeded';
}

/** More than one on a node: the oldest scheduled one stays; with surge, an old and a new one. */
function surplusOf(pods: readonly Pod[], view: DaemonView): Pod[] {
  if (pods.length <= 1) return [];
  const sorted = pods.toSorted(bySeniority);
  if (updateBounds(view.daemonSet, 1).surge === 0) return sorted.slice(1);
  const current = sorted.filter((pod) => isCurrent(pod, view.hash));
  const old = sorted.filter((pod) => !isCurrent(pod, view.hash));
  return [...current.slice(1), ...old.slice(1)];
}

function bySeniority(a: Pod, b: Pod): number {
  const scheduled = Number((b.spec.nodeName ?? '') !== '') - Number((a.spec.nodeName ?? '') !== '');
  if (scheduled !== 0) return scheduled;
  const created = compareText(a.metadata.creationTimestamp, b.metadata.creationTimestamp);
  return created === 0 ? compareText(a.metadata.name, b.metadata.name) : created;
}

function compareText(a = '', b = ''): number {
  return a < b ? -1 : Number(a > b);
}

/** An old pod that became unavailable is joined by a new one without waiting for the update. */
function needsSurge(pods: readonly Pod[], view: DaemonView): boolean {
  const [only] = pods;
  if (only === undefined || pods.length > 1 || isCurrent(only, view.hash)) return false;
  return view.daemonSet.spec.updateStrategy?.type !== 'OnDelete' && !isAvailable(only, view);
}

export function isCurrent(pod: Pod, hash: string): boolean {
  return pod.metadata.labels?.[revisionHashLabel] === hash;
}

function isAvailable(pod: Pod, { daemonSet, nowMs }: DaemonView): boolean {
  return isPodAvailable(pod, daemonSet.spec.minReadySeconds ?? 0, nowMs);
}

export function updateBounds(
  { spec }: DaemonSet,
  desired: number,
): { surge: number; unavailable: number } {
  const { maxSurge = 0, maxUnavailable = 1 } = spec.updateStrategy?.rollingUpdate ?? {};
  const surge = scaledValue(maxSurge, desired, 'up');
  const unavailable = scaledValue(maxUnavailable, desired, 'up');
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

/** The next step of a rolling update. */
export function planUpdate(view: DaemonView): Pick<DaemonPlan, 'create' | 'remove'> {
  const { daemonSet } = view;
  if (daemonSet.spec.updateStrategy?.type === 'OnDelete') return { create: [], remove: [] };
  const fitting = view.nodes.filter((node) => fitsNode(daemonSet, node).shouldRun);
  const names = new Set(fitting.map((node) => node.metadata.name));
  const byNode = podsByNode(view.pods);
  const { surge, unavailable } = updateBounds(daemonSet, fitting.length);
  const occupied = [...byNode]
    .filter(([name]) => names.has(name))
    .map(([name, pods]) => ({ name, pods }));
  if (surge > 0) return planSurge(view, occupied, surge);
  return { create: [], remove: planReplacement(view, occupied, unavailable, fitting.length) };
}

interface OccupiedNode {
  readonly name: string;
  readonly pods: readonly Pod[];
}

function planReplacement(
  view: DaemonView,
  occupied: readonly OccupiedNode[],
  unavailableMax: number,
  desired: number,
): Pod[] {
  // A node without any pod is waiting for one.
  let unavailable = desired - occupied.length;
  const replaceable: Pod[] = [];
  const candidates: Pod[] = [];
  for (const { pods } of occupied) {
    const [only] = pods;
    if (only === undefined || pods.length > 1 || isPodTerminating(only)) unavailable++;
    else if (isCurrent(only, view.hash)) unavailable += isAvailable(only, view) ? 0 : 1;
    else if (!isAvailable(only, view)) {
      // Down already: replacing it costs nothing.
      replaceable.push(only);
      unavailable++;
    } else candidates.push(only);
  }
  return [...replaceable, ...candidates.slice(0, Math.max(0, unavailableMax - unavailable))];
}

/** New pods come beside the old ones, which go when the new ones are available. */
function planSurge(
  view: DaemonView,
  occupied: readonly OccupiedNode[],
  surgeMax: number,
): Pick<DaemonPlan, 'create' | 'remove'> {
  let surging = 0;
  const create: string[] = [];
  const remove: Pod[] = [];
  for (const { name, pods } of occupied) {
    const living = pods.filter((pod) => !isPodTerminating(pod));
    const current = living.find((pod) => isCurrent(pod, view.hash));
    const old = living.find((pod) => !isCurrent(pod, view.hash));
    if (old === undefined) continue;
    if (current === undefined) {
      if (isAvailable(old, view)) create.push(name);
      else surging++;
    } else if (isAvailable(current, view)) remove.push(old);
    else surging++;
  }
  return { create: create.slice(0, Math.max(0, surgeMax - surging)), remove };
}

export function daemonStatus(view: DaemonView): DaemonSetStatus {
  const { daemonSet, nodes, hash } = view;
  const byNode = podsByNode(view.pods);
  const count = { desired: 0, current: 0, misscheduled: 0, ready: 0, updated: 0, available: 0 };
  for (const node of nodes) {
    const pods = (byNode.get(node.metadata.name) ?? []).toSorted(bySeniority);
    const { shouldRun } = fitsNode(daemonSet, node);
    if (!shouldRun) {
      if (pods.length > 0) count.misscheduled++;
      continue;
    }
    count.desired++;
    const [first] = pods;
    if (first === undefined) continue;
    count.current++;
    // During a surge two pods share the node: the best of them counts.
    if (pods.some(isPodReady)) count.ready++;
    if (pods.some((pod) => isPodReady(pod) && isAvailable(pod, view))) count.available++;
    if (pods.some((pod) => isCurrent(pod, hash))) count.updated++;
  }
  const status: DaemonSetStatus = {
    observedGeneration: daemonSet.metadata.generation,
    desiredNumberScheduled: count.desired,
    currentNumberScheduled: count.current,
    numberMisscheduled: count.misscheduled,
    numberReady: count.ready,
    updatedNumberScheduled: count.updated,
    numberAvailable: count.available,
    numberUnavailable: count.desired - count.available,
  };
  const { collisionCount } = daemonSet.status ?? {};
  if (collisionCount !== undefined) status.collisionCount = collisionCount;
  return withoutZeros(status, ['updatedNumberScheduled', 'numberAvailable', 'numberUnavailable']);
}
