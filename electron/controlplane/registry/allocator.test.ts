import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import { seededRandom } from '#kube/base/random.ts';
import { allocateService, parseCidr, serviceAddress } from './allocator.ts';

function service(name: string, spec: Partial<Service['spec']> = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace: 'default',
    },
    spec: {
      type: 'ClusterIP',
      selector: { app: name },
      ports: [{ port: 80 }],
      ...spec,
    },
  };
}

function fill(serviceCidr: string, count: number, spec: Partial<Service['spec']> = {}): Service[] {
  const existing: Service[] = [];
  const config = { serviceCidr, nodePortRange: [30_000, 30_002] as const };
  const random = seededRandom(7);
  for (let index = 0; index < count; index++) {
    const next = service(`s${index}`, { ...spec, ports: [{ port: 80 }] });
    expect(
      allocateService(next, undefined, { existing, random, config, nowMs: 0, builtIn: [] }),
    ).toEqual([]);
    existing.push(next);
  }
  return existing;
}

describe('addresses', () => {
  it('are all different, and leave out the first, the last and that of the API server', () => {
    const addresses = fill('10.96.0.0/28', 13).map(({ spec }) => spec.clusterIP);
    const all = Array.from({ length: 13 }, (_, index) => `10.96.0.${index + 2}`);
    expect(new Set(addresses)).toEqual(new Set(all));
  });

  it('run out with a 500', () => {
    expect(() => fill('10.96.0.0/28', 14)).toThrow(
      'Internal error occurred: failed to allocate a serviceIP: range is full',
    );
  });

  it('come from the upper part first: people pick fixed ones low', () => {
    const addresses = fill('10.96.0.0/24', 100).map(({ spec }) =>
      Number(spec.clusterIP?.split('.')[3]),
    );
    expect(Math.min(...addresses)).toBeGreaterThan(16);
  });
});

describe('node ports', () => {
  it('are all different and run out with a 500', () => {
    const ports = fill('10.96.0.0/24', 3, { type: 'NodePort' }).map(
      (s) => s.spec.ports?.[0]?.nodePort,
    );
    expect(new Set(ports)).toEqual(new Set([30_000, 30_001, 30_002]));
    expect(() => fill('10.96.0.0/24', 4, { type: 'NodePort' })).toThrow(
      'Internal error occurred: failed to allocate a nodePort: range is full',
    );
  });

  it('of a load balancer that keeps client addresses include one for its health check', () => {
    const [first] = fill('10.96.0.0/24', 1, {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
    });
    const { healthCheckNodePort, ports } = first?.spec ?? {};
    expect(healthCheckNodePort).toBeGreaterThanOrEqual(30_000);
    expect(healthCheckNodePort).not.toBe(ports?.[0]?.nodePort);
  });
});

describe('ranges', () => {
  const cases = [
    { cidr: '10.96.0.0/16', offset: 1, address: '10.96.0.1' },
    { cidr: '10.96.0.77/24', offset: 10, address: '10.96.0.10' },
    { cidr: '192.168.0.0/16', offset: 65_534, address: '192.168.255.254' },
  ];
  it.each(cases)('$cidr has $address at $offset', ({ cidr, offset, address }) => {
    expect(serviceAddress(parseCidr(cidr), offset)).toBe(address);
  });

  it.each(['10.96.0.0', '10.96.0/16', '10.96.0.0/33', 'fd00::/64'])('%s is none', (text) => {
    expect(() => parseCidr(text)).toThrow(`not an IPv4 range: ${text}`);
  });
});
