import { describe, expect, it } from 'vitest';
import type { Container, Pod, PodSpec, ResourceRequirements } from '#kube/api/core.ts';
import { containerConfig, containerHash } from './container-config.ts';
import { containerPidsMax, oomScoreAdjust } from './container-resources.ts';

function podOf(spec: Partial<PodSpec>): Pod {
  const metadata = { name: 'p', namespace: 'ns', uid: 'u' };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [], ...spec } };
}

function config(
  container: Partial<Container>,
  more: {
    spec?: Partial<PodSpec>;
    user?: string;
    qosClass?: string;
    seccompProfile?: string;
  } = {},
) {
  return containerConfig({
    pod: podOf(more.spec ?? {}),
    container: { name: 'a', image: 'img', ...container },
    sandboxId: 's',
    attempt: 0,
    environment: new Map([['NAME', 'world']]),
    mounts: [],
    devices: { mappings: [], groups: [], usbBus: false, gpuCount: 0 },
    terminationMessageHostPath: '/data/t',
    image: {
      id: 'i',
      names: [],
      sizeBytes: 0,
      user: more.user ?? '',
      isPulled: true,
      os: 'linux',
      architecture: 'amd64',
      createdAtMs: 0,
    },
    qosClass: more.qosClass ?? 'BestEffort',
    nodeMemoryBytes: 1024 ** 3,
    pidsMax: 4096,
    ...(more.seccompProfile === undefined ? {} : { seccompProfile: more.seccompProfile }),
  });
}

describe('resources', () => {
  it.each([
    { name: 'a large machine', nodePidsMax: 4_194_304, want: 4096 },
    { name: 'a small one', nodePidsMax: 7000, want: 3500 },
  ])('of $name: $want processes at most', ({ nodePidsMax, want }) => {
    expect(containerPidsMax(nodePidsMax)).toBe(want);
  });

  const cases: { name: string; resources: ResourceRequirements; want: object }[] = [
    { name: 'none', resources: {}, want: { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 0 } },
    {
      name: 'request and limit',
      resources: { requests: { cpu: '500m' }, limits: { cpu: '1', memory: '64Mi' } },
      want: { cpuShares: 512, cpuQuotaMicros: 100_000, memoryBytes: 67_108_864 },
    },
    {
      name: 'a limit alone is the request, too',
      resources: { limits: { cpu: '250m' } },
      want: { cpuShares: 256, cpuQuotaMicros: 25_000, memoryBytes: 0 },
    },
    {
      name: 'never less than the kernel takes',
      resources: { limits: { cpu: '1m' } },
      want: { cpuShares: 2, cpuQuotaMicros: 1000, memoryBytes: 0 },
    },
  ];
  it.each(cases)('$name', ({ resources, want }) => {
    expect(config({ resources }).resources).toMatchObject(want);
  });

  const scores = [
    { qosClass: 'Guaranteed', resources: {}, want: -997 },
    { qosClass: 'BestEffort', resources: {}, want: 1000 },
    { qosClass: 'Burstable', resources: { requests: { memory: '512Mi' } }, want: 500 },
    { qosClass: 'Burstable', resources: { requests: { memory: '1Gi' } }, want: 3 },
    { qosClass: 'Burstable', resources: {}, want: 999 },
  ];
  it.each(scores)('$qosClass pods get OOM score $want', ({ qosClass, resources, want }) => {
    expect(config({ resources }, { qosClass }).resources.oomScoreAdj).toBe(want);
  });
});

describe('the container', () => {
  it('has references in command and arguments expanded, and the entry point left alone', () => {
    const result = config({ command: ['echo'], args: ['hello $(NAME)', '$(NONE)'] });
    expect(result).toMatchObject({ command: ['echo'], args: ['hello world', '$(NONE)'] });
    expect(config({})).not.toHaveProperty('command');
  });

  it('mounts its termination message where the pod wants it', () => {
    const paths = (container: Partial<Container>) =>
      config(container).mounts.map(({ hostPath, containerPath }) => [hostPath, containerPath]);
    expect(paths({})).toEqual([['/data/t', '/dev/termination-log']]);
    expect(paths({ terminationMessagePath: '/x' })).toEqual([['/data/t', '/x']]);
  });

  it('counts as changed only with a new image', () => {
    const hash = containerHash({ name: 'a', image: 'x:1' });
    expect(containerHash({ name: 'a', image: 'x:1', command: ['y'] })).toBe(hash);
    expect(containerHash({ name: 'a', image: 'x:2' })).not.toBe(hash);
  });
});

