// Ends containers as Kubernetes does: event, preStop hook, SIGTERM, the rest of the grace period,
// SIGKILL; sidecars after all the others, last started first.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (killContainer).
import type { Container, Pod } from '#kube/api/core.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { ContainerStatus, ObservedPod, Runtime } from '../../runtime/runtime.ts';
import { containerReference } from '../container/event-target.ts';
import type { Hooks } from '../container/hooks.ts';
import { isSidecar, type ContainerKill } from './pod-actions.ts';

export interface PodKillerDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly hooks: Hooks;
}

/** A container gets at least this long, however much its preStop hook used up. */
const minGraceSeconds = 2;

export class PodKiller {
  readonly #deps: PodKillerDeps;
  /** Containers being stopped, by pod uid: a shorter grace period reaches them, too. */
  readonly #stopping = new Map<string, Set<string>>();

  constructor(deps: PodKillerDeps) {
    this.#deps = deps;
  }

  /** Every running container, then the sandboxes. */
  async killPod(pod: Pod, observed: ObservedPod, graceSeconds: number): Promise<void> {
    const running = observed.containers.filter((status) => status.state === 'running');
    const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
    const main = running.filter((status) => !sidecars.includes(status.name));
    const podIp = addressOf(pod, observed);
    const kill = (status: ContainerStatus) =>
      this.#kill(pod, {
        status,
        graceSeconds,
        podIp,
        message: `Stopping container ${status.name}`,
      });
    await Promise.all(main.map(kill));
    for (const name of sidecars.toReversed())
      for (const status of running) if (status.name === name) await kill(status);
    for (const sandbox of observed.sandboxes)
      if (sandbox.ready) await this.#deps.runtime.stopSandbox(sandbox.id);
  }

  async killContainer(pod: Pod, observed: ObservedPod, kill: ContainerKill): Promise<void> {
    const status = observed.containers.find((entry) => entry.id === kill.id);
    if (status === undefined) return;
    const podIp = addressOf(pod, observed);
    const graceSeconds = probeGrace(pod, kill) ?? pod.spec.terminationGracePeriodSeconds ?? 30;
    await this.#kill(pod, { status, graceSeconds, podIp, message: kill.message });
  }

  /** The pod's deletion was asked for again, with less patience. */
  hasten(podUid: string, graceSeconds: number): Promise<void>[] {
    const ids = [...(this.#stopping.get(podUid) ?? [])];
    return ids.map((id) => this.#deps.runtime.stopContainer(id, graceSeconds));
  }

  async #kill(
    pod: Pod,
    kill: {
      readonly status: ContainerStatus;
      readonly graceSeconds: number;
      readonly podIp: string;
      readonly message: string;
    },
  ): Promise<void> {
    const { status, graceSeconds, podIp, message } = kill;
    const { runtime, events, hooks } = this.#deps;
    const uid = pod.metadata.uid ?? '';
    const container = findContainer(pod, status.name);
    events.event(containerReference(pod, status.name), 'Normal', 'Killing', message);
    const stopping = this.#stopping.get(uid) ?? new Set<string>();
    this.#stopping.set(uid, stopping.add(status.id));
    try {
      const target = { pod, containerId: status.id, podIp };
      const usedMs =
        container === undefined
          ? 0
          : await hooks.preStop({ ...target, container }, graceSeconds * 1000);
      const leftSeconds = Math.ceil(graceSeconds - usedMs / 1000);
      const graceLeft = usedMs === 0 ? graceSeconds : Math.max(minGraceSeconds, leftSeconds);
      await runtime.stopContainer(status.id, graceLeft);
    } finally {
      stopping.delete(status.id);
      if (stopping.size === 0) this.#stopping.delete(uid);
    }
  }
}

function findContainer(pod: Pod, name: string): Container | undefined {
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find(
    (container) => container.name === name,
  );
}

/** Where its preStop hooks are reached: with the host's network the pod has no address of its own. */
function addressOf(pod: Pod, observed: ObservedPod): string {
  const own = observed.sandboxes.find((sandbox) => sandbox.ready)?.ip ?? '';
  return own === '' ? (pod.status?.podIP ?? '127.0.0.1') : own;
}

/** A probe may bring a grace period of its own. */
function probeGrace(pod: Pod, { name, failedProbe }: ContainerKill): number | undefined {
  const container = findContainer(pod, name);
  if (failedProbe === undefined) return undefined;
  const probe = failedProbe === 'liveness' ? container?.livenessProbe : container?.startupProbe;
  return probe?.terminationGracePeriodSeconds;
}
