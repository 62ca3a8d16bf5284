import { expect, it } from 'vitest';
import { addressForOthers, servingNames } from './bind-address.ts';

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
