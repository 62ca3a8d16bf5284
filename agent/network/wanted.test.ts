import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import type { MachineAddress } from './machine-network.ts';
import { wantedNetwork } from './wanted.ts';

function node(name: string, podCIDR: string, address?: string): Node {
  const addresses = address === undefined ? [] : [{ type: 'InternalIP', address }];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: podCIDR === '' ? {} : { podCIDR },
    status: { addresses },
  };
}

function at(device: string, text: string, mtu = 1500): MachineAddress {
  const [address = '', length] = text.split('/');
  return { device, address, prefixLength: Number(length), mtu };
}

const own = node('pi1', '10.244.1.0/24', '10.77.0.11');
const home = [at('lo', '127.0.0.1/8'), at('eth0', '10.77.0.11/24'), at('docker0', '172.17.0.1/16')];
const ours = { bridge: 'flt-1', overlay: 'flv-1' };
const wanted = (others: readonly Node[], addresses = home) =>
  wantedNetwork([own, ...others], 'pi1', addresses, ours);

describe("the pods' network of a machine", () => {
  it('is a route by each neighbour', () => {
    const others = [node('pi2', '10.244.2.0/24', '10.77.0.12')];
    expect(wanted(others)).toEqual({
      podCidr: '10.244.1.0/24',
      direct: [{ cidr: '10.244.2.0/24', via: '10.77.0.12', device: 'eth0' }],
      overlay: undefined,
      cluster: ['10.244.1.0/24', '10.244.2.0/24', '10.77.0.11', '10.77.0.12'],
      problems: [],
    });
  });

  it('leads through the overlay to machines of other segments, whose own addresses stay outside', () => {
    const others = [node('pi3', '10.244.3.0/24', '10.78.0.13')];
    expect(wanted(others, [at('wlan0', '10.77.0.11/24', 1400)])).toEqual({
      podCidr: '10.244.1.0/24',
      direct: [],
      overlay: {
        local: '10.77.0.11',
        address: '10.244.1.0',
        mac: '0a:58:0a:f4:01:00',
        mtu: 1350,
        peers: [
          {
            cidr: '10.244.3.0/24',
            via: '10.78.0.13',
            address: '10.244.3.0',
            mac: '0a:58:0a:f4:03:00',
          },
        ],
      },
      cluster: ['10.244.1.0/24', '10.244.3.0/24', '10.77.0.11'],
      problems: [],
    });
  });

  it('takes a second interface to a neighbour that only that one has', () => {
    const others = [node('nas', '10.244.2.0/24', '192.168.9.2')];
    const addresses = [...home, at('eth1', '192.168.9.1/30')];
    expect(wanted(others, addresses)?.direct).toEqual([
      { cidr: '10.244.2.0/24', via: '192.168.9.2', device: 'eth1' },
    ]);
  });

  it('takes no route into a network that the machine itself is in, and says so', () => {
    const others = [
      node('pi2', '10.244.2.0/24', '10.77.0.12'),
      node('pi3', '10.244.3.0/24', '10.77.0.13'),
    ];
    const found = wanted(others, [...home, at('tun0', '10.244.2.128/25')]);
    expect(found?.direct.map(({ cidr }) => cidr)).toEqual(['10.244.3.0/24']);
    expect(found?.problems).toEqual([
      "pods of pi2 can't be reached: their network 10.244.2.0/24 is also that of tun0 (10.244.2.128/25) on this machine",
    ]);
  });

  it('is told to be in the way of a network of this machine, of whatever kind, also where it is alone', () => {
    const clusters = [at('flt-1', '10.244.1.1/24'), at('flv-1', '10.244.1.0/32')];
    expect(wanted([], [...home, ...clusters])?.problems).toEqual([]);
    const bridge = at('br-0123456789ab', '10.244.1.129/25');
    const others = [node('pi2', '10.244.2.0/24', '10.77.0.12')];
    const words = 'what is in 10.244.1.129/25 (br-0123456789ab) may not reach each other';
    for (const found of [
      wanted([], [...home, ...clusters, bridge]),
      wanted(others, [...home, bridge]),
    ])
      expect(found?.problems).toEqual([expect.stringContaining(words)]);
    const far = wanted(others, [...home, at('virbr0', '10.244.2.1/24')]);
    expect([far?.direct, far?.problems.length]).toEqual([[], 1]);
  });

  it('is made by the address that the machine has, while its Node tells the one before', () => {
    const others = [node('pi2', '10.244.2.0/24', '10.77.0.12')];
    expect(wanted(others, [at('eth0', '10.77.0.31/24')])).toMatchObject({
      direct: [{ cidr: '10.244.2.0/24', via: '10.77.0.12', device: 'eth0' }],
      cluster: ['10.244.1.0/24', '10.244.2.0/24', '10.77.0.12', '10.77.0.31'],
    });
  });

  it('is nothing for a machine alone', () => {
    const others = [
      node('new', '', '10.77.0.14'),
      node('silent', '10.244.5.0/24'),
      node('offline', '10.244.6.0/24', '127.0.0.1'),
      node('same-machine', '10.244.7.0/24', '10.77.0.11'),
    ];
    const nothing = { direct: [], overlay: undefined, cluster: [], problems: [] };
    expect(wanted(others)).toEqual({ podCidr: '10.244.1.0/24', ...nothing });
  });

  it.each([
    ['no network was given yet', [node('pi1', '', '10.77.0.11')], home],
    ['its Node is not known', [], home],
    ['it has no address', [own], [at('lo', '127.0.0.1/8')]],
  ])('is not known when %s', (_, first, addresses) => {
    const others = [node('pi2', '10.244.2.0/24', '10.77.0.12')];
    expect(wantedNetwork([...first, ...others], 'pi1', addresses, ours)).toBeUndefined();
  });
});
