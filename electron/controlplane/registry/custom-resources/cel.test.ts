// Rules of custom resources: the examples of Kubernetes' documentation, its functions, transitions,
// messages, and that no rule can hold up the server.
import { describe, expect, it } from 'vitest';
import type { JSONSchemaProps, ValidationRule } from '#kube/api/apiextensions.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import { createRuleEngine } from './rule-engine.ts';

const engine = createRuleEngine();
const text: JSONSchemaProps = { type: 'string' };
const int: JSONSchemaProps = { type: 'integer' };
const texts: JSONSchemaProps = { type: 'array', items: text };

const properties: Record<string, JSONSchemaProps> = {
  minReplicas: int,
  replicas: int,
  maxReplicas: int,
  health: text,
  ratio: { type: 'number' },
  stateCounts: { type: 'object', additionalProperties: int },
  list: { type: 'array', items: int },
  empty: texts,
  names: texts,
  details: { type: 'object', additionalProperties: text },
  widgets: { type: 'array', items: { type: 'object', properties: { key: text, foo: int } } },
  created: { type: 'string', format: 'date-time' },
  expired: { type: 'string', format: 'date-time' },
  ttl: { type: 'string', format: 'duration' },
  port: { 'x-kubernetes-int-or-string': true },
  'x-dash': int,
  namespace: text,
  bytes: { type: 'string', format: 'byte' },
};
const spec = {
  minReplicas: 1,
  replicas: 3,
  maxReplicas: 5,
  health: 'ok!',
  ratio: 1,
  stateCounts: { Available: 2 },
  list: [1, 2, 3],
  empty: [],
  names: ['a', 'b'],
  details: { a: 'x', b: 'y' },
  widgets: [{ key: 'x', foo: 1 }],
  created: '2026-01-01T00:00:00Z',
  expired: '2026-01-03T00:00:00Z',
  ttl: '24h',
  port: '99%',
  'x-dash': 1,
  namespace: 'n',
  bytes: 'YWJj',
};

function judge(rule: Partial<ValidationRule>, value: object = spec, old?: object): FieldError[] {
  const schema: JSONSchemaProps = {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties,
        'x-kubernetes-validations': [{ rule: 'true', ...rule }],
      },
    },
  };
  const object = (given: object) => ({
    apiVersion: 'e.com/v1',
    kind: 'E',
    metadata: { name: 'e' },
    spec: given,
  });
  return engine.validateRules(schema, object(value), old === undefined ? undefined : object(old));
}

