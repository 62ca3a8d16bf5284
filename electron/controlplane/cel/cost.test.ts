// What expressions are estimated to cost, by what bounds their lists and texts.
import { expect, it } from 'vitest';
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { createRuleEngine } from '../registry/custom-resources/rule-engine.ts';
import { costComplaint, expressionCostLimit } from './cost.ts';

const engine = createRuleEngine();
const text: JSONSchemaProps = { type: 'string', maxLength: 25 };
const ten: JSONSchemaProps = { type: 'array', items: text, maxItems: 10 };
const endless: JSONSchemaProps = { type: 'array', items: { type: 'string' } };
const schema: JSONSchemaProps = {
  type: 'object',
  properties: {
    n: { type: 'integer' },
    text,
    free: { type: 'string' },
    color: { type: 'string', enum: ['red', 'green'] },
    ten,
    endless,
    map: { type: 'object', additionalProperties: text, maxProperties: 5 },
    objects: {
      type: 'array',
      maxItems: 10,
      items: { type: 'object', properties: { name: text, ten } },
    },
  },
};

function cost(rule: string): number {
  return engine.checker(schema, false)({}, rule).cost;
}

const cases: readonly [rule: string, cost: number][] = [
  ['true', 0],
  ['self.n > 1', 3],
  ['self.n + 1 == 2', 4],
  ['has(self.n)', 1],
  ["self.text == 'abc'", 3],
  ['self.text == oldSelf.text', 14],
  ['self.color == self.text', 5],
  ["self.text.contains('abc')", 12],
  ["self.text.matches('^[a-z]*$')", 24],
  ["self.text in ['a', 'b']", 14],
  ['self.ten.all(x, x.size() > 1)', 62],
  ["self.ten.exists(x, x == 'abc')", 52],
  ['self.ten.all(x, self.ten.all(y, x != y))', 1552],
  ['self.ten.map(x, x + x).size() > 1', 344],
  ['self.map.all(k, v, v.size() > 1)', 32],
  ['self.objects.all(o, o.ten.exists(x, x == o.name))', 1652],
  ["self.free.startsWith('abc')", 3],
];
it.each(cases)('%s costs %d', (rule, want) => {
  expect(cost(rule)).toBe(want);
});

it('what nothing bounds costs as much as fits into a request', () => {
  expect(cost('self.free == oldSelf.free')).toBeGreaterThan(300_000);
  expect(cost('self.endless.all(x, x.size() > 1)')).toBeLessThan(expressionCostLimit);
  const nested = cost('self.endless.all(x, self.endless.all(y, x != y))');
  expect(nested).toBeGreaterThan(100 * expressionCostLimit);
});

it('is told by its factor', () => {
  expect(costComplaint('it', 12, 10)).toContain('it exceeds budget by factor of 1.200000x (try');
  expect(costComplaint('it', 25, 10)).toContain('by factor of 2.5x (');
  expect(costComplaint('it', 2500, 10)).toContain('by factor of more than 100x (');
});
