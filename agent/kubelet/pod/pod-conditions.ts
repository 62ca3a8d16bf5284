// Pure: the conditions that the kubelet owns in a pod's status, in Kubernetes' wording.
// Source: kubernetes pkg/kubelet/status/generate.go.
import type { ContainerStatus, Pod, PodCondition, PodStatus } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { isSidecar } from './pod-actions.ts';
import type { PendingResize } from './pod-resize.ts';

export interface ConditionInput {
  readonly pod: Pod;
  /** The status so far; its conditions are the previous ones. */
  readonly status: PodStatus;
  readonly init: readonly ContainerStatus[];
  readonly main: readonly ContainerStatus[];
  /** As far as the engine shows it: a main container was started once. */
  readonly isInitialized: boolean;
  readonly hasSandbox: boolean;
  /** Why the kubelet ended the pod through no fault of its own. */
  readonly disruption: string | undefined;
  readonly nowMs: number;
  readonly resize: ResizeState;
}

/** What keeps containers from having what they were resized to. */
export interface ResizeState {
  readonly pending?: PendingResize;
  /** The engine's words. */
  readonly error?: string;
}

const resizeConditions = ['PodResizePending', 'PodResizeInProgress'];
/** Nobody else sets these. */
export const ownConditions: ReadonlySet<string> = new Set([
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
  ...resizeConditions,
]);

type Verdict = Pick<PodCondition, 'status' | 'reason' | 'message'>;

/** Why, of a DisruptionTarget that is the kubelet's. */
export const kubeletDisruption = 'TerminationByKubelet';

const isTrue: Verdict = { status: 'True' };

export function podConditions(input: ConditionInput): PodCondition[] {
  const previous = input.status.conditions ?? [];
  const containersReady = containersReadyVerdict(input);
  const verdicts = new Map<string, Verdict>([
    ['PodReadyToStartContainers', { status: input.hasSandbox ? 'True' : 'False' }],
    ['Initialized', initializedVerdict(input)],
    ['Ready', readyVerdict(input, containersReady)],
    ['ContainersReady', containersReady],
    ['PodScheduled', isTrue],
    ...resizeVerdicts(input.resize),
  ]);
  if (input.disruption !== undefined)
    verdicts.set('DisruptionTarget', {
      status: 'True',
      reason: kubeletDisruption,
      message: input.disruption,
    });
  const own = [...verdicts].map(([type, verdict]) => {
    const before = previous.find((condition) => condition.type === type);
    const kept = before?.status === verdict.status ? before.lastTransitionTime : undefined;
    const condition: PodCondition = {
      type,
      ...verdict,
      lastTransitionTime: kept ?? rfc3339(input.nowMs),
    };
    const { generation } = input.pod.metadata;
    if (generation !== undefined) condition.observedGeneration = generation;
    return condition;
  });
  const isKept = ({ type }: PodCondition) => !ownConditions.has(type) && !verdicts.has(type);
  return [...own, ...previous.filter(isKept)];
}

function resizeVerdicts({ pending, error }: ResizeState): [string, Verdict][] {
  const verdicts: [string, Verdict][] = [];
  if (pending !== undefined) verdicts.push(['PodResizePending', { status: 'True', ...pending }]);
  if (error !== undefined)
    verdicts.push(['PodResizeInProgress', { status: 'True', reason: 'Error', message: error }]);
  return verdicts;
}

function initializedVerdict(input: ConditionInput): Verdict {
  const { pod, status, init, main } = input;
  if (status.phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  if (input.isInitialized) return isTrue;
  if (main.some((entry) => entry.state?.running !== undefined || entry.restartCount > 0))
    return isTrue;
  if (main.some((entry) => entry.state?.terminated !== undefined)) return isTrue;
  const sidecars = new Set(
    (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name),
  );
  const incomplete = init
    .filter((entry) => (sidecars.has(entry.name) ? entry.started !== true : !entry.ready))
    .map((entry) => entry.name);
  if (incomplete.length === 0) return isTrue;
  return {
    status: 'False',
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: [${incomplete.join(' ')}]`,
  };
}

function containersReadyVerdict({ pod, status, init, main }: ConditionInput): Verdict {
  if (status.phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' };
  if (status.phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  const sidecars = new Set(
    (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name),
  );
  const unready = [...init.filter((entry) => sidecars.has(entry.name)), ...main]
    .filter((entry) => !entry.ready)
    .map((entry) => entry.name);
  if (unready.length === 0) return isTrue;
  return {
    status: 'False',
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${unready.join(' ')}]`,
  };
}

function readyVerdict({ pod, status }: ConditionInput, containersReady: Verdict): Verdict {
  if (containersReady.status !== 'True') return containersReady;
  const missing = (pod.spec.readinessGates ?? []).flatMap(({ conditionType }) => {
    const found = status.conditions?.find((condition) => condition.type === conditionType);
    if (found === undefined)
      return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    if (found.status === 'True') return [];
    return [
      `the status of pod readiness gate "${conditionType}" is not "True", but ${found.status}`,
    ];
  });
  if (missing.length === 0) return isTrue;
  return { status: 'False', reason: 'ReadinessGatesNotReady', message: missing.join(', ') };
}
