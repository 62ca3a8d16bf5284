// The scheduler's driver: informers fill cache and queue; each pod is decided in one synchronous
// step, assumed, and bound through `pods/binding` in the background. An API client like any other.
// Invariant: between the snapshot of a decision and its assumption nothing else runs.
// Source: kubernetes pkg/scheduler/{scheduler,schedule_one,eventhandlers}.go.
import type { Binding, Node, Pod, PodCondition } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { ApiEventRecorder, type EventRecorder } from '#kube/client/event-recorder.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { keyOf, nodes, pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { TransportError } from '#kube/client/transport.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { countedSpec } from '#kube/machinery/pod-resources.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { SchedulerCache } from './cache.ts';
import { defaultProfile } from './default-profile.ts';
import { fitErrorMessage, noNodesMessage, type FitError } from './fit-error.ts';
import type { ProfileEntry } from './framework.ts';
import { podInfoOf, uidOf } from './node-info.ts';
import { SchedulingQueue, type QueuedPod } from './queue.ts';
import { volumePlanOf, type VolumePlan } from './plugins/volume-binding.ts';
import { schedulePod } from './schedule-pod.ts';
import { VolumeBinder, VolumeBindError } from './volume-binder.ts';

export const defaultSchedulerName = 'default-scheduler';
/** Bindings under way at a time. */
const bindingsMax = 50;

export interface SchedulerDeps {
  readonly client: RestClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** To share watches with others of the process; its own when left out. */
  readonly informers?: InformerFactory;
  readonly recorder?: EventRecorder;
  readonly profile?: readonly ProfileEntry[];
}

