import { describe, expect, it } from 'vitest';
import { yamlToJson } from './yaml-json.ts';

const parseYaml = (text: string): unknown => JSON.parse(yamlToJson(text).json);

describe('a YAML body', () => {
  it('means what the same JSON would mean', () => {
    const text = 'metadata: {name: web}\nspec:\n  replicas: 2\n  list: [a, "1", 1.5, null, true]\n';
    expect(parseYaml(text)).toEqual({
      metadata: { name: 'web' },
      spec: { replicas: 2, list: ['a', '1', 1.5, null, true] },
    });
  });

  const wrong = [
    { name: 'a map as a key', text: '? {a: 1}\n: 2', want: 'invalid map key' },
    // The library would take minutes to write these 1.4 kB out as text.
    { name: 'keys within keys', text: '? '.repeat(700), want: 'invalid map key' },
    { name: 'more than one document', text: 'a: 1\n---\nb: 1', want: 'multiple documents' },
    {
      name: 'aliases of aliases',
      text: ['a: &a [x,x,x,x,x,x,x,x,x,x]']
        .concat(
          'bcdefg'.split('').map((key, i) => `${key}: &${key} [${`*${'abcdef'[i]},`.repeat(10)}]`),
        )
        .join('\n'),
      want: 'Excessive alias count',
    },
    { name: 'an anchor inside itself', text: 'a: &x {b: *x}', want: "'x' value contains itself" },
    {
      name: 'a long text repeated',
      text: `a: &a ${'x'.repeat(100_000)}\n${'b'.repeat(90).replaceAll(/b/g, (_, i) => `k${i}: *a\n`)}`,
      want: 'excessive aliasing',
    },
    { name: 'endless nesting', text: '['.repeat(100_000), want: 'call stack' },
  ];
  it.each(wrong)('is refused: $name', ({ text, want }) => {
    expect(() => parseYaml(text)).toThrow(want);
  });

  it('tells of keys given twice, of which the last counts', () => {
    expect(yamlToJson('a: 1\na: 2\nx:\n- {b: 1, b: 2}')).toEqual({
      json: '{"a":2,"x":[{"b":2}]}',
      duplicates: ['line 2: key "a" already set in map', 'line 4: key "b" already set in map'],
    });
  });

  it('of many keys costs no comparison of all with all', () => {
    const text = Array.from({ length: 30_000 }, (_, index) => `k${index}: 1`).join('\n');
    expect(Object.keys(parseYaml(text) as object)).toHaveLength(30_000);
  });

  it('leaves prototypes alone', () => {
    const parsed = parseYaml('__proto__: {polluted: 1}\nconstructor: {prototype: {polluted: 1}}');
    expect([Object.getPrototypeOf(parsed) === Object.prototype, 'polluted' in {}]).toEqual([
      true,
      false,
    ]);
  });
});
