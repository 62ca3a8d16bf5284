import { expect, it } from 'vitest';
import { magicPacket, networkLinks, wakePackets } from './wake-on-lan.ts';

const eth0 = { name: 'eth0', address: '192.168.1.20', cidr: '192.168.1.20/24' };
const card = (network: string | undefined) => ({
  name: 'eth0',
  address: 'b8:27:eb:12:34:56',
  ...(network !== undefined && { network }),
});

it('a magic packet is six bytes of 255 and the address sixteen times', () => {
  const packet = Buffer.from(magicPacket('b8:27:eb:12:34:56')).toString('hex');
  expect(packet).toBe(`ffffffffffff${'b827eb123456'.repeat(16)}`);
});

it.each([
  ['its own network', '192.168.1.77/24', ['192.168.1.20 192.168.1.255']],
  ['another network', '10.0.0.7/24', []],
  ['a wider one that this is a part of', '192.168.1.77/16', []],
  ['none', undefined, []],
])('goes to a card on %s only', (_, network, want) => {
  const packets = wakePackets([eth0], [card(network)]);
  expect(packets.map(({ from, to }) => `${from} ${to}`)).toEqual(want);
});

it('a card that is none gets nothing', () => {
  expect(wakePackets([eth0], [{ ...card('192.168.1.77/24'), address: 'x' }])).toEqual([]);
});

it('leaves by the named interfaces only, and never by a lent address', () => {
  const at = (address: string, cidr: string) => ({
    family: 'IPv4' as const,
    internal: false,
    address,
    cidr,
    netmask: '',
    mac: '',
  });
  const present = {
    eth0: [at('192.168.1.20', '192.168.1.20/24'), at('192.168.1.240', '192.168.1.240/32')],
    wlan0: [at('192.168.2.20', '192.168.2.20/24')],
  };
  expect(networkLinks(['eth0'], present)).toEqual([eth0]);
  expect(networkLinks('off', present)).toEqual([]);
});
