// What the engine is asked for; what comes of it, real Docker shows in test/e2e/docker-runtime.test.ts.
import { describe, expect, it } from 'vitest';
import { containerBody, sandboxBody } from './docker-config.ts';
import type { ContainerConfig, SandboxConfig } from './runtime.ts';

const pod = { uid: 'u', name: 'web', namespace: 'ns' };
const place = {
  identity: { clusterId: 'c', nodeName: 'pi' },
  networkName: 'n',
  mayLowerOomScore: false,
  engineDirectory: '/var/lib/docker',
};
const sandbox = {
  pod,
  attempt: 0,
  ports: [],
  extraHosts: [],
  sysctls: {},
} as unknown as SandboxConfig;
const container = {
  pod,
  sandboxId: 's',
  name: 'a',
  attempt: 0,
  image: 'web:1',
  env: [],
  mounts: [],
  devices: [],
  resources: { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 0, oomScoreAdj: 0 },
  security: {
    addCapabilities: [],
    dropCapabilities: [],
    supplementalGroups: [],
    seLinuxLabels: [],
  },
} as unknown as ContainerConfig;

describe('another runtime', () => {
  it('runs the sandbox and its containers, and the engine’s own where none is named', () => {
    const runtimeHandler = 'runsc';
    const hosts = [
      sandboxBody(sandbox, place),
      sandboxBody({ ...sandbox, runtimeHandler }, place),
      containerBody(container, place),
      containerBody({ ...container, runtimeHandler }, place),
    ].map(({ HostConfig }) => HostConfig);
    expect(hosts.map((host) => host?.Runtime)).toEqual([undefined, 'runsc', undefined, 'runsc']);
  });
});

describe('devices', () => {
  const host = (more: Partial<ContainerConfig>) =>
    containerBody({ ...container, ...more }, place).HostConfig ?? {};

  it('of USB are the bus as it changes, and the right to all of it', () => {
    expect(host({ usbBus: true })).toMatchObject({
      Mounts: [{ Type: 'bind', Source: '/dev/bus/usb', Target: '/dev/bus/usb', ReadOnly: false }],
      DeviceCgroupRules: ['c 189:* rwm'],
    });
    expect(host({})).toMatchObject({ Mounts: [] });
    expect(host({})).not.toHaveProperty('DeviceCgroupRules');
  });

  it('of NVIDIA are asked of the engine by number, and remembered', () => {
    const body = containerBody({ ...container, gpus: ['0', '2'] }, place);
    expect(body.HostConfig?.DeviceRequests).toEqual([
      { Driver: 'nvidia', DeviceIDs: ['0', '2'], Capabilities: [['gpu']] },
    ]);
    expect(body.Labels?.['flotilla.dev/gpus']).toBe('0,2');
    expect(containerBody(container, place).Labels).not.toHaveProperty('flotilla.dev/gpus');
  });
});
