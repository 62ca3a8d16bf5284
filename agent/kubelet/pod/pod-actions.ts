// Decides, from a pod and what the engine shows of it, what has to be done next. Pure: the same
// pod and the same observation give the same actions; pod-sync.ts carries them out and looks again.
// Source: kubernetes pkg/kubelet/kuberuntime/{kuberuntime_manager,kuberuntime_container}.go.
import type { Container, Pod } from '#kube/api/core.ts';
import type { ContainerLimits, ContainerStatus, ObservedPod } from '../../runtime/runtime.ts';
import { canRestart, restartsAfter } from './restart.ts';

export interface ContainerKill {
  readonly id: string;
  readonly name: string;
  /** For the event: why it is stopped. */
  readonly message: string;
  /** Left out: the container's definition changed. */
  readonly failedProbe?: 'liveness' | 'startup';
}

export interface ContainerUpdate {
  readonly id: string;
  readonly name: string;
  readonly limits: ContainerLimits;
}

export interface ContainerStart {
  readonly name: string;
  /** The restart count it will have. */
  readonly attempt: number;
  /** What it replaces; undefined for a first start. */
  readonly last: ContainerStatus | undefined;
}

export interface PodActions {
  /** Stop everything: the pod is finished, or its sandbox has to be made anew. */
  readonly killPod: boolean;
  readonly createSandbox: boolean;
  /** Of the sandbox to create. */
  readonly sandboxAttempt: number;
  /** The sandbox to start containers in; '' when it has to be created. */
  readonly sandboxId: string;
  readonly kills: readonly ContainerKill[];
  readonly starts: readonly ContainerStart[];
  /** Of containers that go on running. */
  readonly updates: readonly ContainerUpdate[];
}

export interface ProbeResults {
  /** False: the probe failed often enough; undefined: not known yet, or no such probe. */
  readonly liveness?: boolean;
  readonly startup?: boolean;
  readonly readiness?: boolean;
}

export interface ActionInput {
  readonly pod: Pod;
  readonly observed: ObservedPod;
  /** What it was made as is known, not what was changed of it since: nothing is held against that. */
  readonly isOffline?: boolean;
  readonly probes: (containerName: string) => ProbeResults;
  readonly specHash: (container: Container) => string;
  readonly limits: (container: Container) => ContainerLimits;
  /** What the engine was last told to set, and took, by container id. */
  readonly limitsSet: (id: string) => ContainerLimits | undefined;
  /** From the pod's status: survives the removal of every dead container. */
  readonly knownRestarts: (containerName: string) => number | undefined;
}

export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** The newest container of each name; `sandboxId`: only of that sandbox. */
export function latestContainers(
  observed: ObservedPod,
  sandboxId?: string,
): ReadonlyMap<string, ContainerStatus> {
  const latest = new Map<string, ContainerStatus>();
  for (const status of observed.containers)
    if (!latest.has(status.name) && (sandboxId === undefined || status.sandboxId === sandboxId))
      latest.set(status.name, status);
  return latest;
}

export function computePodActions(input: ActionInput): PodActions {
  const { pod, observed } = input;
  const [newest] = observed.sandboxes;
  const ready = observed.sandboxes.filter((sandbox) => sandbox.ready);
  const [sandbox] = ready;
  const wantsHostNetwork = pod.spec.hostNetwork === true;
  const isUsable =
    sandbox !== undefined &&
    ready.length === 1 &&
    sandbox.hostNetwork === wantsHostNetwork &&
    (wantsHostNetwork || sandbox.ip !== '');
  if (isUsable) return actionsInSandbox(input, sandbox.id);
  const sandboxAttempt = newest === undefined ? 0 : newest.attempt + 1;
  const create = needsSandbox(input);
  const starts = create ? firstStarts(input) : [];
  return {
    killPod: hasRunning(observed) || ready.length > 0,
    createSandbox: create,
    sandboxAttempt,
    sandboxId: '',
    kills: [],
    starts,
    updates: [],
  };
}

function hasRunning(observed: ObservedPod): boolean {
  return observed.containers.some((status) => status.state === 'running');
}

/** Whether anything is left to run: a finished Job's pod gets no new sandbox after a reboot. */
function needsSandbox(input: ActionInput): boolean {
  const { pod, observed } = input;
  const latest = latestContainers(observed);
  const hasFailed = (pod.spec.initContainers ?? []).some((container) => {
    const status = latest.get(container.name);
    if (status?.state !== 'exited' || status.exitCode === 0) return false;
    return !shouldRestart(pod, container, status);
  });
  if (hasFailed) return false;
  return pod.spec.containers.some((container) => isToRun(pod, container, latest));
}

