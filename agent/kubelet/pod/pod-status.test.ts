import { describe, expect, it } from 'vitest';
import type { Container, Pod, PodSpec, PodStatus } from '#kube/api/core.ts';
import type { ContainerStatus } from '../../runtime/runtime.ts';
import type { ProbeResults } from './pod-actions.ts';
import { computePodStatus, type StatusInput } from './pod-status.ts';

const ref = { uid: 'u', name: 'p', namespace: 'n' };
const nowMs = Date.parse('2026-11-23T12:00:00Z');
const now = '2026-11-23T12:00:00Z';
const earlier = '2026-11-23T11:00:00Z';

function podOf(spec: Partial<PodSpec>, before?: PodStatus): Pod {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: ref,
    spec: { containers: [{ name: 'a', image: 'img' }], ...spec },
  };
  return before === undefined ? pod : { ...pod, status: before };
}

function container(more: Partial<ContainerStatus> = {}): ContainerStatus {
  return {
    id: 'c1',
    name: 'a',
    sandboxId: 's',
    attempt: 0,
    specHash: 'h',
    state: 'running',
    pid: 2,
    createdAtMs: 0,
    startedAtMs: Date.parse(earlier),
    finishedAtMs: 0,
    exitCode: 0,
    oomKilled: false,
    error: '',
    image: 'img',
    imageId: 'sha256:1',
    tty: false,
    terminationMessageHostPath: '',
    ...more,
  };
}

const exited = (exitCode: number) =>
  ({ state: 'exited', exitCode, finishedAtMs: nowMs, pid: 0 }) as const;

function status(
  pod: Pod,
  containers: readonly ContainerStatus[],
  more: Partial<StatusInput> = {},
): PodStatus {
  const sandbox = {
    id: 's',
    attempt: 0,
    ready: true,
    ip: '10.244.0.9',
    pid: 1,
    createdAtMs: 0,
    hostNetwork: false,
  };
  return computePodStatus({
    pod,
    observed: { pod: ref, gracePeriodSeconds: 30, sandboxes: [sandbox], containers },
    waiting: new Map(),
    probes: () => ({}),
    terminationMessage: () => '',
    runtimeName: 'docker',
    nodeIps: ['192.168.1.5'],
    qosClass: 'BestEffort',
    nowMs,
    isTerminal: false,
    ...more,
  });
}

const conditions = (result: PodStatus) =>
  Object.fromEntries((result.conditions ?? []).map(({ type, status: is }) => [type, is]));

describe('phase', () => {
  const init: Container[] = [{ name: 'i' }];
  const crash = new Map([['a', { reason: 'CrashLoopBackOff' }]]);
  const cases = [
    { name: 'nothing runs yet', result: status(podOf({}), []), want: 'Pending' },
    { name: 'it runs', result: status(podOf({}), [container()]), want: 'Running' },
    {
      name: 'an init container runs',
      result: status(podOf({ initContainers: init }), [container({ name: 'i' })]),
      want: 'Pending',
    },
    {
      name: 'an init container failed for good',
      result: status(podOf({ initContainers: init, restartPolicy: 'Never' }), [
        container({ name: 'i', ...exited(1) }),
      ]),
      want: 'Failed',
    },
    {
      name: 'ended well and is restarted always',
      result: status(podOf({}), [container(exited(0))]),
      want: 'Running',
    },
    {
      name: 'ended well and is not restarted',
      result: status(podOf({ restartPolicy: 'OnFailure' }), [container(exited(0))]),
      want: 'Succeeded',
    },
    {
      name: 'ended badly and is tried again',
      result: status(podOf({ restartPolicy: 'OnFailure' }), [container(exited(1))]),
      want: 'Running',
    },
    {
      name: 'ended badly and is not restarted',
      result: status(podOf({ restartPolicy: 'Never' }), [container(exited(1))]),
      want: 'Failed',
    },
    {
      name: 'waits to be restarted',
      result: status(podOf({}), [container(exited(1))], { waiting: crash }),
      want: 'Running',
    },
    {
      name: 'an init container failed that had to run again, before the rest could begin',
      result: status(
        podOf({
          initContainers: init,
          containers: [{ name: 'a' }, { name: 'b' }],
          restartPolicy: 'Never',
        }),
        [container(exited(1)), container({ name: 'i', ...exited(1) })],
      ),
      want: 'Failed',
    },
    {
      name: 'a sidecar crashed before the app began, never restarted otherwise',
      result: status(
        podOf({ initContainers: [{ name: 'i', restartPolicy: 'Always' }], restartPolicy: 'Never' }),
        [container({ name: 'i', ...exited(1) })],
      ),
      want: 'Pending',
    },
    {
      name: 'was deleted and ended badly',
      result: status(podOf({}), [container(exited(137))], { isTerminal: true }),
      want: 'Failed',
    },
    {
      name: 'was deleted and ended well',
      result: status(podOf({}), [container(exited(0))], { isTerminal: true }),
      want: 'Succeeded',
    },
    {
      name: 'had failed before: never changes',
      result: status(podOf({}, { phase: 'Failed' }), [container()]),
      want: 'Failed',
    },
  ];
  it.each(cases)('$name: $want', ({ result, want }) => {
    expect(result.phase).toBe(want);
  });
});

