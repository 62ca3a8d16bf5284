import { describe, expect, it } from 'vitest';
import { networkChanges, type FoundNetwork, type FoundOverlay } from './changes.ts';
import type { MachineRoute } from './machine-network.ts';
import { networkNames, overlayEnd } from './names.ts';
import type { Overlay } from './wanted.ts';

const names = networkNames('a-cluster');
const { overlay: device, metric, overlayId } = names;
const mark = `proto 102 metric ${metric}`;

function route(destination: string, via: string, on = 'eth0'): MachineRoute {
  return { destination, via, device: on, protocol: '102', metric };
}

function overlay(...peers: readonly [cidr: string, via: string][]): Overlay {
  return {
    local: '10.77.0.11',
    ...overlayEnd('10.244.1.0/24'),
    mtu: 1450,
    peers: peers.map(([cidr, via]) => ({ cidr, via, ...overlayEnd(cidr) })),
  };
}

/** As it is when all of `wanted` was done. */
function made(wanted: Overlay, more: Partial<FoundOverlay> = {}): FoundOverlay {
  return {
    id: overlayId,
    local: wanted.local,
    port: 8472,
    mac: wanted.mac,
    mtu: wanted.mtu,
    isUp: true,
    addresses: [wanted.address],
    neighbours: wanted.peers.map(({ address, mac }) => `${address} ${mac}`),
    forwarding: wanted.peers.map(({ mac, via }) => `${mac} ${via}`),
    ...more,
  };
}

const nothing: FoundNetwork = { routes: [], overlay: undefined };

function lines(
  wanted: Parameters<typeof networkChanges>[0],
  found: FoundNetwork,
): readonly string[] {
  const { overlay: ends, direct, far } = networkChanges(wanted, found, names);
  return [...ends, ...direct, ...far].map((command) => command.join(' '));
}

const near = { cidr: '10.244.2.0/24', via: '10.77.0.12', device: 'eth0' };

describe('routes to neighbours', () => {
  it('are made, once', () => {
    const wanted = { direct: [near], overlay: undefined };
    expect(lines(wanted, nothing)).toEqual([
      `ip route replace 10.244.2.0/24 via 10.77.0.12 dev eth0 ${mark}`,
    ]);
    const found = { ...nothing, routes: [route('10.244.2.0/24', '10.77.0.12')] };
    expect(lines(wanted, found)).toEqual([]);
  });

  it('follow a machine to its new address without a gap', () => {
    const found = { ...nothing, routes: [route('10.244.2.0/24', '10.77.0.99')] };
    expect(lines({ direct: [near], overlay: undefined }, found)).toEqual([
      `ip route replace 10.244.2.0/24 via 10.77.0.12 dev eth0 ${mark}`,
    ]);
  });

  it('go with their machine', () => {
    const found = { ...nothing, routes: [route('10.244.9.0/24', '10.77.0.19')] };
    expect(lines({ direct: [], overlay: undefined }, found)).toEqual([
      `ip route del 10.244.9.0/24 ${mark}`,
    ]);
  });
});

describe('the overlay', () => {
  const wanted = overlay(['10.244.3.0/24', '10.78.0.13']);
  const farRoute = route('10.244.3.0/24', '10.244.3.0', device);

  it('is made with the end of each machine', () => {
    expect(lines({ direct: [], overlay: wanted }, nothing)).toEqual([
      `ip link add ${device} address 0a:58:0a:f4:01:00 type vxlan id ${overlayId} dstport 8472 local 10.77.0.11 nolearning`,
      `ip address replace 10.244.1.0/32 dev ${device}`,
      `ip link set ${device} mtu 1450 up`,
      `ip neigh replace 10.244.3.0 lladdr 0a:58:0a:f4:03:00 dev ${device} nud permanent`,
      `bridge fdb replace 0a:58:0a:f4:03:00 dev ${device} dst 10.78.0.13`,
      `ip route replace 10.244.3.0/24 via 10.244.3.0 dev ${device} ${mark} onlink`,
    ]);
  });

  it('is left alone when it is as it should be', () => {
    expect(
      lines({ direct: [], overlay: wanted }, { routes: [farRoute], overlay: made(wanted) }),
    ).toEqual([]);
  });

  it('follows a machine to its new address', () => {
    const before = made(overlay(['10.244.3.0/24', '10.78.0.99']));
    expect(lines({ direct: [], overlay: wanted }, { routes: [farRoute], overlay: before })).toEqual(
      [`bridge fdb replace 0a:58:0a:f4:03:00 dev ${device} dst 10.78.0.13`],
    );
  });

  it('forgets a machine that left', () => {
    const before = made(overlay(['10.244.3.0/24', '10.78.0.13'], ['10.244.4.0/24', '10.78.0.14']));
    const routes = [farRoute, route('10.244.4.0/24', '10.244.4.0', device)];
    expect(lines({ direct: [], overlay: wanted }, { routes, overlay: before })).toEqual([
      `ip neigh del 10.244.4.0 dev ${device}`,
      `bridge fdb del 0a:58:0a:f4:04:00 dev ${device} dst 10.78.0.14`,
      `ip route del 10.244.4.0/24 ${mark}`,
    ]);
  });

  it('is made anew when this machine has another address', () => {
    const found = { routes: [farRoute], overlay: made(wanted, { local: '10.77.0.99' }) };
    const changes = lines({ direct: [], overlay: wanted }, found);
    expect(changes[0]).toBe(`ip link del ${device}`);
    // The kernel took it along.
    expect(changes.at(-1)).toContain('ip route replace 10.244.3.0/24');
  });

  it('is put up again, as wide as it should be', () => {
    const found = { routes: [farRoute], overlay: made(wanted, { isUp: false, mtu: 1500 }) };
    expect(lines({ direct: [], overlay: wanted }, found)).toEqual([
      `ip link set ${device} mtu 1450 up`,
    ]);
  });

  it('goes when nobody is far away any more, and its routes with it', () => {
    expect(
      lines({ direct: [], overlay: undefined }, { routes: [farRoute], overlay: made(wanted) }),
    ).toEqual([`ip link del ${device}`]);
  });
});
