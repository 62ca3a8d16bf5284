import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson } from './json.ts';

describe('parseJson', () => {
  const wrong: [text: string, message: string][] = [
    ['', 'unexpected end of JSON input'],
    ['{', 'unexpected end of JSON input'],
    ['{"a":', 'unexpected end of JSON input'],
    ['"abc', 'unexpected end of JSON input'],
    ['"a\\', 'unexpected end of JSON input'],
    ['{b', "invalid character 'b' looking for beginning of object key string"],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['{"a":1 "b"}', "invalid character '\"' after object key:value pair"],
    ['[1 2]', "invalid character '2' after array element"],
    ['[1,]', "invalid character ']' looking for beginning of value"],
    ['apiVersion: v1', "invalid character 'a' looking for beginning of value"],
    ['{} x', "invalid character 'x' after top-level value"],
    ['trux', "invalid character 'x' in literal true (expecting 'e')"],
    ['01', "invalid character '1' after top-level value"],
    ['1.x', "invalid character 'x' after decimal point in numeric literal"],
    ['1ex', "invalid character 'x' in exponent of numeric literal"],
    ['-x', "invalid character 'x' in numeric literal"],
    ['"\\x"', "invalid character 'x' in string escape code"],
    ['"\\u00g0"', "invalid character 'g' in \\u hexadecimal character escape"],
    ['"a\nb"', "invalid character '\\n' in string literal"],
    ["'a'", "invalid character '\\'' looking for beginning of value"],
    ['['.repeat(2000), 'exceeded max depth'],
  ];
  it.each(wrong)('answers 400 to %j in the words of Go', (text, message) => {
    expect(() => parseJson(text)).toThrow(expect.objectContaining({ message, code: 400 }));
  });

  const doubled: [text: string, want: string[]][] = [
    ['{"a":1,"b":{"a":1}}', []],
    ['{"a":1,"a":2,"a":3}', ['duplicate field "a"']],
    [
      '{"spec":{"replicas":1,"replicas":2},"x":[{"n":1},{"n":1,"\\u006e":2}]}',
      ['duplicate field "spec.replicas"', 'duplicate field "x[1].n"'],
    ],
  ];
  it.each(doubled)('finds keys given twice in %s', (text, want) => {
    expect(parseJson(text, { findDuplicates: true }).duplicates).toEqual(want);
    expect(parseJson(text).duplicates).toEqual([]);
  });

  it('takes whatever JSON.stringify writes, and finds no duplicates in it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value, undefined, 1);
        expect(parseJson(text, { findDuplicates: true })).toEqual({
          value: JSON.parse(text),
          duplicates: [],
        });
      }),
    );
  });

  it('says in words of Go what is wrong wherever JSON.parse refuses a text', () => {
    const snippet = fc.string({ unit: fc.constantFrom(...Array.from('{}[],:"\\x1-.eu0 tn\n')) });
    fc.assert(
      fc.property(snippet, (text) => {
        const want = isLegalJson(text) ? '' : /^invalid character '|^unexpected end of JSON/;
        expect(messageOf(text)).toMatch(want);
        expect(messageOf(text) === '').toBe(isLegalJson(text));
      }),
      { numRuns: 2000 },
    );
  });
});

function isLegalJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What parseJson says against a text; '' when it takes it. */
function messageOf(text: string): string {
  try {
    parseJson(text, { findDuplicates: true });
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}
