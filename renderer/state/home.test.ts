import { describe, expect, it } from 'vitest';
import type { Event, Node, Pod } from '#kube/api/core.ts';
import type { App } from './app.ts';
import { engineState } from './engine.ts';
import { describeHome, homeNote } from './home.ts';
import { loosePods } from './loose-pods.ts';
import { machineGauges } from './gauges.ts';
import { describeMachine, faceOf } from './machine.ts';
import { appNameOfPod, tellStory } from './story.ts';
import { stateView, type StateView } from './vocabulary.ts';

function node(
  name: string,
  ready: object = { status: 'True' },
  more: {
    annotations?: object;
    conditions?: object[];
    arch?: string;
    cpu?: string;
    unschedulable?: boolean;
  } = {},
): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, annotations: more.annotations ?? {} },
    spec: { unschedulable: more.unschedulable },
    status: {
      capacity: { cpu: more.cpu ?? '4', memory: '8Gi' },
      conditions: [{ type: 'Ready', ...ready }, ...(more.conditions ?? [])],
      nodeInfo: { architecture: more.arch ?? 'amd64', osImage: 'Debian GNU/Linux 12 (bookworm)' },
    },
  } as unknown as Node;
}

function app(name: string, state: StateView): App {
  return { key: `Deployment/default/${name}`, name, state } as unknown as App;
}

const missing = { status: 'False', reason: 'ContainerEngineMissing', message: 'no socket' };
const requested = { annotations: { 'flotilla.dev/install-engine': 'requested' } };

describe('describeMachine', () => {
  const cases = [
    { name: 'ready', node: node('nuc'), want: 'Well' },
    { name: 'without an engine', node: node('nuc', missing), want: 'Needs a container engine' },
    {
      name: 'asked to install one',
      node: node('nuc', missing, requested),
      want: 'Installing its container engine',
    },
    {
      name: 'that its engine does not let in',
      node: node('nuc', { status: 'False', reason: 'ContainerEngineForbidden' }),
      want: 'May not use its container engine',
    },
    {
      name: 'with a stopped engine',
      node: node('nuc', { status: 'False', reason: 'ContainerEngineStopped' }),
      want: 'Its container engine is stopped',
    },
    {
      name: 'silent',
      node: node('nuc', { status: 'Unknown', reason: 'NodeStatusUnknown' }),
      want: 'Does not answer',
    },
    {
      name: 'short of memory',
      node: node(
        'nuc',
        { status: 'True' },
        { conditions: [{ type: 'MemoryPressure', status: 'True' }] },
      ),
      want: 'Is short of memory',
    },
    {
      name: 'put to sleep',
      node: node(
        'nuc',
        { status: 'Unknown', reason: 'NodeAsleep' },
        { conditions: [{ type: 'Asleep', status: 'True' }] },
      ),
      want: 'Asleep',
    },
    {
      name: 'a Pi as it comes',
      node: node(
        'nuc',
        { status: 'True' },
        { conditions: [{ type: 'MemoryLimitsNotEnforced', status: 'True' }] },
      ),
      want: "Can't keep apps within their memory",
    },
    {
      name: 'closed',
      node: node('nuc', { status: 'True' }, { unschedulable: true }),
      want: 'Closed for new copies',
    },
  ];
  it.each(cases)('$name: $want', ({ node: given, want }) => {
    expect(describeMachine(given, []).word).toBe(want);
  });

  it('an engine that came is ready, whatever was asked before', () => {
    expect(engineState(node('nuc', { status: 'True' }, requested)).kind).toBe('ready');
  });

  it.each([
    ['pi-kitchen', {}, 'pi'],
    ['anything', { arch: 'arm64' }, 'pi'],
    ['thinkpad', {}, 'laptop'],
    ['nuc', {}, 'mini'],
    ['desk', { cpu: '16' }, 'tower'],
  ] as const)('%s is drawn as it is', (name, more, face) => {
    expect(faceOf(node(name, { status: 'True' }, more))).toBe(face);
  });
});