/** In a new sandbox. What still runs is ended before, and that may be its end. */
function isToRun(
  pod: Pod,
  container: Container,
  latest: ReadonlyMap<string, ContainerStatus>,
): boolean {
  const status = latest.get(container.name);
  if (status === undefined) return true;
  if (status.state === 'running') return canRestart(pod.spec, container);
  return shouldRestart(pod, container, status);
}

/** In a new sandbox init containers run again. */
function firstStarts(input: ActionInput): readonly ContainerStart[] {
  const { pod } = input;
  const [init] = pod.spec.initContainers ?? [];
  if (init !== undefined) return [startOf(input, init)];
  const latest = latestContainers(input.observed);
  return pod.spec.containers
    .filter((container) => isToRun(pod, container, latest))
    .map((container) => startOf(input, container));
}

function startOf(input: ActionInput, container: Container): ContainerStart {
  const last = latestContainers(input.observed).get(container.name);
  const known = input.knownRestarts(container.name);
  // Created but never started is a leftover of an interrupted start: it does not count.
  const counted = last?.state === 'created' ? last.attempt - 1 : last?.attempt;
  const attempt = Math.max(counted ?? -1, known ?? -1) + 1;
  return { name: container.name, attempt, last: last?.state === 'created' ? undefined : last };
}

export function shouldRestart(pod: Pod, container: Container, status: ContainerStatus): boolean {
  if (status.state === 'running') return false;
  return status.state === 'created' || restartsAfter(pod.spec, container, status.exitCode);
}

function actionsInSandbox(input: ActionInput, sandboxId: string): PodActions {
  const { pod } = input;
  const latest = latestContainers(input.observed, sandboxId);
  const kills: ContainerKill[] = [];
  const starts: ContainerStart[] = [];
  const updates: ContainerUpdate[] = [];
  const result = { createSandbox: false, sandboxAttempt: 0, sandboxId };
  const strays = strayKills(input, sandboxId);
  if (strays.length > 0) return { ...result, killPod: false, kills: strays, starts, updates };
  const ephemeral = ephemeralStarts(input);
  starts.push(...ephemeral);
  const init = initActions(input, latest, { kills, starts, updates });
  if (init === 'failed') return { ...result, killPod: true, kills: [], starts: [], updates: [] };
  if (init === 'waiting') return { ...result, killPod: false, kills, starts, updates };
  let keptCount = 0;
  for (const container of pod.spec.containers) {
    const status =
      latest.get(container.name) ?? latestContainers(input.observed).get(container.name);
    if (status === undefined || status.state !== 'running') {
      if (status === undefined || shouldRestart(pod, container, status))
        starts.push(startOf(input, container));
      continue;
    }
    const kill = killOf(input, container, status);
    if (kill !== undefined) kills.push(kill);
    else {
      keptCount++;
      updates.push(...updatesOf(input, container, status));
    }
  }
  // Nothing to run and nothing to start: finished. Sidecars end with the pod.
  const isForPeople = (start: ContainerStart): boolean => ephemeral.includes(start);
  const killPod = keptCount === 0 && starts.every(isForPeople) && kills.length === 0;
  return killPod
    ? { ...result, killPod, kills: [], starts: [], updates: [] }
    : { ...result, killPod, kills, starts, updates };
}

/**
 * What runs and is nobody's: in a sandbox that is gone (its network is, too), beside a newer one of
 * its name, or under a name that the pod does not have.
 */
function strayKills(
  { pod, observed, isOffline = false }: ActionInput,
  sandboxId: string,
): ContainerKill[] {
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec;
  const names = new Set(
    [...containers, ...initContainers, ...ephemeralContainers].map(({ name }) => name),
  );
  const latest = latestContainers(observed, sandboxId);
  return observed.containers
    .filter(({ state }) => state === 'running')
    .filter(({ name }) => names.has(name) || !isOffline)
    .filter((status) => latest.get(status.name) !== status || !names.has(status.name))
    .map(({ id, name }) => ({ id, name, message: `Stopping container ${name}` }));
}