export class Scheduler {
  readonly #deps: SchedulerDeps;
  readonly #informers: InformerFactory;
  readonly #recorder: EventRecorder;
  readonly #profile: readonly ProfileEntry[];
  readonly #cache = new SchedulerCache();
  readonly #queue: SchedulingQueue;
  readonly #volumes: VolumeBinder;
  #signal: AbortSignal | undefined;
  #hasSynced = false;
  #isRunScheduled = false;
  #bindings = 0;

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
    this.#informers = deps.informers ?? new InformerFactory(deps);
    this.#recorder =
      deps.recorder ?? new ApiEventRecorder({ ...deps, component: defaultSchedulerName });
    this.#profile = deps.profile ?? defaultProfile;
    this.#queue = new SchedulingQueue({
      clock: deps.clock,
      plugins: this.#profile.map(({ plugin }) => plugin),
      onActive: () => this.#scheduleRun(),
    });
    this.#volumes = new VolumeBinder({
      client: deps.client,
      clock: deps.clock,
      informers: this.#informers,
      onChange: () => this.#queue.move({ type: 'storage-changed' }),
    });
  }

  /** Runs until `signal` aborts. Nothing is decided before all nodes and pods are known. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    const close = (): void => {
      this.#queue.close();
      this.#volumes.close();
    };
    signal.addEventListener('abort', close, { once: true });
    const nodeInformer = this.#informers.informer<Node>(nodes);
    nodeInformer.addHandler({
      onAdd: (node) => this.#nodeAdded(node),
      onUpdate: (old, node) => this.#nodeUpdated(old, node),
      onDelete: (node) => this.#cache.removeNode(node.metadata.name),
    });
    const podInformer = this.#informers.informer<Pod>(pods);
    podInformer.addHandler({
      onAdd: (pod) => this.#podChanged(undefined, pod),
      onUpdate: (old, pod) => this.#podChanged(old, pod),
      onDelete: (pod) => this.#podDeleted(pod),
    });
    this.#informers.start(signal);
    const synced = [
      nodeInformer.whenSynced(),
      podInformer.whenSynced(),
      this.#volumes.whenSynced(),
    ];
    void Promise.all(synced).then(() => {
      this.#hasSynced = true;
      this.#deps.logger.info('Scheduler runs', { ...this.#queue.sizes });
      this.#scheduleRun();
    });
  }

  #nodeAdded(node: Node): void {
    this.#cache.setNode(node);
    this.#queue.move({ type: 'node-added', node });
  }

  #nodeUpdated(old: Node, node: Node): void {
    this.#cache.setNode(node);
    if (isSchedulingChange(old, node)) this.#queue.move({ type: 'node-updated', old, node });
  }

  #podChanged(old: Pod | undefined, pod: Pod): void {
    if (holdsResources(pod)) {
      this.#cache.setPod(pod);
      this.#queue.delete(uidOf(pod));
      const isNews =
        old === undefined || !holdsResources(old) || !deepEqual(labels(old), labels(pod));
      if (isNews) this.#queue.move({ type: 'assigned-pod-changed', pod });
      // Room was given back, as if a pod had left: its resize came, or can never come.
      else if (!deepEqual(countedSpec(old), countedSpec(pod)))
        this.#queue.move({ type: 'assigned-pod-removed', pod: old });
    } else if (old !== undefined && holdsResources(old)) this.#podLeft(old);
    else if (awaitsScheduling(pod))
      this.#queue.put(pod, old !== undefined && isPodChange(old, pod));
    else this.#queue.delete(uidOf(pod));
  }

  #podDeleted(pod: Pod): void {
    this.#queue.delete(uidOf(pod));
    this.#volumes.giveUp(uidOf(pod), 'the pod was deleted');
    if (this.#cache.isPlaced(uidOf(pod))) this.#podLeft(pod);
  }

  #podLeft(pod: Pod): void {
    this.#cache.removePod(pod);
    this.#queue.move({ type: 'assigned-pod-removed', pod });
  }

  /** Behind the events that are being handled now, so that one look takes them all in. */
  #scheduleRun(): void {
    if (!this.#hasSynced || this.#isRunScheduled) return;
    this.#isRunScheduled = true;
    queueMicrotask(() => {
      this.#isRunScheduled = false;
      this.#run();
    });
  }

  #run(): void {
    while (this.#bindings < bindingsMax && this.#signal?.aborted === false) {
      const queued = this.#queue.pop();
      if (queued === undefined) return;
      this.#scheduleOne(queued);
    }
  }

  #scheduleOne(queued: QueuedPod): void {
    if (this.#cache.isPlaced(queued.uid)) return this.#queue.done(queued.uid);
    const info = podInfoOf(queued.pod);
    const { random } = this.#deps;
    const snapshot = { ...this.#cache.snapshot(), volumes: this.#volumes };
    const result = schedulePod(info, snapshot, { profile: this.#profile, random });
    if (result.type === 'fits-nowhere') return this.#unschedulable(queued, result.error);
    const { nodeName, state } = result;
    this.#cache.assume(info, nodeName);
    const plan = volumePlanOf(state, nodeName);
    if (plan === undefined) this.#startBinding(queued, nodeName);
    else void this.#bindVolumes(queued, plan);
  }

  /** Others go on meanwhile: somebody may have to make a volume first. */
  async #bindVolumes(queued: QueuedPod, plan: VolumePlan): Promise<void> {
    this.#volumes.assume(plan);
    try {
      await this.#volumes.bind(queued.uid, plan);
    } catch (error) {
      return this.#bindFailed(queued, error, 'running PreBind plugin "VolumeBinding"');
    } finally {
      this.#volumes.forget(plan);
    }
    this.#startBinding(queued, plan.node.metadata.name);
  }

  #startBinding(queued: QueuedPod, nodeName: string): void {
    this.#bindings++;
    void this.#bind(queued, nodeName).finally(() => {
      this.#bindings--;
      this.#scheduleRun();
    });
  }

  #unschedulable(queued: QueuedPod, error: FitError): void {
    const message = fitErrorMessage(error);
    const { pod } = queued;
    this.#queue.addUnschedulable(queued.uid, error.plugins);
    this.#recorder.event(pod, 'Warning', 'FailedScheduling', message);
    const level = message === noNodesMessage ? 'debug' : 'info';
    this.#deps.logger[level]('Pod fits nowhere', { pod: keyOf(pod), why: message });
    void this.#setNotScheduled(pod, 'Unschedulable', message);
  }

  async #bind(queued: QueuedPod, nodeName: string): Promise<void> {
    const { pod, uid } = queued;
    const { namespace = '', name } = pod.metadata;
    const binding: Binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { namespace, name, uid },
      target: { kind: 'Node', name: nodeName },
    };
    try {
      await this.#deps.client.createSubresource(pods, { namespace, name }, 'binding', binding);
    } catch (error) {
      this.#bindFailed(queued, error, 'binding rejected: running Bind plugin "DefaultBinder"');
      return;
    }
    this.#queue.done(uid);
    const message = `Successfully assigned ${namespace}/${name} to ${nodeName}`;
    this.#recorder.event(pod, 'Normal', 'Scheduled', message);
    this.#deps.logger.debug('Bound pod', { pod: keyOf(pod), node: nodeName });
  }

  /** What it held is free again; if it was bound after all, the informer will tell. */
  #bindFailed(queued: QueuedPod, error: unknown, where: string): void {
    const { pod, uid } = queued;
    if (!isOperating(error)) throw error;
    this.#cache.forget(uid);
    // Gone, or made again under the same name: nobody waits for this pod any more.
    if (hasReason(error, 'NotFound') && isAboutPod(error)) return this.#queue.delete(uid);
    this.#queue.addBackoff(uid);
    if (this.#signal?.aborted === true) return;
    const message = `${where}: ${error.message}`;
    this.#deps.logger.warn('Pod could not be bound', { pod: keyOf(pod), error });
    this.#recorder.event(pod, 'Warning', 'FailedScheduling', message);
    if (!hasReason(error, 'Conflict')) void this.#setNotScheduled(pod, 'SchedulerError', message);
  }

  async #setNotScheduled(pod: Pod, reason: string, message: string): Promise<void> {
    const known = getCondition(pod.status?.conditions, 'PodScheduled');
    const isSame =
      known?.status === 'False' && known.reason === reason && known.message === message;
    if (isSame) return;
    const since = known?.status === 'False' ? known.lastTransitionTime : undefined;
    const condition: PodCondition = {
      type: 'PodScheduled',
      status: 'False',
      reason,
      message,
      lastTransitionTime: since ?? rfc3339(this.#deps.clock.now()),
    };
    const { namespace, name, uid } = pod.metadata;
    const patch = { metadata: { uid }, status: { conditions: [condition] } };
    try {
      const options = { type: 'strategic', subresource: 'status' } as const;
      await this.#deps.client.patch(pods, { namespace, name }, patch, options);
    } catch (error) {
      if (!(error instanceof StatusError) && !(error instanceof TransportError)) throw error;
      // The next attempt says it again; a pod that is gone needs no condition.
      this.#deps.logger.debug('Condition could not be set', { pod: keyOf(pod), error });
    }
  }
}

