// What a pod's status means to a person who calls it a copy of an app. Pure: pod in, words out.
// Source of the reasons: kubernetes pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime.
import type { ContainerStatus, Node, Pod } from '#kube/api/core.ts';
import { engineState } from './engine.ts';
import { plural } from './format.ts';
import { pullOf, pullState } from './pull.ts';
import { stateView, type StateView } from './vocabulary.ts';

const imageReasons = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
]);
const configReasons = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
]);

/**
 * A machine in trouble comes first: its copies can't be better than it. Then the worst container:
 * one in trouble makes the copy's state.
 */
export function copyState(pod: Pod, nodes: readonly Node[]): StateView {
  if (pod.metadata.deletionTimestamp !== undefined) return stateView('Stopping');
  const machine = machineTrouble(pod, nodes);
  if (machine !== undefined) return machine;
  const troubled = containerStatuses(pod)
    .map(containerTrouble)
    .find((state) => state !== undefined);
  if (troubled !== undefined) return troubled;
  switch (pod.status?.phase) {
    case 'Succeeded':
      return stateView('Gone', 'has finished its work');
    case 'Failed':
      return failedState(pod);
    case 'Running':
      return runningState(pod);
    case 'Unknown':
      return stateView('Waiting', 'its machine does not answer', { original: pod.status.message });
    default:
      return pendingState(pod);
  }
}

function machineTrouble(pod: Pod, nodes: readonly Node[]): StateView | undefined {
  const { phase } = pod.status ?? {};
  if (phase === 'Succeeded' || phase === 'Failed' || isReady(pod)) return undefined;
  const node = nodes.find(({ metadata }) => metadata.name === pod.spec.nodeName);
  if (node === undefined) return undefined;
  const state = engineState(node);
  if (state.kind === 'ready') return undefined;
  const { name } = node.metadata;
  const what =
    state.kind === 'silent' ? 'does not answer' : 'does not run containers at the moment';
  return stateView('Waiting', `${name} ${what}`, {
    original: state.original,
    nextStep: { kind: 'machine', label: 'See why', machine: name },
  });
}

export function restartCount(pod: Pod): number {
  const statuses = pod.status?.containerStatuses ?? [];
  return statuses.reduce(
    (sum, { restartCount: times = 0 }: Partial<ContainerStatus>) => sum + times,
    0,
  );
}

export function isReady(pod: Pod): boolean {
  return (
    pod.metadata.deletionTimestamp === undefined &&
    pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ===
      true
  );
}

/** In their order, but those on their way out after all others. */
export function goneLast(pods: readonly Pod[]): Pod[] {
  const isGoing = ({ metadata }: Pod): number => (metadata.deletionTimestamp === undefined ? 0 : 1);
  return pods.toSorted((a, b) => isGoing(a) - isGoing(b));
}

function containerStatuses(pod: Pod): readonly ContainerStatus[] {
  return [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
}

function containerTrouble(status: ContainerStatus): StateView | undefined {
  const waiting = status.state?.waiting;
  const reason = waiting?.reason ?? '';
  if (imageReasons.has(reason)) {
    return stateView('Trouble', `its image ${status.image} can't be fetched`, {
      original: waiting?.message ?? reason,
      nextStep: { kind: 'settings', label: 'Change the image' },
    });
  }
  if (configReasons.has(reason)) {
    return stateView('Trouble', "it can't be set up as asked", {
      original: waiting?.message ?? reason,
      nextStep: { kind: 'settings', label: 'Open settings' },
    });
  }
  if (reason === 'CrashLoopBackOff') return crashState(status);
  return undefined;
}

function crashState(status: ContainerStatus): StateView {
  const last = status.lastState?.terminated;
  const logs = { kind: 'logs', label: 'Read its logs' } as const;
  if (last?.reason === 'OOMKilled') {
    return stateView('Trouble', 'it keeps running out of memory', {
      original: `OOMKilled, exit code ${last.exitCode}`,
      nextStep: { kind: 'settings', label: 'Give it more memory' },
    });
  }
  const code = last === undefined ? '' : ` with exit code ${last.exitCode}`;
  const times = status.restartCount > 1 ? `, ${plural(status.restartCount, 'time')} so far` : '';
  return stateView('Trouble', `it stops right after starting${code}${times}`, {
    original: last?.message ?? status.state?.waiting?.message,
    nextStep: logs,
  });
}

function failedState(pod: Pod): StateView {
  if (pod.status?.reason === 'Evicted')
    return stateView('Trouble', 'its machine ran short and put it out', {
      original: pod.status.message,
    });
  return stateView('Trouble', 'it stopped with an error', {
    original: pod.status?.message,
    nextStep: { kind: 'logs', label: 'Read its logs' },
  });
}

function runningState(pod: Pod): StateView {
  if (isReady(pod)) return stateView('Running');
  const stopped = pod.status?.containerStatuses?.find(
    ({ state }) => state?.terminated !== undefined,
  );
  const ended = stopped?.state?.terminated;
  if (ended?.reason === 'OOMKilled') {
    return stateView('Trouble', 'it ran out of memory', {
      original: `OOMKilled, exit code ${ended.exitCode}`,
      nextStep: { kind: 'settings', label: 'Give it more memory' },
    });
  }
  if (ended !== undefined)
    return stateView(
      'Starting',
      `it stopped with exit code ${ended.exitCode} and is starting again`,
    );
  if (containerStatuses(pod).some(({ started }) => started === false))
    return stateView('Starting', 'is starting');
  return stateView('Starting', 'is not answering its health check yet', {
    nextStep: { kind: 'logs', label: 'Read its logs' },
  });
}

function pendingState(pod: Pod): StateView {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    return stateView('Waiting', unschedulableWords(scheduled.message ?? ''), {
      original: scheduled.message,
    });
  }
  if (pod.spec.nodeName === undefined || pod.spec.nodeName === '')
    return stateView('Starting', 'is looking for a machine');
  const pull = pullOf(pod);
  if (pull !== undefined) return pullState(pull);
  if (pod.status?.initContainerStatuses?.some(({ ready }) => !ready) === true)
    return stateView('Starting', 'is preparing');
  return stateView('Starting', 'is being set up');
}

const shortages: readonly (readonly [pattern: RegExp, words: string])[] = [
  [/no nodes available|0\/0 nodes/i, 'there is no machine yet'],
  [/volume node affinity conflict/i, "the machine that has its data can't take it"],
  [/persistentvolumeclaim ".*" not found|non-existent pv/i, 'the data that it keeps is not there'],
  [/didn't find available persistent volumes/i, 'no machine has what it wants to keep its data in'],
  [/insufficient memory/i, 'no machine has enough free memory'],
  [/insufficient cpu/i, 'no machine has enough free processor time'],
  [/insufficient ephemeral-storage/i, 'no machine has enough free disk'],
  [/too many pods/i, 'every machine already runs as many copies as it may'],
  [/not-ready|unreachable/i, 'no machine is ready to run it'],
  [/unschedulable/i, 'every machine is closed for maintenance'],
  [/free ports/i, 'its port is taken on every machine'],
  [/taint/i, 'every machine is reserved for something else'],
  [/affinity|selector/i, 'no machine is of the kind it asks for'],
];

/** The scheduler's `0/3 nodes are available: …` in one clause. */
export function unschedulableWords(message: string): string {
  return shortages.find(([pattern]) => pattern.test(message))?.[1] ?? 'no machine can take it';
}
