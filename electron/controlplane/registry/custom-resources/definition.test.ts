// Which definitions are taken, under which names, and why others are not.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import { definition, definitions, version } from '../../../../test/setup/ships.ts';

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

function listRule(rule: string, messageExpression?: string): Json {
  const rules = [{ rule, messageExpression }];
  const a = { type: 'array', items: { type: 'string' }, 'x-kubernetes-validations': rules };
  return { type: 'object', properties: { a } };
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
      'rules in allOf',
      { type: 'object', allOf: [{ 'x-kubernetes-validations': [{ rule: 'true' }] }] },
      'openAPIV3Schema.allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural',
    ],
    [
      'rules that go through endless lists in endless lists',
      listRule('self.all(a, self.all(b, a == b))'),
      'properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)',
    ],
    [
      'messages that go through endless lists in endless lists',
      listRule('true', 'self.filter(a, self.all(b, a == b))[0]'),
      'properties[a].x-kubernetes-validations[0].messageExpression: Forbidden: estimated messageExpression cost exceeds budget by factor of more than 100x',
    ],
    [
      'rules in places that nothing bounds',
      {
        type: 'object',
        properties: {
          a: {
            type: 'array',
            items: {
              type: 'string',
              'x-kubernetes-validations': [{ rule: "self.matches('^[a-z]+$')" }],
            },
          },
        },
      },
      'items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema',
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
