// Rolls a Deployment's pods from one template to the next by sizing its ReplicaSets. What to do is
// decided in rollout.ts and status.ts; here it is read and written.
// Source: kubernetes pkg/controller/deployment/deployment_controller.go.
import type { Deployment, DeploymentStatus, ReplicaSet } from '#kube/api/apps.ts';
import type { Pod } from '#kube/api/core.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Informer } from '#kube/client/informer.ts';
import { controllerIndex } from '#kube/client/lister.ts';
import { deployments, keyOf, parseKey, pods, replicaSets } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { labelSelectorMatcher } from '#kube/machinery/selector.ts';
import { withCondition } from '../conditions.ts';
import { type ControllerDeps, recorderFor, type RunnableController } from '../deps.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { claim, claimCandidates, ignoreNotFound, orphanIndexer } from '../ownership.ts';
import { isPodTerminal } from '../pod-state.ts';
import { revisionOf, sizeAnnotations } from './annotations.ts';
import { findNewReplicaSet, syncNewReplicaSet } from './new-replica-set.ts';
import {
  isRollingUpdate,
  isScalingEvent,
  planRecreate,
  planRollingUpdate,
  planScaling,
  replicasOf,
  type RolloutView,
  type ScaleStep,
  sizesFor,
} from './rollout.ts';
import {
  countStatus,
  isComplete,
  msUntilDeadline,
  pausedCondition,
  rolloutStatus,
} from './status.ts';

const component = 'deployment-controller';

export function createDeploymentController(deps: ControllerDeps): RunnableController {
  return new DeploymentController(deps);
}

