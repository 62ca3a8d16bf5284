import { describe, expect, it } from 'vitest';
import { controlPlaneArguments, helpText, ownFlags, parseOptions } from './options.ts';

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
    ];
    const options = parseOptions([...given, '--discovery', 'lab0,lab1'], {});
    expect(parseOptions(controlPlaneArguments(options), {})).toEqual(options);
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
    {
      args: ['--port', '-1'],
      says: "Option '--port' argument is ambiguous. `npm start -- --help` lists the flags.",
    },
    { args: ['stray'], says: "Unexpected argument 'stray'" },
  ];
  for (const { args, says } of bad)
    it(`refuses ${args.join(' ')} with a sentence`, () => {
      expect(() => parseOptions(args, {})).toThrow(says);
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
