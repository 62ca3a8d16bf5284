// Bodies made from a kind's schema for property tests: mostly of the right types, with values that
// rules care about, sometimes of no type at all.
import * as fc from 'fast-check';
import type { Schema, SchemaRegistry } from '#kube/machinery/schema.ts';

const texts = [
  '',
  'a',
  'web',
  'A b',
  'a'.repeat(300),
  '10.1.2.3',
  '10.0.0.0/8',
  '*',
  '/',
  'example.com/x',
  '-1',
  '50%',
  '__proto__',
  'é',
];
const quantities = ['0', '1', '-1', '100m', '1Gi', '1e3', '1Ki'];
const times = ['2026-11-23T12:00:00Z'];

const depthLimit = 7;

/** An object of the type `name`, or nearly one. `wrongTypes`: how often a field has another type. */
export function arbitraryOf(
  schemas: SchemaRegistry,
  name: string,
  { wrongTypes = 0 } = {},
): fc.Arbitrary<unknown> {
  return valueOf(schemas, { $ref: name }, { depth: 0, wrongTypes });
}

interface Walk {
  readonly depth: number;
  readonly wrongTypes: number;
}

function valueOf(schemas: SchemaRegistry, schema: Schema, walk: Walk): fc.Arbitrary<unknown> {
  const right = rightValue(schemas, schema, walk);
  if (walk.wrongTypes === 0) return right;
  const wrong = fc.constantFrom<unknown>(null, 0, -1, 'x', true, [], {}, [null], { a: null });
  return fc.oneof(
    { arbitrary: right, weight: Math.round(1 / walk.wrongTypes) },
    { arbitrary: wrong, weight: 1 },
  );
}

function rightValue(schemas: SchemaRegistry, schema: Schema, walk: Walk): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return structOf(schemas, schemas.get(schema.$ref), walk);
  if (schema.format === 'quantity') return fc.constantFrom(...quantities);
  if (schema['x-kubernetes-int-or-string'] === true)
    return fc.constantFrom<unknown>(0, 1, -1, 80, 70_000, '50%', '200%', 'http', '');
  const inner = { ...walk, depth: walk.depth + 1 };
  switch (schema.type) {
    case 'array':
      return fc.array(valueOf(schemas, schema.items ?? {}, inner), { maxLength: 2 });
    case 'object':
      return fc.dictionary(
        fc.constantFrom(...texts),
        valueOf(schemas, schema.additionalProperties ?? {}, inner),
        { maxKeys: 2 },
      );
    case 'boolean':
      return fc.boolean();
    case 'integer':
    case 'number':
      return fc.constantFrom(0, 1, -1, 2, 100, 65_536, 2_147_483_647);
    case 'string':
      if (schema.format === 'byte') return fc.constantFrom('', 'YQ==', 'abc$');
      if (schema.format?.startsWith('date-time') === true) return fc.constantFrom(...times);
      return fc.constantFrom(...texts);
    default:
      return fc.constantFrom<unknown>({}, { a: 1 }, [], 'x', 1, null);
  }
}

function structOf(schemas: SchemaRegistry, schema: Schema, walk: Walk): fc.Arbitrary<unknown> {
  if (walk.depth > depthLimit) return fc.constant({});
  const inner = { ...walk, depth: walk.depth + 1 };
  const fields = Object.entries(schema.properties ?? {});
  // A few fields at a time: all of them together are always refused for the same reasons.
  return fc
    .shuffledSubarray(fields, { maxLength: Math.min(fields.length, 5) })
    .chain((chosen) =>
      fc.record(
        Object.fromEntries(chosen.map(([name, child]) => [name, valueOf(schemas, child, inner)])),
      ),
    );
}
