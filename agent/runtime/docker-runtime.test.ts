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
/** As the engine shows an image; and whether it has containerd's image store. */
let inspected: object;
let hasContainerd: boolean;
let fails: 'make' | 'create' | 'start' | undefined;
let runtime: DockerRuntime;

function check(step: typeof fails): void {
  if (fails === step) throw new RuntimeError('other', `no ${step}`);
}

beforeEach(() => {
  cgroups = new Set();
  containers = new Set();
  fails = undefined;
  inspected = {};
  hasContainerd = false;
  const client: Partial<DockerClient> = {
    facts: async () => ({
      version: '27',
      arch: 'amd64',
      os: 'linux',
      rootDir: '/var/lib/docker',
      cgroupVersion: '2',
      cgroupDriver: 'cgroupfs',
      runtimes: ['runc'],
      digestsTellPulls: !hasContainerd,
    }),
    inspectImage: async () => inspected as never,
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

describe('an image of containerd’s image store', () => {
  const index = `sha256:${'a'.repeat(64)}`;
  // As Docker 29 shows it: the id is the digest of what the registry has, an index of many platforms of
  // which one is here; a digest is there also of what was built here.
  const image = {
    Id: index,
    RepoTags: ['nginx:1'],
    RepoDigests: [`nginx@${index}`],
    Created: '2026-01-02T03:04:05Z',
    Size: 72_000_000,
    Os: 'linux',
    Architecture: 'arm64',
    Config: {},
    Descriptor: {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: index,
      size: 10_229,
    },
  };

  it('is known by the digest of its index, which does not tell that it was pulled', async () => {
    hasContainerd = true;
    inspected = image;
    expect(await runtime.imageStatus('nginx:1')).toEqual({
      id: index,
      names: ['nginx:1', `nginx@${index}`],
      sizeBytes: 72_000_000,
      user: '',
      isPulled: false,
      os: 'linux',
      architecture: 'arm64',
      createdAtMs: Date.parse(image.Created),
    });
    expect((await runtime.platform()).imageIds).toBe('manifest');
  });

  it('without this machine’s platform is for none that is known', async () => {
    hasContainerd = true;
    inspected = {
      ...image,
      Os: '',
      Architecture: '',
      Created: '',
      Size: 10_229,
      Config: undefined,
    };
    const told = await runtime.imageStatus('nginx:1');
    expect(told).toMatchObject({ os: '', architecture: '', user: '', createdAtMs: 0 });
  });
});
