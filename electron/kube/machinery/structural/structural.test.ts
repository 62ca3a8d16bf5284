import { describe, expect, it } from 'vitest';
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import meta from '../../../../resources/schema/meta.v1.json' with { type: 'json' };
import { SchemaRegistry } from '../schema.ts';
import { applyCustomDefaults, decodeCustom, pruneUnknown } from './structural.ts';

const schemas = new SchemaRegistry([meta]);
const text: JSONSchemaProps = { type: 'string' };
const spec = (properties: Record<string, JSONSchemaProps>): JSONSchemaProps => ({
  type: 'object',
  properties: { spec: { type: 'object', properties } },
});

describe('decodeCustom', () => {
  it('drops what the schema does not know, and names it', () => {
    const given = { kind: 'A', metadata: { name: 'a', bogus: 1 }, spec: { a: 'x', b: 1 }, c: 2 };
    const { object, unknownFields } = decodeCustom(schemas, spec({ a: text }), given);
    expect(object).toEqual({ kind: 'A', metadata: { name: 'a' }, spec: { a: 'x' } });
    expect(unknownFields).toEqual([
      'unknown field "spec.b"',
      'unknown field "c"',
      'unknown field "metadata.bogus"',
    ]);
  });

  it('leaves alone what it was given', () => {
    const given = { spec: { b: 1 } };
    decodeCustom(schemas, spec({}), given);
    expect(given).toEqual({ spec: { b: 1 } });
  });

  it('refuses what is no object, and metadata of wrong types', () => {
    expect(() => decodeCustom(schemas, spec({}), [])).toThrow('json: cannot unmarshal');
    expect(() => decodeCustom(schemas, spec({}), { kind: 3 })).toThrow(
      'json: cannot unmarshal number into Go struct field ObjectMeta.kind of type string',
    );
    expect(() => decodeCustom(schemas, spec({}), { metadata: { labels: 'x' } })).toThrow(Error);
  });

  it('knows the metadata of resources in it', () => {
    const schema = spec({
      inner: { type: 'object', 'x-kubernetes-embedded-resource': true },
    });
    const given = { spec: { inner: { kind: 'B', metadata: { name: 'b', bogus: 1 }, spec: 1 } } };
    const { object, unknownFields } = decodeCustom(schemas, schema, given);
    expect(object).toEqual({ spec: { inner: { kind: 'B', metadata: { name: 'b' } } } });
    expect(unknownFields).toEqual([
      'unknown field "spec.inner.spec"',
      'unknown field "spec.inner.metadata.bogus"',
    ]);
  });
});

describe('applyCustomDefaults', () => {
  const defaulted = (properties: Record<string, JSONSchemaProps>, given: object): unknown => {
    const object = { spec: structuredClone(given) };
    applyCustomDefaults(spec(properties), object);
    return object.spec;
  };
  const withDefault: JSONSchemaProps = { type: 'string', default: 'd' };
  const cases: readonly {
    name: string;
    properties: Record<string, JSONSchemaProps>;
    given: object;
    want: object;
  }[] = [
    { name: 'what is missing', properties: { a: withDefault }, given: {}, want: { a: 'd' } },
    {
      name: 'not what is there',
      properties: { a: withDefault },
      given: { a: '' },
      want: { a: '' },
    },
    {
      name: 'a null that is not allowed',
      properties: { a: withDefault },
      given: { a: null },
      want: { a: 'd' },
    },
    {
      name: 'not a null that is allowed',
      properties: { a: { ...withDefault, nullable: true } },
      given: { a: null },
      want: { a: null },
    },
    {
      name: 'nothing for a null that has no default: it goes',
      properties: { a: text, b: { ...text, nullable: true } },
      given: { a: null, b: null },
      want: { b: null },
    },
    {
      name: 'a null item',
      properties: { list: { type: 'array', items: withDefault } },
      given: { list: ['x', null] },
      want: { list: ['x', 'd'] },
    },
    {
      name: 'inside of items',
      properties: {
        list: { type: 'array', items: { type: 'object', properties: { a: withDefault } } },
      },
      given: { list: [{}] },
      want: { list: [{ a: 'd' }] },
    },
    {
      name: 'a null value of a map',
      properties: { map: { type: 'object', additionalProperties: withDefault } },
      given: { map: { k: null } },
      want: { map: { k: 'd' } },
    },
  ];
  it.each(cases)('fills in $name', ({ properties, given, want }) => {
    expect(defaulted(properties, given)).toEqual(want);
  });

  it('gives each object a default of its own', () => {
    const properties = { a: { type: 'object', default: {} } };
    const one = defaulted(properties, {}) as Record<string, object>;
    expect(one['a']).not.toBe(properties.a.default);
  });
});

describe('pruneUnknown', () => {
  const pruned = (schema: JSONSchemaProps, given: unknown) => {
    const value = structuredClone(given);
    return [value, pruneUnknown(schema, value)];
  };

  it('drops fields below lists and maps', () => {
    const item: JSONSchemaProps = { type: 'object', properties: { a: text } };
    const schema: JSONSchemaProps = {
      type: 'object',
      properties: {
        list: { type: 'array', items: item },
        map: { type: 'object', additionalProperties: item },
      },
    };
    expect(pruned(schema, { list: [{ a: 'x', b: 1 }], map: { k: { a: 'x', b: 1 } } })).toEqual([
      { list: [{ a: 'x' }], map: { k: { a: 'x' } } },
      ['unknown field "list[0].b"', 'unknown field "map.k.b"'],
    ]);
  });

  it('keeps all of a list that preserves what is unknown', () => {
    const keeping = { 'x-kubernetes-preserve-unknown-fields': true };
    const schema: JSONSchemaProps = {
      type: 'object',
      properties: { free: { type: 'array', ...keeping }, rest: { type: 'object', ...keeping } },
    };
    const given = { free: [{ a: [{ b: 1 }] }], rest: { c: { d: 1 } } };
    expect(pruned(schema, given)).toEqual([given, []]);
  });

  it('drops what is specified below a field that preserves the others', () => {
    const schema: JSONSchemaProps = {
      type: 'object',
      'x-kubernetes-preserve-unknown-fields': true,
      properties: { known: { type: 'object', properties: { a: text } } },
    };
    expect(pruned(schema, { known: { a: 'x', b: 1 }, other: { c: 1 } })).toEqual([
      { known: { a: 'x' }, other: { c: 1 } },
      ['unknown field "known.b"'],
    ]);
  });
});
