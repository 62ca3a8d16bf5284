// Finds or makes the ReplicaSet that has a Deployment's current template, and keeps its revision
// annotations. A template seen before gets its old ReplicaSet back: that is how a rollback works.
// Source: kubernetes pkg/controller/deployment/sync.go getNewReplicaSet.
import type { Deployment, ReplicaSet } from '#kube/api/apps.ts';
import type { PodTemplateSpec } from '#kube/api/core.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import { deployments, replicaSets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { withCondition } from '../conditions.ts';
import { controllerRef, isControlledBy } from '#kube/machinery/ownership.ts';
import { isNamespaceTerminating } from '../pod-control.ts';
import { templateHash } from '#kube/machinery/hash.ts';
import { annotationsForNew, revisionAnnotation, revisionOf } from './annotations.ts';
import { byCreation, newReplicaSetSize, type RolloutView, sizesFor } from './rollout.ts';
import { hasProgressDeadline, makeCondition } from './status.ts';

export const templateHashLabel = 'pod-template-hash';

export function findNewReplicaSet(
  deployment: Deployment,
  owned: readonly ReplicaSet[],
): ReplicaSet | undefined {
  // Should there be two, the oldest wins, always.
  return owned
    .toSorted(byCreation)
    .find((replicaSet) => isSameTemplate(deployment.spec.template, replicaSet.spec.template));
}

export interface SyncOptions {
  readonly client: RestClient;
  readonly recorder: EventRecorder;
  readonly nowMs: number;
  readonly mayCreate: boolean;
}

/** The view with the new ReplicaSet up to date in it; made if there is none and `mayCreate`. */
export async function syncNewReplicaSet(
  view: RolloutView,
  options: SyncOptions,
): Promise<RolloutView> {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  const revision = Math.max(0, ...oldReplicaSets.map(revisionOf)) + 1;
  if (newReplicaSet === undefined && !options.mayCreate) return view;
  const current =
    newReplicaSet === undefined
      ? await createReplicaSet(view, revision, options)
      : await updateReplicaSet(deployment, newReplicaSet, revision, options);
  const annotated = await copyRevision(deployment, current, options.client);
  const isNew = newReplicaSet === undefined;
  return {
    deployment: noteProgress(annotated, current, isNew, options.nowMs),
    newReplicaSet: current,
    oldReplicaSets,
  };
}

async function updateReplicaSet(
  deployment: Deployment,
  replicaSet: ReplicaSet,
  revision: number,
  { client }: SyncOptions,
): Promise<ReplicaSet> {
  const annotations = annotationsForNew(deployment, replicaSet, revision, sizesFor(deployment));
  const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
  const isCurrent =
    deepEqual(annotations, replicaSet.metadata.annotations ?? {}) &&
    minReadySeconds === (replicaSet.spec.minReadySeconds ?? 0);
  if (isCurrent) return replicaSet;
  const metadata = { ...replicaSet.metadata, annotations };
  const spec = { ...replicaSet.spec, minReadySeconds };
  return client.update(replicaSets, { ...replicaSet, metadata, spec });
}

async function createReplicaSet(
  view: RolloutView,
  revision: number,
  options: SyncOptions,
): Promise<ReplicaSet> {
  const { client, recorder } = options;
  const { deployment } = view;
  const wanted = replicaSetFor(view, revision);
  try {
    const created = await client.create(replicaSets, wanted);
    const { replicas = 0 } = wanted.spec;
    if (replicas > 0) {
      const message = `Scaled up replica set ${created.metadata.name} from 0 to ${replicas}`;
      recorder.event(deployment, 'Normal', 'ScalingReplicaSet', message);
    }
    return created;
  } catch (error) {
    if (hasReason(error, 'AlreadyExists')) return takeOrCollide(deployment, wanted, options);
    if (error instanceof Error && !isNamespaceTerminating(error))
      await noteFailure(deployment, wanted, error, options);
    throw error;
  }
}