class DeploymentController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #recorder: EventRecorder;
  readonly #deployments: Informer<Deployment>;
  readonly #replicaSets: Informer<ReplicaSet>;
  readonly #pods: Informer<Pod>;
  readonly #controller: Controller;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#recorder = recorderFor(deps, component);
    this.#deployments = deps.informers.informer(deployments);
    this.#replicaSets = deps.informers.informer(replicaSets, { indexers: orphanIndexer });
    this.#pods = deps.informers.informer(pods);
    this.#controller = new Controller({
      name: component,
      clock: deps.clock,
      logger: deps.logger,
      workers: 5,
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
    this.#controller.watch(this.#deployments);
    this.#controller.watch(this.#replicaSets, (replicaSet) => this.#keysOf(replicaSet));
    // A Recreate waits for the last old pod to go.
    this.#controller.watchWith(this.#pods, { onDelete: (pod) => this.#podDeleted(pod) });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #keysOf(replicaSet: ReplicaSet): string[] {
    const { namespace = '' } = replicaSet.metadata;
    const reference = getControllerOf(replicaSet);
    if (reference !== undefined)
      return reference.kind === 'Deployment' ? [`${namespace}/${reference.name}`] : [];
    return this.#deployments.lister
      .list({ namespace })
      .filter(({ spec }) => labelSelectorMatcher(spec.selector).matches(replicaSet.metadata.labels))
      .map(keyOf);
  }

  #podDeleted(pod: Pod): void {
    const reference = getControllerOf(pod);
    if (reference?.kind !== 'ReplicaSet') return;
    const replicaSet = this.#replicaSets.lister.get(pod.metadata.namespace ?? '', reference.name);
    for (const key of replicaSet === undefined ? [] : this.#keysOf(replicaSet))
      this.#controller.enqueue(key);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { namespace, name } = parseKey(key);
    const deployment = this.#deployments.lister.get(namespace, name);
    if (deployment === undefined) return {};
    const selector = labelSelectorMatcher(deployment.spec.selector);
    if (selector.isEverything) {
      const message = 'This deployment is selecting all pods. A non-empty selector is required.';
      this.#recorder.event(deployment, 'Warning', 'SelectingAll', message);
      return {};
    }
    const owned = await claim({
      client: this.#deps.client,
      resource: replicaSets,
      ownerResource: deployments,
      owner: deployment,
      candidates: claimCandidates(this.#replicaSets.lister, deployment),
      selector,
    });
    if (signal.aborted) return {};
    const nowMs = this.#deps.clock.now();
    const status = await this.#rollOut(this.#view(deployment, owned, nowMs), nowMs);
    await this.#writeStatus(deployment, status);
    const requeueAfterMs = msUntilDeadline(deployment, status, nowMs);
    return requeueAfterMs === undefined ? {} : { requeueAfterMs };
  }

  #view(deployment: Deployment, owned: readonly ReplicaSet[], nowMs: number): RolloutView {
    const newReplicaSet = findNewReplicaSet(deployment, owned);
    const oldReplicaSets = owned.filter((replicaSet) => replicaSet !== newReplicaSet);
    const paused = pausedCondition(deployment, nowMs);
    if (paused === undefined) return { deployment, newReplicaSet, oldReplicaSets };
    const conditions = withCondition(deployment.status?.conditions, paused);
    const noted = { ...deployment, status: { ...deployment.status, conditions } };
    return { deployment: noted, newReplicaSet, oldReplicaSets };
  }

  /** Does the next steps and answers the status they lead to. */
  async #rollOut(view: RolloutView, nowMs: number): Promise<DeploymentStatus> {
    const { deployment } = view;
    if (deployment.metadata.deletionTimestamp !== undefined) return countStatus(view, nowMs);
    if (deployment.spec.paused === true || isScalingEvent(view)) {
      const synced = await this.#sync(view, nowMs, false);
      const scaled = await this.#scale(synced, planScaling(synced));
      if (deployment.spec.paused === true) await this.#removeHistory(scaled);
      return countStatus(scaled, nowMs);
    }
    const rolled = isRollingUpdate(deployment)
      ? await this.#rollingUpdate(view, nowMs)
      : await this.#recreate(view, nowMs);
    const status = rolloutStatus(rolled, nowMs);
    if (isComplete(rolled.deployment, status)) await this.#removeHistory(rolled);
    return status;
  }

  async #rollingUpdate(view: RolloutView, nowMs: number): Promise<RolloutView> {
    const synced = await this.#sync(view, nowMs, true);
    return this.#scale(synced, planRollingUpdate(synced));
  }

  /** All old pods go before the first new one comes. */
  async #recreate(view: RolloutView, nowMs: number): Promise<RolloutView> {
    const synced = await this.#sync(view, nowMs, false);
    const steps = planRecreate(synced);
    if (steps.length > 0) return this.#scale(synced, steps);
    if (this.#hasRunningPods(synced.oldReplicaSets)) return synced;
    const complete = await this.#sync(synced, nowMs, true);
    const { newReplicaSet, deployment } = complete;
    const replicas = replicasOf(deployment);
    if (newReplicaSet === undefined || replicasOf(newReplicaSet) === replicas) return complete;
    return this.#scale(complete, [{ replicaSet: newReplicaSet, replicas }]);
  }

  #sync(view: RolloutView, nowMs: number, mayCreate: boolean): Promise<RolloutView> {
    const { client } = this.#deps;
    return syncNewReplicaSet(view, { client, recorder: this.#recorder, nowMs, mayCreate });
  }

  #hasRunningPods(sets: readonly ReplicaSet[]): boolean {
    return sets.some(({ metadata }) =>
      this.#pods.lister
        .byIndex(controllerIndex, metadata.uid ?? '')
        .some((pod) => !isPodTerminal(pod)),
    );
  }

  async #scale(view: RolloutView, steps: readonly ScaleStep[]): Promise<RolloutView> {
    const { deployment } = view;
    const scaled = new Map<ReplicaSet, ReplicaSet>();
    for (const { replicaSet, replicas } of steps) {
      const from = replicasOf(replicaSet);
      const updated = await this.#resize(deployment, replicaSet, replicas);
      scaled.set(replicaSet, updated);
      const direction = replicas > from ? 'up' : 'down';
      const what = `Scaled ${direction} replica set ${replicaSet.metadata.name}`;
      const message = `${what} from ${from} to ${replicas}`;
      this.#recorder.event(deployment, 'Normal', 'ScalingReplicaSet', message);
    }
    const current = (replicaSet: ReplicaSet): ReplicaSet => scaled.get(replicaSet) ?? replicaSet;
    const { newReplicaSet, oldReplicaSets } = await this.#resizeAnnotations(view, scaled);
    return {
      deployment,
      newReplicaSet: newReplicaSet === undefined ? undefined : current(newReplicaSet),
      oldReplicaSets: oldReplicaSets.map(current),
    };
  }

  /** Every ReplicaSet with pods must know the new sizes, or it would look unscaled. */
  async #resizeAnnotations(
    view: RolloutView,
    scaled: Map<ReplicaSet, ReplicaSet>,
  ): Promise<RolloutView> {
    const { deployment, newReplicaSet, oldReplicaSets } = view;
    const wanted = Object.entries(sizeAnnotations(sizesFor(deployment)));
    const all = newReplicaSet === undefined ? oldReplicaSets : [...oldReplicaSets, newReplicaSet];
    for (const replicaSet of all) {
      const { annotations = {} } = replicaSet.metadata;
      const isCurrent = wanted.every(([key, value]) => annotations[key] === value);
      if (isCurrent || scaled.has(replicaSet) || replicasOf(replicaSet) === 0) continue;
      scaled.set(replicaSet, await this.#resize(deployment, replicaSet, replicasOf(replicaSet)));
    }
    return view;
  }

  #resize(deployment: Deployment, replicaSet: ReplicaSet, replicas: number): Promise<ReplicaSet> {
    const sizes = sizeAnnotations(sizesFor(deployment));
    return this.#deps.client.update(replicaSets, {
      ...replicaSet,
      metadata: {
        ...replicaSet.metadata,
        annotations: { ...replicaSet.metadata.annotations, ...sizes },
      },
      spec: { ...replicaSet.spec, replicas },
    });
  }

  /** Deletes the oldest ReplicaSets past the history limit. */
  async #removeHistory({ deployment, oldReplicaSets }: RolloutView): Promise<void> {
    const limit = deployment.spec.revisionHistoryLimit;
    if (limit === undefined) return;
    const alive = oldReplicaSets.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    const surplus = alive
      .toSorted((a, b) => revisionOf(a) - revisionOf(b))
      .slice(0, -limit || undefined);
    for (const replicaSet of alive.length > limit ? surplus : []) {
      const { metadata, status } = replicaSet;
      const isSettled = (metadata.generation ?? 0) <= (status?.observedGeneration ?? 0);
      if (status?.replicas !== 0 || replicasOf(replicaSet) !== 0 || !isSettled) continue;
      const { namespace, name } = metadata;
      await this.#deps.client.delete(replicaSets, { namespace, name }).catch(ignoreNotFound);
    }
  }

  async #writeStatus(deployment: Deployment, status: DeploymentStatus): Promise<void> {
    if (deepEqual(deployment.status, status)) return;
    const { namespace, name } = deployment.metadata;
    // Copying the revision may have changed the resourceVersion; the status is ours alone.
    const patch = {
      metadata: { uid: deployment.metadata.uid },
      status: asPatch(deployment, status),
    };
    const options = { subresource: 'status' };
    await this.#deps.client
      .patch(deployments, { namespace, name }, patch, options)
      .catch(ignoreNotFound);
  }
}

/** A merge patch leaves alone what it doesn't name: fields that are gone are nulled. */
function asPatch(deployment: Deployment, status: DeploymentStatus): Record<string, unknown> {
  const removed = Object.keys(deployment.status ?? {}).map((key) => [key, null]);
  return { ...(Object.fromEntries(removed) as Record<string, null>), ...status };
}