describe('the user', () => {
  const cases = [
    { name: "the image's", container: {}, pod: {}, user: '7', want: '' },
    {
      name: "the pod's",
      container: {},
      pod: { runAsUser: 5 },
      user: '',
      isPulled: false,
      want: '5',
    },
    {
      name: "the container's over the pod's",
      container: { runAsUser: 6, runAsGroup: 8 },
      pod: { runAsUser: 5 },
      user: '',
      want: '6:8',
    },
    { name: 'a group alone', container: { runAsGroup: 8 }, pod: {}, user: '7:1', want: '7:8' },
  ];
  it.each(cases)('is $name', ({ container, pod, user, want }) => {
    const spec = { securityContext: pod };
    expect(config({ securityContext: container }, { spec, user }).security.user).toBe(want);
  });

  const refused = [
    { user: '', own: {}, want: 'container has runAsNonRoot and image will run as root' },
    { user: '0:5', own: {}, want: 'container has runAsNonRoot and image will run as root' },
    { user: 'www', own: {}, want: 'image has non-numeric user (www), cannot verify' },
    { user: '7', own: { runAsUser: 0 }, want: "container's runAsUser breaks non-root policy" },
  ];
  it.each(refused)('must not be root: $want', ({ user, own, want }) => {
    const spec = { securityContext: { runAsNonRoot: true } };
    expect(() => config({ securityContext: own }, { spec, user })).toThrow(want);
    expect(config({}, { spec, user: '7' }).security.user).toBe('');
  });
});

describe('what the kernel enforces', () => {
  const security = (own: object, ofPod: object = {}) =>
    config({ securityContext: own }, { spec: { securityContext: ofPod } }).security;

  it('is the engine’s own profiles, unless the pod says otherwise', () => {
    const plain = security({});
    expect(plain).toMatchObject({ unmaskedProc: false, seLinuxLabels: [] });
    expect(plain).not.toHaveProperty('seccompProfile');
    expect(security({ seccompProfile: { type: 'RuntimeDefault' } })).toEqual(plain);
    const unconfined = { seccompProfile: { type: 'Unconfined' } };
    expect(security({}, unconfined).seccompProfile).toBe('unconfined');
    expect(security({ procMount: 'Unmasked' }).unmaskedProc).toBe(true);
  });

  it('is a profile of the machine where the container names one, over its pod’s', () => {
    const appArmorProfile = { type: 'Localhost', localhostProfile: 'mine' };
    const own = { appArmorProfile, seccompProfile: { type: 'Localhost', localhostProfile: 'p' } };
    const ofPod = { appArmorProfile: { type: 'Unconfined' } };
    const result = config(
      { securityContext: own },
      { spec: { securityContext: ofPod }, seccompProfile: '{"x":1}' },
    ).security;
    expect(result).toMatchObject({ appArmorProfile: 'mine', seccompProfile: '{"x":1}' });
    expect(security({}, ofPod).appArmorProfile).toBe('unconfined');
  });

  it('labels processes for SELinux', () => {
    const seLinuxOptions = { type: 'spc_t', level: 's0:c1' };
    expect(security({}, { seLinuxOptions }).seLinuxLabels).toEqual(['type:spc_t', 'level:s0:c1']);
  });
});

describe('resources of the pod as a whole', () => {
  const spec = {
    resources: { requests: { memory: '512Mi' }, limits: { cpu: '1', memory: '1Gi' } },
  };
  const containers = [{ name: 'a' }, { name: 'b', resources: { requests: { memory: '256Mi' } } }];

  it('bound what a container leaves open', () => {
    const resources = { limits: { memory: '64Mi' } };
    const result = config({ resources }, { spec });
    expect(result.resources).toMatchObject({ cpuQuotaMicros: 100_000, memoryBytes: 2 ** 26 });
    expect([result.inPodCgroup, config({}).inPodCgroup]).toEqual([true, false]);
  });

  it('count for who dies first: what nobody asked for is shared', () => {
    const more = { spec: { ...spec, containers }, qosClass: 'Burstable' };
    const score = (container: Partial<Container>) => config(container, more).resources.oomScoreAdj;
    expect([score({}), score(containers[1] ?? {})]).toEqual([875, 625]);
  });

  it('a sidecar dies no sooner than what it serves', () => {
    const sidecar = { name: 's', restartPolicy: 'Always' };
    const served = [{ name: 'a', resources: { requests: { memory: '512Mi' } } }];
    const pod = podOf({ containers: served, initContainers: [sidecar] });
    const input = { pod, container: sidecar, qosClass: 'Burstable', nodeMemoryBytes: 2 ** 30 };
    expect(oomScoreAdjust(input)).toBe(500);
    const critical = podOf({ priorityClassName: 'system-node-critical' });
    expect(oomScoreAdjust({ ...input, pod: critical })).toBe(-997);
  });
});
