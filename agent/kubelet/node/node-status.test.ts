import { describe, expect, it } from 'vitest';
import { engineProblem, socketCandidates } from '../../engine/engine-socket.ts';
import type { Starved } from '../pressure/eviction.ts';
import { osImage } from './machine-facts.ts';
import {
  computeNodeStatus,
  nodeLabels,
  withoutHeartbeats,
  type MachineFacts,
  type NodeStatusInput,
} from './node-status.ts';

const gib = 1024 ** 3;
const facts: MachineFacts = {
  hostname: 'pi1',
  addresses: ['192.168.1.5'],
  cpuCount: 4,
  memoryBytes: 4 * gib,
  diskBytes: 100 * gib,
  pidLimit: 32_768,
  architecture: 'arm64',
  operatingSystem: 'linux',
  kernelVersion: '6.18.0',
  osImage: 'Debian GNU/Linux 12 (bookworm)',
  machineId: 'm',
  systemUuid: 's',
  bootId: 'b',
  hasAppArmor: false,
};

function status(more: Partial<NodeStatusInput> = {}, machine: Partial<MachineFacts> = {}) {
  return computeNodeStatus({
    facts: { ...facts, ...machine },
    previous: undefined,
    engine: undefined,
    short: [],
    runtimeVersion: 'docker://28.0.0',
    kubeletPort: 10_250,
    devices: [],
    verdicts: [],
    images: [],
    nowMs: Date.parse('2026-11-23T12:00:00Z'),
    ...more,
  });
}

const condition = (result: ReturnType<typeof status>, type: string) =>
  result.conditions?.find((entry) => entry.type === type);

describe('resources of a node', () => {
  it('are its devices as well, and what somebody else advertised; not what was unplugged', () => {
    const device = { label: '', path: '', paths: [], groups: [] };
    const devices = [
      { ...device, resource: 'devices.flotilla.dev/kvm', count: 32 },
      { ...device, resource: 'devices.flotilla.dev/serial-a', count: 1 },
    ];
    const old = { 'devices.flotilla.dev/gone': '1', 'example.com/dongle': '4', cpu: '9' };
    const result = status({ devices, previous: { capacity: old, allocatable: old } });
    for (const list of [result.capacity, result.allocatable]) {
      const extended = Object.entries(list ?? {}).filter(([name]) => name.includes('/'));
      expect(Object.fromEntries(extended)).toEqual({
        'devices.flotilla.dev/kvm': '32',
        'devices.flotilla.dev/serial-a': '1',
        'example.com/dongle': '4',
      });
      expect(list?.['cpu']).toBe('4');
    }
  });
});

describe('the node', () => {
  it('tells what it has to give and where it is', () => {
    expect(status()).toMatchObject({
      capacity: { cpu: '4', memory: '4194304Ki', pods: '110', 'ephemeral-storage': '104857600Ki' },
      allocatable: { cpu: '4', memory: '4091904Ki', pods: '110' },
      addresses: [
        { type: 'InternalIP', address: '192.168.1.5' },
        { type: 'Hostname', address: 'pi1' },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
      nodeInfo: { kubeletVersion: 'v1.35.0', containerRuntimeVersion: 'docker://28.0.0' },
    });
    expect(nodeLabels('pi1', facts)).toEqual({
      'kubernetes.io/arch': 'arm64',
      'kubernetes.io/hostname': 'pi1',
      'kubernetes.io/os': 'linux',
    });
  });

  it('is Ready with an engine', () => {
    expect(condition(status(), 'Ready')).toMatchObject({
      status: 'True',
      reason: 'KubeletReady',
      message: 'kubelet is posting ready status',
    });
  });

  it('without an engine is not Ready and says why', () => {
    const engine = { reason: 'ContainerEngineMissing', message: 'install it' };
    expect(condition(status({ engine }), 'Ready')).toMatchObject({ status: 'False', ...engine });
  });

  const pressures: { type: string; short: Starved; want: string }[] = [
    { type: 'MemoryPressure', short: 'memory', want: 'True' },
    { type: 'MemoryPressure', short: 'ephemeral-storage', want: 'False' },
    { type: 'DiskPressure', short: 'ephemeral-storage', want: 'True' },
    { type: 'DiskPressure', short: 'memory', want: 'False' },
    { type: 'DiskPressure', short: 'inodes', want: 'True' },
    { type: 'PIDPressure', short: 'pids', want: 'True' },
    { type: 'PIDPressure', short: 'inodes', want: 'False' },
  ];
  it.each(pressures)('has $type $want when short of $short', ({ type, short, want }) => {
    expect(condition(status({ short: [short] }), type)?.status).toBe(want);
  });

  it('keeps transition times and foreign conditions, and tells the same apart from heartbeats', () => {
    const network = { type: 'NetworkUnavailable', status: 'False' };
    const first = status({ previous: { conditions: [network] } });
    const later = status({ previous: first, nowMs: Date.parse('2026-11-23T13:00:00Z') });
    expect(later.conditions).toContainEqual(network);
    expect(condition(later, 'Ready')?.lastTransitionTime).toBe('2026-11-23T12:00:00Z');
    expect(condition(later, 'Ready')?.lastHeartbeatTime).toBe('2026-11-23T13:00:00Z');
    expect(withoutHeartbeats(later)).toEqual(withoutHeartbeats(first));
  });

  it('lists its fifty largest images', () => {
    const images = Array.from({ length: 60 }, (_, index) => ({
      names: [`i${index}`],
      sizeBytes: index,
    }));
    const shown = status({ images: [...images, { names: [], sizeBytes: 1e9 }] }).images ?? [];
    expect([shown.length, shown[0]?.names]).toEqual([50, ['i59']]);
  });
});

describe('what is read of the machine', () => {
  it('finds the name of the system', () => {
    expect(osImage('NAME="x"\nPRETTY_NAME="Debian GNU/Linux 12"\n')).toBe('Debian GNU/Linux 12');
  });
});

describe('the engine', () => {
  const nowhere = { PATH: '/nonexistent', DOCKER_HOST: 'unix:///nonexistent/docker.sock' };

  it('is looked for where DOCKER_HOST says, else in the usual places', () => {
    expect(socketCandidates({ variables: nowhere, isRoot: false })).toEqual([
      '/nonexistent/docker.sock',
    ]);
    const variables = { XDG_RUNTIME_DIR: '/run/user/7', HOME: '/home/x' };
    expect(socketCandidates({ variables, isRoot: false })).toEqual([
      '/var/run/docker.sock',
      '/run/user/7/docker.sock',
      '/home/x/.docker/run/docker.sock',
    ]);
  });

  it('that does not let us in is another matter than one that is not there', () => {
    const problem = engineProblem('connect EACCES /x', { variables: nowhere, isRoot: false });
    expect(problem.message).toContain('add the user to the group "docker"');
  });
});
