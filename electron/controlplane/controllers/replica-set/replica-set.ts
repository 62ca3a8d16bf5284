// Keeps as many pods as a ReplicaSet or ReplicationController asks for: one engine for both kinds.
// Invariant: acts only when its cache shows everything it did before (expectations).
// Source: kubernetes pkg/controller/replicaset/replica_set.go.
import type { Pod } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { Expectations } from '#kube/client/expectations.ts';
import type { Informer } from '#kube/client/informer.ts';
import { controllerIndex } from '#kube/client/lister.ts';
import { keyOf, parseKey, pods } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { type ControllerDeps, recorderFor, type RunnableController } from '../deps.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { claim, claimCandidates, ignoreNotFound, orphanIndexer } from '../ownership.ts';
import {
  isNamespaceTerminating,
  PodControl,
  podFromTemplate,
  slowStartBatch,
} from '../pod-control.ts';
import { isPodActive, isPodTerminating, msUntilAvailable } from '../pod-state.ts';
import {
  type ReplicaKind,
  type ReplicaOwner,
  replicaSetKind,
  replicationControllerKind,
} from './owner.ts';
import { planReplicas, type ReplicaPlan, replicaStatus } from './plan.ts';

export function createReplicaSetController(deps: ControllerDeps): RunnableController {
  return new ReplicaController(deps, replicaSetKind);
}

export function createReplicationController(deps: ControllerDeps): RunnableController {
  return new ReplicaController(deps, replicationControllerKind);
}

