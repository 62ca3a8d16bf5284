// One pod's life on this node: sync → terminating → terminated, one step at a time, always with the
// newest object. Whatever happens (API, engine, probe, timer) only wakes it; it then looks for itself.
// Source: kubernetes pkg/kubelet/pod_workers.go.
import type { Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  isRuntimeError,
  type ContainerLimits,
  type ObservedPod,
  type Runtime,
} from '../../runtime/runtime.ts';
import { defaultGracePeriodSeconds, podRef } from '../container/sandbox-config.ts';
import type { ContainerStarter, NodeView } from '../container/container-starter.ts';
import type { Prober } from '../container/prober.ts';
import { isStatic } from '../static/static-pod.ts';
import type { ObjectSource } from '../volumes/object-source.ts';
import type { TerminationMessages } from '../volumes/termination-messages.ts';
import type { Volumes } from '../volumes/volumes.ts';
import { admissionFailure } from './admission.ts';
import type { Waiting } from './container-status.ts';
import { isDifferent, saysTheSame } from './pod-changes.ts';
import type { PodKiller } from './pod-killer.ts';
import { admitResize, type PendingResize } from './pod-resize.ts';
import { computePodStatus, type PodFailure } from './pod-status.ts';
import type { PodSync } from './pod-sync.ts';
import { PodWorkerLoop } from './pod-worker-loop.ts';
import type { StatusWriter } from './status-writer.ts';
import { messageOf } from '../../error-message.ts';

export interface PodWorkerDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly runtimeName: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sync: PodSync;
  readonly killer: PodKiller;
  readonly starter: ContainerStarter;
  readonly prober: Prober;
  readonly objects: ObjectSource;
  readonly volumes: Volumes;
  readonly messages: TerminationMessages;
  readonly statuses: StatusWriter;
  readonly node: NodeView;
  readonly qosClass: (pod: Pod) => string;
  /** Deletes exactly this pod from the API, with no grace; a pod that is gone is fine. */
  readonly deletePod: (pod: Pod) => Promise<void>;
  readonly onTerminated: (podUid: string) => void;
}

type Phase = 'sync' | 'terminating' | 'cleaning' | 'terminated';

/** Deleted by force: Kubernetes' kubelet gives containers a second all the same. */
const forcedGraceSeconds = 1;

export class PodWorker {
  readonly #deps: PodWorkerDeps;
  readonly #loop: PodWorkerLoop;
  readonly #waiting = new Map<string, Waiting>();
  readonly #failedResizes = new Map<string, string>();
  readonly #limitsSet = new Map<string, ContainerLimits>();
  #pending: PendingResize | undefined;
  #pod: Pod;
  #phase: Phase = 'sync';
  #isGone = false;
  #syncAbort = new AbortController();
  #failure: PodFailure | undefined;
  #isUrgent = false;
  #isAdmitted: boolean;
  #isOffline: boolean;

