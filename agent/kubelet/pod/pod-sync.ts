// Carries out what pod-actions.ts decided for one pod: volumes, sandbox, stops, starts; then tidies
// dead containers. Looks again afterwards instead of trusting what it did.
// Source: kubernetes pkg/kubelet/kubelet.go (SyncPod), kuberuntime_manager.go (SyncPod).
import type { Pod } from '#kube/api/core.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  isRuntimeError,
  type ContainerLimits,
  type ObservedPod,
  type Runtime,
} from '../../runtime/runtime.ts';
import { containerHash } from '../container/container-config.ts';
import { containerLimits } from '../container/container-resources.ts';
import { containerReference } from '../container/event-target.ts';
import type { ContainerStarter, NodeView } from '../container/container-starter.ts';
import type { Prober } from '../container/prober.ts';
import { podRef, sandboxConfig } from '../container/sandbox-config.ts';
import type { ObjectSource, PodObjects } from '../volumes/object-source.ts';
import type { Volumes } from '../volumes/volumes.ts';
import type { Waiting } from './container-status.ts';
import { computePodActions, differing, latestContainers, type PodActions } from './pod-actions.ts';
import { defaultWaiting } from './pod-status.ts';
import type { PodKiller } from './pod-killer.ts';
import { TransportError } from '#kube/client/transport.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { messageOf } from '../../error-message.ts';

export interface PodSyncDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly logger: Logger;
  readonly volumes: Volumes;
  readonly objects: ObjectSource;
  readonly prober: Prober;
  readonly starter: ContainerStarter;
  readonly killer: PodKiller;
  readonly node: NodeView;
}

export interface SyncInput {
  readonly pod: Pod;
  readonly observed: ObservedPod;
  readonly qosClass: string;
  /** The pod is known from its sandbox only: no API server has answered yet. */
  readonly isOffline: boolean;
  /** Why containers don't run; kept up to date here. By container name. */
  readonly waiting: Map<string, Waiting>;
  /** Whose limits the engine would not change, and why; kept up to date here. */
  readonly failedResizes: Map<string, string>;
  /** What containers were told to have, and the engine took, by id; kept up to date here. */
  readonly limitsSet: Map<string, ContainerLimits>;
  /** Aborts when the pod is deleted meanwhile. */
  readonly signal: AbortSignal;
  /** `waiting` says something new while a long start is under way. */
  readonly onWaiting: (observed: ObservedPod) => void;
}

/** Milliseconds until the pod has to be looked at again; undefined: when something happens. */
export type RetryAfterMs = number | undefined;

const failedSetUpRetryMs = 2_000;
/** Nothing waits for it, and it costs an event each time. */
const failedRefreshRetryMs = 10_000;
const none: PodObjects = {
  configMap: () => undefined,
  secret: () => undefined,
  token: () => undefined,
};
const away = 'the control plane does not answer: what the volumes hold is not known';
/** Memory that is in use can't be taken away; it may be given back. */
const failedResizeRetryMs = 30_000;

export class PodSync {
  readonly #deps: PodSyncDeps;

  constructor(deps: PodSyncDeps) {
    this.#deps = deps;
  }

  async sync(input: SyncInput): Promise<RetryAfterMs> {
    const { pod, observed, waiting, failedResizes } = input;
    const { killer, runtime } = this.#deps;
    const actions = this.#actions(input);
    if (actions.killPod)
      await killer.killPod(pod, observed, pod.spec.terminationGracePeriodSeconds ?? 30);
    await this.#resize(input, actions);
    for (const kill of actions.kills) await killer.killContainer(pod, observed, kill);
    for (const name of waiting.keys())
      if (!actions.starts.some((start) => start.name === name)) waiting.delete(name);
    const willStart = actions.createSandbox || actions.starts.length > 0;
    const objects = await this.#setUpVolumes(input, willStart ? actions : undefined);
    if (objects === undefined) return failedSetUpRetryMs;
    // What was just stopped is started in the next round, from a fresh look.
    if (actions.kills.length > 0) return 0;
    if (objects === 'stale') return failedRefreshRetryMs;
    if (!willStart) return failedResizes.size === 0 ? undefined : failedResizeRetryMs;
    const sandboxId = actions.createSandbox
      ? await this.#createSandbox(pod, actions.sandboxAttempt)
      : actions.sandboxId;
    if (sandboxId === undefined) return failedSetUpRetryMs;
    const now = actions.createSandbox ? await runtime.getPod(podRef(pod)) : observed;
    return this.#startAll(input, actions, { sandboxId, now, objects });
  }