function isOperating(error: unknown): error is Error {
  return (
    error instanceof StatusError ||
    error instanceof TransportError ||
    error instanceof VolumeBindError
  );
}

/** And not about one of its claims. */
function isAboutPod(error: unknown): boolean {
  return error instanceof StatusError && error.status.details?.kind === 'pods';
}

/** Has a node and has not ended. */
function holdsResources(pod: Pod): boolean {
  return isSet(pod.spec?.nodeName) && !isEnded(pod);
}

function awaitsScheduling(pod: Pod): boolean {
  const { spec, metadata } = pod;
  return (
    !isSet(spec?.nodeName) &&
    !isEnded(pod) &&
    metadata.deletionTimestamp === undefined &&
    (spec?.schedulerName ?? defaultSchedulerName) === defaultSchedulerName &&
    (spec?.schedulingGates ?? []).length === 0
  );
}

function isEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

function isSet(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}

function labels(pod: Pod): unknown {
  return pod.metadata.labels ?? {};
}

function isPodChange(old: Pod, pod: Pod): boolean {
  return !deepEqual(old.spec, pod.spec) || !deepEqual(labels(old), labels(pod));
}

/** Heartbeats and images don't make room. */
function isSchedulingChange(old: Node, node: Node): boolean {
  return !(
    deepEqual(old.spec, node.spec) &&
    deepEqual(old.metadata.labels, node.metadata.labels) &&
    deepEqual(old.status?.allocatable, node.status?.allocatable)
  );
}