describe('a container', () => {
  const one = (...args: Parameters<typeof status>) => status(...args).containerStatuses?.[0];

  it('waits with ContainerCreating before its first start, PodInitializing behind init containers', () => {
    expect(one(podOf({}), [])?.state).toEqual({ waiting: { reason: 'ContainerCreating' } });
    const pod = podOf({ initContainers: [{ name: 'i' }] });
    expect(one(pod, [])?.state).toEqual({ waiting: { reason: 'PodInitializing' } });
  });

  it('in back-off waits and tells how it ended in lastState', () => {
    const waiting = new Map([['a', { reason: 'CrashLoopBackOff', message: 'back-off 10s' }]]);
    const result = one(podOf({}), [container({ ...exited(3), attempt: 2 })], {
      waiting,
      terminationMessage: () => 'last words',
    });
    expect(result).toMatchObject({
      restartCount: 2,
      ready: false,
      state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } },
      lastState: {
        terminated: {
          exitCode: 3,
          reason: 'Error',
          message: 'last words',
          containerID: 'docker://c1',
        },
      },
    });
  });

  it('that somebody removed while it ran is waited for, and nobody knows how it ended', () => {
    const ran = { name: 'a', image: 'img', imageID: 'x', ready: true, restartCount: 2 };
    const state = { running: { startedAt: earlier } };
    const before = { ...ran, containerID: 'docker://c1', state };
    const result = status(podOf({}, { containerStatuses: [before] }), []);
    expect(result.phase).toBe('Running');
    expect(result.containerStatuses?.[0]).toMatchObject({
      ready: false,
      restartCount: 2,
      state: { waiting: { reason: 'ContainerCreating' } },
      lastState: { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } },
    });
  });

  it('never counts its restarts back, whatever was removed', () => {
    const before = { name: 'a', image: 'img', imageID: 'x', ready: false, restartCount: 4 };
    const result = one(podOf({}, { containerStatuses: [before] }), [container({ attempt: 1 })]);
    expect(result?.restartCount).toBe(4);
  });

  it('that has ended and was removed stays ended', () => {
    const ended = { exitCode: 0, reason: 'Completed', containerID: 'docker://c1' };
    const ran = { name: 'a', image: 'img', imageID: 'x', ready: false, restartCount: 0 };
    const before = { ...ran, containerID: 'docker://c1', state: { terminated: ended } };
    const pod = podOf({ restartPolicy: 'Never' }, { containerStatuses: [before] });
    const result = status(pod, []);
    expect(result.phase).toBe('Succeeded');
    expect(result.containerStatuses?.[0]?.state).toEqual({ terminated: ended });
  });

  it('of a pod that was deleted waits for nothing once it has ended', () => {
    const waiting = new Map([['a', { reason: 'CrashLoopBackOff' }]]);
    const result = one(podOf({}), [container(exited(3))], { waiting, isTerminal: true });
    expect(result?.state?.terminated).toMatchObject({ exitCode: 3 });
  });

  it('of a pod that is over waits for nothing', () => {
    const waiting = new Map([['b', { reason: 'ErrImagePull' }]]);
    const init = [{ name: 'i' }];
    const pod = podOf({
      initContainers: init,
      containers: [{ name: 'a' }, { name: 'b' }],
      restartPolicy: 'Never',
    });
    const result = status(pod, [container({ name: 'i', ...exited(1) })], { waiting });
    expect(result.phase).toBe('Failed');
    expect(result.containerStatuses?.[1]?.state?.waiting).toEqual({ reason: 'PodInitializing' });
  });

  const reasons = [
    { name: 'success', more: exited(0), want: 'Completed' },
    { name: 'failure', more: exited(2), want: 'Error' },
    { name: 'out of memory', more: { ...exited(137), oomKilled: true }, want: 'OOMKilled' },
    { name: 'no such program', more: { ...exited(127), error: 'exec: no' }, want: 'StartError' },
  ];
  it.each(reasons)('that ended by $name has reason $want', ({ more, want }) => {
    const pod = podOf({ restartPolicy: 'Never' });
    expect(one(pod, [container(more)])?.state?.terminated?.reason).toBe(want);
  });

  it('shows the run before this one in lastState', () => {
    const result = one(podOf({}), [
      container({ id: 'c2', attempt: 1 }),
      container({ id: 'c1', ...exited(137) }),
    ]);
    expect(result?.state?.running).toEqual({ startedAt: earlier });
    expect(result?.lastState?.terminated).toMatchObject({
      exitCode: 137,
      containerID: 'docker://c1',
    });
  });

  const probed: Partial<PodSpec> = { containers: [{ name: 'a', readinessProbe: {} }] };
  const readiness: { name: string; probes: ProbeResults; id?: string; want: boolean }[] = [
    { name: 'not probed yet', probes: {}, want: false },
    { name: 'probe succeeded', probes: { readiness: true }, want: true },
    { name: 'probe failed', probes: { readiness: false }, want: false },
    { name: 'adopted by a new agent, was ready', probes: {}, id: 'docker://c1', want: true },
    {
      name: 'a new container, the one before was ready',
      probes: {},
      id: 'docker://c0',
      want: false,
    },
  ];
  it.each(readiness)('is ready or not: $name', ({ probes, id, want }) => {
    const before: PodStatus = {
      containerStatuses: [
        { name: 'a', ready: true, restartCount: 0, image: '', imageID: '', containerID: id ?? '' },
      ],
    };
    const result = one(podOf(probed, id === undefined ? undefined : before), [container()], {
      probes: () => probes,
    });
    expect(result?.ready).toBe(want);
  });
});

