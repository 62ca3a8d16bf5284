// Columns of pods. STATUS is the most telling reason among phase, conditions and container states.
// Source: kubernetes pkg/printers/internalversion/printers.go printPod.
import type { Container, ContainerState, ContainerStatus, Pod } from '#kube/api/core.ts';
import type { Column } from '../resource.ts';
import { age } from './age.ts';
import { ageColumn, nameColumn, orNone } from './cells.ts';

export interface PodSummary {
  readonly readyContainers: number;
  readonly totalContainers: number;
  /** `Running`, `Init:0/1`, `CrashLoopBackOff`, `Completed`, `Terminating` … */
  readonly status: string;
  readonly restarts: number;
  /** When a container last ended before it was restarted; undefined if none did. */
  readonly lastRestart: string | undefined;
}

export const podColumns: readonly Column<Pod>[] = [
  nameColumn,
  {
    name: 'Ready',
    type: 'string',
    description: 'Containers that are ready, of all that have to be.',
    cell: (pod) => {
      const { readyContainers, totalContainers } = summarizePod(pod);
      return `${readyContainers}/${totalContainers}`;
    },
  },
  {
    name: 'Status',
    type: 'string',
    description: 'What the pod as a whole is doing, or why it is not running.',
    cell: (pod) => summarizePod(pod).status,
  },
  {
    name: 'Restarts',
    type: 'string',
    description: 'How often containers were restarted, and when the last one was.',
    cell: (pod, nowMs) => {
      const { restarts, lastRestart } = summarizePod(pod);
      if (restarts === 0 || lastRestart === undefined) return `${restarts}`;
      return `${restarts} (${age(lastRestart, nowMs)} ago)`;
    },
  },
  ageColumn,
  wide('IP', 'Address of the pod.', (pod) => orNone(pod.status?.podIPs?.[0]?.ip)),
  wide('Node', 'Node the pod is bound to.', (pod) => orNone(pod.spec.nodeName)),
  wide('Nominated Node', 'Node where room is being made for the pod.', (pod) =>
    orNone(pod.status?.nominatedNodeName),
  ),
  wide('Readiness Gates', 'Readiness gates that are true, of all declared.', readinessGates),
];

function wide(name: string, description: string, cell: (pod: Pod) => string): Column<Pod> {
  return { name, type: 'string', description, priority: 1, cell };
}

function readinessGates(pod: Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  const passed = gates.filter((gate) => conditionStatus(pod, gate.conditionType) === 'True');
  return `${passed.length}/${gates.length}`;
}

function conditionStatus(pod: Pod, type: string): string | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type)?.status;
}

/** READY, STATUS and RESTARTS of one pod. */
export function summarizePod(pod: Pod): PodSummary {
  const sidecars = new Set((pod.spec.initContainers ?? []).filter(isSidecar).map((c) => c.name));
  const totalContainers = pod.spec.containers.length + sidecars.size;
  const init = summarizeInit(pod, sidecars);
  const initialized = conditionStatus(pod, 'Initialized') === 'True';
  const outcome =
    init.reason !== undefined && !initialized
      ? { ...init, reason: init.reason, ready: 0 }
      : summarizeMain(pod, init);
  return {
    readyContainers: init.readySidecars + outcome.ready,
    totalContainers,
    status: deletionStatus(pod) ?? outcome.reason,
    restarts: outcome.restarts,
    lastRestart: outcome.lastRestart,
  };
}

/** A restartable init container: it runs beside the others and counts as one of them. */
function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

function deletionStatus(pod: Pod): string | undefined {
  if (pod.metadata.deletionTimestamp === undefined) return undefined;
  if (pod.status?.reason === 'NodeLost') return 'Unknown';
  const phase = pod.status?.phase;
  return phase === 'Succeeded' || phase === 'Failed' ? undefined : 'Terminating';
}

/** Before containers have their say: the pod's own reason, else its phase. */
function podReason(pod: Pod): string {
  const gated = pod.status?.conditions?.some(
    (condition) => condition.type === 'PodScheduled' && condition.reason === 'SchedulingGated',
  );
  if (gated === true) return 'SchedulingGated';
  const reason = pod.status?.reason;
  return reason === undefined || reason === '' ? (pod.status?.phase ?? '') : reason;
}

interface InitSummary extends Restarts {
  /** `Init:…` while initialization goes on or has failed. */
  readonly reason: string | undefined;
  readonly readySidecars: number;
  /** Those of sidecars alone: what counts once initialization is over. */
  readonly sidecar: Restarts;
}

interface Restarts {
  readonly restarts: number;
  readonly lastRestart: string | undefined;
}

const noRestarts: Restarts = { restarts: 0, lastRestart: undefined };

function summarizeInit(pod: Pod, sidecars: ReadonlySet<string>): InitSummary {
  let all = noRestarts;
  let sidecar = noRestarts;
  let readySidecars = 0;
  for (const [index, status] of (pod.status?.initContainerStatuses ?? []).entries()) {
    const isRestartable = sidecars.has(status.name);
    all = addRestarts(all, status);
    if (isRestartable) sidecar = addRestarts(sidecar, status);
    if (status.state?.terminated?.exitCode === 0) continue;
    if (isRestartable && status.started === true) {
      if (status.ready) readySidecars++;
      continue;
    }
    const progress = `${index}/${pod.spec.initContainers?.length ?? 0}`;
    const reason = `Init:${initReason(status.state) ?? progress}`;
    return { ...all, reason, readySidecars, sidecar };
  }
  return { ...all, reason: undefined, readySidecars, sidecar };
}

function initReason(state: ContainerState | undefined): string | undefined {
  if (state?.terminated !== undefined) return terminatedReason(state.terminated);
  const waiting = state?.waiting?.reason ?? '';
  return waiting === '' || waiting === 'PodInitializing' ? undefined : waiting;
}

function terminatedReason(terminated: NonNullable<ContainerState['terminated']>): string {
  if (terminated.reason !== undefined && terminated.reason !== '') return terminated.reason;
  const { signal = 0, exitCode } = terminated;
  return signal === 0 ? `ExitCode:${exitCode}` : `Signal:${signal}`;
}

function summarizeMain(pod: Pod, init: InitSummary): Restarts & { reason: string; ready: number } {
  let reason = init.reason ?? podReason(pod);
  let ready = 0;
  let total = init.sidecar;
  for (const status of (pod.status?.containerStatuses ?? []).toReversed()) {
    total = addRestarts(total, status);
    const { waiting, terminated, running } = status.state ?? {};
    if (waiting?.reason !== undefined && waiting.reason !== '') reason = waiting.reason;
    else if (terminated !== undefined) reason = terminatedReason(terminated);
    else if (status.ready && running !== undefined) ready++;
  }
  if (reason === 'Completed' && ready > 0)
    reason = conditionStatus(pod, 'Ready') === 'True' ? 'Running' : 'NotReady';
  return { ...total, reason, ready };
}

function addRestarts(sum: Restarts, status: ContainerStatus): Restarts {
  const finishedAt = status.lastState?.terminated?.finishedAt;
  // Kubernetes always writes it; whoever writes a status here may leave it out.
  const { restartCount }: { readonly restartCount?: number | undefined } = status;
  const { lastRestart } = sum;
  const isLater =
    finishedAt !== undefined &&
    (lastRestart === undefined || Date.parse(finishedAt) > Date.parse(lastRestart));
  return {
    restarts: sum.restarts + (restartCount ?? 0),
    lastRestart: isLater ? finishedAt : lastRestart,
  };
}
