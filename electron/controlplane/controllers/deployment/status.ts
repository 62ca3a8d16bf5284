// A Deployment's status and conditions from its ReplicaSets. Pure.
// Source: kubernetes pkg/controller/deployment/{progress,sync}.go and its util.
import type {
  Deployment,
  DeploymentCondition,
  DeploymentStatus,
  ReplicaSet,
} from '#kube/api/apps.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { getCondition, removeCondition } from '#kube/machinery/conditions.ts';
import { withCondition } from '../conditions.ts';
import { withoutZeros } from '../counts.ts';
import { maxUnavailableOf, replicasOf, type RolloutView, sum } from './rollout.ts';

/** The largest int32 means: no deadline. */
const noDeadline = 2_147_483_647;

export function countStatus(view: RolloutView, nowMs: number): DeploymentStatus {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  const all = newReplicaSet === undefined ? oldReplicaSets : [...oldReplicaSets, newReplicaSet];
  const availableReplicas = sum(all, ({ status }) => status?.availableReplicas ?? 0);
  const counts: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation,
    replicas: sum(all, ({ status: { replicas } = { replicas: 0 } }) => replicas),
    updatedReplicas: newReplicaSet?.status?.replicas ?? 0,
    readyReplicas: sum(all, (replicaSet) => replicaSet.status?.readyReplicas ?? 0),
    availableReplicas,
    unavailableReplicas: Math.max(0, sum(all, replicasOf) - availableReplicas),
    terminatingReplicas: sum(all, (replicaSet) => replicaSet.status?.terminatingReplicas ?? 0),
  };
  const status = withoutZeros(counts, [
    'replicas',
    'updatedReplicas',
    'readyReplicas',
    'availableReplicas',
    'unavailableReplicas',
  ]);
  const collisionCount = deployment.status?.collisionCount;
  if (collisionCount !== undefined) status.collisionCount = collisionCount;
  const hasMinimum = availableReplicas >= replicasOf(deployment) - maxUnavailableOf(deployment);
  status.conditions = withCondition(
    deployment.status?.conditions,
    hasMinimum
      ? makeCondition(
          'Available',
          'True',
          'MinimumReplicasAvailable',
          'Deployment has minimum availability.',
          nowMs,
        )
      : makeCondition(
          'Available',
          'False',
          'MinimumReplicasUnavailable',
          'Deployment does not have minimum availability.',
          nowMs,
        ),
  );
  return status;
}

/** The counts plus how the rollout goes. */
export function rolloutStatus(view: RolloutView, nowMs: number): DeploymentStatus {
  const { deployment, newReplicaSet } = view;
  const status = countStatus(view, nowMs);
  const current = getCondition(deployment.status?.conditions, 'Progressing');
  const wasComplete =
    status.replicas === status.updatedReplicas && current?.reason === 'NewReplicaSetAvailable';
  if (!hasProgressDeadline(deployment))
    status.conditions = removeCondition(status.conditions, 'Progressing');
  else if (!wasComplete) {
    const subject =
      newReplicaSet === undefined
        ? `Deployment "${deployment.metadata.name}"`
        : `ReplicaSet "${newReplicaSet.metadata.name}"`;
    status.conditions = progress({ deployment, status, current, subject, nowMs });
  }
  const failure = replicaFailure(view);
  status.conditions = removeCondition(status.conditions, 'ReplicaFailure');
  if (failure !== undefined) status.conditions.push(failure);
  return status;
}

interface ProgressInput {
  readonly deployment: Deployment;
  readonly status: DeploymentStatus;
  readonly current: DeploymentCondition | undefined;
  readonly subject: string;
  readonly nowMs: number;
}

function progress(input: ProgressInput): DeploymentCondition[] {
  const { deployment, status, current, subject, nowMs } = input;
  const conditions = status.conditions ?? [];
  if (isComplete(deployment, status)) {
    const message = `${subject} has successfully progressed.`;
    const done = makeCondition('Progressing', 'True', 'NewReplicaSetAvailable', message, nowMs);
    return withCondition(conditions, done);
  }
  if (hasProgressed(deployment, status)) {
    const message = `${subject} is progressing.`;
    const next = makeCondition('Progressing', 'True', 'ReplicaSetUpdated', message, nowMs);
    // Replaced even when it says the same: its lastUpdateTime restarts the deadline.
    if (current?.status === 'True') next.lastTransitionTime = current.lastTransitionTime;
    return [...removeCondition(conditions, 'Progressing'), next];
  }
  if (hasTimedOut(deployment, nowMs)) {
    const message = `${subject} has timed out progressing.`;
    const late = makeCondition('Progressing', 'False', 'ProgressDeadlineExceeded', message, nowMs);
    return withCondition(conditions, late);
  }
  return conditions;
}

