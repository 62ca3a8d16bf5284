import { describe, expect, it } from 'vitest';
import type { Node, Pod, PodSpec } from '#kube/api/core.ts';
import type { Device } from '../devices/devices.ts';
import { admissionFailure, type AdmissionInput } from './admission.ts';

function podOf(spec: Partial<PodSpec>): Pod {
  const metadata = { name: 'p', namespace: 'ns', uid: 'u' };
  const containers = [{ name: 'a' }];
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers, ...spec } };
}

function nodeOf(labels: Record<string, string>): Node {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi', labels }, spec: {} };
}

const stickName = 'devices.flotilla.dev/serial-stick';
const stick: Device = {
  resource: stickName,
  label: 'Zigbee stick',
  path: '/dev/ttyUSB0',
  count: 1,
  paths: ['/dev/ttyUSB0'],
  groups: [],
};

function failure(spec: Partial<PodSpec>, more: Partial<AdmissionInput> = {}): string | undefined {
  const result = admissionFailure({
    pod: podOf(spec),
    others: [],
    allocatable: { cpu: '2', memory: '1Gi' },
    devices: [stick],
    maxPods: 2,
    hasAppArmor: false,
    self: undefined,
    ...more,
  });
  return result && `${result.reason}: ${result.message}`;
}

const asking = (requests: Record<string, string>): Partial<PodSpec> => ({
  containers: [{ name: 'a', resources: { requests, limits: requests } }],
});
const sysctl = (name: string, more: Partial<PodSpec> = {}): Partial<PodSpec> => ({
  securityContext: { sysctls: [{ name, value: '1' }] },
  ...more,
});

describe('a node', () => {
  const others = [podOf(asking({ cpu: '1500m', [stickName]: '1' }))];
  const resized: Pod = {
    ...podOf(asking({ cpu: '50' })),
    status: {
      containerStatuses: [
        {
          name: 'a',
          image: 'a',
          imageID: '',
          ready: true,
          restartCount: 0,
          allocatedResources: { cpu: '1500m' },
          resources: { requests: { cpu: '1500m' } },
        },
      ],
    },
  };
  it('counts what a pod was given, not what it would be resized to', () => {
    const more = { others: [resized] };
    expect(failure(asking({ cpu: '500m' }), more)).toBeUndefined();
    expect(failure(asking({ cpu: '600m' }), more)).toContain('requested: 600, used: 1500');
  });

  const taken: { name: string; spec: Partial<PodSpec> }[] = [
    { name: 'that fits', spec: asking({ cpu: '500m', memory: '1Gi' }) },
    { name: 'that asks for nothing', spec: {} },
    {
      name: 'for this kind of machine',
      spec: { nodeSelector: { disk: 'ssd' }, os: { name: 'linux' } },
    },
    { name: 'with settings of its own network', spec: sysctl('net.ipv4.conf.all.src_valid_mark') },
    {
      name: 'without any profile',
      spec: { securityContext: { appArmorProfile: { type: 'Unconfined' } } },
    },
  ];
  it.each(taken)('takes a pod $name', ({ spec }) => {
    expect(failure(spec, { others, self: nodeOf({ disk: 'ssd' }) })).toBeUndefined();
  });

  const refused: {
    name: string;
    spec: Partial<PodSpec>;
    more?: Partial<AdmissionInput>;
    want: string;
  }[] = [
    {
      name: 'beyond its processors',
      spec: asking({ cpu: '600m' }),
      more: { others },
      want: "OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
    },
    {
      name: 'beyond the pods it can have',
      spec: {},
      more: { others: [podOf({}), podOf({})] },
      want: "OutOfpods: Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2",
    },
    {
      name: 'for another system',
      spec: { os: { name: 'windows' } },
      want: "PodOSNotSupported: Pod was rejected: Failed to admit pod as the OS field doesn't match node OS",
    },
    {
      name: 'for machines of another kind, though it names this one',
      spec: { nodeSelector: { disk: 'ssd' } },
      more: { self: nodeOf({ disk: 'card' }) },
      want: 'NodeAffinity: Pod was rejected: Predicate NodeAffinity failed',
    },
    {
      name: 'with huge pages',
      spec: asking({ 'hugepages-2Mi': '4Mi' }),
      want: "OutOfhugepages-2Mi: Pod was rejected: Node didn't have enough resource: hugepages-2Mi, requested: 4194304, used: 0, capacity: 0",
    },
    {
      name: 'whose device another has',
      spec: asking({ [stickName]: '1' }),
      more: { others },
      want: `UnexpectedAdmissionError: Pod was rejected: Allocate failed due to requested number of devices unavailable for ${stickName}. Requested: 1, Available: 0 (Zigbee stick is in use by another pod), which is unexpected`,
    },
    {
      name: 'whose device is gone',
      spec: asking({ [stickName]: '1' }),
      more: { devices: [] },
      want: `UnexpectedAdmissionError: Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices ${stickName} (it is not plugged in to this machine), which is unexpected`,
    },
    {
      name: 'with settings of the whole machine',
      spec: sysctl('vm.swappiness'),
      want: 'SysctlForbidden: Pod was rejected: forbidden sysctl: "vm.swappiness" not allowlisted',
    },
    {
      name: 'with settings of the machine’s network',
      spec: sysctl('net/ipv4/ip_forward', { hostNetwork: true }),
      want: 'SysctlForbidden: Pod was rejected: forbidden sysctl: "net/ipv4/ip_forward" not allowed with host network enabled',
    },
    {
      name: 'with a profile that nothing enforces',
      spec: {
        containers: [{ name: 'a', securityContext: { appArmorProfile: { type: 'Localhost' } } }],
      },
      want: 'AppArmor: Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host',
    },
    {
      name: 'with groups as the engine can’t have them',
      spec: { securityContext: { supplementalGroupsPolicy: 'Strict' } },
      want: 'SupplementalGroupsPolicyNotSupported: Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node',
    },
  ];
  it.each(refused)('refuses a pod $name', ({ spec, more, want }) => {
    expect(failure(spec, more)).toBe(want);
  });
});
