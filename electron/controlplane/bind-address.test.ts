import { expect, it } from 'vitest';
import { machineAddresses, addressForOthers, servingNames } from './bind-address.ts';

const own = ['192.168.1.17', '10.8.0.2'];

it.each([
  ['127.0.0.1', ['127.0.0.1'], undefined],
  ['192.168.1.17', ['192.168.1.17'], '192.168.1.17'],
  ['0.0.0.0', own, '192.168.1.17'],
])('listening on %s', (bindAddress, ipAddresses, others) => {
  expect(servingNames(bindAddress, '10.96.0.1', own)).toEqual({
    dnsNames: [],
    ipAddresses: ['10.96.0.1', ...ipAddresses],
  });
  expect(addressForOthers(bindAddress, own)).toBe(others);
});

it('others are told none that a machine only answers for, where it has another', () => {
  const at = (address: string, prefix: number) => ({
    address,
    cidr: `${address}/${prefix}`,
    family: 'IPv4' as const,
    internal: false,
    mac: '',
    netmask: '',
  });
  const eth0 = [at('192.168.1.240', 32), at('192.168.1.2', 24)];
  const found = machineAddresses({ 'flt-1': [at('10.244.0.1', 24)], eth0 });
  expect(found).toEqual(['192.168.1.2', '192.168.1.240']);
});