/** `Paused`/`Resumed` are noted as progress, so that the time paused doesn't count. */
export function pausedCondition(
  deployment: Deployment,
  nowMs: number,
): DeploymentCondition | undefined {
  if (!hasProgressDeadline(deployment)) return undefined;
  const current = getCondition(deployment.status?.conditions, 'Progressing');
  // A rollout that failed its deadline stays failed.
  if (current?.reason === 'ProgressDeadlineExceeded') return undefined;
  const isPaused = deployment.spec.paused === true;
  const wasPaused = current?.reason === 'DeploymentPaused';
  if (isPaused === wasPaused) return undefined;
  return isPaused
    ? makeCondition('Progressing', 'Unknown', 'DeploymentPaused', 'Deployment is paused', nowMs)
    : makeCondition('Progressing', 'Unknown', 'DeploymentResumed', 'Deployment is resumed', nowMs);
}

export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const replicas = replicasOf(deployment);
  return (
    (status.updatedReplicas ?? 0) === replicas &&
    (status.replicas ?? 0) === replicas &&
    (status.availableReplicas ?? 0) === replicas &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

function hasProgressed(deployment: Deployment, next: DeploymentStatus): boolean {
  const old = deployment.status ?? {};
  const outdated = (status: DeploymentStatus): number =>
    (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  return (
    (next.updatedReplicas ?? 0) > (old.updatedReplicas ?? 0) ||
    outdated(next) < outdated(old) ||
    (next.readyReplicas ?? 0) > (old.readyReplicas ?? 0) ||
    (next.availableReplicas ?? 0) > (old.availableReplicas ?? 0)
  );
}

function hasTimedOut(deployment: Deployment, nowMs: number): boolean {
  const current = getCondition(deployment.status?.conditions, 'Progressing');
  if (current === undefined || current.reason === 'NewReplicaSetAvailable') return false;
  if (current.reason === 'ProgressDeadlineExceeded') return true;
  return deadlineMs(deployment, current) < nowMs;
}

/** When to look again for a rollout that makes no progress; undefined when there's no need. */
export function msUntilDeadline(
  deployment: Deployment,
  status: DeploymentStatus,
  nowMs: number,
): number | undefined {
  const current = getCondition(status.conditions, 'Progressing');
  if (!hasProgressDeadline(deployment) || current === undefined) return undefined;
  if (isComplete(deployment, status) || current.reason === 'ProgressDeadlineExceeded')
    return undefined;
  // A whole second later: times in a status have no fractions.
  return Math.max(0, deadlineMs(deployment, current) - nowMs) + 1000;
}

function deadlineMs(deployment: Deployment, progressing: DeploymentCondition): number {
  const fromMs = Date.parse(progressing.lastUpdateTime ?? progressing.lastTransitionTime ?? '');
  return fromMs + (deployment.spec.progressDeadlineSeconds ?? 600) * 1000;
}

export function hasProgressDeadline(deployment: Deployment): boolean {
  const seconds = deployment.spec.progressDeadlineSeconds;
  return seconds !== undefined && seconds !== noDeadline;
}

function replicaFailure({
  newReplicaSet,
  oldReplicaSets,
}: RolloutView): DeploymentCondition | undefined {
  const candidates: ReplicaSet[] = newReplicaSet === undefined ? [] : [newReplicaSet];
  for (const { status } of [...candidates, ...oldReplicaSets]) {
    const failure = getCondition(status?.conditions, 'ReplicaFailure');
    if (failure !== undefined) return { ...failure, lastUpdateTime: failure.lastTransitionTime };
  }
  return undefined;
}

export function makeCondition(
  type: string,
  status: string,
  reason: string,
  message: string,
  nowMs: number,
): DeploymentCondition {
  const now = rfc3339(nowMs);
  return { type, status, lastUpdateTime: now, lastTransitionTime: now, reason, message };
}
