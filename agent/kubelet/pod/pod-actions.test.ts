import { describe, expect, it } from 'vitest';
import type { Container, Pod, PodSpec } from '#kube/api/core.ts';
import type {
  ContainerLimits,
  ContainerStatus,
  ObservedPod,
  SandboxStatus,
} from '../../runtime/runtime.ts';
import { computePodActions, type ActionInput, type PodActions } from './pod-actions.ts';

const ref = { uid: 'u', name: 'p', namespace: 'n' };

function podOf(spec: Partial<PodSpec>): Pod {
  const containers: Container[] = [{ name: 'a' }, { name: 'b' }];
  return { apiVersion: 'v1', kind: 'Pod', metadata: ref, spec: { containers, ...spec } };
}

function sandbox(more: Partial<SandboxStatus> = {}): SandboxStatus {
  return {
    id: 's0',
    attempt: 0,
    ready: true,
    ip: '10.244.0.2',
    pid: 1,
    createdAtMs: 0,
    hostNetwork: false,
    ...more,
  };
}

function container(name: string, more: Partial<ContainerStatus> = {}): ContainerStatus {
  return {
    id: `${name}${more.attempt ?? 0}`,
    name,
    sandboxId: 's0',
    attempt: 0,
    specHash: 'h',
    state: 'running',
    pid: 2,
    createdAtMs: 0,
    startedAtMs: 1,
    finishedAtMs: 0,
    exitCode: 0,
    oomKilled: false,
    error: '',
    image: 'i',
    imageId: 'x',
    tty: false,
    terminationMessageHostPath: '',
    ...more,
  };
}

const small = { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 64 };
const exited = (exitCode: number) => ({ state: 'exited', exitCode }) as const;

const limitsSet = new Map<string, ContainerLimits>();

function actions(
  spec: Partial<PodSpec>,
  sandboxes: readonly SandboxStatus[],
  containers: readonly ContainerStatus[],
  more: Partial<ActionInput> = {},
): PodActions {
  const observed: ObservedPod = { pod: ref, gracePeriodSeconds: 30, sandboxes, containers };
  return computePodActions({
    pod: podOf(spec),
    observed,
    probes: () => ({}),
    specHash: () => 'h',
    limits: () => small,
    limitsSet: (id) => limitsSet.get(id),
    knownRestarts: () => undefined,
    ...more,
  });
}

const brief = (result: PodActions) => ({
  kill: result.killPod,
  create: result.createSandbox,
  kills: result.kills.map(({ name }) => name),
  starts: result.starts.map(({ name, attempt }) => `${name}${attempt}`),
});
const nothing = { kill: false, create: false, kills: [], starts: [] };
const finished = { ...nothing, kill: true };
const init: Container[] = [{ name: 'i' }, { name: 'j' }];
const sidecar: Container[] = [{ name: 's', restartPolicy: 'Always', startupProbe: {} }];

const restartsAfter42: Container = {
  name: 'a',
  restartPolicy: 'Never',
  restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }],
};