  #actions({ pod, observed, limitsSet, isOffline }: SyncInput): PodActions {
    const { prober } = this.#deps;
    const statuses = [
      ...(pod.status?.initContainerStatuses ?? []),
      ...(pod.status?.containerStatuses ?? []),
      ...(pod.status?.ephemeralContainerStatuses ?? []),
    ];
    return computePodActions({
      pod,
      observed,
      isOffline,
      probes: (name) => prober.results(pod.metadata.uid ?? '', name),
      specHash: containerHash,
      limits: (container) => containerLimits(container, pod.spec),
      limitsSet: (id) => limitsSet.get(id),
      knownRestarts: (name) => {
        const status = statuses.find((entry) => entry.name === name);
        return status?.containerID === undefined ? undefined : status.restartCount;
      },
    });
  }

  async #resize(input: SyncInput, { updates }: PodActions): Promise<void> {
    const { pod, observed, failedResizes, limitsSet } = input;
    const { runtime, events } = this.#deps;
    failedResizes.clear();
    for (const id of limitsSet.keys())
      if (!observed.containers.some((status) => status.id === id)) limitsSet.delete(id);
    for (const { id, name, limits } of updates)
      try {
        await runtime.updateLimits(id, limits);
        const before =
          limitsSet.get(id) ?? observed.containers.find((status) => status.id === id)?.askedLimits;
        limitsSet.set(id, limits);
        // An engine that sets nothing differs from the start: nobody resized anything.
        if (before !== undefined && differing(limits, before).length === 0) continue;
        const message = `Container ${name} has what it was resized to`;
        events.event(containerReference(pod, name), 'Normal', 'ResizeCompleted', message);
      } catch (error) {
        if (isRuntimeError(error, 'unavailable')) throw error;
        const message = `Container ${name} can't be resized: ${messageOf(error)}`;
        failedResizes.set(name, message);
        events.event(containerReference(pod, name), 'Warning', 'ResizeError', message);
      }
  }

  /** Undefined: something is missing. `stale`: running containers go on with what they have. */
  async #setUpVolumes(
    input: SyncInput,
    needed: PodActions | undefined,
  ): Promise<PodObjects | 'as-before' | 'stale' | undefined> {
    const { pod, observed, isOffline } = input;
    const { objects, volumes, node, logger } = this.#deps;
    const isNeeded = needed !== undefined;
    // Volumes are as they were, and so can their containers be.
    const canBeAsBefore =
      needed?.createSandbox === false && needed.starts.every(({ last }) => last !== undefined);
    if (isOffline)
      return canBeAsBefore ? 'as-before' : isNeeded ? this.#cannotSetUp(pod, away) : none;
    const isIdle = !observed.containers.some((status) => status.state === 'running');
    if (!isNeeded && ((pod.spec.volumes ?? []).length === 0 || isIdle)) return none;
    try {
      const found = await objects.load(pod);
      const addresses = { podIps: [], nodeIps: node.ips() };
      const allocatable = node.allocatable();
      await volumes.setUp({ pod, objects: found, addresses, allocatable });
      return found;
    } catch (error) {
      if (!isNeeded && isUnreachable(error)) {
        logger.debug('Volumes not refreshed', { pod: podRef(pod), error: messageOf(error) });
        return none;
      }
      if (canBeAsBefore && isUnreachable(error)) return 'as-before';
      this.#cannotSetUp(pod, messageOf(error));
      return isNeeded ? undefined : 'stale';
    }
  }

  #cannotSetUp(pod: Pod, message: string): undefined {
    this.#deps.events.event(pod, 'Warning', 'FailedMount', message);
    return undefined;
  }

  async #createSandbox(pod: Pod, attempt: number): Promise<string | undefined> {
    const { runtime, starter } = this.#deps;
    try {
      const config = sandboxConfig(pod, attempt);
      return await runtime.runSandbox({ ...config, ...(await starter.runtimeOf(pod)) });
    } catch (error) {
      if (isRuntimeError(error, 'unavailable')) throw error;
      return this.#cannotMakeSandbox(pod, error);
    }
  }

  #cannotMakeSandbox(pod: Pod, error: unknown): undefined {
    const message = `Failed to create pod sandbox: ${messageOf(error)}`;
    this.#deps.events.event(pod, 'Warning', 'FailedCreatePodSandBox', message);
    return undefined;
  }

  /** Nothing of a pod runs before the rules of who may speak with it do. */
  async #joinNetwork(pod: Pod, address: string): Promise<boolean> {
    try {
      await this.#deps.node.joinNetwork(pod, address);
      return true;
    } catch (error) {
      this.#cannotMakeSandbox(pod, error);
      return false;
    }
  }

  async #startAll(
    input: SyncInput,
    actions: PodActions,
    given: {
      readonly sandboxId: string;
      readonly now: ObservedPod;
      readonly objects: PodObjects | 'as-before';
    },
  ): Promise<RetryAfterMs> {
    const { pod, qosClass, waiting, signal, onWaiting } = input;
    const { sandboxId, now } = given;
    const isAsBefore = given.objects === 'as-before';
    const objects = given.objects === 'as-before' ? none : given.objects;
    const podIp = now.sandboxes.find((sandbox) => sandbox.id === sandboxId)?.ip ?? '';
    // What ran before has joined before.
    if (!isAsBefore && pod.spec.hostNetwork !== true && !(await this.#joinNetwork(pod, podIp)))
      return failedSetUpRetryMs;
    const onPulling = (name: string, message: string): void => {
      waiting.set(name, { ...defaultWaiting(pod), message });
      onWaiting(now);
    };
    const runningId = (name: string): string | undefined =>
      now.containers.find((status) => status.name === name && status.state === 'running')?.id;
    const known = { pod, sandboxId, podIp, objects, qosClass, signal };
    const context = { ...known, isAsBefore, onPulling, runningId };
    const delaysMs: number[] = [];
    for (const start of actions.starts) {
      if (signal.aborted) return undefined;
      const result = await this.#deps.starter.start(context, start);
      if (result.waiting === undefined) waiting.delete(start.name);
      else {
        waiting.set(start.name, result.waiting);
        delaysMs.push(result.retryAfterMs);
      }
    }
    return delaysMs.length === 0 ? undefined : Math.min(...delaysMs);
  }

  /**
   * After the actions, with a fresh look: probes what runs, removes what nobody asks for any more.
   * Of each container the last dead one stays: its log and its exit code are still wanted.
   */
  async settle(pod: Pod, observed: ObservedPod): Promise<void> {
    const { runtime, prober, node } = this.#deps;
    const running = observed.containers.filter((status) => status.state === 'running');
    const podIp = observed.sandboxes.find((sandbox) => sandbox.ready)?.ip ?? '';
    const reachable = podIp === '' ? (node.ips()[0] ?? '127.0.0.1') : podIp;
    prober.sync(pod, running, reachable);
    for (const name of latestContainers(observed).keys()) {
      const history = observed.containers.filter((status) => status.name === name);
      for (const old of history.slice(2)) await runtime.removeContainer(old.id);
    }
    const hasReady = observed.sandboxes.some((sandbox) => sandbox.ready);
    for (const [index, sandbox] of observed.sandboxes.entries())
      if (!sandbox.ready && (hasReady || index > 0)) await runtime.removeSandbox(sandbox.id);
  }
}

/** No answer, or one that says nothing of what was asked. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof StatusError) return error.code >= 500 || error.code === 429;
  return error instanceof TransportError;
}
