// The kubelet: merges what the API, the engine, probes and referenced objects say into one worker
// per pod uid. Holds no state of its own beyond the workers: after a restart it finds the containers
// by their labels and goes on. Source: kubernetes pkg/kubelet/kubelet.go (syncLoopIteration).
import type { Pod, PodStatus, Service } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Informer } from '#kube/client/informer.ts';
import { nodes, pods as podResource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { AgentMetrics } from '../metrics/agent-metrics.ts';
import type { ObservedPod, Runtime } from '../runtime/runtime.ts';
import { ContainerStarter, type NodeView } from './container/container-starter.ts';
import { containerReference } from './container/event-target.ts';
import { Hooks } from './container/hooks.ts';
import { ProbeRunner } from './container/probe.ts';
import { Prober } from './container/prober.ts';
import type { DeviceChange } from './devices/device-keeper.ts';
import { askedDevices } from './devices/devices.ts';
import { EngineWatch, type EngineState } from './engine-watch.ts';
import { Images, type ImagesDeps } from './images/images.ts';
import { PodKiller } from './pod/pod-killer.ts';
import { podOfMemo } from './pod/pod-memo.ts';
import { PodSync } from './pod/pod-sync.ts';
import { PodWorker, type PodWorkerDeps } from './pod/pod-worker.ts';
import { StatusWriter } from './pod/status-writer.ts';
import { Mirrors } from './static/mirrors.ts';
import { isStatic, mirroredUid } from './static/static-pod.ts';
import type { ClaimSource } from './volumes/claims/claim-source.ts';
import { ObjectSource } from './volumes/object-source.ts';
import { TerminationMessages } from './volumes/termination-messages.ts';
import type { Volumes } from './volumes/volumes.ts';
import type { ShutdownGrace } from '../power/power-watch.ts';
import { messageOf } from '../error-message.ts';

/** Of the classes `system-cluster-critical` and `system-node-critical`, and nobody else's. */
const systemCriticalPriority = 2_000_000_000;

/** How long a start waits for the API server before it goes on without. */
const aloneAfterMs = 5_000;

export interface KubeletDeps {
  readonly runtime: Runtime;
  readonly runtimeName: string;
  readonly nodeName: string;
  readonly client: RestClient;
  /** Pods of this node only. */
  readonly pods: Informer<Pod>;
  readonly services: Informer<Service>;
  readonly events: EventRecorder;
  readonly volumes: Volumes;
  readonly images: Pick<ImagesDeps, 'peers' | 'origins' | 'board'>;
  readonly claims: ClaimSource;
  readonly node: Omit<NodeView, 'services' | 'pods' | 'admittedPods'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly qosClass: (pod: Pod) => string;
  readonly onEngineState: (state: EngineState) => void;
  /** A container started or ended. */
  readonly onContainersChange: () => void;
  readonly metrics?: AgentMetrics;
  readonly signal: AbortSignal;
}

export class Kubelet {
  readonly #deps: KubeletDeps;
  readonly #workers = new Map<string, PodWorker>();
  readonly #workerDeps: PodWorkerDeps;
  readonly #engine: EngineWatch;
  readonly #mirrors: Mirrors;
  /** Last seen shape of each pod in the engine, to tell what changed between two relists. */
  #shapes = new Map<string, string>();
  /** All that are asked for; undefined: that is not known. */
  #static: readonly Pod[] | undefined;
  #isReady = false;
  #isAlone = false;
  #isGoingDown = false;

  constructor(deps: KubeletDeps) {
    this.#deps = deps;
    this.#workerDeps = this.#compose();
    const { client, clock, logger, signal } = deps;
    this.#mirrors = new Mirrors({
      client,
      clock,
      logger,
      node: () => client.get(nodes, { name: deps.nodeName }),
      onMirror: (uid) => {
        this.#workerDeps.statuses.resend(uid);
        this.#workers.get(uid)?.wake();
      },
      signal,
    });
    this.#engine = new EngineWatch({
      runtime: deps.runtime,
      clock: deps.clock,
      logger: deps.logger,
      onState: (state) => this.#onEngineState(state),
      onPod: (uid) => {
        deps.onContainersChange();
        this.#workers.get(uid)?.wake();
      },
      onRelist: (observed) => this.#onRelist(observed),
    });
  }

  get engineState(): EngineState {
    return this.#engine.state;
  }

  /** Pods that this kubelet takes care of. */
  pods(): readonly Pod[] {
    return [...this.#workers.values()]
      .filter((worker) => !worker.isTerminated)
      .map((worker) => this.#workerDeps.statuses.newest(worker.pod));
  }

  /**
   * The pod ends as Failed, and whoever owns it makes another. `isDisruption`: through no fault of
   * its own.
   */
  evict(pod: Pod, message: string, isDisruption: boolean): void {
    const worker = this.#workers.get(pod.metadata.uid ?? '');
    if (worker?.evict(message, isDisruption) !== true) return;
    this.#deps.events.event(pod, 'Warning', 'Evicted', message);
  }

  // Differs: pods are not failed. Kubernetes leaves it to their owners to make others; here there may be no
  // other machine, and what ran before a restart is expected after it.
  /** The machine goes down: ordinary pods first, then critical ones. Nothing starts any more. */
  async shutDown({ ordinarySeconds, criticalSeconds }: ShutdownGrace): Promise<void> {
    const isCritical = ({ pod }: PodWorker): boolean =>
      (pod.spec.priority ?? 0) >= systemCriticalPriority;
    this.#isGoingDown = true;
    const all = [...this.#workers.values()];
    for (const worker of all) worker.stop();
    const end = (workers: readonly PodWorker[], seconds: number) =>
      Promise.allSettled(workers.map((worker) => worker.shutDown(seconds)));
    await end(
      all.filter((worker) => !isCritical(worker)),
      ordinarySeconds,
    );
    await end(all.filter(isCritical), criticalSeconds);
  }

  /** What pods hold went, or came back. */
  devicesChanged({ gone, come }: DeviceChange): void {
    for (const pod of this.pods())
      for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
        const asked = askedDevices(container);
        const about = containerReference(pod, container.name);
        for (const { resource, label } of gone)
          if (asked.has(resource)) {
            const message = `${label} (${resource}) is no longer plugged in to this machine; container ${container.name} can't use it until it is back`;
            this.#deps.events.event(about, 'Warning', 'DeviceUnplugged', message);
          }
        if (come.some(({ resource }) => asked.has(resource)))
          this.#workers.get(pod.metadata.uid ?? '')?.wake();
      }
  }

  /** Resolves when the first pods are known; runs until the signal aborts. */
  async start(): Promise<void> {
    const { pods, services, signal } = this.#deps;
    signal.addEventListener('abort', () => this.#stop(), { once: true });
    void this.#engine.run(signal);
    pods.start(signal);
    services.start(signal);
    // Until both are known, a running container would look like an orphan.
    const synced = Promise.all([pods.whenSynced(), services.whenSynced()]);
    const alone = this.#deps.clock.timer(aloneAfterMs, () => void this.#goOnAlone());
    await synced;
    alone.cancel();
    if (signal.aborted) return;
    this.#isReady = true;
    pods.addHandler({
      onAdd: (pod) => this.#onPod(pod),
      onUpdate: (_old, pod) => this.#onPod(pod),
      onDelete: (pod) => this.#onPodGone(pod),
    });
    this.#mirrors.synced();
    // Whatever was kept running meanwhile and is not asked for any more.
    for (const worker of this.#workers.values())
      if (worker.isOffline && !this.#isUnsure(worker.pod)) worker.gone();
    if (this.#engine.state.kind === 'running') await this.#adopt();
  }

  #stop(): void {
    for (const worker of this.#workers.values()) worker.stop();
    this.#workerDeps.prober.stop();
    this.#workerDeps.objects.stop();
  }

  #shownAs(uid: string, base: Pod): Pod | undefined {
    const worker = this.#workers.get(uid);
    if (worker === undefined || !isStatic(worker.pod)) return base;
    const mirror = this.#mirrors.of(uid);
    return mirror?.metadata.uid === base.metadata.uid ? base : mirror;
  }

  /** All pods that this machine's own folder asks for. */
  setStaticPods(pods: readonly Pod[]): void {
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    const deletionTimestamp = rfc3339(this.#deps.clock.now());
    for (const worker of this.#workers.values()) {
      const { metadata, spec } = worker.pod;
      if (!isStatic(worker.pod) || uids.has(metadata.uid)) continue;
      worker.update({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { ...metadata, deletionTimestamp },
        spec,
      });
    }
    for (const pod of pods) {
      const worker = this.#workers.get(pod.metadata.uid ?? '');
      if (worker?.isOffline === true) worker.update(pod);
    }
    this.#static = pods;
    this.#startStatic();
    this.#mirrors.want(pods);
  }

  /** What had its name before ends first: it holds the same ports, devices and files. */
  #startStatic(): void {
    const has = ({ metadata }: Pod) =>
      [...this.#workers.values()].some(
        ({ pod }) =>
          isStatic(pod) &&
          pod.metadata.name === metadata.name &&
          pod.metadata.namespace === metadata.namespace,
      );
    for (const pod of this.#static ?? []) if (!has(pod)) this.#addWorker(pod);
  }

  #onPod(pod: Pod): void {
    if (mirroredUid(pod) !== undefined) return this.#mirrors.seen(pod);
    const { uid = '' } = pod.metadata;
    const worker = this.#workers.get(uid);
    if (worker === undefined) return void this.#addWorker(pod);
    const hasChanged = worker.pod.metadata.generation !== pod.metadata.generation;
    worker.update(pod);
    if (hasChanged || isOver(pod.status)) this.#wakeResizes();
  }

  #addWorker(pod: Pod, isOffline = false): PodWorker {
    const worker = new PodWorker(this.#workerDeps, pod, isOffline);
    this.#workers.set(pod.metadata.uid ?? '', worker);
    if (this.#isGoingDown) worker.stop();
    worker.wake();
    return worker;
  }

  #onPodGone(pod: Pod): void {
    if (mirroredUid(pod) !== undefined) return this.#mirrors.gone(pod);
    const { uid = '' } = pod.metadata;
    const worker = this.#workers.get(uid);
    if (worker?.isTerminated === true) this.#workers.delete(uid);
    else worker?.gone();
  }

  /** There may be room now. */
  #wakeResizes(): void {
    for (const worker of this.#workers.values()) if (worker.isResizePending) worker.wake();
  }

  #onTerminated(uid: string): void {
    this.#wakeResizes();
    const pod = this.#workers.get(uid)?.pod;
    // While the API still shows it, the worker stays: the pod must not start anew.
    const shown =
      pod && this.#deps.pods.lister.get(pod.metadata.namespace ?? '', pod.metadata.name);
    if (shown?.metadata.uid !== uid) this.#workers.delete(uid);
    this.#startStatic();
  }

  #onEngineState(state: EngineState): void {
    this.#deps.logger.info('Container engine', { state: state.kind });
    this.#deps.onEngineState(state);
    if (state.kind === 'running') for (const worker of this.#workers.values()) worker.wake();
  }

  #onRelist(observed: readonly ObservedPod[]): void {
    const shapes = new Map(observed.map((pod) => [pod.pod.uid, shapeOf(pod)]));
    for (const uid of new Set([...shapes.keys(), ...this.#shapes.keys()]))
      if (shapes.get(uid) !== this.#shapes.get(uid)) this.#workers.get(uid)?.wake();
    this.#shapes = shapes;
    this.#deps.onContainersChange();
    if (this.#isReady) this.#endOrphans(observed);
    else if (this.#isAlone) this.#keep(observed);
  }

  /** No API server answers: what runs is kept running by what its sandboxes remember. */
  async #goOnAlone(): Promise<void> {
    const { runtime, logger } = this.#deps;
    this.#isAlone = true;
    logger.warn('No API server answers: pods go on as they were');
    try {
      this.#keep(await runtime.listPods());
    } catch (error) {
      // The relist when the engine is back does it.
      logger.debug('Pods not adopted', { error: messageOf(error) });
    }
  }

  #keep(observed: readonly ObservedPod[]): void {
    if (this.#isReady) return;
    for (const entry of observed) {
      const pod = podOfMemo(entry);
      if (pod === undefined || this.#workers.has(entry.pod.uid)) continue;
      const worker = this.#addWorker(pod, true);
      // Its manifest is gone, or says something else by now.
      if (isStatic(pod) && this.#static !== undefined) worker.gone();
    }
  }

  /** After a start: pods deleted while we were away leave containers and directories behind. */
  async #adopt(): Promise<void> {
    const { volumes, runtime, logger } = this.#deps;
    try {
      this.#endOrphans(await runtime.listPods());
      for (const uid of await volumes.podUids())
        if (!this.#workers.has(uid))
          await volumes.tearDown(uid).catch((error: unknown) => {
            logger.warn('A leftover was not removed', { pod: uid, error: messageOf(error) });
          });
    } catch (error) {
      logger.warn('Leftovers not removed', { error: messageOf(error) });
    }
  }

  #endOrphans(observed: readonly ObservedPod[]): void {
    for (const entry of observed) {
      if (this.#workers.has(entry.pod.uid)) continue;
      const kept = podOfMemo(entry);
      if (kept !== undefined && this.#isUnsure(kept)) this.#addWorker(kept, true);
      else this.#addWorker(orphan(entry.pod)).gone();
    }
  }

  /** Its manifest may be there: the folder could not be read. */
  #isUnsure(pod: Pod): boolean {
    return isStatic(pod) && this.#static === undefined;
  }

  #compose(): PodWorkerDeps {
    const { runtime, runtimeName, clock, random, logger, events, volumes, client, signal } =
      this.#deps;
    const wake = (uid: string) => this.#workers.get(uid)?.wake();
    const services = this.#deps.services.lister;
    const node: NodeView = {
      ...this.#deps.node,
      services: () => services.list(),
      pods: () => this.pods().filter(({ status }) => !isOver(status)),
      admittedPods: () =>
        [...this.#workers.values()]
          .filter((worker) => worker.isAdmitted && !worker.isTerminated)
          .map((worker) => this.#workerDeps.statuses.newest(worker.pod))
          .filter(({ status }) => !isOver(status)),
    };
    const runner = new ProbeRunner(runtime);
    const { metrics } = this.#deps;
    const counted = metrics === undefined ? {} : { metrics };
    const prober = new Prober({ runner, events, clock, random, onChange: wake, ...counted });
    const statuses = new StatusWriter({
      client,
      clock,
      logger,
      signal,
      onOverruled: wake,
      shownAs: (uid, base) => this.#shownAs(uid, base),
    });
    const hooks = new Hooks({ runner, events, clock });
    const images = new Images({ runtime, events, clock, logger, ...this.#deps.images });
    const killer = new PodKiller({ runtime, events, hooks });
    const objects = new ObjectSource({
      client: { client, clock, random, logger },
      claims: this.#deps.claims,
      onChange: wake,
    });
    const starter = new ContainerStarter({ runtime, events, clock, images, hooks, volumes, node });
    const parts = { runtime, events, logger, volumes, objects, prober, starter, killer, node };
    return {
      ...parts,
      runtimeName,
      clock,
      sync: new PodSync(parts),
      messages: new TerminationMessages(runtime),
      statuses,
      qosClass: this.#deps.qosClass,
      deletePod: (pod) => this.#deletePod(pod),
      onTerminated: (uid) => this.#onTerminated(uid),
    };
  }

  async #deletePod(pod: Pod): Promise<void> {
    // Its mirror goes by itself.
    if (isStatic(pod)) return;
    const preconditions = { uid: pod.metadata.uid };
    try {
      const options = { gracePeriodSeconds: 0, preconditions };
      await this.#deps.client.delete(podResource, pod.metadata, options);
    } catch (error) {
      // Gone already, or another pod of the same name by now.
      if (!hasReason(error, 'NotFound') && !hasReason(error, 'Conflict')) throw error;
    }
  }
}

function isOver(status: PodStatus | undefined): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

/** All that is known of a pod whose object is gone. */
function orphan({ uid, name, namespace }: ObservedPod['pod']): Pod {
  const metadata = { uid, name, namespace };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [] } };
}

function shapeOf({ sandboxes, containers }: ObservedPod): string {
  const parts = sandboxes.map(({ id, ready }) => `${id}${ready}`);
  return [...parts, ...containers.map(({ id, state }) => `${id}${state}`)].join();
}