describe('describeHome', () => {
  const well = describeMachine(node('nuc'), []);
  const trouble = stateView('Trouble', 'it stops');
  const cases = [
    { name: 'nobody joined', apps: [], machines: [], want: 'No machine has joined yet.' },
    { name: 'nothing deployed', apps: [], machines: [well], want: 'Your home is ready.' },
    {
      name: 'all runs',
      apps: [app('web', stateView('Running'))],
      machines: [well],
      want: 'Everything is well.',
    },
    {
      name: 'asleep is well',
      apps: [app('web', stateView('Asleep'))],
      machines: [well],
      want: 'Everything is well.',
    },
    {
      name: 'one starts',
      apps: [app('my-web', stateView('Starting'))],
      machines: [well],
      want: 'My web is starting.',
    },
    {
      name: 'two start',
      apps: [app('a', stateView('Starting')), app('b', stateView('Starting'))],
      machines: [well],
      want: 'A and B are starting.',
    },
    {
      name: 'one waits',
      apps: [app('web', stateView('Waiting', 'no room'))],
      machines: [well],
      want: 'One app is waiting.',
    },
    {
      name: 'one in trouble',
      apps: [app('web', trouble)],
      machines: [well],
      want: 'One app needs you.',
    },
    {
      name: 'two in trouble',
      apps: [app('a', trouble), app('b', trouble)],
      machines: [well],
      want: '2 apps need you.',
    },
    {
      name: 'no engine',
      apps: [],
      machines: [describeMachine(node('desk', missing), [])],
      want: 'One machine needs you.',
    },
  ];
  it.each(cases)('$name: $want', ({ apps, machines, want }) => {
    expect(describeHome(apps, machines).headline).toBe(want);
  });

  const engines = [
    { name: 'offers to install where it can', ready: missing, step: 'Install Docker' },
    { name: 'shows that it was asked', ready: missing, more: requested, step: undefined },
    { name: 'offers no button that is refused', reason: 'NotInstallable', step: 'Look at it' },
    { name: 'shows that it goes on unasked', reason: 'Installing', step: undefined },
    {
      name: 'says what to do about a failure, and offers another try',
      reason: 'InstallFailed',
      message: 'failed (exit 100): E: Unable to fetch some archives',
      text: /could not be fetched\. See that the machine is online/,
      step: 'Try again',
    },
    {
      name: 'points to the words of any other failure',
      reason: 'InstallFailed',
      message: 'E: held broken packages',
      text: /what the system says below/,
      step: 'Try again',
    },
  ];
  it.each(engines)(
    'a container engine that lacks: $name',
    ({ ready, reason, message = '', more, text = /./, step }) => {
      const condition = ready ?? { status: 'False', reason: `ContainerEngine${reason}`, message };
      const machine = describeMachine(node('desk', condition, more), []);
      const [card] = describeHome([], [machine]).attention;
      expect(card?.nextStep?.label).toBe(step);
      expect(card?.text).toMatch(text);
    },
  );

  it('puts machines before apps, as apps suffer from them', () => {
    const machines = [describeMachine(node('desk', missing), [])];
    expect(describeHome([app('web', trouble)], machines).attention.map(({ key }) => key)).toEqual([
      'machine/desk',
      'Deployment/default/web',
    ]);
  });

  it('is not well while a pod is in trouble that belongs to no app', () => {
    const waiting = {
      state: { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } },
    };
    const pods = ['mine', 'miss'].map((name) => ({
      metadata: { name, namespace: name === 'mine' ? 'kube-system' : 'default' },
      spec: { nodeName: 'desk', containers: [{ name, image: 'nosuch/image:9' }] },
      status: { phase: 'Pending', containerStatuses: [{ name, ...waiting }] },
    })) as unknown as Pod[];
    const web = { ...app('web', stateView('Running')), pods: [] };
    const home = describeHome([web], [well], loosePods(pods, [web], []));
    expect(home.headline).toBe('One thing needs you.');
    expect(home.attention).toMatchObject([
      { title: 'miss is in trouble', nextStep: { kind: 'machine', machine: 'desk' } },
    ]);
  });

  it('counts memory only of machines that tell it', () => {
    const machines = [well, describeMachine(node('pi'), [])];
    expect(homeNote([], machines, (name) => (name === 'pi' ? 2 * 2 ** 30 : undefined))).toBe(
      '2 machines · 25 % of memory in use',
    );
  });
});

describe('machineGauges', () => {
  it('says how big a machine is when nobody tells how full', () => {
    const gauges = machineGauges(describeMachine(node('nuc'), []), undefined);
    expect(gauges.map(({ share, text }) => [share, text])).toEqual([
      [undefined, '4 cores'],
      [undefined, '8 GB'],
      [undefined, 'unknown'],
    ]);
  });

  it('has no more than there is, also when two clocks make it so', () => {
    const sample = { cpuNanoCores: 4.2e9 } as Parameters<typeof machineGauges>[1];
    const [processor] = machineGauges(describeMachine(node('nuc'), []), sample);
    expect(processor).toMatchObject({ share: 1, text: '100 % of 4 cores' });
  });
});