/** Ours already, only not in the cache yet; or somebody else's, then the next hash is another. */
async function takeOrCollide(
  deployment: Deployment,
  wanted: ReplicaSet,
  { client }: SyncOptions,
): Promise<ReplicaSet> {
  const { namespace, name } = wanted.metadata;
  const existing = await client.get(replicaSets, { namespace, name });
  const isOurs = isControlledBy(existing, deployment);
  if (isOurs && isSameTemplate(deployment.spec.template, existing.spec.template)) return existing;
  const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
  await client.updateStatus(deployments, {
    ...deployment,
    status: { ...deployment.status, collisionCount },
  });
  throw new Error(`the name ${name} is taken by another ReplicaSet`);
}

function replicaSetFor(view: RolloutView, revision: number): ReplicaSet {
  const { deployment } = view;
  const template = structuredClone(deployment.spec.template);
  const hash = templateHash(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [templateHashLabel]: hash };
  const { matchLabels, matchExpressions } = deployment.spec.selector;
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace,
      labels,
      annotations: annotationsForNew(deployment, undefined, revision, sizesFor(deployment)),
      ownerReferences: [controllerRef(deployment)],
    },
    spec: {
      replicas: newReplicaSetSize(view),
      minReadySeconds: deployment.spec.minReadySeconds ?? 0,
      selector: { matchExpressions, matchLabels: { ...matchLabels, [templateHashLabel]: hash } },
      // A template's metadata has no name.
      template: {
        ...template,
        metadata: { ...template.metadata, labels } as ReplicaSet['metadata'],
      },
    },
  };
}

/** `kubectl rollout history` reads the current revision off the Deployment. */
async function copyRevision(
  deployment: Deployment,
  replicaSet: ReplicaSet,
  client: RestClient,
): Promise<Deployment> {
  const revision = replicaSet.metadata.annotations?.[revisionAnnotation];
  if (revision === undefined) return deployment;
  if (deployment.metadata.annotations?.[revisionAnnotation] === revision) return deployment;
  const { namespace, name } = deployment.metadata;
  const patch = { metadata: { annotations: { [revisionAnnotation]: revision } } };
  const patched = await client.patch(deployments, { namespace, name }, patch);
  // The spec acted on stays the one this reconcile began with.
  return {
    ...deployment,
    metadata: { ...patched.metadata, generation: deployment.metadata.generation },
  };
}

function noteProgress(
  deployment: Deployment,
  replicaSet: ReplicaSet,
  isNew: boolean,
  nowMs: number,
): Deployment {
  const conditions = deployment.status?.conditions;
  const isNoted = getCondition(conditions, 'Progressing') !== undefined;
  if (!hasProgressDeadline(deployment) || (!isNew && isNoted)) return deployment;
  const { name } = replicaSet.metadata;
  const condition = isNew
    ? makeCondition(
        'Progressing',
        'True',
        'NewReplicaSetCreated',
        `Created new replica set "${name}"`,
        nowMs,
      )
    : makeCondition(
        'Progressing',
        'True',
        'FoundNewReplicaSet',
        `Found new replica set "${name}"`,
        nowMs,
      );
  return {
    ...deployment,
    status: { ...deployment.status, conditions: withCondition(conditions, condition) },
  };
}

async function noteFailure(
  deployment: Deployment,
  wanted: ReplicaSet,
  error: Error,
  { client, recorder, nowMs }: SyncOptions,
): Promise<void> {
  const message = `Failed to create new replica set "${wanted.metadata.name}": ${error.message}`;
  recorder.event(deployment, 'Warning', 'ReplicaSetCreateError', message);
  if (!hasProgressDeadline(deployment)) return;
  const failed = makeCondition('Progressing', 'False', 'ReplicaSetCreateError', message, nowMs);
  const conditions = withCondition(deployment.status?.conditions, failed);
  if (deepEqual(conditions, deployment.status?.conditions)) return;
  await client.updateStatus(deployments, {
    ...deployment,
    status: { ...deployment.status, conditions },
  });
}

/** Equal but for the hash label, which only the ReplicaSet's has. */
function isSameTemplate(a: PodTemplateSpec, b: PodTemplateSpec | undefined): boolean {
  return b !== undefined && deepEqual(withoutHash(a), withoutHash(b));
}

function withoutHash({ metadata, spec }: PodTemplateSpec): unknown {
  const { labels = {}, ...rest } = metadata ?? {};
  const { [templateHashLabel]: _hash, ...others } = labels;
  return { spec, metadata: { ...rest, labels: others } };
}
