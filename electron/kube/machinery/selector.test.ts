import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLabelSelector, labelSelectorMatcher, parseLabelSelector } from './selector.ts';

const labels = { app: 'web', tier: 'front', level: '5' };

describe('parseLabelSelector', () => {
  const matching: [text: string, want: boolean][] = [
    ['', true],
    ['app=web', true],
    ['app==web', true],
    ['app = web , tier = front', true],
    ['app=db', false],
    ['app!=db', true],
    ['absent!=x', true],
    ['absent=', false],
    ['app in (web,db)', true],
    ['app in (db)', false],
    ['app notin (db)', true],
    ['absent notin (a)', true],
    ['absent in (a)', false],
    ['app', true],
    ['!app', false],
    ['!absent', true],
    ['level>4', true],
    ['level>5', false],
    ['level<6', true],
    ['app>1', false],
    ['in in (in),notin', false],
  ];
  it.each(matching)('%j selects app=web,tier=front,level=5: %s', (text, want) => {
    expect(parseLabelSelector(text).matches(labels)).toBe(want);
  });

  const printed: [text: string, want: string][] = [
    ['b=1,a=2', 'a=2,b=1'],
    ['x in (b, a,b)', 'x in (a,b)'],
    ['x notin (,a)', 'x notin (,a)'],
    ['x in (a,)', 'x in (,a)'],
    ['x==y', 'x==y'],
    ['! x,y', '!x,y'],
    ['x=', 'x='],
    ['z>1,z<3', 'z>1,z<3'],
  ];
  it.each(printed)('prints %j as %j', (text, want) => {
    expect(parseLabelSelector(text).toString()).toBe(want);
  });

  const wrong: [text: string, message: string][] = [
    ['=a', "found '=', expected: !, identifier, or 'end of string'"],
    ['===', "found '==', expected: !, identifier, or 'end of string'"],
    ['a=b,', "found '', expected: identifier after ','"],
    ['a=b,=', "found '=', expected: identifier after ','"],
    ['a=b c', "found 'c', expected: ',' or 'end of string'"],
    ['!!', "unable to parse requirement: found '!', expected: identifier"],
    ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ['a in b', "unable to parse requirement: found 'b' expected: '('"],
    ['a in (', "unable to parse requirement: found '', expected: ',', ')' or identifier"],
    ['a in (b', "unable to parse requirement: found '', expected: ',' or ')'"],
    ['a=b=c', "found '=', expected: ',' or 'end of string'"],
    [
      'a>x',
      "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
    ],
    [
      'a in ()',
      "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
    ],
    [
      '/a=b',
      'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be non-empty',
    ],
    [
      'a=b/c',
      `unable to parse requirement: values[0][a]: Invalid value: "b/c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
    ],
  ];
  it.each(wrong)('answers 400 to %j in the words of Kubernetes', (text, message) => {
    expect(() => parseLabelSelector(text)).toThrow(
      expect.objectContaining({ message, code: 400, reason: 'BadRequest' }),
    );
  });

  it('gives an equal matcher back from its own text', () => {
    const key = fc.constantFrom('a', 'b', 'x.io/c', 'in', 'notin');
    const value = fc.constantFrom('', '1', 'v', 'in', 'A-b_c.d');
    const requirement = fc.oneof(
      fc.tuple(key, fc.constantFrom('=', '==', '!='), value).map((parts) => parts.join('')),
      fc
        .tuple(key, fc.constantFrom('in', 'notin'), fc.array(value, { minLength: 2 }))
        .map(([k, op, values]) => `${k} ${op} (${values.join(',')})`),
      key,
      key.map((k) => `!${k}`),
    );
    fc.assert(
      fc.property(fc.array(requirement), fc.dictionary(key, value), (texts, given) => {
        const first = parseLabelSelector(texts.join(','));
        const second = parseLabelSelector(first.toString());
        expect(second.requirements).toEqual(first.requirements);
        expect(second.matches(given)).toBe(first.matches(given));
      }),
    );
  });
});

describe('labelSelectorMatcher', () => {
  it('selects nothing when the selector is absent and everything when it is empty', () => {
    expect(labelSelectorMatcher(undefined).matches(labels)).toBe(false);
    expect(labelSelectorMatcher({}).matches(undefined)).toBe(true);
  });

  it('demands matchLabels and matchExpressions together', () => {
    const selector = {
      matchLabels: { app: 'web' },
      matchExpressions: [
        { key: 'tier', operator: 'In', values: ['front', 'back'] },
        { key: 'old', operator: 'DoesNotExist' },
      ],
    };
    const matcher = labelSelectorMatcher(selector);
    expect(matcher.matches(labels)).toBe(true);
    expect(matcher.matches({ ...labels, old: '' })).toBe(false);
    expect(matcher.matches({ app: 'web' })).toBe(false);
    expect(formatLabelSelector(selector)).toBe('app=web,!old,tier in (back,front)');
  });

  it('refuses an operator it does not know', () => {
    const selector = { matchExpressions: [{ key: 'a', operator: 'Near' }] };
    expect(() => labelSelectorMatcher(selector)).toThrow(
      '"Near" is not a valid label selector operator',
    );
  });

  it('does not take inherited properties for labels', () => {
    expect(parseLabelSelector('toString').matches({})).toBe(false);
  });
});
