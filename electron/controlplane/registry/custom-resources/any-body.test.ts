// Anything at all as a custom resource, and as the schema of one.
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import { definition, definitions, ship, ships, specSchema } from '../../../../test/setup/ships.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

async function define(body: Json = definition()): Promise<Json> {
  const answer = await api.request('POST', definitions, { body });
  expect(answer.json.message ?? '').toBe('');
  expect(answer.status).toBe(201);
  return answer.json;
}

describe('any body', () => {
  const runs = Number(process.env['FUZZ_RUNS'] ?? 60);
  const seed = Number(process.env['FUZZ_SEED'] ?? 1);
  const values = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      fc.constantFrom<unknown>(
        null,
        true,
        0,
        -1,
        1.5,
        9,
        1e300,
        '',
        'a',
        'red',
        'a'.repeat(99),
        '__proto__',
      ),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(
          ...Object.keys(specSchema.properties),
          'spec',
          'metadata',
          'kind',
          'apiVersion',
          '__proto__',
          'x',
        ),
        tie('any'),
        { maxKeys: 4 },
      ),
    ),
  }));

  it(
    'as a custom resource gets a proper answer, and reads back as it was answered',
    { timeout: 60_000 },
    async () => {
      await define();
      await fc.assert(
        fc.asyncProperty(values.any, values.any, async (spec, status) => {
          const object = {
            apiVersion: 'sea.example.com/v1',
            kind: 'Ship',
            metadata: { generateName: 'x-' },
          };
          const body = {
            ...object,
            spec:
              spec !== null && typeof spec === 'object' && !Array.isArray(spec)
                ? { name: 'a', ...spec }
                : spec,
            status,
          };
          const answer = await api.request('POST', ships, { body });
          if (answer.status !== 201) {
            expect(answer.status).toBeGreaterThanOrEqual(400);
            expect(answer.status).toBeLessThan(500);
            expect(answer.json).toMatchObject({ kind: 'Status', status: 'Failure' });
            return;
          }
          const url = `${ships}/${answer.json.metadata.name}`;
          expect((await api.request('GET', url)).json).toEqual(answer.json);
          expect((await api.request('PUT', url, { body: answer.json })).json).toEqual(answer.json);
          const changed = await api.request('PUT', `${url}/status`, {
            body: { ...answer.json, status },
          });
          expect(changed.status).toBeLessThan(500);
        }),
        { numRuns: runs, seed },
      );
    },
  );

  it('as a schema gets a proper answer', { timeout: 60_000 }, async () => {
    const schemaOf = fc.letrec((tie) => ({
      schema: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom<unknown>(
          { type: 'string' },
          { type: 'object' },
          {},
          null,
          1,
          { type: 'array', items: { type: 'string' } },
          { 'x-kubernetes-preserve-unknown-fields': true },
        ),
        fc.record(
          {
            type: fc.constantFrom<unknown>(
              'object',
              'array',
              'string',
              'integer',
              'null',
              'x',
              1,
              null,
            ),
            properties: fc.dictionary(
              fc.constantFrom('a', 'b', 'metadata', '__proto__'),
              tie('schema'),
              { maxKeys: 3 },
            ),
            items: tie('schema'),
            additionalProperties: fc.oneof(tie('schema'), fc.boolean()),
            allOf: fc.array(tie('schema'), { maxLength: 2 }),
            oneOf: fc.array(tie('schema'), { maxLength: 2 }),
            not: tie('schema'),
            default: values.any,
            enum: fc.array(values.any, { maxLength: 2 }),
            pattern: fc.constantFrom('^a$', '(', '(a+)+$'),
            'x-kubernetes-list-type': fc.constantFrom('map', 'set', 'atomic', 'x'),
            'x-kubernetes-list-map-keys': fc.constantFrom(['a'], [], ['a', 'a']),
            'x-kubernetes-embedded-resource': fc.boolean(),
            'x-kubernetes-int-or-string': fc.boolean(),
            'x-kubernetes-validations': fc.constantFrom(
              [{ rule: 'true' }],
              [{ rule: ')' }],
              [{}],
              [{ rule: 'self.a == oldSelf' }],
            ),
          },
          { requiredKeys: ['type'] },
        ),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(schemaOf.schema, async (openAPIV3Schema) => {
        const only = { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } };
        const body = definition({ versions: [only] });
        const answer = await api.request('POST', definitions, { body });
        if (answer.status !== 201) {
          expect(answer.status).toBeGreaterThanOrEqual(400);
          expect(answer.status).toBeLessThan(500);
          return;
        }
        expect((await api.request('POST', ships, { body: ship('x') })).status).toBeLessThan(500);
        await api.request('DELETE', ships);
        const deleted = await api.request('DELETE', `${definitions}/ships.sea.example.com`);
        await api.request('PUT', `${definitions}/ships.sea.example.com`, {
          body: { ...deleted.json, metadata: { ...deleted.json.metadata, finalizers: [] } },
        });
      }),
      { numRuns: runs * 3, seed },
    );
  });
});
