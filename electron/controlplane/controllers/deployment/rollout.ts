// How many replicas each ReplicaSet of a Deployment should have next: rolling update, recreate,
// and proportional scaling. Pure: numbers in, steps out.
// Source: kubernetes pkg/controller/deployment/{rolling,recreate,sync}.go and its util.
import type { Deployment, ReplicaSet } from '#kube/api/apps.ts';
import { scaledValue } from '../percentage.ts';
import {
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
  type ReplicaSetSizes,
} from './annotations.ts';

export interface ScaleStep {
  readonly replicaSet: ReplicaSet;
  readonly replicas: number;
}

export interface RolloutView {
  readonly deployment: Deployment;
  /** Has the current template; undefined before it was created. */
  readonly newReplicaSet: ReplicaSet | undefined;
  readonly oldReplicaSets: readonly ReplicaSet[];
}

export function replicasOf(object: { spec: { replicas?: number } }): number {
  return object.spec.replicas ?? 1;
}

export function isRollingUpdate(deployment: Deployment): boolean {
  return deployment.spec.strategy?.type !== 'Recreate';
}

/** Resolved against the Deployment's replicas; never both 0. */
export function fenceposts(deployment: Deployment): { surge: number; unavailable: number } {
  const replicas = replicasOf(deployment);
  if (!isRollingUpdate(deployment)) return { surge: 0, unavailable: 0 };
  const { maxSurge = '25%', maxUnavailable = '25%' } =
    deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = scaledValue(maxSurge, replicas, 'up');
  const unavailable = scaledValue(maxUnavailable, replicas, 'down');
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

export function maxUnavailableOf(deployment: Deployment): number {
  const replicas = replicasOf(deployment);
  return replicas === 0 ? 0 : Math.min(fenceposts(deployment).unavailable, replicas);
}

export function sizesFor(deployment: Deployment): ReplicaSetSizes {
  const desired = replicasOf(deployment);
  return { desired, max: desired + fenceposts(deployment).surge };
}

/** The size the new ReplicaSet may grow to right now. */
export function newReplicaSetSize(view: RolloutView): number {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  const replicas = replicasOf(deployment);
  if (!isRollingUpdate(deployment)) return replicas;
  const current = newReplicaSet === undefined ? 0 : replicasOf(newReplicaSet);
  const total = current + sum(oldReplicaSets, replicasOf);
  const room = replicas + fenceposts(deployment).surge - total;
  if (room <= 0) return current;
  return current + Math.max(0, Math.min(room, replicas - current));
}

/** Grow the new one first; only when it can't grow further now, shrink the old ones. */
export function planRollingUpdate(view: RolloutView): ScaleStep[] {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  if (newReplicaSet === undefined) return [];
  const desired = replicasOf(deployment);
  const current = replicasOf(newReplicaSet);
  const size = current > desired ? desired : newReplicaSetSize(view);
  if (size !== current) return [{ replicaSet: newReplicaSet, replicas: size }];
  return shrinkOld(deployment, newReplicaSet, oldReplicaSets);
}

function shrinkOld(
  deployment: Deployment,
  newReplicaSet: ReplicaSet,
  oldReplicaSets: readonly ReplicaSet[],
): ScaleStep[] {
  const all = [...oldReplicaSets, newReplicaSet];
  const minAvailable = replicasOf(deployment) - maxUnavailableOf(deployment);
  const newUnavailable = replicasOf(newReplicaSet) - available(newReplicaSet);
  const shrinkable = sum(all, replicasOf) - minAvailable - newUnavailable;
  if (shrinkable <= 0) return [];
  const sizes = new Map(oldReplicaSets.map((replicaSet) => [replicaSet, replicasOf(replicaSet)]));
  const byAge = oldReplicaSets.toSorted(byCreation);
  // Unhealthy replicas first: removing them costs no availability.
  let removed = 0;
  for (const replicaSet of byAge) {
    const size = sizes.get(replicaSet) ?? 0;
    const cut = Math.min(shrinkable - removed, Math.max(0, size - available(replicaSet)));
    sizes.set(replicaSet, size - cut);
    removed += cut;
  }
  let surplus = sum(all, available) - minAvailable;
  for (const replicaSet of byAge) {
    if (surplus <= 0) break;
    const size = sizes.get(replicaSet) ?? 0;
    const cut = Math.min(size, surplus);
    sizes.set(replicaSet, size - cut);
    surplus -= cut;
  }
  return changed(sizes);
}

export function planRecreate(view: RolloutView): ScaleStep[] {
  const sizes = new Map<ReplicaSet, number>();
  for (const replicaSet of view.oldReplicaSets) sizes.set(replicaSet, 0);
  return changed(sizes);
}

/** Whether the Deployment's replicas changed since its ReplicaSets were sized. */
export function isScalingEvent(view: RolloutView): boolean {
  return activeSets(view).some(({ metadata }) => {
    const desired = metadata.annotations?.[desiredReplicasAnnotation];
    return desired !== undefined && Number(desired) !== replicasOf(view.deployment);
  });
}

/**
 * Scales without rolling: while paused, or in the middle of a rollout, every ReplicaSet keeps its
 * share of the pods.
 */
export function planScaling(view: RolloutView): ScaleStep[] {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  const replicas = replicasOf(deployment);
  const only = activeOrLatest(view);
  if (only !== undefined) return changed(new Map([[only, replicas]]));
  if (isSaturated(deployment, newReplicaSet))
    return changed(new Map(oldReplicaSets.map((replicaSet) => [replicaSet, 0])));
  return isRollingUpdate(deployment) ? planProportionally(view) : [];
}

function planProportionally(view: RolloutView): ScaleStep[] {
  const { deployment } = view;
  const sets = activeSets(view);
  const max = replicasOf(deployment) === 0 ? 0 : sizesFor(deployment).max;
  const toAdd = max - sum(sets, replicasOf);
  // Growing favours the newer of equals, shrinking the older.
  const sign = toAdd > 0 ? -1 : 1;
  const ordered = sets.toSorted((a, b) => replicasOf(b) - replicasOf(a) || sign * byCreation(a, b));
  const sizes = new Map<ReplicaSet, number>();
  let added = 0;
  for (const replicaSet of ordered) {
    const share = toAdd === 0 ? 0 : proportion(replicaSet, deployment, toAdd, added);
    sizes.set(replicaSet, replicasOf(replicaSet) + share);
    added += share;
  }
  const [largest] = ordered;
  if (largest !== undefined)
    sizes.set(largest, Math.max(0, (sizes.get(largest) ?? 0) + toAdd - added));
  return changed(sizes);
}

function proportion(
  replicaSet: ReplicaSet,
  deployment: Deployment,
  toAdd: number,
  added: number,
): number {
  const current = replicasOf(replicaSet);
  if (current === 0 || toAdd === added) return 0;
  const left = toAdd - added;
  const share = fraction(replicaSet, deployment);
  return toAdd > 0 ? Math.min(share, left) : Math.max(share, left);
}

/** How much this one should change if it kept its share of the whole. */
function fraction(replicaSet: ReplicaSet, deployment: Deployment): number {
  const current = replicasOf(replicaSet);
  if (replicasOf(deployment) === 0) return -current;
  const annotated = Number(replicaSet.metadata.annotations?.[maxReplicasAnnotation] ?? 0);
  const previousMax = annotated > 0 ? annotated : (deployment.status?.replicas ?? 0);
  if (previousMax === 0) return 0;
  return Math.round((current * sizesFor(deployment).max) / previousMax) - current;
}

/** The one ReplicaSet with replicas, or the newest of all that have none. */
function activeOrLatest(view: RolloutView): ReplicaSet | undefined {
  const active = activeSets(view);
  if (active.length > 1) return undefined;
  return active[0] ?? view.newReplicaSet ?? view.oldReplicaSets.toSorted(byCreation).at(-1);
}

function isSaturated(deployment: Deployment, replicaSet: ReplicaSet | undefined): boolean {
  if (replicaSet === undefined) return false;
  const replicas = replicasOf(deployment);
  const desired = Number(replicaSet.metadata.annotations?.[desiredReplicasAnnotation]);
  return (
    replicasOf(replicaSet) === replicas &&
    desired === replicas &&
    available(replicaSet) === replicas
  );
}

function activeSets(view: RolloutView): ReplicaSet[] {
  const { newReplicaSet, oldReplicaSets } = view;
  const all = newReplicaSet === undefined ? oldReplicaSets : [...oldReplicaSets, newReplicaSet];
  return all.filter((replicaSet) => replicasOf(replicaSet) > 0);
}

export function byCreation(a: ReplicaSet, b: ReplicaSet): number {
  const created = compareText(a.metadata.creationTimestamp, b.metadata.creationTimestamp);
  return created === 0 ? compareText(a.metadata.name, b.metadata.name) : created;
}

function compareText(a = '', b = ''): number {
  return a < b ? -1 : Number(a > b);
}

export function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

function available(replicaSet: ReplicaSet): number {
  return replicaSet.status?.availableReplicas ?? 0;
}

function changed(sizes: ReadonlyMap<ReplicaSet, number>): ScaleStep[] {
  return [...sizes]
    .filter(([replicaSet, replicas]) => replicasOf(replicaSet) !== replicas)
    .map(([replicaSet, replicas]) => ({ replicaSet, replicas }));
}
