import { describe, expect, it } from 'vitest';
import type { Container, Pod, PodSpec, ResourceRequirements } from '#kube/api/core.ts';
import { containerConfig, containerHash, sandboxConfig } from './container-config.ts';

function podOf(spec: Partial<PodSpec>): Pod {
  const metadata = { name: 'p', namespace: 'ns', uid: 'u' };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [], ...spec } };
}

function config(
  container: Partial<Container>,
  more: { spec?: Partial<PodSpec>; user?: string; qosClass?: string } = {},
) {
  return containerConfig({
    pod: podOf(more.spec ?? {}),
    container: { name: 'a', image: 'img', ...container },
    sandboxId: 's',
    attempt: 0,
    environment: new Map([['NAME', 'world']]),
    mounts: [],
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
  });
}

describe('resources', () => {
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

describe('the sandbox', () => {
  it('publishes host ports, names hosts, keeps the grace period', () => {
    const pod = podOf({
      containers: [
        {
          name: 'a',
          ports: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81 }],
        },
      ],
      hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }],
      terminationGracePeriodSeconds: 5,
    });
    expect(sandboxConfig(pod, 2)).toMatchObject({
      attempt: 2,
      hostname: 'p',
      ports: [{ containerPort: 80, hostPort: 8080, protocol: 'tcp' }],
      extraHosts: ['x:1.2.3.4', 'y:1.2.3.4'],
      gracePeriodSeconds: 5,
    });
    expect(sandboxConfig(pod, 0)).not.toHaveProperty('dns');
  });

  it('has the name servers of dnsPolicy None', () => {
    const dnsConfig = {
      nameservers: ['9.9.9.9'],
      searches: ['a.b'],
      options: [{ name: 'ndots', value: '5' }, { name: 'rotate' }],
    };
    expect(sandboxConfig(podOf({ dnsPolicy: 'None', dnsConfig }), 0).dns).toEqual({
      servers: ['9.9.9.9'],
      searches: ['a.b'],
      options: ['ndots:5', 'rotate'],
    });
  });
});