describe('what a pod needs next', () => {
  const cases = [
    {
      name: 'nothing there: a sandbox and every container',
      result: actions({}, [], []),
      want: { ...nothing, create: true, starts: ['a0', 'b0'] },
    },
    {
      name: 'all runs: nothing',
      result: actions({}, [sandbox()], [container('a'), container('b')]),
      want: nothing,
    },
    {
      name: 'a pod that runs once: only the container with a policy of its own starts again',
      result: actions(
        {
          restartPolicy: 'Never',
          containers: [{ name: 'a' }, { name: 'b', restartPolicy: 'OnFailure' }],
        },
        [sandbox()],
        [container('a', exited(1)), container('b', exited(1))],
      ),
      want: { ...nothing, starts: ['b1'] },
    },
    {
      name: 'a rule for its exit code: started again',
      result: actions(
        { restartPolicy: 'Never', containers: [restartsAfter42] },
        [sandbox()],
        [container('a', exited(42))],
      ),
      want: { ...nothing, starts: ['a1'] },
    },
    {
      name: 'no rule for its exit code: its own policy',
      result: actions({ containers: [restartsAfter42] }, [sandbox()], [container('a', exited(1))]),
      want: finished,
    },
    {
      name: 'an init container that is not to be tried again, of a pod that is',
      result: actions(
        { initContainers: [{ name: 'i', restartPolicy: 'Never' }] },
        [sandbox()],
        [container('i', exited(1))],
      ),
      want: finished,
    },
    {
      name: 'the sandbox of a pod that runs once is gone: a new one for what may start again',
      result: actions(
        { restartPolicy: 'Never', containers: [restartsAfter42] },
        [sandbox({ ready: false })],
        [container('a', exited(42))],
      ),
      want: { ...nothing, kill: false, create: true, starts: ['a1'] },
    },
    {
      name: 'an ephemeral container: started once, beside what runs',
      result: actions(
        { ephemeralContainers: [{ name: 'e' }, { name: 'f' }] },
        [sandbox()],
        [container('a'), container('b'), container('f', exited(1))],
      ),
      want: { ...nothing, starts: ['e0'] },
    },
    {
      name: 'an ephemeral container: while init containers still run',
      result: actions(
        { initContainers: init, ephemeralContainers: [{ name: 'e' }] },
        [sandbox()],
        [container('i')],
      ),
      want: { ...nothing, starts: ['e0'] },
    },
    {
      name: 'an ephemeral container that has run and was tidied away: not again',
      result: actions(
        { ephemeralContainers: [{ name: 'e' }] },
        [sandbox()],
        [container('a'), container('b')],
        { knownRestarts: (name) => (name === 'e' ? 0 : undefined) },
      ),
      want: nothing,
    },
    {
      name: 'an ephemeral container does not keep a finished pod',
      result: actions(
        { restartPolicy: 'Never', ephemeralContainers: [{ name: 'e' }] },
        [sandbox()],
        [container('a', exited(0)), container('b', exited(0))],
      ),
      want: finished,
    },
    {
      name: 'one exited, policy Always: only that one again',
      result: actions({}, [sandbox()], [container('a', exited(0)), container('b')]),
      want: { ...nothing, starts: ['a1'] },
    },
    {
      name: 'policy OnFailure: success stays, failure comes again',
      result: actions(
        { restartPolicy: 'OnFailure' },
        [sandbox()],
        [container('a', exited(0)), container('b', { ...exited(1), attempt: 4 })],
      ),
      want: { ...nothing, starts: ['b5'] },
    },
    {
      name: 'policy Never: one ended, one runs: wait for it',
      result: actions(
        { restartPolicy: 'Never' },
        [sandbox()],
        [container('a', exited(1)), container('b')],
      ),
      want: nothing,
    },
    {
      name: 'policy Never: all ended: finished',
      result: actions(
        { restartPolicy: 'Never' },
        [sandbox()],
        [container('a', exited(1)), container('b', exited(0))],
      ),
      want: finished,
    },
    {
      name: 'created but never started counts as not there, with the same restart count',
      result: actions(
        {},
        [sandbox()],
        [container('a', { state: 'created', attempt: 2 }), container('b')],
      ),
      want: { ...nothing, starts: ['a2'] },
    },
    {
      name: 'every record lost: the restart count goes on from the status',
      result: actions({}, [sandbox()], [container('b')], { knownRestarts: () => 6 }),
      want: { ...nothing, starts: ['a7'] },
    },
    {
      name: 'the newest record lost: the restart count goes on from the status',
      result: actions(
        {},
        [sandbox()],
        [container('a', { ...exited(1), attempt: 2 }), container('b')],
        {
          knownRestarts: () => 6,
        },
      ),
      want: { ...nothing, starts: ['a7'] },
    },
    {
      name: 'sandbox dead: stop the rest, new sandbox, all containers again',
      result: actions({}, [sandbox({ ready: false })], [container('a'), container('b')]),
      want: { kill: true, create: true, kills: [], starts: ['a1', 'b1'] },
    },
    {
      name: 'sandbox without an address is no sandbox',
      result: actions({}, [sandbox({ ip: '' })], []),
      want: { kill: true, create: true, kills: [], starts: ['a0', 'b0'] },
    },
    {
      name: 'on the host network a sandbox needs no address',
      result: actions(
        { hostNetwork: true },
        [sandbox({ ip: '', hostNetwork: true })],
        [container('a'), container('b')],
      ),
      want: nothing,
    },
    {
      name: 'finished pod after a reboot: no new sandbox',
      result: actions(
        { restartPolicy: 'Never' },
        [sandbox({ ready: false })],
        [container('a', exited(0)), container('b', exited(0))],
      ),
      want: nothing,
    },
    {
      name: 'finished after a reboot, but for one that was never started: only that',
      result: actions(
        { restartPolicy: 'Never' },
        [sandbox({ ready: false })],
        [container('a', exited(0)), container('b', { state: 'created' })],
      ),
      want: { ...nothing, create: true, starts: ['b0'] },
    },
    {
      name: 'an init container failed for good: no new sandbox either',
      result: actions(
        { initContainers: init, restartPolicy: 'Never' },
        [sandbox({ ready: false })],
        [container('i', exited(1))],
      ),
      want: nothing,
    },
    {
      name: 'sandbox dead, policy Never: what runs is ended and does not come again',
      result: actions(
        { restartPolicy: 'Never' },
        [sandbox({ ready: false })],
        [container('a'), container('b')],
      ),
      want: { ...nothing, kill: true },
    },
    {
      name: 'running in a sandbox that is gone: stopped, and nothing else this time',
      result: actions(
        {},
        [sandbox({ id: 's1' }), sandbox({ ready: false })],
        [container('a'), container('b', { sandboxId: 's1', attempt: 1 })],
      ),
      want: { ...nothing, kills: ['a'] },
    },
    {
      name: 'running beside a newer one: the older one is stopped',
      result: actions(
        {},
        [sandbox()],
        [container('a', { attempt: 1 }), container('a', { attempt: 0 }), container('b')],
      ),
      want: { ...nothing, kills: ['a'] },
    },
    {
      name: 'running under a name that the pod does not have: stopped',
      result: actions({}, [sandbox()], [container('a'), container('b'), container('x')]),
      want: { ...nothing, kills: ['x'] },
    },
    {
      name: 'something runs without any sandbox: stopped first',
      result: actions({}, [], [container('a')]),
      want: { kill: true, create: true, kills: [], starts: ['a1', 'b0'] },
    },
    {
      name: 'definition changed: stop, and nothing else this time',
      result: actions({}, [sandbox()], [container('a', { specHash: 'old' }), container('b')]),
      want: { ...nothing, kills: ['a'] },
    },
    {
      name: 'liveness failed: stop that container',
      result: actions({}, [sandbox()], [container('a'), container('b')], {
        probes: (name) => (name === 'b' ? { liveness: false } : {}),
      }),
      want: { ...nothing, kills: ['b'] },
    },
    {
      name: 'readiness failed: nothing is stopped',
      result: actions({}, [sandbox()], [container('a'), container('b')], {
        probes: () => ({ readiness: false }),
      }),
      want: nothing,
    },
    {
      name: 'init containers: the first one first',
      result: actions({ initContainers: init }, [sandbox()], []),
      want: { ...nothing, starts: ['i0'] },
    },
    {
      name: 'init containers: the second after the first succeeded',
      result: actions({ initContainers: init }, [sandbox()], [container('i', exited(0))]),
      want: { ...nothing, starts: ['j0'] },
    },
    {
      name: 'init containers: a failed one again',
      result: actions({ initContainers: init }, [sandbox()], [container('i', exited(1))]),
      want: { ...nothing, starts: ['i1'] },
    },
    {
      name: 'init containers: a failed one ends a pod that is never restarted',
      result: actions(
        { initContainers: init, restartPolicy: 'Never' },
        [sandbox()],
        [container('i', exited(1))],
      ),
      want: finished,
    },
    {
      name: 'init containers of an older sandbox do not count',
      result: actions(
        { initContainers: init },
        [sandbox()],
        [container('i', { ...exited(0), sandboxId: 'before' })],
      ),
      want: { ...nothing, starts: ['i1'] },
    },
    {
      name: 'init containers are not looked at once the app runs',
      result: actions({ initContainers: init }, [sandbox()], [container('a'), container('b')]),
      want: nothing,
    },
    {
      name: 'the app waits for its sidecar to have started',
      result: actions({ initContainers: sidecar }, [sandbox()], [container('s')]),
      want: nothing,
    },
    {
      name: 'the app starts when its sidecar has',
      result: actions({ initContainers: sidecar }, [sandbox()], [container('s')], {
        probes: () => ({ startup: true }),
      }),
      want: { ...nothing, starts: ['a0', 'b0'] },
    },
    {
      name: 'a sidecar comes again beside the running app',
      result: actions(
        { initContainers: sidecar },
        [sandbox()],
        [container('s', exited(0)), container('a'), container('b')],
      ),
      want: { ...nothing, starts: ['s1'] },
    },
    {
      name: 'the pod is finished though its sidecar runs',
      result: actions(
        { initContainers: sidecar, restartPolicy: 'Never' },
        [sandbox()],
        [container('s'), container('a', exited(0)), container('b', exited(0))],
        { probes: () => ({ startup: true }) },
      ),
      want: finished,
    },
  ];
  it.each(cases)('$name', ({ result, want }) => {
    expect(brief(result)).toEqual(want);
  });
});

