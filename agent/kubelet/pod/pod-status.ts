// Pure: a pod and what the engine shows of it → PodStatus. Conditions keep their transition time
// as long as their status stays; conditions that others own are kept as they are.
// Source: kubernetes pkg/kubelet/kubelet_pods.go (getPhase, generateAPIPodStatus),
// pkg/kubelet/status/generate.go.
import type { Container, ContainerStatus as ApiStatus, Pod, PodStatus } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import type { ObservedPod } from '../../runtime/runtime.ts';
import { containerStatus, type Waiting } from './container-status.ts';
import { isSidecar, latestContainers, type ProbeResults } from './pod-actions.ts';
import { podConditions, type ResizeState } from './pod-conditions.ts';
import { restartsAfter } from './restart.ts';

export interface StatusInput {
  readonly pod: Pod;
  readonly observed: ObservedPod;
  /** By container name. */
  readonly waiting: ReadonlyMap<string, Waiting>;
  readonly probes: (containerName: string) => ProbeResults;
  readonly terminationMessage: (containerId: string) => string;
  readonly runtimeName: string;
  readonly nodeIps: readonly string[];
  readonly qosClass: string;
  readonly nowMs: number;
  /** Nothing of the pod will run again: it was deleted, evicted, or ran out of time. */
  readonly isTerminal: boolean;
  readonly resize?: ResizeState;
  /** Set when the kubelet itself ended the pod. */
  readonly failure?: PodFailure;
}

export interface PodFailure {
  readonly reason: string;
  readonly message: string;
  /** Not the pod's own fault: who owns it need not count it (`podFailurePolicy` of Jobs). */
  readonly isDisruption: boolean;
  /** It was never taken: there is nothing to tell of its containers. */
  readonly isRejection?: boolean;
}

export function computePodStatus(input: StatusInput): PodStatus {
  const { pod, observed, failure } = input;
  const previous = pod.status ?? {};
  if (failure?.isRejection === true) return rejectedStatus(input, failure);
  const init = (pod.spec.initContainers ?? []).map((entry) => statusOf(input, entry, 'init'));
  const main = pod.spec.containers.map((entry) => statusOf(input, entry, 'main'));
  const ephemeral = (pod.spec.ephemeralContainers ?? []).map((entry) =>
    statusOf(input, entry as Container, 'ephemeral'),
  );
  const phase = failure === undefined ? phaseOf(input, init, main) : 'Failed';
  // What will never start waits for nothing.
  if ((phase === 'Succeeded' || phase === 'Failed') && input.waiting.size > 0)
    return computePodStatus({ ...input, waiting: new Map() });
  const status: PodStatus = {
    ...previous,
    phase,
    qosClass: previous.qosClass ?? input.qosClass,
    startTime: previous.startTime ?? rfc3339(input.nowMs),
    containerStatuses: main,
  };
  if (init.length > 0) status.initContainerStatuses = init;
  if (ephemeral.length > 0)
    status.ephemeralContainerStatuses = ephemeral.map((entry) => ({ ...entry, ready: false }));
  const [hostIp] = input.nodeIps;
  if (hostIp !== undefined) {
    status.hostIP = hostIp;
    status.hostIPs = input.nodeIps.map((ip) => ({ ip }));
  }
  setPodIps(status, input);
  if (failure !== undefined) {
    status.reason = failure.reason;
    status.message = failure.message;
  }
  if (pod.metadata.generation !== undefined) status.observedGeneration = pod.metadata.generation;
  const hasSandbox = observed.sandboxes.some(
    (sandbox) => sandbox.ready && (sandbox.ip !== '' || sandbox.hostNetwork),
  );
  const disruption = failure?.isDisruption === true ? failure.message : undefined;
  const { nowMs, resize = {} } = input;
  const isInitialized = hasInitialized(input);
  const known = { pod, status, init, main, isInitialized, hasSandbox, disruption, nowMs, resize };
  status.conditions = podConditions(known);
  return status;
}

