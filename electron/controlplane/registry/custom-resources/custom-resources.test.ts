// Custom resources through the API server's inner half: a definition is written, and its kind is
// there; it changes, and the kind changes; it goes, and the kind goes.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const ships = '/apis/sea.example.com/v1/namespaces/default/ships';

const specSchema = {
  type: 'object',
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 10, pattern: '^[a-z]+$' },
    size: { type: 'integer', minimum: 1, maximum: 9, default: 3 },
    port: { 'x-kubernetes-int-or-string': true },
    replicas: { type: 'integer' },
    color: { type: 'string', enum: ['red', 'blue'] },
    tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    note: { type: 'string', nullable: true },
    template: {
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      'x-kubernetes-preserve-unknown-fields': true,
    },
  },
};

export function version(name: string, more: Json = {}): Json {
  return {
    name,
    served: true,
    storage: name === 'v1',
    schema: {
      openAPIV3Schema: {
        type: 'object',
        properties: {
          spec: specSchema,
          status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        },
      },
    },
    subresources: {
      status: {},
      scale: {
        specReplicasPath: '.spec.replicas',
        statusReplicasPath: '.status.replicas',
        labelSelectorPath: '.status.selector',
      },
    },
    additionalPrinterColumns: [
      { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
      { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
    selectableFields: [{ jsonPath: '.spec.color' }],
    ...more,
  };
}

export function definition(more: Json = {}): Json {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'ships.sea.example.com' },
    spec: {
      group: 'sea.example.com',
      scope: 'Namespaced',
      names: { plural: 'ships', kind: 'Ship', shortNames: ['sh'], categories: ['all'] },
      versions: [version('v1')],
      ...more,
    },
  };
}

function ship(name: string, spec: Json = {}): Json {
  return {
    apiVersion: 'sea.example.com/v1',
    kind: 'Ship',
    metadata: { name },
    spec: { name: 'argo', ...spec },
  };
}

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

describe('a definition', () => {
  it('is established by the write that makes it, with its names and defaults', async () => {
    const made = await define();
    expect(made.spec.names).toMatchObject({ singular: 'ship', listKind: 'ShipList' });
    expect(made.spec.conversion).toEqual({ strategy: 'None' });
    expect(made.status.storedVersions).toEqual(['v1']);
    expect(made.status.acceptedNames).toEqual(made.spec.names);
    expect(made.status.conditions).toMatchObject([
      { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts' },
      { type: 'Established', status: 'True', reason: 'InitialNamesAccepted' },
    ]);
  });

  it('gets no name that another one of the group has', async () => {
    await define();
    const other = definition({ names: { plural: 'boats', kind: 'Ship' } });
    other.metadata.name = 'boats.sea.example.com';
    const answer = await api.request('POST', definitions, { body: other });
    expect(answer.status).toBe(201);
    expect(answer.json.status.conditions).toMatchObject([
      {
        type: 'NamesAccepted',
        status: 'False',
        reason: 'ListKindConflict',
        message: '"ShipList" is already in use',
      },
      { type: 'Established', status: 'False', reason: 'NotAccepted' },
    ]);
    const list = await api.request('GET', '/apis/sea.example.com/v1/boats');
    expect(list.status).toBe(404);
  });

  const wrong: [name: string, spec: Json, message: string][] = [
    [
      'no dot in the group',
      { group: 'sea' },
      'spec.group: Invalid value: "sea": should be a domain with at least one dot',
    ],
    [
      'no such scope',
      { scope: 'World' },
      'spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"',
    ],
    [
      'no storage version',
      { versions: [version('v1', { storage: false })] },
      'must have exactly one version marked as storage version',
    ],
    [
      'a version without schema',
      { versions: [version('v1', { schema: undefined })] },
      'spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required',
    ],
    [
      'a kind like its list',
      { names: { plural: 'ships', kind: 'Ship', listKind: 'Ship' } },
      'spec.names.listKind: Invalid value: "Ship": kind and listKind may not be the same',
    ],
    [
      'a path that is none',
      {
        versions: [
          version('v1', {
            additionalPrinterColumns: [{ name: 'X', type: 'string', jsonPath: '.a[' }],
          }),
        ],
      },
      'spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: ".a[": is an invalid path',
    ],
    [
      'a scale path elsewhere',
      {
        versions: [
          version('v1', {
            subresources: {
              scale: { specReplicasPath: '.status.x', statusReplicasPath: '.status.y' },
            },
          }),
        ],
      },
      'specReplicasPath: Invalid value: ".status.x": should be a json path under .spec',
    ],
    [
      'a field that selects nothing',
      { versions: [version('v1', { selectableFields: [{ jsonPath: '.spec.nothing' }] })] },
      'is an invalid path: does not refer to a valid field',
    ],
  ];
  it.each(wrong)('is refused with %s', async (_name, spec, message) => {
    const answer = await api.request('POST', definitions, { body: definition(spec) });
    expect(answer.status).toBe(422);
    expect(answer.json.message).toContain(message);
  });

  const schemas: [name: string, schema: Json, message: string][] = [
    ['untyped root', {}, 'openAPIV3Schema.type: Required value: must not be empty at the root'],
    [
      'untyped field',
      { type: 'object', properties: { a: {} } },
      'openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields',
    ],
    [
      'untyped items',
      { type: 'object', properties: { a: { type: 'array', items: {} } } },
      'properties[a].items.type: Required value: must not be empty for specified array items',
    ],
    ['$ref', { type: 'object', $ref: '#/x' }, '$ref: Forbidden: $ref is not supported'],
    [
      'uniqueItems',
      {
        type: 'object',
        properties: { a: { type: 'array', uniqueItems: true, items: { type: 'string' } } },
      },
      'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
    ],
    [
      'additionalProperties beside properties',
      {
        type: 'object',
        properties: {
          a: {
            type: 'object',
            properties: { b: { type: 'string' } },
            additionalProperties: { type: 'string' },
          },
        },
      },
      'additionalProperties and properties are mutual exclusive',
    ],
    [
      'types in anyOf',
      { type: 'object', properties: { a: { type: 'string', anyOf: [{ type: 'string' }] } } },
      'anyOf[0].type: Forbidden: must be empty to be structural',
    ],
    [
      'fields only in allOf',
      { type: 'object', allOf: [{ properties: { x: { minimum: 1 } } }] },
      'openAPIV3Schema.properties[x]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.allOf[0].properties[x]',
    ],
    [
      'a list map without keys',
      {
        type: 'object',
        properties: {
          a: { type: 'array', 'x-kubernetes-list-type': 'map', items: { type: 'object' } },
        },
      },
      'x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map',
    ],
    [
      'a pattern that is none',
      { type: 'object', properties: { a: { type: 'string', pattern: '(' } } },
      'properties[a].pattern: Invalid value: "(": must be a valid regular expression',
    ],
    [
      'a default of another type',
      { type: 'object', properties: { a: { type: 'string', default: 1 } } },
      'properties[a].default: Invalid value: "integer": spec.versions[0].schema.openAPIV3Schema.properties[a].default in body must be of type string: "integer"',
    ],
    [
      'metadata',
      {
        type: 'object',
        properties: { metadata: { type: 'object', properties: { labels: { type: 'object' } } } },
      },
      'must not specify anything other than name and generateName',
    ],
  ];
  it.each(schemas)('is refused for a schema with %s', async (_name, openAPIV3Schema, message) => {
    const only = { ...version('v1', { schema: { openAPIV3Schema } }), selectableFields: undefined };
    const answer = await api.request('POST', definitions, {
      body: definition({ versions: [only] }),
    });
    expect(answer.json.message).toContain(message);
    expect(answer.status).toBe(422);
  });
});

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
    await api.request('DELETE', ships);
    const terminating = (await api.request('GET', `${definitions}/ships.sea.example.com`)).json;
    await api.request('PUT', `${definitions}/ships.sea.example.com`, {
      body: { ...terminating, metadata: { ...terminating.metadata, finalizers: [] } },
    });
    expect((await api.request('GET', ships)).status).toBe(404);
  });
});
