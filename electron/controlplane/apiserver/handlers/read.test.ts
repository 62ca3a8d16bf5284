import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

const configMaps = '/api/v1/namespaces/default/configmaps';

async function fill(count: number, labels: (n: number) => Record<string, string> = () => ({})) {
  for (let n = 0; n < count; n++) {
    const name = `cm-${String(n).padStart(3, '0')}`;
    await api.request('POST', configMaps, { body: { metadata: { name, labels: labels(n) } } });
  }
}

function names(list: { items: { metadata: { name: string } }[] }): string[] {
  return list.items.map(({ metadata }) => metadata.name);
}

describe('list', () => {
  it('is consistent: it holds what was answered before, at the store’s revision', async () => {
    await fill(2);
    await api.request('POST', '/api/v1/namespaces/default/secrets', {
      body: { metadata: { name: 's' } },
    });
    const { json } = await api.request('GET', configMaps);
    expect(json).toMatchObject({ kind: 'ConfigMapList', apiVersion: 'v1' });
    expect(json.metadata).toEqual({ resourceVersion: '3' });
    expect(names(json)).toEqual(['cm-000', 'cm-001']);
  });
  it('of an empty collection has items', async () => {
    const { json } = await api.request('GET', configMaps);
    expect(json.items).toEqual([]);
  });
  it('says once what its items are, each with all else as it is read alone', async () => {
    await fill(2);
    const { json } = await api.request('GET', configMaps);
    expect(Object.keys(json.items[0])).toEqual(['metadata']);
    const one = (await api.request('GET', `${configMaps}/cm-001`)).json;
    expect({ apiVersion: 'v1', kind: 'ConfigMap', ...json.items[1] }).toEqual(one);
  });
  it('spans namespaces', async () => {
    await fill(1);
    await api.request('POST', '/api/v1/namespaces/other/configmaps', {
      body: { metadata: { name: 'x' } },
    });
    expect(names((await api.request('GET', '/api/v1/configmaps')).json)).toEqual(['cm-000', 'x']);
  });
  it('gives pages of one snapshot, whatever is written between them', async () => {
    await fill(5);
    const first = (await api.request('GET', `${configMaps}?limit=2`)).json;
    expect(names(first)).toEqual(['cm-000', 'cm-001']);
    expect(first.metadata.remainingItemCount).toBe(3);
    await api.request('DELETE', `${configMaps}/cm-002`);
    await api.request('POST', configMaps, { body: { metadata: { name: 'cm-0025' } } });
    const url = `${configMaps}?limit=2&continue=${first.metadata.continue}`;
    const second = (await api.request('GET', url)).json;
    expect(names(second)).toEqual(['cm-002', 'cm-003']);
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    expect(second.metadata.remainingItemCount).toBe(1);
    const last = (
      await api.request('GET', `${configMaps}?limit=2&continue=${second.metadata.continue}`)
    ).json;
    expect(names(last)).toEqual(['cm-004']);
    expect(last.metadata).toEqual({ resourceVersion: '5' });
  });
  it('fills pages past what a selector drops, without a count of the rest', async () => {
    await fill(9, (n) => ({ third: String(n % 3 === 0) }));
    const first = (await api.request('GET', `${configMaps}?limit=1&labelSelector=third=true`)).json;
    expect(names(first)).toEqual(['cm-000']);
    expect(first.metadata).not.toHaveProperty('remainingItemCount');
    const url = `${configMaps}?limit=2&labelSelector=third=true&continue=${first.metadata.continue}`;
    expect(names((await api.request('GET', url)).json)).toEqual(['cm-003', 'cm-006']);
  });
  it('answers an expired continue token with 410 and a fresh one that works', async () => {
    await fill(4);
    const first = (await api.request('GET', `${configMaps}?limit=2`)).json;
    await api.request('DELETE', `${configMaps}/cm-000`);
    await api.store.compact(5);
    const url = `${configMaps}?limit=2&continue=${first.metadata.continue}`;
    const { status, json } = await api.request('GET', url);
    expect([status, json.reason]).toEqual([410, 'Expired']);
    expect(json.message).toMatch(/^The provided continue parameter is too old/);
    const rest = await api.request(
      'GET',
      `${configMaps}?limit=2&continue=${json.metadata.continue}`,
    );
    expect(names(rest.json)).toEqual(['cm-002', 'cm-003']);
  });
  it('Exact gives the state of that revision', async () => {
    await fill(3);
    const url = `${configMaps}?resourceVersion=2&resourceVersionMatch=Exact`;
    const { json } = await api.request('GET', url);
    expect([names(json), json.metadata.resourceVersion]).toEqual([['cm-000', 'cm-001'], '2']);
  });
  it('NotOlderThan a revision to come is a 504 that says when to retry', async () => {
    const pending = api.request('GET', `${configMaps}?resourceVersion=9`);
    await Promise.resolve();
    api.clock.advance(3000);
    const { status, json, headers } = await pending;
    expect([status, json.message, headers['retry-after']]).toEqual([
      504,
      'Timeout: Too large resource version: 9, current: 0',
      '1',
    ]);
  });
  const refused = [
    [
      'resourceVersionMatch=Exact',
      422,
      /resourceVersionMatch is forbidden unless resourceVersion is provided/,
    ],
    [
      'resourceVersionMatch=Exact&resourceVersion=0',
      422,
      /"exact\\?" is forbidden for resourceVersion/,
    ],
    ['resourceVersionMatch=Foo&resourceVersion=1', 422, /Unsupported value: "Foo"/],
    ['resourceVersion=x', 400, /strconv.ParseUint: parsing "x": invalid syntax/],
    ['limit=x', 400, /invalid syntax/],
    ['continue=%25', 400, /continue key is not valid/],
    ['continue=e30', 400, /continue key is not valid/],
    ['labelSelector=a%3D%3D%3Db', 400, /unable to parse requirement/],
    [
      'fieldSelector=spec.foo%3Dx',
      400,
      /"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"/,
    ],
  ] as const;
  it.each(refused)('with %s is a %i', async (query, status, message) => {
    const answer = await api.request('GET', `${configMaps}?${query}`);
    expect(answer.status).toBe(status);
    expect(answer.json.message).toMatch(message);
  });
  it('refuses a field that the kind does not select by', async () => {
    const { status, json } = await api.request('GET', '/api/v1/pods?fieldSelector=spec.foo%3Dx');
    expect([status, json.message]).toEqual([400, 'field label not supported: spec.foo']);
  });
});

