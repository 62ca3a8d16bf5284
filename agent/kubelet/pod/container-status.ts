// Pure: what the engine shows of one container → its entry in PodStatus.
// Source: kubernetes pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses).
import type {
  Container,
  ContainerState,
  ContainerStatus as ApiStatus,
  PodSpec,
} from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { quantityFromBytes, quantityFromMilli } from '#kube/machinery/quantity.ts';
import type { ContainerStatus } from '../../runtime/runtime.ts';
import { containerLimits } from '../container/container-resources.ts';
import { isSidecar, type ProbeResults } from './pod-actions.ts';

export interface Waiting {
  readonly reason: string;
  readonly message?: string;
}

export interface ContainerView {
  readonly podSpec: PodSpec;
  readonly container: Container;
  /** Of this container, newest first. */
  readonly history: readonly ContainerStatus[];
  /** Why it does not run, when a start failed or has to wait. */
  readonly waiting: Waiting | undefined;
  /** What it waits for before its first start. */
  readonly defaultWaiting: Waiting;
  readonly probes: ProbeResults;
  readonly previous: ApiStatus | undefined;
  /** By container id. */
  readonly terminationMessage: (id: string) => string;
  readonly runtimeName: string;
  /** Init containers are ready when they have succeeded. */
  readonly isInit: boolean;
  readonly isEphemeral: boolean;
}

export function containerStatus(view: ContainerView): ApiStatus {
  // Created but not yet started looks like nothing at all.
  const history = view.history.filter((entry) => entry.state !== 'created');
  const [latest, before] = history;
  const { container, previous, runtimeName } = view;
  const started = isStarted(view, latest);
  const state = stateOf(view, latest);
  const status: ApiStatus = {
    name: container.name,
    image: latest?.image ?? container.image ?? '',
    imageID:
      latest === undefined ? (previous?.imageID ?? '') : `${runtimeName}://${latest.imageId}`,
    // Never back: somebody may have removed the newest.
    restartCount: Math.max(latest?.attempt ?? 0, previous?.restartCount ?? 0),
    ready: isDone(view, state) || isReady(view, latest, started),
    started,
    state,
    lastState: {},
  };
  // What somebody looks with has nothing of its own.
  if (!view.isEphemeral) Object.assign(status, resourcesOf(view, latest));
  const containerId = latest === undefined ? previous?.containerID : idOf(view, latest);
  if (containerId !== undefined) status.containerID = containerId;
  const last = latest?.state === 'exited' && view.waiting !== undefined ? latest : before;
  if (last !== undefined) status.lastState = { terminated: terminated(view, last) };
  else if (latest === undefined && view.waiting !== undefined && previous?.state?.terminated)
    status.lastState = { terminated: previous.state.terminated };
  else if (latest === undefined && previous?.state?.running !== undefined)
    status.lastState = { terminated: unknownEnd };
  else if (previous?.lastState !== undefined && previous.restartCount === status.restartCount)
    status.lastState = previous.lastState;
  return status;
}

/** Of a container that ran and was removed by somebody else. */
const unknownEnd = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message:
    'The container could not be located when the pod was deleted.  The container used to be Running',
};

/** What it was given, and what the engine shows of it. */
function resourcesOf(
  { container, podSpec }: ContainerView,
  latest: ContainerStatus | undefined,
): Pick<ApiStatus, 'resources' | 'allocatedResources'> {
  const { claims: _, ...resources } = container.resources ?? {};
  const { requests } = resources;
  const allocated = requests === undefined ? {} : { allocatedResources: requests };
  const has = latest?.state === 'running' ? latest.limits : undefined;
  if (has === undefined) return { ...allocated, resources };
  const wanted = containerLimits(container, podSpec);
  const shown = { requests: { ...requests }, limits: { ...resources.limits } };
  if (has.cpuShares !== wanted.cpuShares)
    shown.requests['cpu'] = quantityFromMilli(Math.ceil((has.cpuShares * 1000) / 1024));
  if (has.cpuQuotaMicros !== wanted.cpuQuotaMicros)
    set(shown.limits, 'cpu', has.cpuQuotaMicros, quantityFromMilli(has.cpuQuotaMicros / 100));
  if (has.memoryBytes !== wanted.memoryBytes)
    set(shown.limits, 'memory', has.memoryBytes, quantityFromBytes(has.memoryBytes));
  for (const part of ['requests', 'limits'] as const)
    if (Object.keys(shown[part]).length === 0) delete (shown as Partial<typeof shown>)[part];
  return { ...allocated, resources: shown };
}

function set(
  list: Record<string, Quantity>,
  name: string,
  amount: number,
  quantity: Quantity,
): void {
  if (amount === 0) delete list[name];
  else list[name] = quantity;
}

function idOf(view: ContainerView, status: ContainerStatus): string {
  return `${view.runtimeName}://${status.id}`;
}

function stateOf(view: ContainerView, latest: ContainerStatus | undefined): ContainerState {
  if (latest?.state === 'running') return { running: { startedAt: rfc3339(latest.startedAtMs) } };
  if (view.waiting !== undefined) return { waiting: { ...view.waiting } };
  if (latest !== undefined) return { terminated: terminated(view, latest) };
  const ended = view.previous?.state?.terminated;
  if (ended !== undefined) return { terminated: ended };
  return { waiting: { ...view.defaultWaiting } };
}

function terminated(
  view: ContainerView,
  status: ContainerStatus,
): NonNullable<ContainerState['terminated']> {
  const message = status.error === '' ? view.terminationMessage(status.id) : status.error;
  const result: NonNullable<ContainerState['terminated']> = {
    exitCode: status.exitCode,
    reason: terminationReason(status),
    startedAt: rfc3339(status.startedAtMs),
    finishedAt: rfc3339(status.finishedAtMs),
    containerID: idOf(view, status),
  };
  if (message !== '') result.message = message;
  return result;
}

function terminationReason(status: ContainerStatus): string {
  if (status.error !== '') return 'StartError';
  if (status.oomKilled) return 'OOMKilled';
  return status.exitCode === 0 ? 'Completed' : 'Error';
}

/** Until a probe has run (again), an adopted container is what the API says it was. */
function known(view: ContainerView, latest: ContainerStatus): ApiStatus | undefined {
  return view.previous?.containerID === idOf(view, latest) ? view.previous : undefined;
}

function isStarted(view: ContainerView, latest: ContainerStatus | undefined): boolean {
  if (latest?.state !== 'running') return false;
  if (view.container.startupProbe === undefined) return true;
  return view.probes.startup ?? known(view, latest)?.started ?? false;
}

/** So far as an init container is ready at all. */
function isDone(
  { isInit, container }: ContainerView,
  { terminated: ended }: ContainerState,
): boolean {
  return isInit && !isSidecar(container) && ended?.exitCode === 0;
}

function isReady(
  view: ContainerView,
  latest: ContainerStatus | undefined,
  started: boolean,
): boolean {
  if (view.isInit && !isSidecar(view.container)) return false;
  if (!started || latest === undefined) return false;
  if (view.container.readinessProbe === undefined) return true;
  return view.probes.readiness ?? known(view, latest)?.ready ?? false;
}
