// What is observed → the whole PodStatus, as files in testdata. One that differs on purpose is written anew by
// `npx vitest run --config test/vitest.config.ts --project unit agent/kubelet/pod/status-golden -u`: read
// the diff. With CI=true vitest writes none.
import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Container, Pod, PodSpec, PodStatus } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import type { ContainerStatus, SandboxStatus } from '../../runtime/runtime.ts';
import type { Waiting } from './container-status.ts';
import type { ProbeResults } from './pod-actions.ts';
import { computePodStatus, type StatusInput } from './pod-status.ts';

const nowMs = Date.parse('2026-11-23T12:00:00Z');
const ref = { uid: 'uid-p', name: 'p', namespace: 'ns' };
const minutes = (count: number) => nowMs - count * 60_000;

const web: Container = { name: 'web', image: 'web:1' };
const init: Container = { name: 'init', image: 'init:1' };
const sidecar: Container = { name: 'proxy', image: 'proxy:1', restartPolicy: 'Always' };

const box: SandboxStatus = {
  id: 'box-0',
  attempt: 0,
  ready: true,
  ip: '10.244.0.9',
  pid: 1,
  createdAtMs: minutes(10),
  hostNetwork: false,
};

function running(name: string, more: Partial<ContainerStatus> = {}): ContainerStatus {
  const { attempt = 0 } = more;
  return {
    id: `${name}-${attempt}`,
    name,
    sandboxId: 'box-0',
    attempt,
    specHash: 'h',
    state: 'running',
    pid: 2,
    createdAtMs: minutes(9),
    startedAtMs: minutes(9),
    finishedAtMs: 0,
    exitCode: 0,
    oomKilled: false,
    error: '',
    image: `${name}:1`,
    imageId: `sha256:${name}`,
    tty: false,
    terminationMessageHostPath: '',
    ...more,
  };
}

function ended(name: string, exitCode: number, more: Partial<ContainerStatus> = {}) {
  return running(name, { state: 'exited', exitCode, finishedAtMs: minutes(5), pid: 0, ...more });
}

interface State {
  readonly spec?: Partial<PodSpec>;
  readonly metadata?: Partial<Pod['metadata']>;
  /** As the API had it. */
  readonly before?: PodStatus;
  readonly sandboxes?: readonly SandboxStatus[];
  readonly containers?: readonly ContainerStatus[];
  readonly waiting?: Readonly<Record<string, Waiting>>;
  readonly probes?: Readonly<Record<string, ProbeResults>>;
  readonly more?: Partial<StatusInput>;
}

function statusOf(state: State): PodStatus {
  const { spec, before, sandboxes = [box], containers = [], waiting = {}, probes = {} } = state;
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...ref, generation: 1, ...state.metadata },
    spec: { containers: [web], ...spec },
    ...(before === undefined ? {} : { status: before }),
  };
  return computePodStatus({
    pod,
    observed: { pod: ref, gracePeriodSeconds: 30, sandboxes, containers },
    waiting: new Map(Object.entries(waiting)),
    probes: (name) => probes[name] ?? {},
    terminationMessage: () => '',
    runtimeName: 'docker',
    nodeIps: ['192.168.1.5'],
    qosClass: 'BestEffort',
    nowMs,
    isTerminal: false,
    ...state.more,
  });
}

/** What an agent told when the pod ran. */
const ran = (...names: readonly string[]) =>
  rewound(statusOf({ containers: names.map((name) => running(name)) }));

/** All transitions an hour ago. */
function rewound(status: PodStatus): PodStatus {
  const lastTransitionTime = rfc3339(minutes(60));
  const conditions = (status.conditions ?? []).map((one) => ({ ...one, lastTransitionTime }));
  return { ...status, startTime: lastTransitionTime, conditions };
}

const withInit = { initContainers: [init] };
const withSidecar = { initContainers: [sidecar] };
const never = { restartPolicy: 'Never' };
const backOff = { reason: 'CrashLoopBackOff', message: 'back-off 10s restarting failed container' };
const dead = { ...box, ready: false, ip: '', pid: 0 };
const box1 = { ...box, id: 'box-1', attempt: 1, createdAtMs: minutes(1) };
const probed: Container = { ...web, readinessProbe: {}, startupProbe: {} };

