// Reads pods back from Docker: container list and inspections → ObservedPod. Inspections are kept
// as long as the list shows the same state, so that looking again costs one call.
import type { ContainerDetails, ContainerSummary, DockerClient } from './docker-client.ts';
import { isSandbox, label, labelNumber, limitsOfLabels, podOfLabels } from './docker-config.ts';
import {
  emptyPod,
  isRuntimeError,
  type ContainerState,
  type ContainerStatus,
  type ObservedPod,
  type PodRef,
  type SandboxStatus,
} from './runtime.ts';

const parallelInspections = 8;

interface Inspection {
  readonly state: string;
  readonly details: ContainerDetails;
}

export class DockerObserver {
  readonly #client: () => DockerClient;
  readonly #filters: readonly string[];
  /** By container id; bounded by the containers that the last full list showed. */
  readonly #inspections = new Map<string, Inspection>();

  constructor(client: () => DockerClient, labelFilters: readonly string[]) {
    this.#client = client;
    this.#filters = labelFilters;
  }

  /** The next look inspects this container again. */
  forget(id: string): void {
    this.#inspections.delete(id);
  }

  /** Whose own cgroup it is in, as far as it was looked at. */
  podOfCgroup(id: string): PodRef | undefined {
    const details = this.#inspections.get(id)?.details;
    const { CgroupParent = '' } = details?.HostConfig ?? {};
    return CgroupParent === '' ? undefined : podOfLabels(details?.Config.Labels ?? {});
  }

  async listPods(): Promise<readonly ObservedPod[]> {
    const summaries = await this.#client().listContainers({ label: this.#filters });
    const present = new Set(summaries.map((summary) => summary.Id));
    for (const id of this.#inspections.keys()) if (!present.has(id)) this.#inspections.delete(id);
    const all = await this.#inspectAll(summaries);
    const byUid = Map.groupBy(all, (details) => podOfLabels(details.Config.Labels).uid);
    return [...byUid.values()].map((group) => observedPod(group, undefined));
  }

  async getPod(pod: PodRef): Promise<ObservedPod> {
    const filter = [...this.#filters, `${label.podUid}=${pod.uid}`];
    const summaries = await this.#client().listContainers({ label: filter });
    return observedPod(await this.#inspectAll(summaries), pod);
  }

  async #inspectAll(summaries: readonly ContainerSummary[]): Promise<ContainerDetails[]> {
    const result: ContainerDetails[] = [];
    for (let start = 0; start < summaries.length; start += parallelInspections) {
      const batch = summaries.slice(start, start + parallelInspections);
      const details = await Promise.all(batch.map((summary) => this.#inspect(summary)));
      result.push(...details.filter((entry) => entry !== undefined));
    }
    return result;
  }

  async #inspect(summary: ContainerSummary): Promise<ContainerDetails | undefined> {
    const known = this.#inspections.get(summary.Id);
    if (known !== undefined && known.state === summary.State) return known.details;
    try {
      const details = await this.#client().inspectContainer(summary.Id);
      // Kept under what the inspection saw: it may be newer than the list.
      this.#inspections.set(summary.Id, { state: details.State.Status, details });
      return details;
    } catch (error) {
      // Removed between the list and now.
      if (isRuntimeError(error, 'notFound')) return undefined;
      throw error;
    }
  }
}

function observedPod(all: readonly ContainerDetails[], known: PodRef | undefined): ObservedPod {
  const newestFirst = [...all].sort((a, b) => timeMs(b.Created) - timeMs(a.Created));
  const [first] = newestFirst;
  const pod = known ?? podOfLabels(first?.Config.Labels ?? {});
  const sandboxes = newestFirst.filter((entry) => isSandbox(entry.Config.Labels));
  const [newest] = sandboxes;
  const memo = newest?.Config.Labels[label.memo];
  const fallback = emptyPod(pod).gracePeriodSeconds;
  return {
    pod,
    gracePeriodSeconds: labelNumber(newest?.Config.Labels ?? {}, label.gracePeriod, fallback),
    ...(memo === undefined ? {} : { memo }),
    sandboxes: sandboxes.map(sandboxStatus),
    containers: newestFirst
      .filter((entry) => !isSandbox(entry.Config.Labels))
      .map(containerStatus)
      .sort((a, b) => b.attempt - a.attempt || b.createdAtMs - a.createdAtMs),
  };
}

function sandboxStatus(details: ContainerDetails): SandboxStatus {
  const networks = Object.values(details.NetworkSettings.Networks);
  return {
    id: details.Id,
    attempt: labelNumber(details.Config.Labels, label.attempt, 0),
    ready: details.State.Running,
    ip: networks.find((network) => network.IPAddress !== '')?.IPAddress ?? '',
    pid: details.State.Pid,
    createdAtMs: timeMs(details.Created),
    hostNetwork: details.HostConfig.NetworkMode === 'host',
  };
}

function containerStatus(details: ContainerDetails): ContainerStatus {
  const { State: state, Config: config } = details;
  const labels = config.Labels;
  // Created with an exit code: its program could not be started. Docker gives it no times.
  const hasFailed = state.Status === 'created' && state.ExitCode !== 0;
  const failedAtMs = hasFailed ? timeMs(details.Created) : 0;
  const askedLimits = limitsOfLabels(labels);
  return {
    ...(askedLimits === undefined ? {} : { askedLimits }),
    ...(labels[label.gpus] === undefined ? {} : { gpus: labels[label.gpus]?.split(',') ?? [] }),
    id: details.Id,
    name: labels[label.container] ?? '',
    sandboxId: labels[label.sandbox] ?? '',
    attempt: labelNumber(labels, label.attempt, 0),
    specHash: labels[label.specHash] ?? '',
    state: hasFailed ? 'exited' : containerState(state.Status),
    pid: state.Pid,
    createdAtMs: timeMs(details.Created),
    startedAtMs: timeMs(state.StartedAt) || failedAtMs,
    finishedAtMs: timeMs(state.FinishedAt) || failedAtMs,
    exitCode: state.ExitCode,
    oomKilled: state.OOMKilled,
    error: state.Error,
    image: labels[label.image] ?? config.Image,
    imageId: details.Image,
    tty: config.Tty,
    terminationMessageHostPath: labels[label.terminationMessage] ?? '',
    limits: {
      cpuShares: details.HostConfig.CpuShares ?? 0,
      cpuQuotaMicros: details.HostConfig.CpuQuota ?? 0,
      memoryBytes: details.HostConfig.Memory ?? 0,
    },
  };
}

function containerState(status: string): ContainerState {
  if (status === 'created') return 'created';
  return ['running', 'paused', 'restarting'].includes(status) ? 'running' : 'exited';
}

/** Docker writes the year 1 for "never". */
function timeMs(text: string): number {
  const ms = Date.parse(text);
  return Number.isFinite(ms) && ms > 0 ? ms : 0;
}