describe('get', () => {
  it('of an absent object is a 404 with details', async () => {
    const { status, json } = await api.request('GET', `${configMaps}/x`);
    expect([status, json]).toEqual([
      404,
      {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: 'configmaps "x" not found',
        reason: 'NotFound',
        details: { name: 'x', kind: 'configmaps' },
        code: 404,
      },
    ]);
  });
  it('of a namespaced object without its namespace finds nothing', async () => {
    expect((await api.request('GET', '/api/v1/configmaps/x')).status).toBe(404);
    expect((await api.request('GET', '/api/v1/namespaces/default/nodes/x')).status).toBe(404);
  });
});

describe('forms of an answer', () => {
  beforeEach(() => fill(2));
  const table = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
  it('Table: columns and cells, each row with its metadata', async () => {
    const { json } = await api.request('GET', configMaps, { headers: { accept: table } });
    expect(json).toMatchObject({ kind: 'Table', apiVersion: 'meta.k8s.io/v1' });
    expect(json.columnDefinitions.map((c: { name: string }) => c.name)).toEqual([
      'Name',
      'Data',
      'Age',
    ]);
    expect(json.rows[0].cells).toEqual(['cm-000', 0, '0s']);
    expect(json.rows[0].object.kind).toBe('PartialObjectMetadata');
  });
  it('Table: includeObject chooses what a row carries', async () => {
    const headers = { accept: table };
    const none = await api.request('GET', `${configMaps}?includeObject=None`, { headers });
    expect(none.json.rows[0]).not.toHaveProperty('object');
    const whole = await api.request('GET', `${configMaps}?includeObject=Object`, { headers });
    expect(whole.json.rows[0].object.kind).toBe('ConfigMap');
  });
  it('PartialObjectMetadataList', async () => {
    const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
    const { json } = await api.request('GET', configMaps, { headers: { accept } });
    expect(json.kind).toBe('PartialObjectMetadataList');
    expect(Object.keys(json.items[0])).toEqual(['kind', 'apiVersion', 'metadata']);
  });
  it('falls back along the Accept header, by quality', async () => {
    const accept =
      'application/yaml;q=0.5, application/vnd.kubernetes.protobuf, application/json;q=0.9';
    const { headers } = await api.request('GET', configMaps, { headers: { accept } });
    expect(headers['content-type']).toBe('application/json');
  });
  it('YAML', async () => {
    const accept = 'application/yaml';
    const { text, headers } = await api.request('GET', `${configMaps}/cm-000`, {
      headers: { accept },
    });
    expect(headers['content-type']).toBe('application/yaml');
    expect(text).toMatch(/^apiVersion: v1\nkind: ConfigMap\nmetadata:\n/);
  });
  it('pretty when asked, or when curl asks', async () => {
    const asked = await api.request('GET', `${configMaps}/cm-000?pretty=true`);
    const curl = await api.request('GET', `${configMaps}/cm-000`, {
      headers: { 'user-agent': 'curl/8.5' },
    });
    expect(asked.text).toMatch(/^\{\n {2}"apiVersion": "v1",\n/);
    expect(curl.text).toBe(asked.text);
  });
  it('gzip for a large list, if the client takes it', async () => {
    const data = { big: 'x'.repeat(200_000) };
    await api.request('POST', configMaps, { body: { metadata: { name: 'big' }, data } });
    const packed = await api.raw('GET', configMaps, { headers: { 'accept-encoding': 'gzip' } });
    expect(packed.headers['content-encoding']).toBe('gzip');
    const plain = await api.request('GET', configMaps);
    expect(plain.headers).not.toHaveProperty('content-encoding');
    expect(gunzipSync(packed.body as Uint8Array).toString()).toBe(plain.text);
  });
});
