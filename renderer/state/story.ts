// The day's story: Events as sentences about apps and machines, newest first. Noise is left out,
// repetitions are told once, a change of version is one story. Pure. Reasons: kubernetes pkg/kubelet/events, pkg/controller.
import type { Event, Pod } from '#kube/api/core.ts';
import { systemNamespaces } from './app.ts';
import { unschedulableWords } from './copy-state.ts';
import { displayName } from './format.ts';
import type { Tone } from './vocabulary.ts';

export interface StoryLine {
  readonly key: string;
  readonly time: string;
  readonly text: string;
  readonly tone: Tone;
  readonly count: number;
  readonly original: string;
}

interface Telling {
  readonly text: string;
  readonly tone: Tone;
}
type Teller = (subject: string, message: string) => Telling | undefined;

const tellers: Readonly<Record<string, Teller>> = {
  Pulling: (subject, message) =>
    tell(`${subject} is fetching ${quoted(message) ?? 'its image'}`, 'busy'),
  Started: (subject) => tell(`${subject} started`, 'ok'),
  Killing: (subject, message) =>
    /liveness|startup/i.test(message)
      ? tell(`${subject} did not answer and is started again`, 'wait')
      : tell(`${subject} stopped a copy`, 'gone'),
  BackOff: (subject, message) =>
    /pull/i.test(message)
      ? tell(`${subject} still can't fetch its image`, 'trouble')
      : tell(`${subject} keeps stopping`, 'trouble'),
  Failed: (subject, message) =>
    /pull|image/i.test(message)
      ? tell(`${subject} can't fetch its image`, 'trouble')
      : tell(`${subject} failed to start`, 'trouble'),
  FailedScheduling: (subject, message) =>
    tell(`${subject} waits: ${unschedulableWords(message)}`, 'wait'),
  FailedCreate: (subject) => tell(`${subject} could not get a new copy`, 'trouble'),
  FailedCreatePodSandBox: (subject) =>
    tell(`${subject} could not be set up, and tries again`, 'wait'),
  FailedMount: (subject) => tell(`${subject} is missing one of its folders`, 'trouble'),
  Unhealthy: (subject) => tell(`${subject} failed a health check`, 'wait'),
  OOMKilling: (subject) => tell(`${subject} ran out of memory`, 'trouble'),
  Evicted: (subject) => tell(`${subject} was put out to free its machine`, 'wait'),
  TaintManagerEviction: (subject) => tell(`${subject} left a machine that went away`, 'wait'),
  NodeReady: (subject) => tell(`${subject} is ready`, 'ok'),
  NodeNotReady: (subject) => tell(`${subject} is not ready`, 'trouble'),
  NodeNotSchedulable: (subject) => tell(`${subject} takes no new copies`, 'asleep'),
  NodeSchedulable: (subject) => tell(`${subject} takes new copies again`, 'ok'),
  RegisteredNode: (subject) => tell(`${subject} joined`, 'ok'),
  Rebooted: (subject) => tell(`${subject} was restarted`, 'wait'),
  Reboot: (subject) => tell(`${subject} restarts, as it was asked to`, 'busy'),
  RebootDone: (subject) => tell(`${subject} is back`, 'ok'),
  RebootFailed: (subject) => tell(`${subject} did not restart`, 'wait'),
  Sleep: (subject) => tell(`${subject} goes to sleep`, 'asleep'),
  SleepDone: (subject) => tell(`${subject} woke up`, 'ok'),
  SleepFailed: (subject) => tell(`${subject} did not go to sleep`, 'wait'),
  ShutDown: (subject) => tell(`${subject} shuts down, as it was asked to`, 'gone'),
  ShutDownDone: (subject) => tell(`${subject} is back`, 'ok'),
  ShutDownFailed: (subject) => tell(`${subject} did not shut down`, 'wait'),
  Remove: (subject) => tell(`${subject} is being taken out`, 'busy'),
  RemoveFailed: (subject) => tell(`${subject} was not taken out`, 'wait'),
  RemovingNode: (subject) => tell(`${subject} left`, 'gone'),
};

/** The same sentence again within this time is the same line. */
const foldMs = 10 * 60_000;
/** Scalings of two ReplicaSets closer than this are one change of version. */
const rolloutMs = 2 * 60_000;

export interface StoryOptions {
  readonly limit?: number;
  /** What people call a machine. */
  readonly titleOf?: (node: string) => string;
}

/** At most `limit` lines, newest first; what repeats itself is one line with a count. */
export function tellStory(
  events: readonly Event[],
  pods: readonly Pod[],
  { limit = 40, titleOf = (node) => node }: StoryOptions = {},
): StoryLine[] {
  const podsByUid = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
  const lines: StoryLine[] = [];
  const sorted = events
    .filter(({ involvedObject }) => !systemNamespaces.has(involvedObject.namespace ?? ''))
    .toSorted((a, b) => timeOf(b).localeCompare(timeOf(a)));
  const scalings = sorted.filter(({ reason }) => reason === 'ScalingReplicaSet');
  for (const event of sorted) {
    if (isStepOfRollout(event, scalings)) continue;
    const subject = subjectOf(event, podsByUid, titleOf);
    const telling = tellEvent(event, subject, isOfRollout(event, scalings));
    if (telling === undefined) continue;
    const at = lines.findIndex(
      ({ text, time }) => text === telling.text && msBetween(time, timeOf(event)) < foldMs,
    );
    const count = event.series?.count ?? event.count ?? 1;
    const known = lines[at];
    if (known !== undefined) lines[at] = { ...known, count: known.count + count };
    else if (lines.length === limit) break;
    else lines.push(lineOf(event, telling, count));
  }
  return lines;
}

