// What a sandbox that never starts leaves behind, by an engine that only pretends.
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import type { ContainerDetails, ContainerSummary, DockerClient } from './docker-client.ts';
import { DockerRuntime } from './docker-runtime.ts';
import type { PodCgroups } from './pod-cgroup.ts';
import { RuntimeError, type SandboxConfig } from './runtime.ts';

const sandbox: SandboxConfig = {
  pod: { uid: 'u1', name: 'web', namespace: 'default' },
  attempt: 0,
  hostname: 'web',
  domain: '',
  hostNetwork: true,
  hostPid: false,
  hostIpc: false,
  ports: [],
  extraHosts: [],
  sysctls: {},
  gracePeriodSeconds: 30,
  limits: { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 0 },
};

let cgroups: Set<string>;
/** Of the pod, as the engine has them. */
let containers: Set<string>;
let fails: 'make' | 'create' | 'start' | undefined;
let runtime: DockerRuntime;

function check(step: typeof fails): void {
  if (fails === step) throw new RuntimeError('other', `no ${step}`);
}

beforeEach(() => {
  cgroups = new Set();
  containers = new Set();
  fails = undefined;
  const client: Partial<DockerClient> = {
    facts: async () => ({
      version: '27',
      arch: 'amd64',
      os: 'linux',
      rootDir: '/var/lib/docker',
      cgroupVersion: '2',
      cgroupDriver: 'cgroupfs',
      digestsTellPulls: true,
    }),
    inspectImage: async () => ({}) as never,
    listContainers: async () =>
      [...containers].map((Id) => ({ Id, State: 'created' }) as ContainerSummary),
    inspectContainer: async (Id) =>
      ({
        Id,
        Created: '',
        State: { Status: 'created', Running: false },
        Config: { Labels: { 'io.kubernetes.docker.type': 'podsandbox' } },
        HostConfig: {},
        NetworkSettings: { Networks: {} },
      }) as unknown as ContainerDetails,
    createContainer: async () => {
      check('create');
      containers.add('new');
      return 'new';
    },
    startContainer: async () => check('start'),
    removeContainer: async (id) => void containers.delete(id),
  };
  const podCgroups: Pick<PodCgroups, 'make' | 'remove'> = {
    async make(uid) {
      cgroups.add(uid);
      check('make');
    },
    async remove(uid) {
      cgroups.delete(uid);
    },
  };
  runtime = new DockerRuntime({
    client: () => client as DockerClient,
    identity: { clusterId: 'c', nodeName: 'pi' },
    clock: new ManualClock(),
    podCgroups: podCgroups as PodCgroups,
  });
});

describe('the pod’s cgroup', () => {
  it('is there when its sandbox runs', async () => {
    expect(await runtime.runSandbox(sandbox)).toBe('new');
    expect([[...cgroups], [...containers]]).toEqual([['u1'], ['new']]);
  });

  it.each(['make', 'create', 'start'] as const)('goes when %s fails', async (step) => {
    fails = step;
    await expect(runtime.runSandbox(sandbox)).rejects.toThrow(`no ${step}`);
    expect([[...cgroups], [...containers]]).toEqual([[], []]);
  });

  it('stays for what else there is of the pod', async () => {
    containers.add('old');
    fails = 'start';
    await expect(runtime.runSandbox(sandbox)).rejects.toThrow('no start');
    expect([[...cgroups], [...containers]]).toEqual([['u1'], ['old']]);
  });

  it('that can not be removed hides no reason', async () => {
    fails = 'start';
    cgroups.delete = () => {
      throw new Error('busy');
    };
    await expect(runtime.runSandbox(sandbox)).rejects.toThrow('no start');
  });
});