describe('tellStory', () => {
  let number = 0;
  function event(reason: string, message = '', more: object = {}): Event {
    number++;
    return {
      metadata: { name: `e${number}`, uid: `u${number}` },
      involvedObject: { kind: 'Pod', name: 'web-7d9f8c6b5f-x2k4z', namespace: 'default' },
      reason,
      message,
      lastTimestamp: `2026-01-01T00:00:${String(number).padStart(2, '0')}Z`,
      ...more,
    } as unknown as Event;
  }
  function texts(...events: Event[]): string[] {
    return tellStory(events, []).map(({ text, count }) =>
      count > 1 ? `${text} × ${count}` : text,
    );
  }
  const deployment = { involvedObject: { kind: 'Deployment', name: 'web', namespace: 'default' } };

  const cases = [
    { event: event('Pulling', 'Pulling image "web:9"'), want: 'Web is fetching web:9' },
    {
      event: event('BackOff', 'Back-off pulling image "web:9"'),
      want: "Web still can't fetch its image",
    },
    {
      event: event('BackOff', 'Back-off restarting failed container web'),
      want: 'Web keeps stopping',
    },
    {
      event: event('Killing', 'Container web failed liveness probe, will be restarted'),
      want: 'Web did not answer and is started again',
    },
    {
      event: event('ScalingReplicaSet', 'Scaled up replica set web-5f from 1 to 3', deployment),
      want: 'Web went up to 3 copies',
    },
    {
      event: event('ScalingReplicaSet', 'Scaled up replica set web-5f from 0 to 1', deployment),
      want: 'Web is coming up',
    },
    {
      event: event('ScalingReplicaSet', 'Scaled down replica set web-5f from 1 to 0', deployment),
      want: 'Web went to sleep',
    },
    {
      event: event('FailedScheduling', '0/1 nodes are available: 1 Insufficient cpu.'),
      want: 'Web waits: no machine has enough free processor time',
    },
    {
      event: event('NodeNotReady', '', { involvedObject: { kind: 'Node', name: 'pi' } }),
      want: 'pi is not ready',
    },
    { event: event('Odd', 'something new', { type: 'Warning' }), want: 'Web: something new' },
  ];
  it.each(cases)('$want', ({ event: given, want }) => {
    expect(texts(given)).toEqual([want]);
  });

  it("leaves out noise and the system's own", () => {
    const own = event('Started', '', {
      involvedObject: { kind: 'Pod', name: 'dns', namespace: 'kube-system' },
    });
    expect(texts(event('SuccessfulCreate'), event('Scheduled'), own)).toEqual([]);
  });

  it('tells a change of version as that, not as the ups and downs of its copies', () => {
    const scaled = (message: string): Event => event('ScalingReplicaSet', message, deployment);
    const rollout = [
      scaled('Scaled up replica set web-b2 from 0 to 1'),
      scaled('Scaled down replica set web-a1 from 2 to 1'),
      scaled('Scaled up replica set web-b2 from 1 to 2'),
      scaled('Scaled down replica set web-a1 from 1 to 0'),
    ];
    expect(texts(...rollout)).toEqual(['Web let go of its old version', 'Web is coming up']);
  });

  it('tells what goes to and fro once, as long as it goes on', () => {
    const failing = [1, 2, 3].flatMap(() => [event('Pulling', '"web:9"'), event('Failed', 'pull')]);
    expect(texts(...failing)).toEqual([
      "Web can't fetch its image × 3",
      'Web is fetching web:9 × 3',
    ]);
  });

  it('tells newest first, and a repetition once', () => {
    expect(texts(event('Started'), event('BackOff', 'x'), event('BackOff', 'y'))).toEqual([
      'Web keeps stopping × 2',
      'Web started',
    ]);
  });

  it("uses the owner's kind to find an app's name", () => {
    const pod = {
      metadata: { uid: 'p', ownerReferences: [{ kind: 'DaemonSet', controller: true }] },
    } as unknown as Pod;
    const given = event('Started', '', {
      involvedObject: { kind: 'Pod', name: 'my-collector-x2k4z', uid: 'p' },
    });
    expect(tellStory([given], [pod])[0]?.text).toBe('My collector started');
  });

  it.each([
    ['web-7d9f8c6b5f-x2k4z', undefined, 'web'],
    ['my-web-7d9f8c6b5f-x2k4z', 'ReplicaSet', 'my-web'],
    ['agent-x2k4z', 'DaemonSet', 'agent'],
  ])('%s of %s is %s', (pod, kind, want) => {
    expect(appNameOfPod(pod, kind)).toBe(want);
  });
});
