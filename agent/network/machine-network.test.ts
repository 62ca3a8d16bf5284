import { expect, it } from 'vitest';
import { networksOf, parseAddresses, parseRoutes } from './machine-network.ts';

// As `ip -json` of iproute2 6.1 prints it.
const addresses = JSON.stringify([
  { ifname: 'lo', mtu: 65536, addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] },
  {
    ifname: 'eth0',
    mtu: 1500,
    addr_info: [{ family: 'inet', local: '192.168.1.17', prefixlen: 24 }],
  },
  { ifname: 'eth1', mtu: 1500, addr_info: [] },
  {
    ifname: 'flt-x',
    mtu: 1500,
    addr_info: [{ family: 'inet', local: '10.244.0.1', prefixlen: 24 }],
  },
]);
const routes = JSON.stringify([
  { dst: 'default', gateway: '192.168.1.1', dev: 'eth0', protocol: 'dhcp', metric: 100, flags: [] },
  { dst: '10.8.0.0/24', dev: 'tun0', flags: [] },
  { dst: '100.64.0.7', dev: 'tailscale0', table: '52', flags: [] },
  { dst: '0.0.0.0/1', gateway: '10.8.0.1', dev: 'tun0', flags: [] },
  { dst: '10.244.1.0/24', gateway: '192.168.1.18', dev: 'eth0', protocol: '102', metric: 7 },
  { type: 'local', dst: '192.168.1.17', dev: 'eth0', table: 'local', protocol: 'kernel' },
  { type: 'blackhole', dst: '172.16.0.0/12', protocol: 'boot' },
]);

it('what a machine is connected to: its networks and where its routes lead, but not our own', () => {
  const machine = { addresses: parseAddresses(addresses), routes: parseRoutes(routes) };
  const isOurs = (entry: { device: string; metric?: number }) =>
    entry.device === 'flt-x' || entry.metric === 7;
  expect(networksOf(machine, isOurs)).toEqual(['10.8.0.0/24', '100.64.0.7/32', '192.168.1.0/24']);
});

it('nothing is what `ip` says where there is nothing', () => {
  expect([parseAddresses(''), parseRoutes('\n')]).toEqual([[], []]);
});
