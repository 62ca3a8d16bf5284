// What every kind of the table must do, whatever it is: take a legal object, give it back as it was
// stored, and refuse everything else with a proper answer.
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schemas, startTestApi, type Json, type TestApi } from '../../../test/setup/api.ts';
import { arbitraryOf } from '../../../test/setup/arbitrary.ts';
import { givenNames, sampleOf, samples } from '../../../test/setup/samples.ts';
import { apiVersionOfResource, supportsVerb } from './resource-table.ts';
import { builtInResources } from './resources.ts';
import type { ResourceDefinition } from './resource.ts';

const kinds = builtInResources
  .filter((definition) => supportsVerb(definition, 'create') && !definition.review)
  .map((definition) => ({
    definition,
    name: `${apiVersionOfResource(definition)} ${definition.kind}`,
  }));

function pathOf(definition: ResourceDefinition, namespace = 'default'): string {
  const version = apiVersionOfResource(definition);
  const base = definition.group === '' ? `/api/${version}` : `/apis/${version}`;
  return `${base}${definition.namespaced ? `/namespaces/${namespace}` : ''}/${definition.plural}`;
}

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

it('there is a sample of every kind', () => {
  expect(samples.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`).sort()).toEqual(
    kinds.map(({ name }) => name).sort(),
  );
});

describe('a legal object', () => {
  it.each(kinds)(
    'of $name is stored, and written again changes nothing',
    async ({ definition }) => {
      const path = pathOf(definition, 'legal');
      const sample = sampleOf(apiVersionOfResource(definition), definition.kind);
      if (definition.kind === 'Event')
        for (const about of ['involvedObject', 'regarding'])
          if (about in sample) (sample[about] as { namespace: string }).namespace = 'legal';
      sample.metadata.name = `${sample.metadata.name}${definition.version === 'v1' ? '' : definition.version}`;
      if (definition.group === 'events.k8s.io') sample.metadata.name = 'new';
      const made = await api.request('POST', path, { body: sample });
      expect(made.text).toContain('"uid"');
      expect(made.status).toBe(201);
      const url = `${path}/${sample.metadata.name}`;
      const read = await api.request('GET', url);
      expect(read.json).toEqual(made.json);
      const again = await api.request('PUT', url, { body: read.json });
      expect(again.json).toEqual(made.json);
      const list = await api.request(
        'GET',
        `${path}?fieldSelector=metadata.name=${sample.metadata.name}`,
      );
      const { apiVersion: _, kind: __, ...item } = made.json;
      expect(list.json.items).toEqual([item]);
      const gone = await api.request('DELETE', `${url}?propagationPolicy=Background`);
      expect(gone.status).toBeLessThan(203);
    },
  );
});

const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io';
const runs = Number(process.env['FUZZ_RUNS'] ?? 25);

/** A Status with a reason, or the object in a form that stays as it is. */
async function expectProperAnswer(definition: ResourceDefinition, body: Json): Promise<void> {
  const path = pathOf(definition);
  const answer = await api.request('POST', path, { body });
  if (answer.status >= 400) {
    expect(answer.status).toBeLessThan(500);
    expect(answer.json).toMatchObject({ kind: 'Status', status: 'Failure' });
    return;
  }
  expect(answer.status).toBe(201);
  const url = `${path}/${answer.json.metadata.name}`;
  const table = await api.request('GET', url, { headers: { accept: tableType } });
  expect(table.status).toBe(200);
  const read = await api.request('GET', url);
  expect(read.json).toEqual(answer.json);
  const again = await api.request('PUT', url, { body: read.json });
  if (again.status === 200) expect(again.json).toEqual(read.json);
  else expect(again.status).toBeLessThan(500);
  await api.request('DELETE', url, { body: { gracePeriodSeconds: 0 } });
}

describe('any body', () => {
  it.each(kinds)('of $name gets a proper answer', { timeout: 60_000 }, async ({ definition }) => {
    const named = (body: unknown) => ({ ...(body as object), metadata: { generateName: 'x-' } });
    const sample = sampleOf(apiVersionOfResource(definition), definition.kind) as Json;
    const right = arbitraryOf(schemas, definition.schema);
    const bodies = fc.oneof(
      right.map(named),
      arbitraryOf(schemas, definition.schema, { wrongTypes: 0.1 }).map(named),
      // Half legal: a part of the sample is replaced.
      fc
        .tuple(right, fc.constantFrom(...Object.keys(sample)))
        .map(([body, key]) => named({ ...sample, [key]: (body as Json)[key] ?? null })),
      fc
        .tuple(arbitraryOf(schemas, definition.schema), fc.nat(3))
        .map(([body, index]) => named(mixed(sample, body as Json, index))),
    );
    const seed = Number(process.env['FUZZ_SEED'] ?? 1);
    await fc.assert(
      fc.asyncProperty(bodies, (body) => expectProperAnswer(definition, body)),
      { numRuns: runs, seed },
    );
  });
});

interface Change {
  readonly method: 'PUT' | 'PATCH';
  readonly subresource: string;
  readonly type: string;
  readonly body: Json;
}

async function expectProperChange(url: string, change: Change): Promise<void> {
  const { method, subresource, type, body } = change;
  const before = await api.request('GET', url);
  const { metadata, apiVersion, kind } = before.json;
  const whole = method === 'PUT' ? { ...before.json, ...body, apiVersion, kind, metadata } : body;
  const answer = await api.request(method, `${url}${subresource}`, {
    body: whole,
    headers: { 'content-type': type },
  });
  if (answer.status >= 400) {
    expect(answer.status).toBeLessThan(500);
    expect(answer.json).toMatchObject({ kind: 'Status', status: 'Failure' });
  } else expect((await api.request('GET', url)).json).toEqual(answer.json);
  const table = await api.request('GET', url, { headers: { accept: tableType } });
  expect(table.status).toBe(200);
}

describe('any change', () => {
  it.each(kinds)('of $name gets a proper answer', { timeout: 60_000 }, async ({ definition }) => {
    const sample = sampleOf(apiVersionOfResource(definition), definition.kind);
    const path = pathOf(definition);
    sample.metadata.name = givenNames[definition.kind] ?? `fuzz-${definition.version}`;
    if (definition.group === 'events.k8s.io') sample.metadata.name = 'fuzz-new';
    await api.request('POST', path, { body: sample });
    const url = `${path}/${sample.metadata.name}`;
    const subresources = Object.entries(definition.subresources ?? {})
      .filter(([, { type }]) => type === 'status')
      .map(([name]) => `/${name}`);
    const withoutMetadata = (body: unknown): Json => {
      const { metadata: _, apiVersion: __, kind: ___, ...rest } = (body ?? {}) as Json;
      return rest;
    };
    const bodies = arbitraryOf(schemas, definition.schema, { wrongTypes: 0.02 }).map(
      withoutMetadata,
    );
    const changes: fc.Arbitrary<Change> = fc.record({
      method: fc.constantFrom('PUT' as const, 'PATCH' as const, 'PATCH' as const),
      subresource: fc.constantFrom('', ...subresources),
      type: fc.constantFrom(
        'application/merge-patch+json',
        'application/strategic-merge-patch+json',
      ),
      body: bodies,
    });
    const proper = changes.map((change) =>
      change.method === 'PUT' ? { ...change, type: 'application/json' } : change,
    );
    const seed = Number(process.env['FUZZ_SEED'] ?? 1);
    await fc.assert(
      fc.asyncProperty(proper, (change) => expectProperChange(url, change)),
      { numRuns: runs, seed },
    );
  });
});

/** The sample with some fields of its spec taken from another body. */
function mixed(sample: Json, body: Json, index: number): Json {
  const names = Object.keys(body.spec ?? {}).filter((_, at) => at % 4 === index);
  const spec = { ...sample.spec };
  for (const name of names) spec[name] = body.spec[name];
  return sample.spec === undefined ? sample : { ...sample, spec };
}