class ReplicaController<T extends KubeObject> implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #kind: ReplicaKind<T>;
  readonly #owners: Informer<T>;
  readonly #pods: Informer<Pod>;
  readonly #expectations: Expectations;
  readonly #podControl: PodControl;
  readonly #controller: Controller;

  constructor(deps: ControllerDeps, kind: ReplicaKind<T>) {
    this.#deps = deps;
    this.#kind = kind;
    this.#expectations = new Expectations(deps.clock);
    this.#podControl = new PodControl(deps.client, recorderFor(deps, kind.component));
    this.#owners = deps.informers.informer(kind.resource, { indexers: orphanIndexer });
    this.#pods = deps.informers.informer(pods, { indexers: orphanIndexer });
    this.#controller = new Controller({
      name: kind.component,
      clock: deps.clock,
      logger: deps.logger,
      workers: 5,
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
    this.#controller.watch(this.#owners);
    this.#controller.watchWith(this.#pods, {
      onAdd: (pod) => this.#podAdded(pod),
      onUpdate: (old, pod) => this.#podUpdated(old, pod),
      onDelete: (pod) => this.#podGone(pod),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #podAdded(pod: Pod): void {
    if (isPodTerminating(pod)) return this.#podGone(pod);
    const owner = this.#ownerOf(pod);
    if (owner !== undefined) {
      this.#expectations.creationObserved(keyOf(owner));
      this.#controller.enqueue(keyOf(owner));
    } else if (getControllerOf(pod) === undefined) this.#enqueueMatching(pod);
  }

  #podUpdated(old: Pod, pod: Pod): void {
    const previous = this.#ownerOf(old);
    const owner = this.#ownerOf(pod);
    if (previous !== undefined && previous !== owner) this.#controller.enqueue(keyOf(previous));
    // To be deleted is as good as gone: its replacement need not wait for its grace period.
    if (isPodTerminating(pod)) return this.#podGone(pod);
    if (owner !== undefined) this.#controller.enqueue(keyOf(owner));
    else if (getControllerOf(pod) === undefined) this.#enqueueMatching(pod);
  }

  #podGone(pod: Pod): void {
    const owner = this.#ownerOf(pod);
    if (owner === undefined) return;
    this.#expectations.deletionObserved(keyOf(owner), pod.metadata.uid ?? '');
    this.#controller.enqueue(keyOf(owner));
  }

  #ownerOf(pod: Pod): T | undefined {
    const reference = getControllerOf(pod);
    if (reference === undefined || reference.kind !== this.#kind.resource.kind) return undefined;
    const owner = this.#owners.lister.get(pod.metadata.namespace ?? '', reference.name);
    return owner?.metadata.uid === reference.uid ? owner : undefined;
  }

  /** An orphan: whoever selects it may adopt it. */
  #enqueueMatching(pod: Pod): void {
    for (const owner of this.#owners.lister.list({ namespace: pod.metadata.namespace ?? '' }))
      if (this.#kind.view(owner).selector.matches(pod.metadata.labels))
        this.#controller.enqueue(keyOf(owner));
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { namespace, name } = parseKey(key);
    const object = this.#owners.lister.get(namespace, name);
    if (object === undefined) {
      this.#expectations.forget(key);
      return {};
    }
    // Looked at before the pods, so that what is satisfied is also in the cache.
    const mayAct = this.#expectations.isSatisfied(key);
    const owner = this.#kind.view(object);
    if (owner.selector.isEverything) return {};
    const owned = await claim({
      client: this.#deps.client,
      resource: pods,
      ownerResource: this.#kind.resource,
      owner: object,
      candidates: claimCandidates(this.#pods.lister, object),
      selector: owner.selector,
    });
    if (signal.aborted) return {};
    const nowMs = this.#deps.clock.now();
    const relatedPods = this.#relatedPods(object);
    let plan: ReplicaPlan = { createCount: 0, deletePods: [] };
    let failure: Error | undefined;
    if (mayAct && object.metadata.deletionTimestamp === undefined) {
      plan = planReplicas({ owner, pods: owned, relatedPods, nowMs });
      failure = await this.#act(key, owner, plan);
    }
    await this.#writeStatus(object, replicaStatus({ owner, pods: owned, nowMs }, plan, failure));
    if (failure !== undefined) throw failure;
    return nextCheck(owned, owner.minReadySeconds, nowMs);
  }

  async #act(key: string, owner: ReplicaOwner, plan: ReplicaPlan): Promise<Error | undefined> {
    if (plan.createCount > 0) return this.#createPods(key, owner, plan.createCount);
    if (plan.deletePods.length > 0) return this.#deletePods(key, owner, plan.deletePods);
    return undefined;
  }

  async #createPods(key: string, owner: ReplicaOwner, count: number): Promise<Error | undefined> {
    this.#expectations.expectCreations(key, count);
    let attempted = 0;
    const { error } = await slowStartBatch(count, async () => {
      attempted++;
      try {
        await this.#podControl.create(podFromTemplate(owner.template, owner.object), owner.object);
      } catch (failure) {
        this.#expectations.creationObserved(key);
        throw failure;
      }
    });
    // What was not even tried will not be seen either.
    for (let skipped = attempted; skipped < count; skipped++)
      this.#expectations.creationObserved(key);
    // A namespace on its way out takes no pods, and the owner will go with it.
    if (error === undefined || isNamespaceTerminating(error)) return undefined;
    return asError(error);
  }

  async #deletePods(
    key: string,
    owner: ReplicaOwner,
    victims: readonly Pod[],
  ): Promise<Error | undefined> {
    this.#expectations.expectDeletions(
      key,
      victims.map((pod) => pod.metadata.uid ?? ''),
    );
    const results = await Promise.allSettled(
      victims.map(async (pod) => {
        const uid = pod.metadata.uid ?? '';
        try {
          if (!(await this.#podControl.delete(pod, owner.object)))
            this.#expectations.deletionObserved(key, uid);
        } catch (error) {
          this.#expectations.deletionObserved(key, uid);
          throw error;
        }
      }),
    );
    const failed = results.find((result) => result.status === 'rejected');
    return failed === undefined ? undefined : asError(failed.reason);
  }

  /** Active pods of all siblings: the ReplicaSets of one Deployment share their nodes. */
  #relatedPods(object: T): Pod[] {
    const parent = getControllerOf(object)?.uid;
    const siblings =
      parent === undefined ? [object] : this.#owners.lister.byIndex(controllerIndex, parent);
    return siblings.flatMap((sibling) =>
      this.#pods.lister.byIndex(controllerIndex, sibling.metadata.uid ?? '').filter(isPodActive),
    );
  }

  async #writeStatus(object: T, status: ReturnType<typeof replicaStatus>): Promise<void> {
    if (deepEqual(this.#kind.view(object).status, status)) return;
    const next = this.#kind.withStatus(object, status);
    await this.#deps.client.updateStatus(this.#kind.resource, next).catch(ignoreNotFound);
  }
}

/** When the next ready pod becomes available, the status changes with no event to tell. */
function nextCheck(owned: readonly Pod[], minReadySeconds: number, nowMs: number): ReconcileResult {
  const waits = owned
    .filter(isPodActive)
    .map((pod) => msUntilAvailable(pod, minReadySeconds, nowMs))
    .filter((wait) => wait !== undefined);
  return waits.length === 0 ? {} : { requeueAfterMs: Math.min(...waits) };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('a pod could not be written', { cause: error });
}