describe('known from its sandbox only, a pod', () => {
  const offline = { isOffline: true };
  const policy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
  const resizable = { containers: [{ name: 'a', resizePolicy: policy }, { name: 'b' }] };
  const large = { ...small, memoryBytes: 128 };
  const healthy: { name: string; spec?: Partial<PodSpec>; a: Partial<ContainerStatus> }[] = [
    { name: 'with another image by now', a: { specHash: 'newer' } },
    { name: 'resized meanwhile', a: { limits: large, askedLimits: large } },
    { name: 'resized by a restart', spec: resizable, a: { limits: large, askedLimits: large } },
  ];
  it.each(healthy)('goes on: $name', ({ spec = {}, a }) => {
    const containers = [container('a', a), container('b'), container('debugger')];
    const { updates, ...rest } = actions(spec, [sandbox()], containers, offline);
    expect([brief({ ...rest, updates }), updates]).toEqual([nothing, []]);
  });

  it('ends what a probe finds ill, and what is left in a sandbox that is gone', () => {
    const probes = (name: string) => (name === 'b' ? { liveness: false } : {});
    const both = [container('a'), container('b')];
    expect(actions({}, [sandbox()], both, { ...offline, probes }).kills).toHaveLength(1);
    const before = [container('a', { sandboxId: 'before' }), container('b')];
    expect(brief(actions({}, [sandbox()], before, offline)).kills).toEqual(['a']);
  });
});