const holding = [
  'self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas',
  "'Available' in self.stateCounts",
  '(size(self.list) == 0) != (size(self.empty) == 0)',
  "self.health.startsWith('ok')",
  "self.widgets.exists(w, w.key == 'x' && w.foo < 10)",
  "type(self.port) == string ? self.port == '99%' : self.port == 42",
  'self.names.all(e, !(e in self.empty))',
  'size(self.names) == size(self.details) && self.names.all(n, n in self.details)',
  "self.details.all(key, key.matches('^[a-zA-Z]*$'))",
  'self.created + self.ttl < self.expired',
  "self.created < timestamp('2026-02-01T00:00:00Z')",
  'has(self.replicas) && !has(self.nothing)',
  'self.?nothing.orValue(5) == 5',
  '[?self.?nothing, 1, ?self.?replicas] == [1, 3] && [?self.?nothing].size() == 0',
  "{?'a': self.?nothing, 'b': 2, ?'c': self.?replicas} == {'b': 2, 'c': 3}",
  '[[?self.?replicas], [1, ?optional.of(2),]].flatten() == [3, 1, 2]',
  '[1, 2].map(x, [?(x > 1 ? optional.of(x) : optional.none())]).flatten() == [2]',
  "(self.replicas > 1 ? [?self.?replicas] : [])[0] == 3 && {'a': [?self.?replicas]}.a[0] == 3",
  'self.x__dash__dash == 1 || true',
  'self.x__dash__dash.bogus == 1 || self.replicas == 3',
  "self.__namespace__ == 'n'",
  'self.ratio == 1.0',
  "self.bytes == b'abc'",
  'self.list.isSorted() && self.list.sum() == 6 && self.list.min() == 1 && self.list.max() == 3',
  'self.list.indexOf(2) == 1',
  'self.list.sum() <= 10 && self.list.max() > 1 && self.list.min() < 2 && -self.list.max() < 0',
  'self.list.sort()[0] >= 1 && self.list.slice(0, 1)[0] > 0 && self.list.reverse()[0] > 2',
  'self.list.distinct()[0] < 2 && self.list.first().value() + 1 == 2 && self.list.last().value() > 2',
  "!isURL('//[') && isURL('/path?x=1') && isURL('https://a.b')",
  "quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('5m') && !isQuantity('five')",
  "quantity('1').add(quantity('500m')) == quantity('1500m')",
  "quantity('50000000G').asInteger() == 50000000000000000",
  "quantity('9223372036854775807').isInteger() && !quantity('9223372036854775808').isInteger()",
  "cidr('10.0.0.0/8') == cidr('10.0.0.0/8') && cidr('10.0.0.0/8') != cidr('10.0.0.0/9')",
  "url('https://a.b/c') == url('https://a.b/c') && url('https://a.b/c') != url('https://a.b/d')",
  "isIP('10.0.0.1') && ip('::1').family() == 6 && ip('127.0.0.1').isLoopback()",
  "cidr('10.0.0.0/8').containsIP('10.2.3.4') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
  "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked().prefixLength() == 8",
  "isURL('https://a.b:80/c?d=e') && url('https://a.b:8080/c?d=e').getPort() == '8080'",
  "url('https://a.b/c').getHost() == 'a.b' && url('/x/y').getEscapedPath() == '/x/y'",
  "!format.dns1123Label().validate('web').hasValue() && format.dns1123Label().validate('A').hasValue()",
  "format.named('uuid').value().validate('x').hasValue()",
  "self.names.join('-') == 'a-b' && 'a,b'.split(',') == self.names && 'abc'.replace('b', '') == 'ac'",
  "'ABC'.lowerAscii() == 'abc' && 'abc'.substring(1, 2) == 'b'",
  "int('5') == 5 && double(5) == 5.0 && string(5) == '5'",
  'self.list.filter(x, x > 1).map(x, x * 2) == [4, 6]',
  'self.list.exists_one(x, x == 2)',
  'cel.bind(x, self.replicas, x == 3)',
  'sets.contains(self.list, [3, 1, 1]) && !sets.contains(self.list, [4])',
  "sets.equivalent(self.names, ['b', 'a', 'b']) && !sets.equivalent(self.names, ['b'])",
  "sets.intersects(self.names, ['b', 'c']) && !sets.intersects(self.names, [])",
  "'ab 12 cd 34'.find('[0-9]+') == '12' && 'ab'.find('[0-9]') == ''",
  "'12 cd 34'.findAll('[0-9]+') == ['12', '34'] && '1 2'.findAll('[0-9]', 1) == ['1']",
  'self.list.all(i, v, v == i + 1) && self.stateCounts.all(k, v, k.size() > v)',
  'self.list.exists(i, v, i == 2 && v == 3) && !self.details.exists(k, v, k == v)',
  'self.list.existsOne(i, v, v == 2) && self.list.existsOne(v, v > 2)',
  '[0, 1].exists(i, v, 1 / v == 1)',
  'self.list.transformList(i, v, i * v) == [0, 2, 6]',
  "self.details.transformList(k, v, v != 'x', k + v) == ['by']",
  "self.details.transformMap(k, v, v + '!') == {'a': 'x!', 'b': 'y!'}",
  "self.details.transformMap(k, v, k == 'a', v.size()) == {'a': 1} && [5].transformMap(i, v, v) == {0: 5}",
  "self.details.transformMapEntry(k, v, {v: k}) == {'x': 'a', 'y': 'b'}",
  "self.names.transformMapEntry(i, v, i > 0, {v: i}) == {'b': 1}",
  '[3, 1, 2].sort() == [1, 2, 3] && self.list.sortBy(e, -e) == [3, 2, 1]',
  "self.widgets.sortBy(w, w.foo)[0].key == 'x'",
  "[1, 1, 2].distinct() == [1, 2] && [{'a': 1}, {'a': 1}].distinct().size() == 1",
  '[[1], [2, [3]]].flatten() == [1, 2, [3]] && [1, [2, [3]]].flatten(2) == [1, 2, 3]',
  'self.list.slice(1, 3) == [2, 3] && self.list.reverse() == [3, 2, 1] && lists.range(3) == [0, 1, 2]',
  'self.list.first().value() == 1 && self.list.last().orValue(0) == 3 && !self.empty.first().hasValue()',
  "'%s: %d of %.2f'.format([self.names, self.replicas, 1.234]) == '[a, b]: 3 of 1.23'",
  "'%x %X %o %b %e %%'.format([255, 'z', 8, 5, 1000.0]) == 'ff 7A 10 101 1.000000e+03 %'",
  'strings.quote(\'a"b\') == \'"a\\\\"b"\'',
  "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').compareTo(semver('1.0.0')) == -1",
  "semver('v1.2', true).minor() == 2 && !isSemver('v1.2') && isSemver('01.2', true)",
  "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && ip('1.2.3.4').isGlobalUnicast()",
  "string(cidr('10.0.0.0/8')) == '10.0.0.0/8'",
  "!optional.ofNonZeroValue('').hasValue() && self.?replicas.optMap(r, r + 1).value() == 4",
  'self.?health.optFlatMap(h, optional.none()) == optional.none()',
  "string(self.created) == '2026-01-01T00:00:00Z' && string(duration('1h1.5s')) == '3601.5s'",
  "int(timestamp('1970-01-01T00:00:09Z')) == 9 && timestamp(self.created) == self.created",
  "[duration('1s'), duration('2s')].sum() == duration('3s') && self.empty.transformList(i, v, i).sum() == 0",
  "{1: 'a'}[1] == 'a' && 1 in {1: 'a'} && {true: 'b'}[true] == 'b'",
];

