import { describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import type { Event, Node, Pod } from '#kube/api/core.ts';
import { appState, pullingImage } from './app-state.ts';
import { copyState } from './copy-state.ts';
import type { Workload } from './workload.ts';

interface DeploymentOptions {
  readonly replicas?: number;
  readonly ready?: number;
  readonly updated?: number;
  readonly conditions?: object[];
  readonly deletionTimestamp?: string;
}

function deployment(options: DeploymentOptions = {}): Deployment {
  const {
    replicas = 1,
    ready = 0,
    updated = replicas,
    conditions = [],
    deletionTimestamp,
  } = options;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: 'web',
      namespace: 'default',
      generation: 1,
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    },
    spec: { replicas, selector: {}, template: { spec: { containers: [] } } },
    status: {
      observedGeneration: 1,
      replicas,
      readyReplicas: ready,
      updatedReplicas: updated,
      conditions,
    },
  } as unknown as Deployment;
}

function pod(
  status: object,
  more: { nodeName?: string; uid?: string; deletionTimestamp?: string } = {},
): Pod {
  const { nodeName = 'nuc', uid = 'pod-1', deletionTimestamp } = more;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'web-abc',
      namespace: 'default',
      uid,
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    },
    spec: { nodeName, containers: [] },
    status,
  } as unknown as Pod;
}

function waitingPod(reason: string, message = '', more: object = {}): Pod {
  return pod({
    phase: 'Pending',
    containerStatuses: [
      {
        name: 'web',
        image: 'web:9',
        ready: false,
        restartCount: 0,
        state: { waiting: { reason, message } },
        ...more,
      },
    ],
  });
}

const readyPod = pod({
  phase: 'Running',
  conditions: [{ type: 'Ready', status: 'True' }],
  containerStatuses: [],
});
function unplaced(message: string): Pod {
  const why = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
  return pod({ phase: 'Pending', conditions: [why] }, { nodeName: '' });
}
const homeless = unplaced('0/1 nodes are available: 1 Insufficient memory.');
const around = { events: [], nodes: [] };

function machine(name: string, reason: string, message: string, status = 'False'): Node {
  const conditions = [{ type: 'Ready', status, reason, message }];
  return { metadata: { name }, status: { conditions } } as unknown as Node;
}

function brief(
  workload: Workload,
  pods: readonly Pod[],
  surroundings: { events: readonly Event[]; nodes: readonly Node[] } = around,
): string {
  const { word, reason } = appState(workload, pods, surroundings);
  return reason === '' ? word : `${word}: ${reason}`;
}