const states: Readonly<Record<string, State>> = {
  'nothing-yet': { sandboxes: [] },
  'sandbox-only': {},
  'created-not-started': { containers: [running('web', { state: 'created', startedAtMs: 0 })] },
  'image-not-pulled': {
    waiting: { web: { reason: 'ImagePullBackOff', message: 'Back-off pulling image "web:1"' } },
  },
  'no-such-program': {
    spec: never,
    containers: [ended('web', 127, { error: 'exec: "/nosuch": no such file or directory' })],
  },
  'init-runs': { spec: withInit, containers: [running('init')] },
  'init-done': { spec: withInit, containers: [ended('init', 0)] },
  'init-crashes': {
    spec: withInit,
    containers: [ended('init', 1, { attempt: 2 }), ended('init', 1, { attempt: 1 })],
    waiting: { init: backOff },
  },
  'init-failed-for-good': { spec: { ...withInit, ...never }, containers: [ended('init', 1)] },
  'init-removed-after-success': {
    spec: withInit,
    before: rewound(statusOf({ spec: withInit, containers: [running('web'), ended('init', 0)] })),
    containers: [running('web')],
  },
  'sidecar-starts': {
    spec: { initContainers: [{ ...sidecar, startupProbe: {} }] },
    containers: [running('proxy')],
  },
  'sidecar-runs-beside': {
    spec: withSidecar,
    containers: [running('proxy'), running('web')],
  },
  'sidecar-crashed-beside': {
    spec: withSidecar,
    containers: [ended('proxy', 2), running('web')],
    waiting: { proxy: backOff },
  },
  runs: { containers: [running('web')] },
  'startup-probe-not-passed': { spec: { containers: [probed] }, containers: [running('web')] },
  'readiness-probe-failed': {
    spec: { containers: [probed] },
    containers: [running('web')],
    probes: { web: { startup: true, readiness: false } },
  },
  'probes-passed': {
    spec: { containers: [probed] },
    containers: [running('web')],
    probes: { web: { startup: true, readiness: true } },
  },
  'adopted-by-a-new-agent': {
    spec: { containers: [{ ...web, readinessProbe: {} }] },
    before: ran('web'),
    containers: [running('web')],
  },
  'gate-closed': {
    spec: { readinessGates: [{ conditionType: 'example.com/open' }] },
    before: { conditions: [{ type: 'example.com/open', status: 'False' }] },
    containers: [running('web')],
  },
  crashes: {
    containers: [ended('web', 3, { attempt: 1 }), ended('web', 3)],
    waiting: { web: backOff },
    more: { terminationMessage: (id) => `last words of ${id}` },
  },
  'out-of-memory-and-again': {
    containers: [running('web', { attempt: 1 }), ended('web', 137, { oomKilled: true })],
  },
  'hook-failed': {
    containers: [ended('web', 137)],
    waiting: { web: { reason: 'PostStartHookError', message: 'PostStartHookError: exit 1' } },
  },
  'one-of-two-failed': {
    spec: { containers: [web, { name: 'job', image: 'job:1' }], ...never },
    containers: [running('web'), ended('job', 1)],
  },
  succeeded: { spec: never, before: ran('web'), containers: [ended('web', 0)] },
  failed: { spec: never, before: ran('web'), containers: [ended('web', 1)] },
  'succeeded-and-removed': {
    spec: never,
    before: rewound(statusOf({ spec: never, containers: [ended('web', 0)] })),
    sandboxes: [],
  },
  'removed-while-it-ran': { before: ran('web') },
  'deleted-and-ended': {
    metadata: { deletionTimestamp: rfc3339(nowMs) },
    before: ran('web'),
    sandboxes: [dead],
    containers: [ended('web', 143)],
    more: { isTerminal: true },
  },
  evicted: {
    before: ran('web'),
    containers: [ended('web', 137)],
    more: {
      isTerminal: true,
      failure: {
        reason: 'Evicted',
        message: 'The node was low on resource: memory. ',
        isDisruption: true,
      },
    },
  },
  'out-of-time': {
    before: ran('web'),
    containers: [ended('web', 143)],
    more: {
      isTerminal: true,
      failure: {
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
        isDisruption: false,
      },
    },
  },
  'machine-came-back': {
    spec: withInit,
    before: ran('web'),
    sandboxes: [dead],
    containers: [ended('init', 0), ended('web', 255)],
  },
  'machine-came-back-and-init-runs': {
    spec: withInit,
    before: ran('web'),
    sandboxes: [box1, dead],
    containers: [
      running('init', { attempt: 1, sandboxId: 'box-1', startedAtMs: minutes(1) }),
      ended('init', 0),
      ended('web', 255),
    ],
  },
  'machine-came-back-and-runs': {
    spec: withInit,
    before: ran('web'),
    sandboxes: [box1, dead],
    containers: [
      running('web', { attempt: 1, sandboxId: 'box-1', startedAtMs: minutes(1) }),
      ended('web', 255),
      ended('init', 0, { attempt: 1, sandboxId: 'box-1' }),
      ended('init', 0),
    ],
  },
  'host-network': {
    spec: { hostNetwork: true },
    sandboxes: [{ ...box, ip: '', hostNetwork: true }],
    containers: [running('web')],
  },
  'looked-into': {
    spec: { ephemeralContainers: [{ name: 'debug', image: 'debug:1' }] },
    containers: [running('web'), ended('debug', 3)],
  },
  'resize-has-to-wait': {
    spec: { containers: [{ ...web, resources: { requests: { cpu: '2' }, limits: { cpu: '2' } } }] },
    containers: [
      running('web', { limits: { cpuShares: 1024, cpuQuotaMicros: 100_000, memoryBytes: 0 } }),
    ],
    more: {
      resize: { pending: { reason: 'Deferred', message: 'Node has not enough cpu' } },
    },
  },
};

it.each(Object.entries(states))('%s: as the golden file says', async (name, state) => {
  const text = `${JSON.stringify(statusOf(state), undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot(`testdata/${name}.json`);
});

it('there is no golden file of a state that nobody looks at', () => {
  const files = readdirSync(new URL('testdata', import.meta.url));
  expect(files.toSorted()).toEqual(
    Object.keys(states)
      .map((name) => `${name}.json`)
      .toSorted(),
  );
});