describe('a rule that holds', () => {
  it.each(holding.map((rule) => ({ rule })))('$rule', ({ rule }) => {
    expect(judge({ rule })).toEqual([]);
  });
});

it('a rule that was stored and can not be compiled fails every object, in words', () => {
  expect(judge({ rule: 'self.replicas >', message: 'm' })).toMatchObject([
    { field: 'spec', message: expect.stringContaining('evaluating rule: m') },
  ]);
});

it('lists of lists count with all that is in them', () => {
  let rule = "'%s'.format([a20]).size() > 0";
  for (let n = 20; n > 0; n--) rule = `cel.bind(a${n}, [a${n - 1}, a${n - 1}], ${rule})`;
  const [error] = judge({ rule: `cel.bind(a0, [1], ${rule})` });
  expect(error?.message).toContain('running out of cost budget');
});

describe('a rule that does not hold', () => {
  const cases: [rule: Partial<ValidationRule>, error: Partial<FieldError>][] = [
    [
      { rule: 'self.replicas > 5' },
      { field: 'spec', message: 'Invalid value: "object": failed rule: self.replicas > 5' },
    ],
    [{ rule: 'false', message: 'no way' }, { message: 'Invalid value: "object": no way' }],
    [
      { rule: 'false', messageExpression: "'has ' + string(self.replicas)" },
      { message: 'Invalid value: "object": has 3' },
    ],
    [
      { rule: 'false', message: 'told', messageExpression: "''" },
      { message: 'Invalid value: "object": told' },
    ],
    [
      { rule: 'false', message: 'm', reason: 'FieldValueForbidden' },
      { type: 'FieldValueForbidden', message: 'Forbidden: m' },
    ],
    [
      { rule: 'false', message: 'm', reason: 'FieldValueRequired' },
      { type: 'FieldValueRequired', message: 'Required value: m' },
    ],
    [{ rule: 'false', message: 'm', fieldPath: '.replicas' }, { field: 'spec.replicas' }],
    [
      { rule: 'self.nothing == 1' },
      {
        message:
          'Invalid value: "object": no such key: nothing evaluating rule: failed rule: self.nothing == 1',
      },
    ],
  ];
  it.each(cases)('%o', (rule, error) => {
    expect(judge(rule)).toMatchObject([error]);
  });
});