describe('appState', () => {
  const cases: readonly { name: string; workload: Workload; pods: readonly Pod[]; want: string }[] =
    [
      {
        name: 'all copies ready',
        workload: deployment({ ready: 1 }),
        pods: [readyPod],
        want: 'Running',
      },
      {
        name: 'being deleted, whatever its copies do',
        workload: deployment({ ready: 1, deletionTimestamp: 'now' }),
        pods: [readyPod],
        want: 'Gone: is being removed',
      },
      {
        name: 'no copies wanted',
        workload: deployment({ replicas: 0 }),
        pods: [],
        want: 'Asleep: sleeps: it has no copies',
      },
      {
        name: 'no copies wanted, some still there',
        workload: deployment({ replicas: 0 }),
        pods: [readyPod],
        want: 'Asleep: is going to sleep',
      },
      {
        name: 'nothing there yet',
        workload: deployment(),
        pods: [],
        want: 'Starting: is being set up',
      },
      {
        name: 'some of several ready',
        workload: deployment({ replicas: 3, ready: 1 }),
        pods: [readyPod],
        want: 'Starting: 1 of 3 copies ready',
      },
      {
        name: 'ready, but an older version',
        workload: deployment({ ready: 1, updated: 0 }),
        pods: [readyPod],
        want: 'Starting: is changing over to its new version',
      },
      {
        name: 'no copy works',
        workload: deployment(),
        pods: [waitingPod('ErrImagePull')],
        want: "Trouble: its image web:9 can't be fetched",
      },
      {
        name: 'one of two in trouble',
        workload: deployment({ replicas: 2, ready: 1 }),
        pods: [readyPod, waitingPod('ImagePullBackOff')],
        want: "Trouble: 1 of 2 copies work; for another, its image web:9 can't be fetched",
      },
      {
        name: 'trouble only in a copy that is going away',
        workload: deployment({ ready: 1 }),
        pods: [readyPod, pod({ phase: 'Failed' }, { deletionTimestamp: 'now' })],
        want: 'Running',
      },
      {
        name: 'no machine has room',
        workload: deployment(),
        pods: [homeless],
        want: 'Waiting: no machine has enough free memory',
      },
      {
        name: 'the machine with its data has no room',
        workload: deployment(),
        pods: [
          unplaced(
            '0/2 nodes: 1 Insufficient memory, 1 node(s) had volume node affinity conflict.',
          ),
        ],
        want: "Waiting: the machine that has its data can't take it",
      },
      {
        name: 'its data is gone',
        workload: deployment(),
        pods: [unplaced('0/1 nodes: persistentvolumeclaim "web-data" not found.')],
        want: 'Waiting: the data that it keeps is not there',
      },
      {
        name: 'copies refused',
        workload: deployment({
          conditions: [{ type: 'ReplicaFailure', status: 'True', message: 'quota' }],
        }),
        pods: [],
        want: "Trouble: its copies can't be created",
      },
      {
        name: 'too slow',
        workload: deployment({
          conditions: [
            { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded' },
          ],
        }),
        pods: [],
        want: 'Trouble: its last change did not come up in time',
      },
    ];
  it.each(cases)('$name', ({ workload, pods, want }) => {
    expect(brief(workload, pods)).toBe(want);
  });

  it('names the machine that can not run anything as the reason to wait', () => {
    const node = {
      metadata: { name: 'desk' },
      status: {
        conditions: [
          { type: 'Ready', status: 'False', reason: 'ContainerEngineMissing', message: 'none' },
        ],
      },
    } as unknown as Node;
    const state = appState(deployment(), [homeless], { events: [], nodes: [node] });
    expect([state.reason, state.nextStep]).toEqual([
      "desk can't run apps yet",
      { kind: 'machine', label: 'See why', machine: 'desk' },
    ]);
  });

  it('says the trouble of the very machine that a copy lives on, never that it starts', () => {
    const nodes = [
      machine('attic', 'ContainerEngineMissing', 'none'),
      machine('nuc', 'ContainerEngineStopped', 'refused'),
    ];
    const unready = pod({ phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] });
    expect([
      brief(deployment(), [unready], { events: [], nodes }),
      brief(deployment({ replicas: 2, ready: 1 }), [readyPod, unready], { events: [], nodes }),
    ]).toEqual([
      'Waiting: nuc does not run containers at the moment',
      'Waiting: 1 of 2 copies work; for another, nuc does not run containers at the moment',
    ]);
  });

  it('tells what is being fetched while an image is pulled', () => {
    const events = [event('Pulling', 'Pulling image "web:9"', '2026-01-01T00:00:01Z')];
    expect(brief(deployment(), [waitingPod('ContainerCreating')], { events, nodes: [] })).toBe(
      'Starting: fetching web:9',
    );
  });

  it('is never Running when the controller has not seen the newest change', () => {
    const stale = deployment({ ready: 1 });
    stale.metadata.generation = 2;
    expect(brief(stale, [readyPod])).toBe('Starting: is changing over to its new version');
  });
});

function event(reason: string, message: string, lastTimestamp: string): Event {
  return {
    involvedObject: { kind: 'Pod', uid: 'pod-1' },
    reason,
    message,
    lastTimestamp,
    metadata: { name: 'e' },
  } as unknown as Event;
}

describe('pullingImage', () => {
  it('is over as soon as something newer happened to the pod', () => {
    const events = [
      event('Pulled', 'done', '2026-01-01T00:00:02Z'),
      event('Pulling', 'Pulling image "web:9"', '2026-01-01T00:00:01Z'),
    ];
    expect(pullingImage(pod({}), events)).toBeUndefined();
  });
});

describe('a pull', () => {
  const pulling = (amount: string, uid: string, verb = 'Pulling'): Pod => {
    const message = `${verb} image "web:9": ${amount}`;
    return { ...waitingPod('ContainerCreating', message), metadata: { name: uid, uid } };
  };
  const cases = [
    { pods: [pulling('2.0 MB', 'a')], want: 'fetching its image: 2.0 MB', share: undefined },
    {
      pods: [pulling('20 of 80 MB', 'a'), pulling('40 of 80 MB', 'b')],
      want: 'fetching its image: 40 of 80 MB',
      share: 0.5,
    },
    {
      pods: [pulling('60 of 80 MB', 'a'), pulling('20 of 80 MB', 'b', 'Unpacking')],
      want: 'unpacking its image: 20 of 80 MB',
      share: 0.25,
    },
    { pods: [pulling('some', 'a')], want: 'is being set up', share: undefined },
  ];
  it.each(cases)('tells of the copy that is furthest: $want', ({ pods, want, share }) => {
    const state = appState(deployment({ ready: 0 }), pods, { events: [], nodes: [] });
    expect([state.word, state.reason, state.share]).toEqual(['Starting', want, share]);
  });
});

