// What a Deployment writes on its ReplicaSets: revision, history, sizes, and a copy of its own
// annotations. `kubectl rollout history` and `undo` read them. Pure.
// Source: kubernetes pkg/controller/deployment/util/deployment_util.go.
import type { Deployment, ReplicaSet } from '#kube/api/apps.ts';

export const revisionAnnotation = 'deployment.kubernetes.io/revision';
export const revisionHistoryAnnotation = 'deployment.kubernetes.io/revision-history';
export const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas';
export const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas';

const notCopied: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'deprecated.deployment.rollback.to',
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
]);

const historyLengthMax = 2000;

/** 0 when there is none. */
export function revisionOf(object: Deployment | ReplicaSet): number {
  return Number(object.metadata.annotations?.[revisionAnnotation] ?? 0) || 0;
}

export interface ReplicaSetSizes {
  /** The Deployment's replicas. */
  readonly desired: number;
  /** With maxSurge. */
  readonly max: number;
}

/** The annotations of the ReplicaSet that has the current template. */
export function annotationsForNew(
  deployment: Deployment,
  replicaSet: ReplicaSet | undefined,
  revision: number,
  sizes: ReplicaSetSizes,
): Record<string, string> {
  const annotations = { ...replicaSet?.metadata.annotations };
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {}))
    if (!notCopied.has(key)) annotations[key] = value;
  const old = annotations[revisionAnnotation];
  if (Number(old ?? 0) < revision) {
    annotations[revisionAnnotation] = String(revision);
    if (old !== undefined) appendHistory(annotations, old);
  }
  return replicaSet === undefined ? { ...annotations, ...sizeAnnotations(sizes) } : annotations;
}

export function sizeAnnotations(sizes: ReplicaSetSizes): Record<string, string> {
  return {
    [desiredReplicasAnnotation]: String(sizes.desired),
    [maxReplicasAnnotation]: String(sizes.max),
  };
}

/** The oldest revisions fall off when the text gets too long. */
function appendHistory(annotations: Record<string, string>, revision: string): void {
  const history = annotations[revisionHistoryAnnotation];
  const revisions = history === undefined || history === '' ? [] : history.split(',');
  revisions.push(revision);
  while (revisions.length > 1 && revisions.join(',').length > historyLengthMax) revisions.shift();
  annotations[revisionHistoryAnnotation] = revisions.join(',');
}