describe('an init container', () => {
  it('that has to run again is not ready, however it ended before', () => {
    const pod = podOf({ initContainers: [{ name: 'i' }] });
    const waiting = new Map([['i', { reason: 'CreateContainerError' }]]);
    const again = status(pod, [container({ name: 'i', ...exited(0) })], { waiting });
    expect(again.initContainerStatuses?.[0]).toMatchObject({
      ready: false,
      state: { waiting: { reason: 'CreateContainerError' } },
    });
    expect(conditions(again)['Initialized']).toBe('False');
  });
});

describe('an ephemeral container', () => {
  it('has a status of its own and no say in the phase', () => {
    const pod = podOf({ ephemeralContainers: [{ name: 'e' }] });
    const names = pod.spec.containers.map(({ name }) => container({ name }));
    const result = status(pod, [...names, container({ name: 'e', ...exited(3) })]);
    expect(result.phase).toBe('Running');
    expect(result.ephemeralContainerStatuses).toMatchObject([
      { name: 'e', ready: false, state: { terminated: { exitCode: 3 } } },
    ]);
    expect(result.containerStatuses?.map(({ name }) => name)).not.toContain('e');
  });
});

describe('the pod', () => {
  it('has all conditions True when everything runs, with its addresses', () => {
    const result = status(podOf({}), [container()]);
    expect(conditions(result)).toEqual({
      PodReadyToStartContainers: 'True',
      Initialized: 'True',
      Ready: 'True',
      ContainersReady: 'True',
      PodScheduled: 'True',
    });
    expect(result).toMatchObject({
      podIP: '10.244.0.9',
      podIPs: [{ ip: '10.244.0.9' }],
      hostIP: '192.168.1.5',
      startTime: now,
      qosClass: 'BestEffort',
    });
  });

  it('is initialized once a main container has run, whatever is left of the init containers', () => {
    const pod = podOf({ initContainers: [{ name: 'i' }] });
    const waiting = new Map([['a', { reason: 'CrashLoopBackOff' }]]);
    const result = status(pod, [container(exited(1))], { waiting });
    expect([result.phase, conditions(result)['Initialized']]).toEqual(['Running', 'True']);
  });

  it('names the containers that are not ready', () => {
    const result = status(podOf({}), []);
    expect(result.conditions?.find(({ type }) => type === 'ContainersReady')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [a]',
    });
  });

  it('is not ready until its readiness gates are True', () => {
    const pod = podOf({ readinessGates: [{ conditionType: 'x.y/z' }] });
    const condition = (result: PodStatus) =>
      result.conditions?.find(({ type }) => type === 'Ready');
    expect(condition(status(pod, [container()]))).toMatchObject({
      status: 'False',
      reason: 'ReadinessGatesNotReady',
      message: 'corresponding condition of pod readiness gate "x.y/z" does not exist.',
    });
    const open = { ...pod, status: { conditions: [{ type: 'x.y/z', status: 'True' }] } };
    const result = status(open, [container()]);
    expect(condition(result)?.status).toBe('True');
    expect(result.conditions).toContainEqual({ type: 'x.y/z', status: 'True' });
  });

  it('keeps the transition time of a condition that stays', () => {
    const before = { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: earlier }] };
    const ready = (containers: ContainerStatus[]) =>
      status(podOf({}, before), containers).conditions?.find(({ type }) => type === 'Ready');
    expect(ready([container()])?.lastTransitionTime).toBe(earlier);
    expect(ready([])?.lastTransitionTime).toBe(now);
  });

  it('keeps its address after it finished', () => {
    const before = { podIP: '10.244.0.7', podIPs: [{ ip: '10.244.0.7' }], phase: 'Succeeded' };
    const result = status(podOf({}, before), [], {
      observed: { pod: ref, gracePeriodSeconds: 30, sandboxes: [], containers: [] },
    });
    expect(result.podIP).toBe('10.244.0.7');
  });
});
