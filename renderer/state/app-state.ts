// One word, one reason and one next step for an app. The order of the questions is the meaning:
// going away, asleep, broken, waiting, starting, running. Pure.
// Source of the conditions: kubernetes pkg/controller/deployment/util/deployment_util.go.
import type { Event, Node, Pod } from '#kube/api/core.ts';
import { copyState } from './copy-state.ts';
import { engineState } from './engine.ts';
import { plural } from './format.ts';
import { furthestPull, pullState } from './pull.ts';
import { stateView, type StateView } from './vocabulary.ts';
import { type Workload, desiredCopies, readyCopies } from './workload.ts';

export interface AppSurroundings {
  /** Events of the app's namespace. */
  readonly events: readonly Event[];
  readonly nodes: readonly Node[];
}

export function appState(
  workload: Workload,
  pods: readonly Pod[],
  around: AppSurroundings,
): StateView {
  if (workload.metadata.deletionTimestamp !== undefined)
    return stateView('Gone', 'is being removed');
  const desired = desiredCopies(workload);
  const living = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (desired === 0 && workload.kind !== 'DaemonSet') return asleepState(pods);
  const copies = living.map((pod) => copyState(pod, around.nodes));
  const trouble = copies.find(({ word }) => word === 'Trouble');
  if (trouble !== undefined) return partialState(trouble, readyCopies(workload), desired);
  const refused = refusalOf(workload);
  if (refused !== undefined) return refused;
  const waiting = copies.find(({ word }) => word === 'Waiting');
  if (waiting !== undefined)
    return waitingState(waiting, around.nodes, { ready: readyCopies(workload), desired });
  if (desired > 0 && readyCopies(workload) >= desired && !isRollingOut(workload))
    return stateView('Running');
  if (workload.kind === 'DaemonSet' && desired === 0 && isObserved(workload))
    return stateView('Waiting', 'no machine is of the kind it asks for');
  return startingState(workload, living, around);
}

function asleepState(pods: readonly Pod[]): StateView {
  const reason = pods.length > 0 ? 'is going to sleep' : 'sleeps: it has no copies';
  return stateView('Asleep', reason, { nextStep: { kind: 'wake', label: 'Wake it' } });
}

/** Some copies may still work while one is in trouble: say so. */
function partialState(trouble: StateView, ready: number, desired: number): StateView {
  if (ready === 0) return trouble;
  return {
    ...trouble,
    reason: `${ready} of ${plural(desired, 'copy', 'copies')} work; for another, ${trouble.reason}`,
  };
}

/** What the controller itself could not do, such as creating copies at all. */
function refusalOf(workload: Workload): StateView | undefined {
  const conditions = workload.kind === 'DaemonSet' ? [] : (workload.status?.conditions ?? []);
  const failure = conditions.find(
    ({ type, status }) => type === 'ReplicaFailure' && status === 'True',
  );
  if (failure !== undefined) {
    return stateView('Trouble', "its copies can't be created", {
      original: failure.message,
      nextStep: { kind: 'settings', label: 'Open settings' },
    });
  }
  const progress = conditions.find(({ type }) => type === 'Progressing');
  if (progress?.reason === 'ProgressDeadlineExceeded') {
    return stateView('Trouble', 'its last change did not come up in time', {
      original: progress.message,
      nextStep: { kind: 'logs', label: 'Read its logs' },
    });
  }
  return undefined;
}

function waitingState(
  waiting: StateView,
  nodes: readonly Node[],
  { ready, desired }: { readonly ready: number; readonly desired: number },
): StateView {
  if (ready > 0) {
    const reason = `${ready} of ${plural(desired, 'copy', 'copies')} work; for another, ${waiting.reason}`;
    return { ...waiting, reason };
  }
  if (waiting.nextStep?.kind === 'machine') return waiting;
  const lacking = nodes.find((node) => engineState(node).kind !== 'ready');
  const anyReady = nodes.some((node) => engineState(node).kind === 'ready');
  if (lacking === undefined || anyReady) return waiting;
  return {
    ...waiting,
    reason: `${lacking.metadata.name} can't run apps yet`,
    nextStep: { kind: 'machine', label: 'See why', machine: lacking.metadata.name },
  };
}

function isObserved(workload: Workload): boolean {
  return (workload.status?.observedGeneration ?? 0) >= (workload.metadata.generation ?? 0);
}

function isRollingOut(workload: Workload): boolean {
  if (!isObserved(workload)) return true;
  if (workload.kind !== 'Deployment') return false;
  const { updatedReplicas = 0, replicas = 0 } = workload.status ?? {};
  return updatedReplicas < desiredCopies(workload) || replicas > updatedReplicas;
}

function startingState(
  workload: Workload,
  living: readonly Pod[],
  around: AppSurroundings,
): StateView {
  const desired = desiredCopies(workload);
  const ready = readyCopies(workload);
  if (ready > 0) {
    const reason =
      ready >= desired
        ? 'is changing over to its new version'
        : `${ready} of ${plural(desired, 'copy', 'copies')} ready`;
    return stateView('Starting', reason);
  }
  const pull = furthestPull(living);
  if (pull !== undefined) return pullState(pull);
  const pulling = living
    .map((pod) => pullingImage(pod, around.events))
    .find((image) => image !== undefined);
  if (pulling !== undefined) return stateView('Starting', `fetching ${pulling}`);
  const first = living
    .map((pod) => copyState(pod, around.nodes))
    .find(({ word }) => word === 'Starting');
  return first ?? stateView('Starting', 'is being set up');
}

/** The image a pod is fetching now: its newest event is a Pulling that nothing followed. */
export function pullingImage(pod: Pod, events: readonly Event[]): string | undefined {
  let newest: Event | undefined;
  for (const event of events) {
    if (event.involvedObject.uid !== pod.metadata.uid) continue;
    if (newest === undefined || timeOf(event) >= timeOf(newest)) newest = event;
  }
  if (newest?.reason !== 'Pulling') return undefined;
  return /"(.+?)"/.exec(newest.message ?? '')?.[1] ?? 'its image';
}

function timeOf(event: Event): string {
  return event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? '';
}
