import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { Endpoint } from '#kube/api/discovery.ts';
import { addressesMax, groupsOf, subsetsOf } from './subsets.ts';

function serviceOf(spec: Partial<Service['spec']> = {}): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec };
}

function endpoint(ip: string, ready = true, terminating = false): Endpoint {
  return {
    addresses: [ip],
    conditions: { ready, serving: ready, terminating },
    nodeName: 'n1',
    zone: 'here',
    targetRef: { kind: 'Pod', name: ip },
  };
}

const address = (ip: string) => ({ ip, nodeName: 'n1', targetRef: { kind: 'Pod', name: ip } });
const ports = [{ name: '', port: 80, protocol: 'TCP' }];

describe('subsets', () => {
  it('have ready pods and others apart, in one order', () => {
    const endpoints = [endpoint('10.0.0.2'), endpoint('10.0.0.1'), endpoint('10.0.0.3', false)];
    expect(subsetsOf(serviceOf(), [{ ports, endpoints }])).toEqual({
      isTruncated: false,
      subsets: [
        {
          addresses: [address('10.0.0.1'), address('10.0.0.2')],
          notReadyAddresses: [address('10.0.0.3')],
          ports: [{ port: 80, protocol: 'TCP' }],
        },
      ],
    });
  });

  it('leave out what terminates, unless all shall be published', () => {
    const groups = [{ ports, endpoints: [endpoint('10.0.0.1', true, true)] }];
    expect(subsetsOf(serviceOf(), groups).subsets).toEqual([]);
    const published = subsetsOf(serviceOf({ publishNotReadyAddresses: true }), groups).subsets;
    expect(published[0]?.addresses).toHaveLength(1);
  });

  it(`hold ${addressesMax} addresses at most, ready ones first`, () => {
    const endpoints = Array.from({ length: addressesMax + 1 }, (_, index) =>
      endpoint(`10.0.${index >> 8}.${index & 255}`, index > 0),
    );
    const { subsets, isTruncated } = subsetsOf(serviceOf(), [{ ports, endpoints }]);
    expect([isTruncated, subsets[0]?.addresses?.length, subsets[0]?.notReadyAddresses]).toEqual([
      true,
      addressesMax,
      undefined,
    ]);
  });
});

it('Endpoints written by hand become groups, by family', () => {
  const subsets = [
    { addresses: [{ ip: '10.9.0.1' }, { ip: 'fd00::1' }], ports: [{ port: 5432 }] },
    { notReadyAddresses: [{ ip: '10.9.0.2', hostname: 'db' }], ports: [{ name: 'x', port: 1 }] },
  ];
  expect(groupsOf(subsets, 'IPv4')).toEqual([
    {
      ports: [{ name: '', port: 5432 }],
      endpoints: [{ addresses: ['10.9.0.1'], conditions: { ready: true } }],
    },
    {
      ports: [{ name: 'x', port: 1 }],
      endpoints: [{ addresses: ['10.9.0.2'], conditions: { ready: false }, hostname: 'db' }],
    },
  ]);
  expect(groupsOf(subsets, 'IPv6')).toHaveLength(1);
});

it('what was written as two subsets of the same ports is one group', () => {
  const two = ['10.9.0.1', '10.9.0.2'].map((ip) => ({ addresses: [{ ip }], ports: [{ port: 1 }] }));
  expect(groupsOf(two, 'IPv4')).toMatchObject([
    { endpoints: [{ addresses: ['10.9.0.1'] }, { addresses: ['10.9.0.2'] }] },
  ]);
});