/** Once each, whatever the others do; never again, and the pod ends without them. */
function ephemeralStarts(input: ActionInput): readonly ContainerStart[] {
  const latest = latestContainers(input.observed);
  return (input.pod.spec.ephemeralContainers ?? [])
    .filter(({ name }) => {
      const status = latest.get(name);
      const hasRun = status === undefined ? input.knownRestarts(name) !== undefined : true;
      return status?.state === 'created' || !hasRun;
    })
    .map((container) => startOf(input, container));
}

/** Undefined: the running container stays. */
function killOf(
  input: ActionInput,
  container: Container,
  status: ContainerStatus,
): ContainerKill | undefined {
  const { name } = container;
  const { id, specHash } = status;
  const probes = input.probes(name);
  const isKnown = input.isOffline !== true;
  if (isKnown && specHash !== input.specHash(container))
    return { id, name, message: `Container ${name} definition changed, will be restarted` };
  if (isKnown && needsRestart(input, container, status))
    return { id, name, message: `Container ${name} resize requires restart` };
  for (const failedProbe of ['liveness', 'startup'] as const)
    if (probes[failedProbe] === false) {
      const message = `Container ${name} failed ${failedProbe} probe, will be restarted`;
      return { id, name, message, failedProbe };
    }
  return undefined;
}

function updatesOf(
  input: ActionInput,
  container: Container,
  status: ContainerStatus,
): readonly ContainerUpdate[] {
  if (input.isOffline === true) return [];
  const limits = input.limits(container);
  const last = input.limitsSet(status.id);
  // An engine may take what it can't set, and say nothing: it is told once.
  if (last !== undefined && differing(limits, last).length === 0) return [];
  if (changedLimits(input, container, status).length === 0) return [];
  return [{ id: status.id, name: container.name, limits }];
}

const parts = { cpu: ['cpuShares', 'cpuQuotaMicros'], memory: ['memoryBytes'] } as const;

type Resizable = keyof typeof parts;

function changedLimits(
  { limits }: ActionInput,
  container: Container,
  { limits: has }: ContainerStatus,
): readonly Resizable[] {
  return has === undefined ? [] : differing(limits(container), has);
}

/** What of them is to be changed. */
export function differing(a: ContainerLimits, b: ContainerLimits): readonly Resizable[] {
  return (['cpu', 'memory'] as const).filter((what) =>
    parts[what].some((part) => a[part] !== b[part]),
  );
}

/** An engine that can't set what it was asked for at the start would be asked for ever. */
function needsRestart(input: ActionInput, container: Container, status: ContainerStatus): boolean {
  const { askedLimits } = status;
  const changed = changedLimits(input, container, status);
  const isNew =
    askedLimits === undefined ? changed : differing(input.limits(container), askedLimits);
  return (container.resizePolicy ?? []).some(
    ({ resourceName, restartPolicy }) =>
      restartPolicy === 'RestartContainer' &&
      changed.some((what) => what === resourceName && isNew.includes(what)),
  );
}

type InitProgress = 'done' | 'waiting' | 'failed';

interface Plan {
  readonly kills: ContainerKill[];
  readonly starts: ContainerStart[];
  readonly updates: ContainerUpdate[];
}

/** One init container at a time, in order; sidecars have to have started before the next one. */
function initActions(
  input: ActionInput,
  latest: ReadonlyMap<string, ContainerStatus>,
  out: Plan,
): InitProgress {
  const { pod } = input;
  const isInitialized = pod.spec.containers.some((container) => {
    const status = latest.get(container.name);
    return status !== undefined && status.state !== 'created';
  });
  for (const container of pod.spec.initContainers ?? []) {
    const status = latest.get(container.name);
    if (isSidecar(container)) {
      const isUp = sidecarActions(input, container, status, out);
      if (!isUp && !isInitialized) return 'waiting';
      continue;
    }
    if (isInitialized) continue;
    if (status?.state === 'exited' && status.exitCode === 0) continue;
    if (status?.state === 'exited' && !shouldRestart(pod, container, status)) return 'failed';
    if (status?.state !== 'running') out.starts.push(startOf(input, container));
    return 'waiting';
  }
  return 'done';
}

/** True when the sidecar runs and has passed its startup probe. */
function sidecarActions(
  input: ActionInput,
  container: Container,
  status: ContainerStatus | undefined,
  out: Plan,
): boolean {
  if (status?.state !== 'running') {
    out.starts.push(startOf(input, container));
    return false;
  }
  const kill = killOf(input, container, status);
  if (kill === undefined) out.updates.push(...updatesOf(input, container, status));
  else out.kills.push(kill);
  return container.startupProbe === undefined || input.probes(container.name).startup === true;
}
