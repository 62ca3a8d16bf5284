import { describe, expect, it } from 'vitest';
import type { Event, Pod } from '#kube/api/core.ts';
import type { App } from './app.ts';
import { deployProgress } from './deploy-progress.ts';
import { stateView, type StateView } from './vocabulary.ts';

function app(state: StateView, pods: readonly object[]): App {
  return { state, pods: pods as Pod[] } as unknown as App;
}
function pod(spec: object, container: object = {}): object {
  return {
    metadata: { name: 'web-1', uid: 'u1' },
    spec,
    status: { containerStatuses: [{ state: container }] },
  };
}
function event(reason: string, message = ''): Event {
  return {
    reason,
    message,
    involvedObject: { uid: 'u1' },
    lastTimestamp: '2026-01-01T00:00:00Z',
  } as unknown as Event;
}
const starting = stateView('Starting', 'is being set up');
const trouble = stateView('Trouble', "its image web can't be fetched");
const placed = { nodeName: 'nuc' };

const cases: {
  name: string;
  app: App | undefined;
  events?: Event[];
  label: string;
  status: string;
}[] = [
  { name: 'not seen by the watch yet', app: undefined, label: 'Creating…', status: 'now' },
  {
    name: 'no copy has a machine',
    app: app(starting, [pod({})]),
    label: 'Looking for a machine…',
    status: 'now',
  },
  {
    name: 'no machine can take it',
    app: app(stateView('Waiting', 'no machine has enough free memory'), [pod({})]),
    label: 'Looking for a machine…',
    status: 'waiting',
  },
  {
    name: 'its image is being fetched',
    app: app(starting, [pod(placed)]),
    events: [event('Pulling', 'Pulling image "web:1"')],
    label: 'Fetching the image…',
    status: 'now',
  },
  {
    name: 'its image is not to be had',
    app: app(trouble, [pod(placed)]),
    events: [event('Pulling')],
    label: 'Fetching the image…',
    status: 'failed',
  },
  {
    name: 'its image is there',
    app: app(starting, [pod(placed)]),
    events: [event('Pulled')],
    label: 'Starting…',
    status: 'now',
  },
  {
    name: 'it runs, but is not ready',
    app: app(starting, [pod(placed, { running: {} })]),
    label: 'Waiting until it is ready…',
    status: 'now',
  },
];

describe('deployProgress', () => {
  it.each(cases)('$name', ({ app: given, events = [], label, status }) => {
    const progress = deployProgress(given, events);
    const at = progress.steps.findIndex((step) => step.status !== 'done');
    expect([progress.label, progress.steps[at]?.status, progress.isDone]).toEqual([
      label,
      status,
      false,
    ]);
    expect(progress.share).toBe(at / progress.steps.length);
  });

  it('names the image while it is fetched, and the machine that was found', () => {
    const { steps } = deployProgress(app(starting, [pod(placed)]), [
      event('Pulling', 'Pulling image "web:1"'),
    ]);
    expect(steps.map(({ note }) => note)).toEqual(['', 'nuc', 'web:1', '', '']);
  });

  const pulls = [
    { message: 'Pulling image "web:1": 2.0 MB', label: '2.0 MB', note: 'web:1 · 2.0 MB', share: 2 },
    {
      message: 'Pulling image "web:1": 45 of 180 MB',
      label: '45 of 180 MB',
      note: 'web:1 · 45 of 180 MB',
      share: 2.125,
    },
    {
      message: 'Unpacking image "web:1": 90 of 180 MB',
      label: '90 of 180 MB',
      note: 'web:1 · unpacking 90 of 180 MB',
      share: 2.75,
    },
    {
      message: 'Pulling image "web:1": 45 of 180 MB on machine pi2',
      label: '45 of 180 MB on machine pi2',
      note: 'web:1 · 45 of 180 MB on machine pi2',
      share: 2.125,
    },
  ];
  it.each(pulls)('fills while $message', ({ message, label, note, share }) => {
    const waiting = { waiting: { reason: 'ContainerCreating', message } };
    const pulling = [event('Pulling', 'Pulling image "web:1"')];
    const progress = deployProgress(app(starting, [pod(placed, waiting)]), pulling);
    expect([progress.label, progress.steps[2]?.note]).toEqual([label, note]);
    expect(progress.share).toBeCloseTo(share / 5);
  });

  it('is done when the app runs, whatever events are gone', () => {
    const { isDone, share, steps } = deployProgress(app(stateView('Running'), [pod(placed)]), []);
    expect([isDone, share, steps.every(({ status }) => status === 'done')]).toEqual([
      true,
      1,
      true,
    ]);
  });

  it('has nothing to wait for without copies', () => {
    expect(deployProgress(app(stateView('Asleep'), []), []).isDone).toBe(true);
  });
});
