import { expect, it } from 'vitest';
import { serversHeard } from './server-hint.ts';

const heard = (port: string, from?: string, address?: string) =>
  serversHeard({ port, address }, from);

it('a server is where it comes from, at the port that it says', () => {
  expect(heard('7443', '192.168.1.8')).toEqual(['https://192.168.1.8:7443']);
  expect(heard('7443', '::ffff:192.168.1.8')).toEqual(['https://192.168.1.8:7443']);
});

it('one that listens on one address only says which', () => {
  const both = ['https://10.0.0.2:7443', 'https://192.168.1.8:7443'];
  expect(heard('7443', '192.168.1.8', '10.0.0.2')).toEqual(both);
  expect(heard('7443', '10.0.0.2', '10.0.0.2')).toEqual(['https://10.0.0.2:7443']);
  expect(heard('7443', 'fe80::1', '10.0.0.2')).toEqual(['https://10.0.0.2:7443']);
});

it.each([
  ['no port', '', '10.0.0.2'],
  ['a port that is none', '65536', '10.0.0.2'],
  ['a port with more behind it', '7443/x', '10.0.0.2'],
  ['port zero', '0', '10.0.0.2'],
  ['a socket that is gone', '7443', undefined],
  ['a way that is not tried', '7443', 'fe80::1'],
  ['a name', '7443', '10.0.0.2', 'evil.example'],
  ['an address with more behind it', '7443', '10.0.0.2', '10.0.0.3:1@evil'],
  ['an address that is none', '7443', '10.0.0.2', '10.0.0.256'],
  ['everybody', '7443', '10.0.0.2', '0.0.0.0'],
  ['a group', '7443', '10.0.0.2', '224.0.0.1'],
])('of %s nothing is made', (_what, port, from?: string, address?: string) => {
  expect(heard(port, from, address)).toBeUndefined();
});
