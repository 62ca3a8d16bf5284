// Keeps one pod of a DaemonSet on every node that fits it. Which, is decided in plan.ts.
// Source: kubernetes pkg/controller/daemon/daemon_controller.go.
import type { ControllerRevision, DaemonSet } from '#kube/api/apps.ts';
import type { Node, Pod } from '#kube/api/core.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import { Expectations } from '#kube/client/expectations.ts';
import type { Informer } from '#kube/client/informer.ts';
import {
  controllerRevisions,
  daemonSets,
  keyOf,
  nodes,
  parseKey,
  pods,
} from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { type LabelMatcher, labelSelectorMatcher } from '#kube/machinery/selector.ts';
import { type ControllerDeps, recorderFor, type RunnableController } from '../deps.ts';
import { claim, claimCandidates, ignoreNotFound, orphanIndexer } from '../ownership.ts';
import { isNamespaceTerminating, PodControl, slowStartBatch } from '../pod-control.ts';
import { isPodTerminating, msUntilAvailable } from '../pod-state.ts';
import { daemonPod, revisionHashLabel } from './daemon-pods.ts';
import { type DaemonView, daemonStatus, planPlacement, planUpdate } from './plan.ts';
import { removeHistory, syncRevision } from './revisions.ts';

const component = 'daemonset-controller';

export function createDaemonSetController(deps: ControllerDeps): RunnableController {
  return new DaemonSetController(deps);
}