describe('a container that was resized', () => {
  const large = { ...small, memoryBytes: 128 };
  const both = (more: Partial<ContainerStatus>) => [container('a', more), container('b')];
  const policy = (resourceName: string) => ({
    containers: [
      { name: 'a', resizePolicy: [{ resourceName, restartPolicy: 'RestartContainer' }] },
      { name: 'b' },
    ],
  });
  const resized = (spec: Partial<PodSpec>, status: Partial<ContainerStatus>) => {
    const { updates, ...rest } = actions(spec, [sandbox()], both(status));
    return { ...brief({ ...rest, updates }), updates: updates.map(({ name }) => name) };
  };

  it('is updated while it runs', () => {
    expect(resized({}, { limits: large })).toEqual({ ...nothing, updates: ['a'] });
    expect(resized({}, { limits: small })).toEqual({ ...nothing, updates: [] });
  });

  it('is restarted if its policy says so of what changed', () => {
    expect(resized(policy('memory'), { limits: large, askedLimits: large })).toEqual({
      ...nothing,
      kills: ['a'],
      updates: [],
    });
    expect(resized(policy('cpu'), { limits: large, askedLimits: large })).toEqual({
      ...nothing,
      updates: ['a'],
    });
  });

  it('is not restarted for what the engine could not set', () => {
    expect(resized(policy('memory'), { limits: large, askedLimits: small })).toEqual({
      ...nothing,
      updates: ['a'],
    });
  });

  it('is told once what the engine takes and does not set', () => {
    const { id } = container('a', {});
    limitsSet.set(id, small);
    expect(resized({}, { limits: large })).toEqual({ ...nothing, updates: [] });
    limitsSet.set(id, large);
    expect(resized({}, { limits: large })).toEqual({ ...nothing, updates: ['a'] });
    limitsSet.clear();
  });
});