describe('a transition rule', () => {
  const immutable = { rule: 'self.health == oldSelf.health' };
  it('says nothing of a new object', () => {
    expect(judge(immutable)).toEqual([]);
  });
  it('compares with what was there', () => {
    expect(judge(immutable, { ...spec, replicas: 4 }, spec)).toEqual([]);
    expect(judge(immutable, { ...spec, health: 'bad' }, spec)).toHaveLength(1);
  });
  it('is also asked of new objects where the old one is optional', () => {
    const rule = { rule: 'oldSelf.hasValue() || self.replicas == 1', optionalOldSelf: true };
    expect(judge(rule)).toHaveLength(1);
    expect(judge(rule, { ...spec, replicas: 2 }, spec)).toEqual([]);
  });
  it('leaves other rules alone where nothing changed', () => {
    expect(judge({ rule: 'self.replicas > 5' }, spec, spec)).toEqual([]);
    expect(judge({ rule: 'self.replicas > 5' }, { ...spec, health: 'x' }, spec)).toHaveLength(1);
  });
});

describe('an expression', () => {
  const wrong = ['self.', 'nobody == 1', '1 + "a"', 'self.replicas.unknownFunction()', 'self == '];
  it.each(wrong)('%s does not compile', (rule) => {
    expect(() => engine.checker({ type: 'object', properties }, false)({}, rule)).toThrow(Error);
  });

  const said: readonly [rule: string, message: string][] = [
    ['self.bogus == 1', "1:5: undefined field 'bogus'\n | self.bogus == 1\n | ....^"],
    ['has(self.bogus)', "1:9: undefined field 'bogus'"],
    [
      "self.replicas + 'a' == ''",
      "1:15: found no matching overload for '_+_' applied to '(int, string)'",
    ],
    ['self.ratio == 1', "1:12: found no matching overload for '_==_' applied to '(double, int)'"],
    ['self.widgets.all(w, w.bar == 1)', "1:22: undefined field 'bar'"],
    ["self.details['a'] == 1", "applied to '(string, int)'"],
    [
      'self.names.matches("a")',
      "1:19: found no matching overload for 'matches' applied to 'list(string).(string)'",
    ],
    ['self.health.bogus', "1:12: type 'string' does not support field selection"],
    ['bogus(self) == 1', "1:6: undeclared reference to 'bogus' (in container '')"],
    ['other == 1', "1:1: undeclared reference to 'other' (in container '')"],
    [
      'self.replicas && true',
      "1:15: found no matching overload for '_&&_' applied to '(int, bool)'",
    ],
    ['true &&\n self.bogus', "2:6: undefined field 'bogus'\n |  self.bogus\n | .....^"],
    ['self.', '1:6: Syntax error: '],
  ];
  it.each(said)('%s is refused in Kubernetes’ words', (rule, message) => {
    const checker = engine.checker({ type: 'object', properties }, false);
    expect(() => checker({}, rule)).toThrow(message);
  });

  it.each(holding.filter((rule) => !/nothing|bogus/.test(rule)))('%s has types', (rule) => {
    expect(engine.checker({ type: 'object', properties }, false)({}, rule).type).toBe('bool');
  });

  it('sees what every object has at the root, and an old self that may be missing', () => {
    const checker = engine.checker(
      { type: 'object', properties: { spec: { type: 'object', properties } } },
      true,
    );
    expect(checker({}, 'self.metadata.name == self.kind && self.spec == oldSelf.spec').type).toBe(
      'bool',
    );
    expect(() => checker({}, 'self.metadata.labels == null')).toThrow("undefined field 'labels'");
    expect(
      checker({ optionalOldSelf: true }, 'oldSelf.hasValue() && oldSelf.value() != self').type,
    ).toBe('bool');
    expect(() => checker({}, 'oldSelf.hasValue()')).toThrow('no matching overload');
  });

  const many = { ...spec, list: Array.from({ length: 3000 }, (_, index) => index) };
  const long = {
    ...spec,
    health: 'x'.repeat(2_000_000),
    names: Array.from({ length: 500 }, () => 'y'.repeat(5000)),
  };
  const endless: [name: string, rule: string, value: object][] = [
    [
      'nested loops',
      'self.list.all(a, self.list.all(b, self.list.exists(c, c == a + b * 2)))',
      many,
    ],
    ['lists of lists', 'self.list.map(a, self.list.map(b, self.list)).size() > 0', many],
    [
      'long texts in a loop',
      'self.names.all(a, self.names.all(b, self.health.contains(a + b + "z")))',
      long,
    ],
    ['patterns over long texts', `self.names.all(a, self.health.matches('(x+x+)+y'))`, long],
    ['a text made of texts', 'self.names.join(self.health).size() > 0', long],
    ['replacing nothing by much', "self.health.replace('', self.health).size() > 0", long],
    [
      'comparing much',
      'self.list.all(a, self.names == self.names.map(x, x))',
      { ...many, names: long.names },
    ],
  ];
  it.each(endless)('is stopped in time: %s', (_name, rule, value) => {
    const before = performance.now();
    const [error] = judge({ rule }, value);
    expect(error?.message).toContain('validation failed due to running out of cost budget');
    expect(performance.now() - before).toBeLessThan(5000);
  });

  it('has its budget anew for each object', () => {
    judge({ rule: endless[0]?.[1] ?? '' }, many);
    expect(judge({ rule: 'self.list.all(a, a >= 0)' }, many)).toEqual([]);
  });
});

