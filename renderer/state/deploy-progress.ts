// How far a new app has come, from what its copies and their events say: the steps of the Deploy
// sheet tick themselves off. The copy that is furthest counts, until the last step, which needs all.
// Pure. Source of the event reasons: kubernetes pkg/kubelet/events/event.go.
import type { Event, Pod } from '#kube/api/core.ts';
import type { App } from './app.ts';
import { pullingImage } from './app-state.ts';
import { capitalize } from './format.ts';
import { furthestPull, type Pull } from './pull.ts';

export type StepStatus = 'done' | 'now' | 'waiting' | 'failed' | 'todo';

export interface DeployStep {
  readonly label: string;
  readonly status: StepStatus;
  readonly note: string;
}
export interface DeployProgress {
  readonly steps: readonly DeployStep[];
  /** Steps done of all, 0…1. */
  readonly share: number;
  /** What the button says meanwhile. */
  readonly label: string;
  readonly isDone: boolean;
  readonly hasFailed: boolean;
}

interface Step {
  readonly done: string;
  readonly now: string;
  readonly isDone: (facts: Facts) => boolean;
}
interface Facts {
  readonly app: App | undefined;
  readonly pods: readonly Pod[];
  readonly reasonsOf: (pod: Pod) => ReadonlySet<string>;
}

const imageStep: Step = { done: 'Image is there', now: 'Fetching the image', isDone: hasImage };
const steps: readonly Step[] = [
  { done: 'Created', now: 'Creating', isDone: ({ app }) => app !== undefined },
  {
    done: 'Found a machine',
    now: 'Looking for a machine',
    isDone: ({ pods }) => pods.some(({ spec }) => (spec.nodeName ?? '') !== ''),
  },
  imageStep,
  { done: 'Started', now: 'Starting', isDone: ({ pods }) => pods.some(hasStarted) },
  {
    done: 'Running',
    now: 'Waiting until it is ready',
    isDone: ({ app }) => app?.state.word === 'Running',
  },
];

export function deployProgress(app: App | undefined, events: readonly Event[]): DeployProgress {
  if (app?.state.word === 'Asleep') return asleep();
  const pods = (app?.pods ?? []).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const facts = { app, pods, reasonsOf: (pod: Pod) => reasonsOf(pod, events) };
  const isRunning = app?.state.word === 'Running';
  const at = isRunning ? -1 : steps.findIndex(({ isDone }) => !isDone(facts));
  const current = at === -1 ? steps.length : at;
  const hasFailed = app?.state.word === 'Trouble' || app?.state.word === 'Gone';
  const pull = steps[current] === imageStep && !hasFailed ? furthestPull(pods) : undefined;
  const status: StepStatus = hasFailed
    ? 'failed'
    : app?.state.word === 'Waiting'
      ? 'waiting'
      : 'now';
  return {
    steps: steps.map(({ done, now }, index) => ({
      label: index < current ? done : now,
      status: index < current ? 'done' : index === current ? status : 'todo',
      note:
        index === current
          ? ((pull && pullNote(pull)) ?? noteOf(app, pods, events))
          : index === 1
            ? machinesOf(pods)
            : '',
    })),
    share: (current + (pull === undefined ? 0 : stepShare(pull))) / steps.length,
    label: pull?.amount ?? `${steps[current]?.now ?? 'Running'}…`,
    isDone: isRunning,
    hasFailed,
  };
}

/** Deployed with no copies: there is nothing to wait for. */
function asleep(): DeployProgress {
  const created: DeployStep = {
    label: 'Created',
    status: 'done',
    note: 'It sleeps: it has no copies',
  };
  return { steps: [created], share: 1, label: 'Created', isDone: true, hasFailed: false };
}

/** Fetching is the first half of the step, unpacking the second. */
function stepShare({ isUnpacking, share = 0 }: Pull): number {
  return ((isUnpacking ? 1 : 0) + share) / 2;
}

function pullNote({ image, amount, isUnpacking }: Pull): string {
  return `${image} · ${isUnpacking ? 'unpacking ' : ''}${amount}`;
}

function noteOf(app: App | undefined, pods: readonly Pod[], events: readonly Event[]): string {
  if (app === undefined) return '';
  const image = pods.map((pod) => pullingImage(pod, events)).find((name) => name !== undefined);
  if (app.state.word === 'Starting' && image !== undefined) return image;
  return app.state.word === 'Running' ? '' : capitalize(app.state.reason);
}

function machinesOf(pods: readonly Pod[]): string {
  const names = pods.map(({ spec }) => spec.nodeName ?? '').filter((name) => name !== '');
  return [...new Set(names)].sort().join(', ');
}

function hasImage({ pods, reasonsOf: reasons }: Facts): boolean {
  return pods.some((pod) => {
    const known = reasons(pod);
    return hasStarted(pod) || known.has('Pulled') || known.has('Created') || known.has('Started');
  });
}

function hasStarted({ status }: Pod): boolean {
  return (
    status?.containerStatuses?.some(
      ({ state, lastState }) =>
        state?.running !== undefined ||
        state?.terminated !== undefined ||
        lastState?.terminated !== undefined,
    ) === true
  );
}

function reasonsOf({ metadata }: Pod, events: readonly Event[]): ReadonlySet<string> {
  const own = events.filter(({ involvedObject }) => involvedObject.uid === metadata.uid);
  return new Set(own.map(({ reason }) => reason ?? ''));
}
