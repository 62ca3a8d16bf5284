import { describe, expect, it } from 'vitest';
import {
  formatIpv4Network,
  holds,
  overlap,
  parseIpv4Network,
  subnets,
  type Ipv4Network,
} from './ipv4.ts';

function network(text: string): Ipv4Network {
  const parsed = parseIpv4Network(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

describe('IPv4 networks', () => {
  it.each([
    ['10.244.3.7/24', '10.244.3.0/24'],
    ['192.168.1.17', '192.168.1.17/32'],
    ['255.255.255.255/1', '128.0.0.0/1'],
    ['10.0.0.0/0', '0.0.0.0/0'],
  ])('%s is %s', (text, canonical) => {
    expect(formatIpv4Network(network(text))).toBe(canonical);
  });

  it.each(['', '10.244.0.0/33', '10.244.0/24', '10.244.0.256/24', 'fe80::1/64', '10.0.0.0/8/8'])(
    '%j is none',
    (text) => expect(parseIpv4Network(text)).toBeUndefined(),
  );

  it.each([
    ['10.0.0.0/8', '10.244.7.0/24', true],
    ['10.244.7.128/25', '10.244.7.0/24', true],
    ['10.244.8.0/24', '10.244.7.0/24', false],
  ])('%s and %s overlap: %s', (a, b, expected) => {
    expect([overlap(network(a), network(b)), overlap(network(b), network(a))]).toEqual([
      expected,
      expected,
    ]);
  });

  it('hold the addresses between their first and last', () => {
    const held = ['10.77.0.0', '10.77.0.255', '10.77.1.0', 'x'].map((address) =>
      holds(network('10.77.0.9/24'), address),
    );
    expect(held).toEqual([true, true, false, false]);
  });

  it('are made of smaller ones', () => {
    const parts = [...subnets(network('10.244.0.0/22'), 24)].map(formatIpv4Network);
    expect(parts).toEqual(['10.244.0.0/24', '10.244.1.0/24', '10.244.2.0/24', '10.244.3.0/24']);
  });
});