describe('lists without an order', () => {
  const port: JSONSchemaProps = { type: 'object', properties: { 'my-port': int, text } };
  const lists: Record<string, JSONSchemaProps> = {
    tags: { ...texts, 'x-kubernetes-list-type': 'set' },
    ports: {
      type: 'array',
      items: port,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['my-port'],
    },
    plain: texts,
  };
  const schema = (rule: string): JSONSchemaProps => ({
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: { ...lists, deep: { type: 'object', properties: lists } },
        'x-kubernetes-validations': [{ rule }],
      },
    },
  });
  const web = { 'my-port': 80, text: 'web' };
  const tls = { 'my-port': 443, text: 'tls' };
  const one = { tags: ['a', 'b'], ports: [web, tls], plain: ['a', 'b'] };
  const other = { tags: ['b', 'a'], ports: [tls, web], plain: ['a', 'b'] };
  const holds = (rule: string, before: object, after: object): boolean => {
    const object = (given: object) => ({ spec: { ...given, deep: given } });
    return engine.validateRules(schema(rule), object(after), object(before)).length === 0;
  };

  it.each([
    ['self.tags == oldSelf.tags', true],
    ['self.ports == oldSelf.ports', true],
    ['self.ports != oldSelf.ports', false],
    ['self.deep == oldSelf.deep', true],
    ["self.tags == ['b', 'a'] && self.tags == ['a', 'b']", true],
    ["self.plain == ['b', 'a']", false],
    ["self.tags[0] == 'b' && oldSelf.tags[0] == 'a'", true],
    ["self.tags == ['a', 'b', 'c']", false],
    ["self.tags == ['a', 'c']", false],
  ])('%s: %s', (rule, want) => {
    expect(holds(rule, one, other)).toBe(want);
  });

  it('differ by milliseconds', () => {
    const items: JSONSchemaProps = { type: 'string', format: 'date-time' };
    const times: JSONSchemaProps = {
      type: 'object',
      properties: { set: { type: 'array', items, 'x-kubernetes-list-type': 'set' } },
      'x-kubernetes-validations': [{ rule: 'self.set == oldSelf.set' }],
    };
    const at = (...seconds: string[]) => ({
      set: seconds.map((second) => `2026-01-01T00:00:${second}Z`),
    });
    const complaints = (before: object, after: object) =>
      engine.validateRules(times, after, before).length;
    expect(complaints(at('00.001', '01'), at('01', '00.001'))).toBe(0);
    expect(complaints(at('00.001', '01'), at('01', '00.002'))).toBe(1);
  });

  it('differ by what an item holds', () => {
    const changed = { ...other, ports: [tls, { ...web, text: 'x' }] };
    expect(holds('self.ports == oldSelf.ports', one, changed)).toBe(false);
    expect(holds('self.deep == oldSelf.deep', one, changed)).toBe(false);
  });
});
