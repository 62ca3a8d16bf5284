import { describe, expect, it } from 'vitest';
import { exactJson } from './exact-json.ts';

describe('integers', () => {
  it.each([
    '9007199254740991',
    '9007199254740993',
    '-9007199254740993',
    '9223372036854775807',
    '-9223372036854775808',
    '{"a":[{"b":9223372036854775807}],"c":"9223372036854775807"}',
  ])('come back as they were: %s', (text) => {
    expect(JSON.stringify(exactJson(text))).toBe(text);
  });

  it.each([
    ['9223372036854775808', 9223372036854775808],
    ['9007199254740993.5', 9007199254740994],
    ['1e20', 1e20],
    ['1234567890123456', 1234567890123456],
  ])('only where JavaScript would change them: %s', (text, want) => {
    expect(exactJson(text)).toBe(want);
  });
});

describe('halves of surrogate pairs', () => {
  it('become U+FFFD, whole pairs stay', () => {
    expect(exactJson(String.raw`["\ud800","a\uDFFFb","\ud83d\ude00"]`)).toEqual([
      '\uFFFD',
      'a\uFFFDb',
      '😀',
    ]);
  });
});

it('throws as JSON.parse does', () => {
  expect(() => exactJson('{"a":9007199254740993')).toThrow(SyntaxError);
});