describe('copyState', () => {
  const crash = { lastState: { terminated: { exitCode: 1 } }, restartCount: 4 };
  const memory = { lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } } };
  const cases: readonly { name: string; pod: Pod; want: string; next?: string }[] = [
    { name: 'ready', pod: readyPod, want: 'Running: ' },
    {
      name: 'on its way out',
      pod: pod({ phase: 'Running' }, { deletionTimestamp: 'now' }),
      want: 'Stopping: ',
    },
    {
      name: 'crashing',
      pod: waitingPod('CrashLoopBackOff', 'back-off', crash),
      want: 'Trouble: it stops right after starting with exit code 1, 4 times so far',
      next: 'logs',
    },
    {
      name: 'out of memory again and again',
      pod: waitingPod('CrashLoopBackOff', '', memory),
      want: 'Trouble: it keeps running out of memory',
      next: 'settings',
    },
    {
      name: 'a missing setting',
      pod: waitingPod('CreateContainerConfigError', 'secret "x" not found'),
      want: "Trouble: it can't be set up as asked",
      next: 'settings',
    },
    {
      name: 'being created',
      pod: waitingPod('ContainerCreating'),
      want: 'Starting: is being set up',
    },
    {
      name: 'fetching its image',
      pod: waitingPod('ContainerCreating', 'Pulling image "a.b:5000/web:9": 62 of 180 MB'),
      want: 'Starting: fetching its image: 62 of 180 MB',
    },
    {
      name: 'not placed yet',
      pod: pod({ phase: 'Pending' }, { nodeName: '' }),
      want: 'Starting: is looking for a machine',
    },
    { name: 'placed nowhere', pod: homeless, want: 'Waiting: no machine has enough free memory' },
    {
      name: 'failing its health check',
      pod: pod({ phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] }),
      want: 'Starting: is not answering its health check yet',
      next: 'logs',
    },
    { name: 'finished', pod: pod({ phase: 'Succeeded' }), want: 'Gone: has finished its work' },
    {
      name: 'evicted',
      pod: pod({ phase: 'Failed', reason: 'Evicted' }),
      want: 'Trouble: its machine ran short and put it out',
    },
  ];
  it.each(cases)('$name', ({ pod: given, want, next }) => {
    const { word, reason, nextStep } = copyState(given, []);
    expect([`${word}: ${reason}`, nextStep?.kind]).toEqual([want, next]);
  });

  const unready = { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] };
  const stopped = machine('nuc', 'ContainerEngineStopped', 'docker.sock: connection refused');
  const onMachine: readonly { name: string; pod: Pod; node: Node; want: string }[] = [
    {
      name: 'its container engine is stopped',
      pod: pod(unready),
      node: stopped,
      want: 'Waiting: nuc does not run containers at the moment',
    },
    {
      name: 'its container engine is stopped, and the container failed for it',
      pod: waitingPod('CreateContainerError', 'connection refused'),
      node: stopped,
      want: 'Waiting: nuc does not run containers at the moment',
    },
    {
      name: 'it does not answer',
      pod: pod(unready),
      node: machine('nuc', 'NodeStatusUnknown', 'Kubelet stopped posting node status.', 'Unknown'),
      want: 'Waiting: nuc does not answer',
    },
    {
      name: 'it is well',
      pod: pod(unready),
      node: machine('nuc', 'KubeletReady', 'ready', 'True'),
      want: 'Starting: is not answering its health check yet',
    },
    {
      name: 'another one is in trouble',
      pod: pod(unready),
      node: machine('desk', 'ContainerEngineStopped', 'refused'),
      want: 'Starting: is not answering its health check yet',
    },
    { name: 'the copy is ready all the same', pod: readyPod, node: stopped, want: 'Running: ' },
    {
      name: 'the copy has finished',
      pod: pod({ phase: 'Succeeded' }),
      node: stopped,
      want: 'Gone: has finished its work',
    },
  ];
  it.each(onMachine)('of its machine: $name', ({ pod: given, node, want }) => {
    const { word, reason } = copyState(given, [node]);
    expect(`${word}: ${reason}`).toBe(want);
  });

  it("gives the machine's own words, and leads to it", () => {
    const { original, nextStep } = copyState(pod(unready), [stopped]);
    expect([original, nextStep]).toEqual([
      'docker.sock: connection refused',
      { kind: 'machine', label: 'See why', machine: 'nuc' },
    ]);
  });

  it("keeps the engine's own words beside the translation", () => {
    const original = 'Error response from daemon: manifest unknown';
    expect(copyState(waitingPod('ImagePullBackOff', original), []).original).toBe(original);
  });
});