  /** `isOffline`: known from its sandbox only, until the API server shows it. */
  constructor(deps: PodWorkerDeps, pod: Pod, isOffline = false) {
    this.#deps = deps;
    this.#pod = pod;
    this.#isOffline = isOffline;
    // Taken before the agent was started anew.
    this.#isAdmitted = pod.status?.startTime !== undefined;
    this.#loop = new PodWorkerLoop({
      clock: deps.clock,
      step: () => this.#step(),
      onError: (error) => this.#onError(error),
    });
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** A resize waits until others make room. */
  get isResizePending(): boolean {
    return this.#pending !== undefined;
  }

  /** The node has taken it: what it asks for is no longer free. */
  get isAdmitted(): boolean {
    return this.#isAdmitted;
  }

  get isOffline(): boolean {
    return this.#isOffline;
  }

  get isTerminated(): boolean {
    return this.#phase === 'terminated';
  }

  update(pod: Pod): void {
    const before = this.#graceSeconds();
    const old = this.#pod;
    this.#pod = pod;
    // Most updates are our own status coming back.
    const isOverruled = this.#deps.statuses.isOverruled(pod);
    if (this.#isOffline) {
      this.#isOffline = false;
      return this.#onChange(before);
    }
    if (old !== pod && !isOverruled && saysTheSame(old, pod)) return;
    this.#onChange(before);
  }

  /** The object is gone from the API: what still runs of it ends. */
  gone(): void {
    const before = this.#graceSeconds();
    this.#isGone = true;
    this.#onChange(before);
  }

  #onChange(graceBeforeSeconds: number): void {
    if (this.#isTerminating()) this.#syncAbort.abort();
    const { uid = '' } = this.#pod.metadata;
    const graceSeconds = this.#graceSeconds();
    if (this.#phase === 'terminating' && graceSeconds < graceBeforeSeconds)
      for (const stop of this.#deps.killer.hasten(uid, graceSeconds))
        void stop.catch((error: unknown) => this.#warn('Stop not hastened', error));
    this.wake();
  }

  /**
   * It ends now, as Failed. False: it is ending already. `isDisruption`: the machine needs what it
   * uses; else it used more than it may.
   */
  evict(message: string, isDisruption: boolean): boolean {
    if (this.#phase !== 'sync' || this.#isTerminating() || this.#failure !== undefined)
      return false;
    if (this.#isOver()) return false;
    this.#failure = { reason: 'Evicted', message, isDisruption };
    this.#isUrgent = true;
    this.#syncAbort.abort();
    this.wake();
    return true;
  }

  /** Something may have changed. Never waits. */
  wake(): void {
    this.#loop.wake();
  }

  /** The agent ends; containers go on. */
  stop(): void {
    this.#loop.stop();
    this.#syncAbort.abort();
  }

  /** The machine goes down: its containers end within so many seconds, and begin again when it is back. */
  async shutDown(limitSeconds: number): Promise<void> {
    this.stop();
    const { runtime, killer, prober } = this.#deps;
    prober.forget(this.#pod.metadata.uid ?? '');
    const observed = await runtime.getPod(podRef(this.#pod));
    await killer.killPod(this.#pod, observed, Math.min(limitSeconds, this.#graceSeconds()));
  }

  #onError(error: unknown): 'again' | 'backOff' | 'wait' {
    // An engine that comes back wakes every worker.
    if (isRuntimeError(error, 'unavailable')) return 'wait';
    const isEnding = this.#isTerminating() || this.#failure !== undefined;
    if (isEnding && this.#syncAbort.signal.aborted && this.#phase === 'sync') {
      this.#syncAbort = new AbortController();
      return 'again';
    }
    this.#warn('Pod not synced', error);
    return 'backOff';
  }

  #warn(message: string, error: unknown): void {
    const { namespace, name } = this.#pod.metadata;
    this.#deps.logger.warn(message, { pod: `${namespace}/${name}`, error: messageOf(error) });
  }

  #isTerminating(): boolean {
    return this.#isGone || this.#pod.metadata.deletionTimestamp !== undefined;
  }

  /** It has done its work or failed, as far as was told. */
  #isOver(): boolean {
    const { phase } = this.#deps.statuses.newest(this.#pod).status ?? {};
    return phase === 'Succeeded' || phase === 'Failed';
  }

  #graceSeconds(): number {
    const { metadata, spec } = this.#pod;
    // Who removes a pod that still runs, without waiting for our word, has no patience left; nor has
    // a machine that runs out of memory.
    if (this.#isGone || this.#isUrgent) return forcedGraceSeconds;
    const own = metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds;
    return own ?? defaultGracePeriodSeconds;
  }

  async #step(): Promise<number | undefined> {
    if (this.#phase === 'cleaning') return this.#cleanUp();
    const observed = await this.#deps.runtime.getPod(podRef(this.#pod));
    if (this.#isTerminating()) return this.#terminate(observed);
    this.#admit(observed);
    await this.#publish(observed);
    if (this.#isOver()) return this.#finish(observed);
    const deadlineMs = this.#deadlineMs();
    if (deadlineMs !== undefined && deadlineMs <= 0) {
      const reason = 'DeadlineExceeded';
      const message = 'Pod was active on the node longer than the specified deadline';
      this.#failure = { reason, message, isDisruption: false };
      this.#deps.events.event(this.#pod, 'Normal', reason, message);
      return 0;
    }
    const retryAfterMs = await this.#deps.sync.sync({
      pod: this.#admitted(),
      observed,
      qosClass: this.#deps.qosClass(this.#pod),
      isOffline: this.#isOffline,
      waiting: this.#waiting,
      failedResizes: this.#failedResizes,
      limitsSet: this.#limitsSet,
      signal: this.#syncAbort.signal,
      onWaiting: (now) => this.#setStatus(now),
    });
    const after = await this.#deps.runtime.getPod(podRef(this.#pod));
    if (!this.#isTerminating()) await this.#deps.sync.settle(this.#pod, after);
    await this.#publish(after);
    // A change made here shows its consequences in another look (probes, the next init container).
    if (isDifferent(observed, after)) return 0;
    return earliest(retryAfterMs, deadlineMs);
  }

  /** Once, before anything of it is started. */
  #admit(observed: ObservedPod): void {
    if (this.#isAdmitted || this.#failure !== undefined) return;
    const { node, events } = this.#deps;
    const { uid } = this.#pod.metadata;
    const isThere = observed.sandboxes.length + observed.containers.length > 0;
    const failure = isThere
      ? undefined
      : admissionFailure({
          pod: this.#pod,
          others: node.admittedPods().filter(({ metadata }) => metadata.uid !== uid),
          allocatable: node.allocatable(),
          devices: node.devices(),
          maxPods: node.maxPods,
          hasAppArmor: node.hasAppArmor(),
          self: node.self(),
        });
    this.#isAdmitted = failure === undefined;
    this.#failure = failure;
    if (failure === undefined) return;
    const message = failure.message.replace(/^Pod was rejected: /, '');
    events.event(this.#pod, 'Warning', failure.reason, message);
  }

  /** The pod with what the node has room for. */
  #admitted(): Pod {
    const { statuses, node, events } = this.#deps;
    const newest = statuses.newest(this.#pod);
    const { uid } = newest.metadata;
    const others = node.pods().filter(({ metadata }) => metadata.uid !== uid);
    const { pod, pending } = admitResize(newest, { allocatable: node.allocatable(), others });
    if (pending !== undefined && pending.reason !== this.#pending?.reason)
      events.event(pod, 'Warning', `Resize${pending.reason}`, pending.message);
    this.#pending = pending;
    return pod;
  }

  /** Milliseconds until activeDeadlineSeconds are over. */
  #deadlineMs(): number | undefined {
    const { activeDeadlineSeconds } = this.#pod.spec;
    const { startTime } = this.#deps.statuses.newest(this.#pod).status ?? {};
    if (activeDeadlineSeconds === undefined || startTime === undefined) return undefined;
    return Date.parse(startTime) + activeDeadlineSeconds * 1000 - this.#deps.clock.now();
  }

  /** The pod has done its work or failed: nothing runs on, its logs stay. */
  async #finish(observed: ObservedPod): Promise<undefined> {
    const { killer, prober, objects } = this.#deps;
    const { uid = '' } = this.#pod.metadata;
    prober.forget(uid);
    objects.release(uid);
    const isUp =
      observed.sandboxes.some((sandbox) => sandbox.ready) ||
      observed.containers.some((status) => status.state === 'running');
    if (!isUp) return undefined;
    await killer.killPod(this.#pod, observed, this.#graceSeconds());
    await this.#publish(await this.#deps.runtime.getPod(podRef(this.#pod)));
    return undefined;
  }

  async #terminate(observed: ObservedPod): Promise<number> {
    this.#phase = 'terminating';
    const { runtime, killer, prober } = this.#deps;
    await this.#publish(observed);
    prober.forget(this.#pod.metadata.uid ?? '');
    // Of neither was it said how it should end.
    const isOrphan = this.#isGone && (this.#isOffline || this.#pod.spec.containers.length === 0);
    const grace = isOrphan ? observed.gracePeriodSeconds : this.#graceSeconds();
    await killer.killPod(this.#pod, observed, grace);
    await this.#publish(await runtime.getPod(podRef(this.#pod)));
    this.#phase = 'cleaning';
    return 0;
  }

  /** Idempotent: begins again from the top after a failure. */
  async #cleanUp(): Promise<undefined> {
    const { runtime, statuses, volumes, objects, starter, deletePod, onTerminated } = this.#deps;
    const { uid = '' } = this.#pod.metadata;
    const observed = await runtime.getPod(podRef(this.#pod));
    // Oldest first: what an agent that dies meanwhile leaves is how it ended.
    for (const { id } of observed.containers.toReversed()) await runtime.removeContainer(id);
    for (const { id } of observed.sandboxes) await runtime.removeSandbox(id);
    await volumes.tearDown(uid);
    objects.release(uid);
    starter.forget(this.#pod);
    // Of a static pod the mirror goes by itself, and nothing waits for an API server.
    if (!this.#isGone && !isStatic(this.#pod)) {
      await statuses.flush(uid);
      await deletePod(this.#pod);
    }
    statuses.forget(uid);
    this.#phase = 'terminated';
    this.#loop.stop();
    onTerminated(uid);
    return undefined;
  }

  async #publish(observed: ObservedPod): Promise<void> {
    // An orphan has no object to tell anything to; what is known offline would tell less than the API has.
    if (this.#isGone || this.#isOffline) return;
    await this.#deps.messages.read(this.#pod, observed);
    this.#setStatus(observed);
  }

  #setStatus(observed: ObservedPod): void {
    if (this.#isOffline) return;
    const { statuses, messages, prober, node, clock } = this.#deps;
    const { uid = '' } = this.#pod.metadata;
    const pod = this.#admitted();
    const [error] = this.#failedResizes.values();
    const resize = {
      ...(this.#pending === undefined ? {} : { pending: this.#pending }),
      ...(error === undefined ? {} : { error }),
    };
    const status = computePodStatus({
      pod,
      resize,
      observed,
      waiting: this.#waiting,
      probes: (name) => prober.results(uid, name),
      terminationMessage: (id) => messages.of(id),
      runtimeName: this.#deps.runtimeName,
      nodeIps: node.ips(),
      qosClass: this.#deps.qosClass(this.#pod),
      nowMs: clock.now(),
      isTerminal: this.#isTerminating() || this.#failure !== undefined,
      ...(this.#failure === undefined ? {} : { failure: this.#failure }),
    });
    statuses.set(statuses.newest(this.#pod), status);
  }
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
