import { describe, expect, it } from 'vitest';
import {
  controlPlaneArguments,
  helpText,
  ownFlags,
  parseLaunchOptions,
  parseOptions,
} from './options.ts';

describe('parseOptions', () => {
  it('makes children see the same options', () => {
    const given = [
      '--data',
      '/d',
      '--port',
      '0',
      '--ui-port',
      '1',
      '--node-name',
      'nuc',
      '--no-agent',
      '--bind-address',
      '0.0.0.0',
    ];
    const options = parseOptions([...given, '--discovery', 'lab0,lab1'], {});
    expect(parseOptions(controlPlaneArguments(options), {})).toEqual(options);
  });

  it.each([
    '--member-address [fd00::5]:7450 --always-on no --join /tmp/x.invitation --etcd-port 2379',
    '--datastore etcd://a:2379,b:2379 --datastore-ca /ca --datastore-cert /c --datastore-key /k',
  ])('makes children see where the state is kept: %s', (given) => {
    const options = parseOptions(given.split(' '), {});
    expect(parseOptions(controlPlaneArguments(options), {})).toEqual(options);
    expect(options).not.toEqual(parseOptions([], {}));
  });

  it('keeps discovery off unless a flag or the environment names interfaces; the flag wins', () => {
    const of = (args: string[], value?: string) =>
      parseOptions(args, { FLOTILLA_DISCOVERY: value }).discovery;
    expect([of([]), of([], 'lab0'), of(['--discovery', 'off'], 'lab0')]).toEqual([
      'off',
      ['lab0'],
      'off',
    ]);
  });

  const bad = [
    { args: ['--port', '65536'], says: '--port takes a port number from 0 to 65535, not "65536".' },
    { args: ['--ui-port', 'x'], says: '--ui-port takes a port number from 0 to 65535, not "x".' },
    { args: ['--colour'], says: "Unknown option '--colour'" },
    { args: ['--node-name', 'My_PC'], says: '--node-name takes lower-case letters' },
    { args: ['--discovery', 'a,,b'], says: '--discovery (or FLOTILLA_DISCOVERY) takes "off"' },
    { args: ['--data', ''], says: '--data takes a directory, not an empty text.' },
    { args: ['--port', '-1'], says: '--port takes a port number from 0 to 65535, not "-1".' },
    { args: ['--ui-port=-1'], says: '--ui-port takes a port number from 0 to 65535, not "-1".' },
    { args: ['--ui-port', ''], says: '--ui-port takes a port number from 0 to 65535, not "".' },
    { args: ['--port', '--headless'], says: '--port needs a value, and "--headless" is a flag.' },
    { args: ['--bind-address', 'nas'], says: '--bind-address takes an IPv4 address of this' },
    { args: ['--port'], says: '--port needs a value.' },
    { args: ['--member-address', 'nas'], says: '--member-address takes HOST:PORT, by which' },
    { args: ['--member-address', 'nas:0'], says: '--member-address takes HOST:PORT, by which' },
    { args: ['--always-on', 'maybe'], says: '--always-on takes yes or no, not "maybe".' },
    { args: ['--join', ''], says: '--join takes a file, not an empty text.' },
    { args: ['--pod-max-pids', '0'], says: '--pod-max-pids takes a number from 1 to' },
    { args: ['--pod-max-pids', '5e6'], says: '--pod-max-pids takes a number from 1 to' },
    { args: ['--pod-max-pids', '9000000'], says: '--pod-max-pids takes a number from 1 to' },
    { args: ['--etcd-port', 'x'], says: '--etcd-port takes a port number' },
    { args: ['--datastore', 'nas:2379'], says: '--datastore takes etcd://HOST:PORT' },
    { args: ['--datastore', 'etcd://nas'], says: '--datastore takes etcd://HOST:PORT' },
    { args: ['--datastore-ca', '/ca'], says: '--datastore-ca needs --datastore beside it.' },
    {
      args: ['--datastore', 'etcd://a:1', '--datastore-cert', '/c'],
      says: '--datastore-cert and --datastore-key belong together: give both.',
    },
    {
      args: ['--datastore', 'etcd://a:1', '--etcd-port', '1'],
      says: '--etcd-port and --datastore exclude each other',
    },
    { args: ['stray'], says: "Unexpected argument 'stray'" },
  ];
  for (const { args, says } of bad)
    it(`refuses ${args.join(' ')} with a sentence`, () => {
      expect(() => parseOptions(args, {})).toThrow(says);
    });

  const launch = (...args: string[]) => parseLaunchOptions(args, {}, { lo: [], eth0: [] });

  it.each([
    {
      text: 'nosuchif',
      says: 'This machine has no network interface "nosuchif" for --discovery (or FLOTILLA_DISCOVERY) to look on. It has: lo, eth0.',
    },
    { text: 'eth0,wlan9', says: 'no network interface "wlan9"' },
  ])('refuses to look for machines on $text, naming what there is', ({ text, says }) => {
    expect(() => launch('--discovery', text)).toThrow(says);
  });

  it('takes interfaces that exist, and explains itself whatever else is asked', () => {
    expect([
      launch('--discovery', 'eth0').discovery,
      launch('--discovery', 'x', '--help').help,
    ]).toEqual([['eth0'], true]);
  });

  it('finds our flags among those of Electron and Chromium', () => {
    const line = ['/app', '--no-sandbox', '--data', '/d', '--inspect=0', '--port=0', '--headless'];
    expect(ownFlags(line)).toEqual(['--data', '/d', '--port=0', '--headless']);
  });

  it('explains every flag it knows', () => {
    const flags = ['headless', 'data', 'port', 'ui-port', 'node-name', 'no-agent', 'no-install'];
    for (const flag of [...flags, 'discovery', 'help']) expect(helpText).toContain(`--${flag}`);
  });
});
