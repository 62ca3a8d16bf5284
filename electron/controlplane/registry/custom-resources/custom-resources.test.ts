// Custom resources through the API server's inner half: a definition is written, and its kind is
// there; it changes, and the kind changes; it goes, and the kind goes.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import { definition, definitions, ship, ships, version } from '../../../../test/setup/ships.ts';

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

describe('rules in CEL', () => {
  const ruled = (rule: Json): Json => {
    const one = version('v1');
    one.schema.openAPIV3Schema.properties.spec = {
      ...one.schema.openAPIV3Schema.properties.spec,
      'x-kubernetes-validations': [rule],
    };
    return definition({ versions: [one] });
  };

  it('have to compile', async () => {
    const answer = await api.request('POST', definitions, { body: ruled({ rule: 'self.size >' }) });
    expect(answer.status).toBe(422);
    expect(answer.json.message).toContain(
      'openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: "self.size >": compilation failed: ',
    );
  });

  it('have to fit the types of their schema, unless they were there before', async () => {
    const rule = 'self.name == self.size';
    const answer = await api.request('POST', definitions, { body: ruled({ rule }) });
    expect(answer.status).toBe(422);
    expect(answer.json.message).toContain(
      `x-kubernetes-validations[0].rule: Invalid value: "${rule}": compilation failed: ERROR: <input>:1:11: found no matching overload for '_==_' applied to '(string, int)'\n | ${rule}\n | ..........^`,
    );
    const other = await api.request('POST', definitions, { body: ruled({ rule: 'self.size' }) });
    expect(other.json.message).toContain('cel expression must evaluate to a bool');
    const spoken = ruled({ rule: 'true', messageExpression: 'self.size' });
    expect((await api.request('POST', definitions, { body: spoken })).json.message).toContain(
      'messageExpression must evaluate to a string',
    );
  });

  it('are asked of every write, defaults filled in', async () => {
    await define(
      ruled({ rule: 'self.size <= self.replicas', message: 'too few', fieldPath: '.size' }),
    );
    const refused = await api.request('POST', ships, { body: ship('x', { replicas: 2 }) });
    expect(refused.json.message).toBe(
      'Ship.sea.example.com "x" is invalid: spec.size: Invalid value: "object": too few',
    );
    expect((await api.request('POST', ships, { body: ship('x', { replicas: 3 }) })).status).toBe(
      201,
    );
    const patched = await api.request('PATCH', `${ships}/x`, {
      body: { spec: { replicas: 1 } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    expect(patched.status).toBe(422);
  });

  it('see what was there before', async () => {
    await define(ruled({ rule: 'self.name == oldSelf.name', message: 'name is immutable' }));
    await api.request('POST', ships, { body: ship('x') });
    const patched = await api.request('PATCH', `${ships}/x`, {
      body: { spec: { name: 'beagle' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    expect(patched.json.message).toContain('spec: Invalid value: "object": name is immutable');
  });

  it('that are asked after something else is wrong wait for it to be put right', async () => {
    await define(ruled({ rule: 'false' }));
    const answer = await api.request('POST', ships, { body: ship('x', { size: 'big' }) });
    expect(answer.json.message).toContain('some validation rules were not checked');
  });
});

describe('a custom resource', () => {
  it('is served as soon as its definition is written', async () => {
    await define();
    const made = await api.request('POST', ships, { body: ship('argo') });
    expect(made.status).toBe(201);
    expect(made.json).toMatchObject({
      kind: 'Ship',
      spec: { name: 'argo', size: 3 },
      metadata: { generation: 1 },
    });
    const list = await api.request('GET', ships);
    expect(list.json).toMatchObject({ kind: 'ShipList', items: [{ metadata: { name: 'argo' } }] });
  });

  const refused: [name: string, spec: Json, message: string][] = [
    [
      'a missing field',
      { name: undefined },
      'Ship.sea.example.com "x" is invalid: spec.name: Required value',
    ],
    [
      'a wrong type',
      { size: 'big' },
      'Ship.sea.example.com "x" is invalid: spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
    ],
    [
      'a number too large',
      { size: 10 },
      'spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9',
    ],
    [
      'a text too long',
      { name: 'abcdefghijk' },
      'spec.name: Too long: may not be more than 10 bytes',
    ],
    [
      'a text off the pattern',
      { name: 'A' },
      `spec.name: Invalid value: "A": spec.name in body should match '^[a-z]+$'`,
    ],
    [
      'no such choice',
      { color: 'pink' },
      'spec.color: Unsupported value: "pink": supported values: "red", "blue"',
    ],
    ['a value twice in a set', { tags: ['a', 'a'] }, 'spec.tags[1]: Duplicate value: "a"'],
    [
      'a boolean port',
      { port: true },
      'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
    ],
    [
      'an embedded resource without kind',
      { template: { apiVersion: 'v1' } },
      'spec.template.kind: Required value: must not be empty',
    ],
  ];
  it.each(refused)('is refused with %s', async (_name, spec, message) => {
    await define();
    const answer = await api.request('POST', ships, { body: ship('x', spec) });
    expect(answer.status).toBe(422);
    expect(answer.json.message).toContain(message);
  });

  it('loses unknown fields, with a warning, or is refused for them', async () => {
    await define();
    const body = ship('x', {
      bogus: 1,
      free: { any: [{ thing: 1 }] },
      labels: { a: 'b' },
      note: null,
      size: null,
    });
    const warned = await api.request('POST', `${ships}?fieldValidation=Warn`, { body });
    expect(warned.status).toBe(201);
    expect(warned.json.spec).toEqual({
      name: 'argo',
      free: { any: [{ thing: 1 }] },
      labels: { a: 'b' },
      note: null,
      size: 3,
    });
    expect(warned.headers['warning']).toContain('unknown field \\"spec.bogus\\"');
    const strict = await api.request('POST', `${ships}?fieldValidation=Strict`, { body });
    expect(strict.json.message).toBe(
      'Ship in version "v1" cannot be handled as a Ship: strict decoding error: unknown field "spec.bogus"',
    );
  });

  it('is patched by JSON and merge patches, not by strategic ones', async () => {
    await define();
    await api.request('POST', ships, { body: ship('x') });
    const patch = (type: string, body: Json) =>
      api.request('PATCH', `${ships}/x`, { body, headers: { 'content-type': type } });
    const merged = await patch('application/merge-patch+json', { spec: { size: 5 } });
    expect(merged.json).toMatchObject({ spec: { size: 5 }, metadata: { generation: 2 } });
    const strategic = await patch('application/strategic-merge-patch+json', { spec: { size: 6 } });
    expect(strategic.status).toBe(415);
    const wrong = await patch('application/merge-patch+json', { spec: { size: 60 } });
    expect(wrong.status).toBe(422);
  });

  it('is applied by the server, with the list types of its schema', async () => {
    const one = version('v1');
    one.schema.openAPIV3Schema.properties.spec.properties.ports = {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['port'],
      items: {
        type: 'object',
        required: ['port'],
        properties: { port: { type: 'integer' }, name: { type: 'string' } },
      },
    };
    await define(definition({ versions: [one] }));
    const apply = (manager: string, spec: Json) =>
      api.request('PATCH', `${ships}/x?fieldManager=${manager}`, {
        body: ship('x', spec),
        headers: { 'content-type': 'application/apply-patch+yaml' },
      });
    expect((await apply('one', { ports: [{ port: 1, name: 'a' }] })).status).toBe(201);
    const both = await apply('two', { ports: [{ port: 2 }] });
    expect(both.json.spec.ports).toEqual([{ port: 1, name: 'a' }, { port: 2 }]);
    const conflict = await apply('two', { ports: [{ port: 1, name: 'b' }] });
    expect(conflict.status).toBe(409);
    expect(conflict.json.message).toContain('.spec.ports[port=1].name');
    expect((await apply('one', { ports: [] })).json.spec.ports).toEqual([{ port: 2 }]);
  });

  it('has status and scale apart', async () => {
    await define();
    await api.request('POST', ships, {
      body: { ...ship('x', { replicas: 2 }), status: { replicas: 9 } },
    });
    const read = await api.request('GET', `${ships}/x`);
    expect(read.json.status).toBeUndefined();
    const status = await api.request('PUT', `${ships}/x/status`, {
      body: { ...read.json, spec: { name: 'no' }, status: { replicas: 2, selector: 'a=b' } },
    });
    expect(status.json).toMatchObject({
      spec: { name: 'argo' },
      status: { replicas: 2 },
      metadata: { generation: 1 },
    });
    const scale = await api.request('GET', `${ships}/x/scale`);
    expect(scale.json).toMatchObject({
      kind: 'Scale',
      spec: { replicas: 2 },
      status: { replicas: 2, selector: 'a=b' },
    });
    await api.request('PUT', `${ships}/x/scale`, {
      body: { ...scale.json, spec: { replicas: 4 } },
    });
    expect((await api.request('GET', `${ships}/x`)).json.spec.replicas).toBe(4);
  });

  it('is found by its selectable fields, and shown in its columns', async () => {
    await define();
    await api.request('POST', ships, { body: ship('red', { color: 'red' }) });
    await api.request('POST', ships, { body: ship('blue', { color: 'blue' }) });
    const found = await api.request('GET', `${ships}?fieldSelector=spec.color%3Dred`);
    expect(found.json.items.map(({ metadata }: Json) => metadata.name)).toEqual(['red']);
    const table = await api.request('GET', ships, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    expect(table.json.columnDefinitions.map(({ name }: Json) => name)).toEqual([
      'Name',
      'Size',
      'Ready',
      'Age',
    ]);
    expect(table.json.rows[0].cells).toEqual(['blue', 3, null, '0s']);
  });

  it('is answered in every version that is served', async () => {
    await define(
      definition({
        versions: [version('v1'), version('v2'), version('v1beta1', { served: false })],
      }),
    );
    await api.request('POST', ships, { body: ship('x') });
    const other = await api.request('GET', ships.replace('/v1/', '/v2/') + '/x');
    expect(other.json).toMatchObject({ apiVersion: 'sea.example.com/v2', spec: { name: 'argo' } });
    const written = await api.request('PUT', ships.replace('/v1/', '/v2/') + '/x', {
      body: { ...other.json, spec: { name: 'new' } },
    });
    expect(written.json.spec.name).toBe('new');
    expect((await api.request('GET', `${ships}/x`)).json).toMatchObject({
      apiVersion: 'sea.example.com/v1',
      spec: { name: 'new' },
    });
    expect((await api.request('GET', ships.replace('/v1/', '/v1beta1/'))).status).toBe(404);
  });

  it('is answered as it was stored, not as it was sent', async () => {
    const second = structuredClone(version('v2'));
    second.schema.openAPIV3Schema.properties.spec.properties.crew = { type: 'integer' };
    await define(definition({ versions: [version('v1'), second] }));
    const body = { ...ship('x', { crew: 50 }), apiVersion: 'sea.example.com/v2' };
    const made = await api.request('POST', ships.replace('/v1/', '/v2/'), { body });
    expect(made.status).toBe(201);
    expect(made.json).toMatchObject({ apiVersion: 'sea.example.com/v2', spec: { name: 'argo' } });
    expect(made.json.spec).not.toHaveProperty('crew');
  });

  it('keeps what it was when the storage version changes', async () => {
    const made = await define(definition({ versions: [version('v1'), version('v2')] }));
    await api.request('POST', ships, { body: ship('x') });
    const next = {
      ...made,
      spec: {
        ...made.spec,
        versions: [version('v1', { storage: false }), version('v2', { storage: true })],
      },
    };
    const changed = await api.request('PUT', `${definitions}/ships.sea.example.com`, {
      body: next,
    });
    expect(changed.json.status.storedVersions).toEqual(['v1', 'v2']);
    expect((await api.request('GET', `${ships}/x`)).json).toMatchObject({
      apiVersion: 'sea.example.com/v1',
      spec: { name: 'argo' },
    });
    const list = await api.request('GET', ships.replace('/v1/', '/v2/'));
    expect(list.json.items).toMatchObject([{ apiVersion: 'sea.example.com/v2' }]);
    const gone = {
      ...changed.json,
      spec: { ...next.spec, versions: [version('v2', { storage: true })] },
    };
    const answer = await api.request('PUT', `${definitions}/ships.sea.example.com`, { body: gone });
    expect(answer.json.message).toContain(
      'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions',
    );
  });

  it('is judged by a changed schema only where it changes itself', async () => {
    const made = await define();
    await api.request('POST', ships, { body: ship('x', { size: 9 }) });
    const next = structuredClone(made);
    next.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.size.maximum = 5;
    await api.request('PUT', `${definitions}/ships.sea.example.com`, { body: next });
    const patch = (spec: Json) =>
      api.request('PATCH', `${ships}/x`, {
        body: { spec },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
    expect((await patch({ color: 'red' })).status).toBe(200);
    expect((await patch({ size: 8 })).status).toBe(422);
    expect((await api.request('POST', ships, { body: ship('y', { size: 9 }) })).status).toBe(422);
  });

  it('has its watches ended when the definition changes, and is gone with it', async () => {
    const made = await define();
    await api.request('POST', ships, { body: ship('x') });
    const watch = await api.watch(`${ships}?watch=true`);
    expect(await watch.next()).toMatchObject({
      type: 'ADDED',
      object: { metadata: { name: 'x' } },
    });
    const over = watch.next();
    const next = structuredClone(made);
    next.spec.names.shortNames = ['boat'];
    await api.request('PUT', `${definitions}/ships.sea.example.com`, { body: next });
    expect(await over).toBeUndefined();
    const deleted = await api.request('DELETE', `${definitions}/ships.sea.example.com`);
    expect(deleted.json.metadata.finalizers).toEqual([
      'customresourcecleanup.apiextensions.k8s.io',
    ]);
    expect(deleted.json.status.conditions.at(-1)).toMatchObject({
      type: 'Terminating',
      status: 'True',
    });
    expect((await api.request('POST', ships, { body: ship('y') })).status).toBe(405);
    const applied = await api.request('PATCH', `${ships}/y?fieldManager=one`, {
      body: ship('y'),
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
    expect(applied.status).toBe(404);
    await api.request('DELETE', ships);
    const terminating = (await api.request('GET', `${definitions}/ships.sea.example.com`)).json;
    await api.request('PUT', `${definitions}/ships.sea.example.com`, {
      body: { ...terminating, metadata: { ...terminating.metadata, finalizers: [] } },
    });
    expect((await api.request('GET', ships)).status).toBe(404);
  });
});
