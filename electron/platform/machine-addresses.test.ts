import { describe, expect, it } from 'vitest';
import { defaultInterface, machineAddresses } from './machine-addresses.ts';

const at = (address: string, prefix: number, internal = false) => ({
  address,
  cidr: `${address}/${prefix}`,
  family: 'IPv4' as const,
  internal,
  mac: '',
  netmask: '',
});
const interfaces = {
  lo: [at('127.0.0.1', 8, true)],
  docker0: [at('172.17.0.1', 16)],
  'flt-1': [at('10.244.0.1', 24)],
  wlan0: [at('192.168.2.7', 24)],
  eth0: [at('192.168.1.240', 32), at('192.168.1.2', 24)],
  ppp0: [at('100.64.0.9', 32)],
};

describe('the addresses by which others reach this machine', () => {
  it.each([
    ['eth0', ['192.168.1.2', '192.168.1.240', '192.168.2.7', '100.64.0.9']],
    ['', ['192.168.2.7', '192.168.1.2', '192.168.1.240', '100.64.0.9']],
    ['ppp0', ['100.64.0.9', '192.168.2.7', '192.168.1.2', '192.168.1.240']],
  ])('begin with that of the way out (%s), and none that it only answers for', (primary, want) => {
    expect(machineAddresses(interfaces, primary)).toEqual(want);
  });

  it('are none where there is no network', () => {
    expect(machineAddresses({ lo: interfaces.lo }, 'eth0')).toEqual([]);
  });
});

it('the way out is the default route of the lowest metric: a cable before Wi-Fi', () => {
  const header = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n';
  const home = 'br0\t0000A8C0\t0\t1\t0\t0\t0\t00FFFFFF\n';
  const wifi = 'wlan0\t00000000\t0101A8C0\t3\t0\t0\t600\t00000000\n';
  const cable = 'eth0\t00000000\t0101A8C0\t3\t0\t0\t100\t00000000\n';
  expect(defaultInterface(header + home + wifi)).toBe('wlan0');
  expect(defaultInterface(header + home + wifi + cable)).toBe('eth0');
  expect(defaultInterface(header + home)).toBeUndefined();
});
