import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { readTags, writeTags } from './yaml-tags.ts';

function read(text: string): unknown {
  return parse(text, { customTags: (tags) => [...readTags, ...tags], merge: true });
}

function write(value: unknown): string {
  return stringify(value, { version: '1.1', customTags: (tags) => [...writeTags, ...tags] });
}

describe('YAML as Go programs read it', () => {
  const cases = [
    ['0644', 420],
    ['-012', -10],
    ['08', 8],
    ['0', 0],
    ['0b11', 3],
    ['0o17', 15],
    ['0x1F', 31],
    ['1_000', 1000],
    ['yes', true],
    ['On', true],
    ['n', false],
    ['OFF', false],
    ['~', null],
    ['1:30', '1:30'],
    ['2001-01-01', '2001-01-01'],
    ['"0644"', '0644'],
    ['yEs', 'yEs'],
    ['0x_', '0x_'],
    ['0b__', '0b__'],
    ['0o_', '0o_'],
    ['0x_1F', 31],
    ['{a: &x {b: 1, c: 2}, d: {<<: *x, b: 3}}', { a: { b: 1, c: 2 }, d: { b: 3, c: 2 } }],
  ] as const;
  it.each(cases)('%s', (text, want) => {
    expect(read(text)).toEqual(want);
  });
});

describe('a text is written so that Go, YAML 1.1 and 1.2 read it as that text:', () => {
  const inQuotes = ['on', 'y', 'Yes', '012', '1_000', '190:20:30', '2001-01-01', '=', '<<', '0o7'];
  const numbers = ['0X1F', '0B11', '-0o7', '+0o17', '-0X1f', '0B_1'];
  it.each([...inQuotes, ...numbers, '2026-11-28T19:29:50Z', '~', '', '.inf', '1e3'])(
    '"%s"',
    (text) => {
      expect(write({ a: text, [text]: 1 })).toBe(`a: "${text}"\n"${text}": 1\n`);
    },
  );

  it.each(['web', '10.1.2.3', '1Gi', '50%', 'a=b'])('%s', (text) => {
    expect(write([text])).toBe(`- ${text}\n`);
  });

  it('with signs that YAML takes for a line break', () => {
    expect(write(['a\u0085b'])).toBe('- "a\\u0085b"\n');
  });
});