/** As the kubelet tells it: the reason is what `kubectl get pod` shows. */
function rejectedStatus(
  { pod: { metadata, status = {} }, qosClass, nowMs }: StatusInput,
  { reason, message }: PodFailure,
): PodStatus {
  const { containerStatuses: _, initContainerStatuses: __, ...previous } = status;
  return {
    ...previous,
    phase: 'Failed',
    reason,
    message,
    qosClass: previous.qosClass ?? qosClass,
    startTime: previous.startTime ?? rfc3339(nowMs),
    ...(metadata.generation !== undefined && { observedGeneration: metadata.generation }),
  };
}

function statusOf(
  input: StatusInput,
  container: Container,
  role: 'init' | 'main' | 'ephemeral',
): ApiStatus {
  const { pod, observed } = input;
  const name = container.name;
  const previous = [
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.ephemeralContainerStatuses ?? []),
  ].find((status) => status.name === name);
  const history = observed.containers.filter((entry) => entry.name === name);
  // What has ended waits for nothing if nothing starts again.
  const isOver = input.isTerminal && history[0]?.state === 'exited';
  return containerStatus({
    podSpec: pod.spec,
    container,
    history,
    waiting: isOver ? undefined : input.waiting.get(name),
    defaultWaiting: defaultWaiting(pod),
    probes: input.probes(name),
    previous,
    terminationMessage: input.terminationMessage,
    runtimeName: input.runtimeName,
    isInit: role === 'init',
    isEphemeral: role === 'ephemeral',
  });
}

/** What a container waits for before its first start. */
export function defaultWaiting({ spec }: Pod): Waiting {
  const isInitializing = (spec.initContainers ?? []).length > 0;
  return { reason: isInitializing ? 'PodInitializing' : 'ContainerCreating' };
}

function setPodIps(status: PodStatus, input: StatusInput): void {
  const sandbox = input.observed.sandboxes.find((entry) => entry.ready);
  const ip = input.pod.spec.hostNetwork === true ? input.nodeIps[0] : sandbox?.ip;
  // A finished pod keeps showing the address it had.
  if (sandbox === undefined || ip === undefined || ip === '') return;
  status.podIP = ip;
  status.podIPs = [{ ip }];
}

function phaseOf(
  input: StatusInput,
  init: readonly ApiStatus[],
  main: readonly ApiStatus[],
): string {
  const { pod } = input;
  const previous = pod.status?.phase;
  if (previous === 'Succeeded' || previous === 'Failed') return previous;
  const willRestart = ({ name }: ApiStatus, exitCode: number): boolean => {
    const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
    const container = all.find((entry) => entry.name === name);
    return container !== undefined && restartsAfter(pod.spec, container, exitCode);
  };
  const isInitialized = hasInitialized(input);
  // Also one that had to run again, in a new sandbox.
  const hasFailed = init.some((status) => {
    const { exitCode = 0 } = status.state?.terminated ?? {};
    const isLast = (input.isTerminal && !isInitialized) || !willRestart(status, exitCode);
    return exitCode !== 0 && isLast;
  });
  if (hasFailed) return 'Failed';
  if (!isInitialized) {
    const isPending = init.some((status) => !isInitDone(pod, status));
    if (isPending) return 'Pending';
  }
  const running = main.filter((status) => status.state?.running !== undefined).length;
  const ended = main.map(
    (status) =>
      status.state?.terminated ??
      (status.state?.waiting === undefined ? undefined : status.lastState?.terminated),
  );
  const stopped = ended.filter((entry) => entry !== undefined);
  if (running + stopped.length < main.length) return 'Pending';
  if (running > 0) return 'Running';
  const goesOn = main.some((status, index) => willRestart(status, ended[index]?.exitCode ?? 0));
  if (goesOn && !input.isTerminal) return 'Running';
  return stopped.every((entry) => entry.exitCode === 0) ? 'Succeeded' : 'Failed';
}

function isInitDone(pod: Pod, status: ApiStatus): boolean {
  const container = pod.spec.initContainers?.find((entry) => entry.name === status.name);
  if (container !== undefined && isSidecar(container)) return status.started === true;
  return status.state?.terminated?.exitCode === 0;
}

/** A main container was started once: init containers have nothing more to say. */
function hasInitialized({ pod, observed }: StatusInput): boolean {
  const latest = latestContainers(observed);
  return pod.spec.containers.some(({ name }) => {
    const status = latest.get(name);
    return status !== undefined && status.state !== 'created';
  });
}
