// Messages as mutating policies make them: what is read, what is refused, and the JSON it comes to.
import { describe, expect, it } from 'vitest';
import { AdmissionExpressions } from './admission.ts';
import { requestBudget } from './budget.ts';
import { jsonOf } from './messages.ts';

const expressions = new AdmissionExpressions();
const object = expressions.value({ metadata: { name: 'web', labels: { a: '1' } }, spec: { n: 2 } });

function made(text: string): unknown {
  const expression = expressions.compile(text, 'mutation');
  const variables = { object, variables: new Map() };
  const { value } = expressions.counted(requestBudget, () => expression.run(variables));
  return jsonOf(value);
}

function of(name = ''): string {
  return `[${Array.from({ length: 4 }, () => name).join()}]`;
}

describe('messages', () => {
  it.each([
    ['Object{}', {}],
    ['Object{spec: Object.spec{replicas: 1,},}', { spec: { replicas: 1 } }],
    [
      'Object{metadata: Object.metadata{labels: Object.metadata.labels{env: "test"}}}',
      { metadata: { labels: { env: 'test' } } },
    ],
    [
      'Object{metadata: Object.metadata{annotations: {"a/b": object.metadata.name}}}',
      { metadata: { annotations: { 'a/b': 'web' } } },
    ],
    [
      'Object{spec: Object.spec{containers: ["a", "b"].map(n, Object.spec.containers{name: n})}}',
      { spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
    ],
    ['Object{?spec: object.?spec, ?status: object.?status}', { spec: { n: 2 } }],
    [
      'Object{spec: Object.spec{__namespace__: "n", x__dash__y: 1u}}',
      { spec: { namespace: 'n', 'x-y': 1 } },
    ],
    ['object.spec.n > 1 ? Object{spec: Object.spec{n: 1}} : Object{}', { spec: { n: 1 } }],
    [
      '[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b~c"), value: "x"}]',
      [{ op: 'add', path: '/metadata/labels/a~1b~0c', value: 'x' }],
    ],
    [
      '(has(object.metadata.labels) ? [] : [JSONPatch{op: "test", path: "/a"}]) + [JSONPatch{op: "add", path: "/spec", value: Object.spec{n: 9223372036854775807}}]',
      [{ op: 'add', path: '/spec', value: { n: 9223372036854775807n } }],
    ],
    [
      '[JSONPatch{op: "add", path: "/t", value: [timestamp("2026-01-01T00:00:00Z"), duration("90s"), b"abc", null, 1.5]}]',
      [{ op: 'add', path: '/t', value: ['2026-01-01T00:00:00Z', '90s', 'YWJj', null, 1.5] }],
    ],
  ])('%s', (text, want) => {
    expect(made(text)).toEqual(want);
  });

  it.each([
    [
      'Object{spec: Object.status{}}',
      'type mismatch: unexpected type name "Object.status", expected "Object.spec", which matches field name path from root Object type',
    ],
    [
      '[JSONPatch{op: "add", path: "/a", value: Object.spec{a: Object.b{}}}]',
      'type mismatch: unexpected type name "Object.b", expected "Object.spec.a"',
    ],
    ['Object{spec: {1: 2}}', 'map key "1" is not a string'],
    ['Object{spec: optional.of(1)}', 'unsupported type: it has no form in JSON'],
    ['Object{?spec: dyn(1)}', 'no such overload'],
  ])('refuses what %s comes to', (text, want) => {
    expect(() => made(text)).toThrow(want);
  });

  it('costs what it holds, however often it holds the same', () => {
    // Four of four of four …: a text that is short, and a value that is not.
    const names = Array.from({ length: 12 }, (_, index) => `v${index}`);
    const text = names.reduceRight(
      (inner, name, index) =>
        `cel.bind(${name}, Object{a: ${index === 0 ? '1' : of(names[index - 1])}}, ${inner})`,
      'v11',
    );
    expect(() => made(text)).toThrow('ran out of cost budget');
  });

  it('tells some of its mistakes, not each', () => {
    const wrong = Array.from({ length: 50 }, (_, index) => `f${index}: Object.x{}`).join();
    expect(() => made(`Object{${wrong}}`)).toThrow(
      expect.objectContaining({
        message: expect.toSatisfy((text: string) => text.split('\n').length === 10),
      }),
    );
  });

  const scope = expressions.scope('mutation');
  it.each([
    ['Object.spec{}', ['Object'], 'must evaluate to Object'],
    ['Object{}', ['list<JSONPatch>'], 'must evaluate to list(JSONPatch)'],
    ['Thing{}', ['Object'], "undeclared reference to 'Thing' (in container '')"],
    [
      '[JSONPatch{op: 1}]',
      ['list<JSONPatch>'],
      "expected type of field 'op' is 'string' but provided type is 'int'",
    ],
    ['[JSONPatch{oops: "1"}]', ['list<JSONPatch>'], "undefined field 'oops'"],
    ['Object{?spec: 1}', ['Object'], "expected type 'optional_type(int)' but found 'int'"],
    ['size(?[1])', ['int'], 'Syntax error'],
    ['Object{spec 1}', ['Object'], 'Syntax error'],
    ['Object{"spec": 1}', ['Object'], 'Syntax error'],
  ])('says what is wrong with %s', (text, types, want) => {
    expect(expressions.complaint(text, scope, types)).toContain(want);
  });

  it('takes them only where something is changed', () => {
    expect(
      expressions.complaint('Object{} == Object{}', expressions.scope('policy'), ['bool']),
    ).toContain("undeclared reference to 'Object' (in container '')");
    expect(
      expressions.complaint('[JSONPatch{op: "add"}]', scope, ['list<JSONPatch>']),
    ).toBeUndefined();
    expect(expressions.complaint('[]', scope, ['list<JSONPatch>'])).toBeUndefined();
  });
});
