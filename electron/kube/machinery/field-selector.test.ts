import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldMatcher, parseFieldSelector } from './field-selector.ts';

const values: Record<string, string> = { 'metadata.name': 'web', 'status.phase': 'Running' };
const valueOf = (field: string): string => values[field] ?? '';

describe('parseFieldSelector', () => {
  const cases: [text: string, want: boolean][] = [
    ['', true],
    ['metadata.name=web', true],
    ['metadata.name==web', true],
    ['metadata.name!=web', false],
    ['metadata.name=web,status.phase!=Failed', true],
    ['spec.nodeName=', true],
    ['spec.nodeName!=', false],
    [',metadata.name=web,', true],
  ];
  it.each(cases)('%j selects the object: %s', (text, want) => {
    expect(parseFieldSelector(text).matches(valueOf)).toBe(want);
  });

  const wrong: [text: string, message: string][] = [
    ['name', "invalid selector: 'name'; can't understand 'name'"],
    ['a=1,name', "invalid selector: 'a=1,name'; can't understand 'name'"],
    ['a=b=c', 'invalid field selector: unescaped character in value: ='],
    ['a=b\\x', 'invalid field selector: invalid escape sequence: \\x'],
    ['a=b\\', 'invalid field selector: invalid escape sequence: \\'],
  ];
  it.each(wrong)('answers 400 to %j in the words of Kubernetes', (text, message) => {
    expect(() => parseFieldSelector(text)).toThrow(expect.objectContaining({ message, code: 400 }));
  });

  it('says which value a field must have', () => {
    const matcher = parseFieldSelector('metadata.name=web,status.phase!=Failed');
    expect(matcher.exactValue('metadata.name')).toBe('web');
    expect(matcher.exactValue('status.phase')).toBeUndefined();
  });

  it('reads back what it prints, whatever the value', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom('=', '!='), (value, operator) => {
        const terms = [{ field: 'metadata.name', operator, value } as const];
        expect(parseFieldSelector(fieldMatcher(terms).toString()).terms).toEqual(terms);
      }),
    );
  });
});
