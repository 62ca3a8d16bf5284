import { describe, expect, it } from 'vitest';
import { base64Problem, base64Size } from './core/base64.ts';
import { isCidr, isEnvVarName, isIP, isPortName } from './text-rules.ts';

describe('addresses', () => {
  const legal = ['10.9.8.7', '::', '::1', '2001:db8::ffff', '1:2:3:4:5:6:7:8', '::ffff:10.0.0.1'];
  const illegal = [
    '',
    '10.9.8',
    '10.9.8.256',
    '1:2:3:4:5:6:7',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7:8:9',
  ];
  it.each(legal)('%s is one', (text) => expect(isIP(text)).toEqual([]));
  it.each(illegal)('%j is none', (text) => expect(isIP(text)).toHaveLength(1));
});

describe('ranges', () => {
  it.each(['10.0.0.0/8', '::/0', '2001:db8::/64'])('%s is one', (text) => {
    expect(isCidr(text)).toEqual([]);
  });
  it.each(['10.0.0.0', '10.0.0.0/33', '10.0.0.0/8/8', '::/129', '/8'])('%s is none', (text) => {
    expect(isCidr(text)).toHaveLength(1);
  });
});

describe('port names', () => {
  const cases = [
    { name: 'http', want: [] },
    { name: '80', want: ['must contain at least one letter (a-z)'] },
    { name: 'a--b', want: ['must not contain consecutive hyphens'] },
    { name: '-a', want: ['must not begin or end with a hyphen'] },
    {
      name: 'HTTP',
      want: [
        'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
        'must contain at least one letter (a-z)',
      ],
    },
  ];
  it.each(cases)('$name', ({ name, want }) => expect(isPortName(name)).toEqual(want));
});

describe('environment variables', () => {
  it.each(['PATH', 'my.var', '1st', 'a b'])('may be named %j', (name) => {
    expect(isEnvVarName(name)).toEqual([]);
  });
  it.each(['', 'a=b', 'grün', 'a\tb'])('may not be named %j', (name) => {
    expect(isEnvVarName(name)).toHaveLength(1);
  });
});

describe('base64', () => {
  const cases = [
    { text: '', at: undefined },
    { text: 'Zm9v', at: undefined },
    { text: 'Zm9vYg==', at: undefined },
    { text: 'Zm9v\nYmE=\n', at: undefined },
    { text: 'Zm9', at: 0 },
    { text: 'Zm9vZm', at: 4 },
    { text: 'Zm$v', at: 2 },
    { text: 'Zg=a', at: 2 },
    { text: 'Zg=', at: 3 },
    { text: 'Zg==Zg==', at: 4 },
    { text: 'Z===', at: 1 },
  ];
  it.each(cases)('$text is wrong at $at', ({ text, at }) => {
    expect(base64Problem(text)).toBe(
      at === undefined ? undefined : `illegal base64 data at input byte ${at}`,
    );
  });

  it.each(['', 'f', 'fo', 'foo', 'foob'])('of %j takes as many bytes as it', (text) => {
    expect(base64Size(Buffer.from(text).toString('base64'))).toBe(text.length);
  });
});