class DaemonSetController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #recorder: EventRecorder;
  readonly #podControl: PodControl;
  readonly #expectations: Expectations;
  readonly #daemonSets: Informer<DaemonSet>;
  readonly #revisions: Informer<ControllerRevision>;
  readonly #pods: Informer<Pod>;
  readonly #nodes: Informer<Node>;
  readonly #controller: Controller;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#recorder = recorderFor(deps, component);
    this.#podControl = new PodControl(deps.client, this.#recorder);
    this.#expectations = new Expectations(deps.clock);
    this.#daemonSets = deps.informers.informer(daemonSets);
    this.#revisions = deps.informers.informer(controllerRevisions, { indexers: orphanIndexer });
    this.#pods = deps.informers.informer(pods, { indexers: orphanIndexer });
    this.#nodes = deps.informers.informer(nodes);
    this.#controller = new Controller({
      name: component,
      clock: deps.clock,
      logger: deps.logger,
      workers: 2,
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
    this.#controller.watch(this.#daemonSets);
    this.#controller.watchWith(this.#revisions, {});
    this.#controller.watchWith(this.#nodes, {
      onAdd: () => this.#enqueueAll(),
      onUpdate: (old, node) => {
        if (!deepEqual(placementFacts(old), placementFacts(node))) this.#enqueueAll();
      },
      onDelete: () => this.#enqueueAll(),
    });
    this.#controller.watchWith(this.#pods, {
      onAdd: (pod) => this.#podChanged(pod, true),
      onUpdate: (_old, pod) => this.#podChanged(pod, false),
      onDelete: (pod) => this.#podGone(pod),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #enqueueAll(): void {
    for (const daemonSet of this.#daemonSets.lister.list())
      this.#controller.enqueue(keyOf(daemonSet));
  }

  #podChanged(pod: Pod, isNew: boolean): void {
    if (isPodTerminating(pod)) return this.#podGone(pod);
    const key = ownerKey(pod);
    if (key === undefined) {
      if (getControllerOf(pod) === undefined) this.#enqueueMatching(pod);
      return;
    }
    if (isNew) this.#expectations.creationObserved(key);
    this.#controller.enqueue(key);
  }

  #podGone(pod: Pod): void {
    const key = ownerKey(pod);
    if (key === undefined) return;
    this.#expectations.deletionObserved(key, pod.metadata.uid ?? '');
    this.#controller.enqueue(key);
  }

  #enqueueMatching(pod: Pod): void {
    for (const daemonSet of this.#daemonSets.lister.list({
      namespace: pod.metadata.namespace ?? '',
    }))
      if (labelSelectorMatcher(daemonSet.spec.selector).matches(pod.metadata.labels))
        this.#controller.enqueue(keyOf(daemonSet));
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { namespace, name } = parseKey(key);
    const daemonSet = this.#daemonSets.lister.get(namespace, name);
    if (daemonSet === undefined) {
      this.#expectations.forget(key);
      return {};
    }
    const selector = labelSelectorMatcher(daemonSet.spec.selector);
    if (selector.isEverything) {
      const message = 'This daemon set is selecting all pods. A non-empty selector is required.';
      this.#recorder.event(daemonSet, 'Warning', 'SelectingAll', message);
      return {};
    }
    if (daemonSet.metadata.deletionTimestamp !== undefined) return {};
    // Looked at before the pods, so that what is satisfied is also in the cache.
    const isSettled = this.#expectations.isSatisfied(key);
    const view = await this.#view(daemonSet, selector);
    if (signal.aborted) return {};
    const failure = isSettled ? await this.#act(key, view) : undefined;
    await this.#writeStatus(daemonSet, view);
    if (failure !== undefined) throw failure;
    return nextCheck(view);
  }

  async #view(daemonSet: DaemonSet, selector: LabelMatcher): Promise<DaemonView> {
    const { client, clock } = this.#deps;
    const history = await claim({
      client,
      resource: controllerRevisions,
      ownerResource: daemonSets,
      owner: daemonSet,
      candidates: claimCandidates(this.#revisions.lister, daemonSet),
      selector,
    });
    const revision = await syncRevision(client, daemonSet, history);
    const owned = await claim({
      client,
      resource: pods,
      ownerResource: daemonSets,
      owner: daemonSet,
      candidates: claimCandidates(this.#pods.lister, daemonSet),
      selector,
    });
    await removeHistory(client, daemonSet, history, owned);
    const hash = revision.metadata.labels?.[revisionHashLabel] ?? '';
    return { daemonSet, nodes: this.#nodes.lister.list(), pods: owned, hash, nowMs: clock.now() };
  }

  /** First every node its pod; only then replacements, one bounded step at a time. */
  async #act(key: string, view: DaemonView): Promise<Error | undefined> {
    const placement = planPlacement(view);
    for (const pod of placement.finished) this.#reportFinished(view.daemonSet, pod);
    const placed = await this.#apply(key, view, placement.create, placement.remove);
    if (placed !== undefined || !this.#expectations.isSatisfied(key)) return placed;
    const update = planUpdate(view);
    return this.#apply(key, view, update.create, update.remove);
  }

  async #apply(
    key: string,
    { daemonSet, hash }: DaemonView,
    create: readonly string[],
    remove: readonly Pod[],
  ): Promise<Error | undefined> {
    if (create.length === 0 && remove.length === 0) return undefined;
    this.#expectations.expectCreations(key, create.length);
    this.#expectations.expectDeletions(
      key,
      remove.map((pod) => pod.metadata.uid ?? ''),
    );
    let attempted = 0;
    const created = await slowStartBatch(create.length, async () => {
      const nodeName = create[attempted++] ?? '';
      try {
        await this.#podControl.create(daemonPod(daemonSet, nodeName, hash), daemonSet);
      } catch (error) {
        this.#expectations.creationObserved(key);
        throw error;
      }
    });
    for (; attempted < create.length; attempted++) this.#expectations.creationObserved(key);
    const deleted = await Promise.allSettled(
      remove.map((pod) => this.#delete(key, pod, daemonSet)),
    );
    const failed = deleted.find((result) => result.status === 'rejected');
    const error: unknown = isNamespaceTerminating(created.error) ? undefined : created.error;
    return asError(error ?? failed?.reason);
  }

  async #delete(key: string, pod: Pod, daemonSet: DaemonSet): Promise<void> {
    let isGone = true;
    try {
      isGone = !(await this.#podControl.delete(pod, daemonSet));
    } finally {
      if (isGone) this.#expectations.deletionObserved(key, pod.metadata.uid ?? '');
    }
  }

  #reportFinished(daemonSet: DaemonSet, pod: Pod): void {
    const where = `${keyOf(pod)} on node ${pod.spec.nodeName ?? ''}`;
    if (pod.status?.phase === 'Failed') {
      const message = `Found failed daemon pod ${where}, will try to kill it`;
      this.#recorder.event(daemonSet, 'Warning', 'FailedDaemonPod', message);
    } else {
      const message = `Found succeeded daemon pod ${where}, will try to delete it`;
      this.#recorder.event(daemonSet, 'Normal', 'SucceededDaemonPod', message);
    }
  }

  async #writeStatus(daemonSet: DaemonSet, view: DaemonView): Promise<void> {
    const status = daemonStatus(view);
    if (deepEqual(status, daemonSet.status)) return;
    await this.#deps.client
      .updateStatus(daemonSets, { ...daemonSet, status })
      .catch(ignoreNotFound);
  }
}

function ownerKey(pod: Pod): string | undefined {
  const reference = getControllerOf(pod);
  return reference?.kind === 'DaemonSet'
    ? `${pod.metadata.namespace}/${reference.name}`
    : undefined;
}

/** What decides about placement; heartbeats don't. */
function placementFacts({ metadata, spec }: Node): unknown {
  return [metadata.labels, spec.taints, spec.unschedulable];
}

function nextCheck({ daemonSet, pods: owned, nowMs }: DaemonView): ReconcileResult {
  const minReadySeconds = daemonSet.spec.minReadySeconds ?? 0;
  const waits = owned
    .map((pod) => msUntilAvailable(pod, minReadySeconds, nowMs))
    .filter((wait) => wait !== undefined);
  return waits.length === 0 ? {} : { requeueAfterMs: Math.min(...waits) };
}

function asError(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  return error instanceof Error ? error : new Error('a pod could not be written', { cause: error });
}
