// What every kind of the table must do, whatever it is: take a legal object and give it back as it
// was stored. What it does to any other is test/sim/fuzz.test.ts.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../test/setup/api.ts';
import { sampleOf, samples } from '../../../test/setup/samples.ts';
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
      if (definition.subresources?.['status'] !== undefined) {
        const reported = await api.request('PUT', `${url}/status`, { body: read.json });
        expect(reported.json).toEqual(made.json);
      }
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
