import { expect, it } from 'vitest';
import { isInPool, parseAddressPool, poolAddresses } from './address-pool.ts';

it('is ranges, networks and addresses, with commas or on lines of their own', () => {
  const pool = parseAddressPool('192.168.1.250-192.168.1.251,\n192.168.1.8/30 192.168.1.3\n');
  if (typeof pool === 'string') throw new Error(pool);
  expect([...poolAddresses(pool)].map((address) => address.slice('192.168.1.'.length))).toEqual([
    '250',
    '251',
    '8',
    '9',
    '10',
    '11',
    '3',
  ]);
  expect(pool.text).toBe('192.168.1.250-192.168.1.251, 192.168.1.8/30, 192.168.1.3');
  expect(['192.168.1.251', '192.168.1.252', 'x'].map((text) => isInPool(pool, text))).toEqual([
    true,
    false,
    false,
  ]);
});

it.each([
  ['', 'must name addresses, as 192.168.1.240-192.168.1.250'],
  [
    '192.168.1.300',
    '"192.168.1.300" is no IPv4 address, range (192.168.1.240-192.168.1.250) or network (192.168.1.240/29)',
  ],
  [
    '10.0.0.1-10.0.0.2-10.0.0.3',
    '"10.0.0.1-10.0.0.2-10.0.0.3" is no IPv4 address, range (192.168.1.240-192.168.1.250) or network (192.168.1.240/29)',
  ],
  ['10.0.0.9-10.0.0.1', '10.0.0.9-10.0.0.1 ends before it begins'],
  ['10.0.0.1-10.0.0.9, 10.0.0.9', '10.0.0.9 overlaps 10.0.0.1-10.0.0.9'],
  ['10.0.0.0/16', 'must be 4096 addresses at most, and is 65536'],
  ['127.0.0.1', '127.0.0.1: not addresses of a network'],
  ['224.0.0.1', '224.0.0.1: not addresses of a network'],
  ['0.0.0.0/30', '0.0.0.0/30: not addresses of a network'],
])('refuses %j in words', (text, want) => {
  expect(parseAddressPool(text)).toBe(want);
});