function lineOf(event: Event, telling: Telling, count: number): StoryLine {
  return {
    key: event.metadata.uid ?? `${event.metadata.namespace}/${event.metadata.name}`,
    time: timeOf(event),
    count,
    original: `${event.reason}: ${event.message}`,
    ...telling,
  };
}

/** One of the ups and downs by which copies change over; its begin and its end are told. */
function isStepOfRollout(event: Event, scalings: readonly Event[]): boolean {
  const own = scalingOf(event);
  if (own === undefined || own.from === '0' || own.to === '0') return false;
  return isOfRollout(event, scalings);
}

/** Another ReplicaSet of the same Deployment was scaled at about the same time. */
function isOfRollout(event: Event, scalings: readonly Event[]): boolean {
  const replicaSet = scalingOf(event)?.replicaSet;
  return scalings.some(
    (other) =>
      other.involvedObject.uid === event.involvedObject.uid &&
      other.involvedObject.name === event.involvedObject.name &&
      scalingOf(other)?.replicaSet !== replicaSet &&
      msBetween(timeOf(other), timeOf(event)) < rolloutMs,
  );
}

interface Scaling {
  readonly direction: string;
  readonly replicaSet: string;
  readonly from: string;
  readonly to: string;
}

function scalingOf({ reason, message = '' }: Event): Scaling | undefined {
  if (reason !== 'ScalingReplicaSet') return undefined;
  const match = /^Scaled (up|down) replica set (\S+) (?:from (\d+) )?to (\d+)/.exec(message);
  if (match === null) return undefined;
  const [, direction = '', replicaSet = '', from = '0', to = ''] = match;
  return { direction, replicaSet, from, to };
}

function msBetween(a: string, b: string): number {
  return Math.abs(Date.parse(a) - Date.parse(b));
}

function tellEvent(event: Event, subject: string, isRollout: boolean): Telling | undefined {
  const scaling = scalingOf(event);
  if (scaling !== undefined) return tellScaling(subject, scaling, isRollout);
  const teller = tellers[event.reason ?? ''];
  if (teller !== undefined) return teller(subject, event.message ?? '');
  if (event.type !== 'Warning') return undefined;
  return tell(`${subject}: ${event.message ?? event.reason ?? ''}`, 'wait');
}

/** The machine's own name, or the app that the object belongs to. */
function subjectOf(
  event: Event,
  podsByUid: ReadonlyMap<string, Pod>,
  titleOf: (node: string) => string,
): string {
  const { kind, name = '', uid = '' } = event.involvedObject;
  if (kind === 'Node') return titleOf(name);
  if (kind === 'ReplicaSet') return displayName(name.replace(/-[a-z0-9]{5,10}$/, ''));
  if (kind !== 'Pod') return displayName(name);
  const owner = podsByUid
    .get(uid)
    ?.metadata.ownerReferences?.find(({ controller }) => controller === true);
  return displayName(appNameOfPod(name, owner?.kind));
}

/** `web-7d9f8c6b5-x2x4z` → `web`: pods of Deployments carry a hash and a suffix, others a suffix. */
export function appNameOfPod(podName: string, ownerKind?: string): string {
  const withoutSuffix = podName.replace(/-[a-z0-9]{5}$/, '');
  if (ownerKind !== undefined && ownerKind !== 'ReplicaSet') return withoutSuffix;
  return withoutSuffix.replace(/-[bcdf-hj-np-tv-z0-9]{7,10}$/, '');
}

export function timeOf(event: Event): string {
  const { series, lastTimestamp, eventTime, firstTimestamp, metadata } = event;
  return (
    series?.lastObservedTime ??
    lastTimestamp ??
    eventTime ??
    firstTimestamp ??
    metadata.creationTimestamp ??
    ''
  );
}

function tellScaling(subject: string, scaling: Scaling, isRollout: boolean): Telling {
  const { direction, from, to } = scaling;
  if (to === '0')
    return isRollout
      ? tell(`${subject} let go of its old version`, 'gone')
      : tell(`${subject} went to sleep`, 'asleep');
  if (from === '0') return tell(`${subject} is coming up`, 'busy');
  return tell(`${subject} went ${direction} to ${to} ${to === '1' ? 'copy' : 'copies'}`, 'ok');
}

function tell(text: string, tone: Tone): Telling {
  return { text, tone };
}

function quoted(message: string): string | undefined {
  return /"(.+?)"/.exec(message)?.[1];
}
