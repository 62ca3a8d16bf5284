// What a custom resource's schema makes of a value before it is judged: fields the schema does not
// know are pruned, nulls it does not allow are dropped, defaults are filled in, and metadata (also of
// embedded resources) takes its canonical form. Rules about values are in values.ts.
// Source: kubernetes apiextensions-apiserver pkg/apiserver/schema/{pruning,defaulting,objectmeta}.
import type { JSONSchemaProps } from '../../api/apiextensions.ts';
import { decodeObject } from '../decode.ts';
import { deepCopy, isObject, setOwn } from '../equality.ts';
import type { Decoded, SchemaRegistry } from '../schema.ts';
import { badRequest } from '../status.ts';

type Fields = Record<string, unknown>;

const maxUnknownFields = 100;
const resourceFields: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'metadata']);

/** A body as an object of the kind: a new value. Throws 400 for metadata of wrong types. */
export function decodeCustom(
  schemas: SchemaRegistry,
  schema: JSONSchemaProps,
  value: unknown,
): Decoded {
  if (!isObject(value))
    throw badRequest('json: cannot unmarshal into Go value of type map[string]interface {}');
  const unknownFields: string[] = [];
  const object = deepCopy(value);
  dropUndefined(object);
  prune(schema, object, { path: '', isResource: true, unknownFields });
  coerceMetadata(schemas, schema, object, { path: '', isResource: true, unknownFields });
  return { object, unknownFields };
}

/** For what is stored, and what plugins changed: the schema may be a newer one. Mutates. */
export function applyCustomDefaults(schema: JSONSchemaProps, object: Fields): void {
  prune(schema, object, { path: '', isResource: true, unknownFields: [] });
  fillDefaults(schema, object);
}

interface Walk {
  readonly path: string;
  readonly isResource: boolean;
  readonly unknownFields: string[];
}

function dropUndefined(object: Fields): void {
  for (const key of Object.keys(object)) if (object[key] === undefined) delete object[key];
}

/** `schema` undefined: nothing is known of the value, so nothing of it stays. */
function prune(schema: JSONSchemaProps | undefined, value: unknown, walk: Walk): void {
  if (Array.isArray(value)) {
    // Of these items nothing is known, and nothing has to be.
    if (schema?.items === undefined && schema?.['x-kubernetes-preserve-unknown-fields'] === true)
      return;
    for (const [index, item] of value.entries())
      pruneChild(schema?.items, item, { ...walk, path: `${walk.path}[${index}]` });
    return;
  }
  if (!isObject(value)) return;
  const isResource = walk.isResource || schema?.['x-kubernetes-embedded-resource'] === true;
  const keepsUnknown = schema?.['x-kubernetes-preserve-unknown-fields'] === true;
  for (const key of Object.keys(value)) {
    if (isResource && resourceFields.has(key)) continue;
    const path = walk.path === '' ? key : `${walk.path}.${key}`;
    const child = childSchema(schema, key);
    if (child === true) continue;
    if (child !== undefined) pruneChild(child, value[key], { ...walk, path });
    else if (!keepsUnknown) {
      delete value[key];
      if (walk.unknownFields.length < maxUnknownFields)
        walk.unknownFields.push(`unknown field ${JSON.stringify(path)}`);
    }
  }
}

function pruneChild(schema: JSONSchemaProps | undefined, value: unknown, walk: Walk): void {
  prune(schema, value, { ...walk, isResource: false });
}

/** A property's schema or that of the map's values; true: anything may stand there. */
export function childSchema(
  schema: JSONSchemaProps | undefined,
  key: string,
): JSONSchemaProps | true | undefined {
  const properties = schema?.properties;
  if (properties !== undefined && Object.hasOwn(properties, key)) return properties[key];
  const others = schema?.additionalProperties;
  return others === false ? undefined : others;
}

/** Metadata is typed, whatever the schema says of it. */
function coerceMetadata(
  schemas: SchemaRegistry,
  schema: JSONSchemaProps | undefined,
  value: unknown,
  walk: Walk,
): void {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      coerceMetadata(schemas, schema?.items, item, {
        ...walk,
        path: `${walk.path}[${index}]`,
        isResource: false,
      });
    return;
  }
  if (!isObject(value)) return;
  if (walk.isResource || schema?.['x-kubernetes-embedded-resource'] === true)
    coerceOne(schemas, value, walk);
  if (!hasEmbedded(schema)) return;
  for (const key of Object.keys(value)) {
    const child = childSchema(schema, key);
    if (child === undefined || child === true) continue;
    const path = walk.path === '' ? key : `${walk.path}.${key}`;
    coerceMetadata(schemas, child, value[key], { ...walk, path, isResource: false });
  }
}

function coerceOne(schemas: SchemaRegistry, value: Fields, { path, unknownFields }: Walk): void {
  const prefix = path === '' ? 'metadata' : `${path}.metadata`;
  for (const key of ['apiVersion', 'kind'])
    if (value[key] !== undefined && typeof value[key] !== 'string')
      throw badRequest(
        `json: cannot unmarshal ${kindOf(value[key])} into Go struct field ObjectMeta.${key} of type string`,
      );
  const { metadata } = value;
  if (metadata === undefined) return;
  if (metadata === null) {
    delete value['metadata'];
    return;
  }
  const decoded = decodeObject(schemas, 'meta/v1.ObjectMeta', metadata);
  value['metadata'] = decoded.object;
  for (const text of decoded.unknownFields)
    unknownFields.push(text.replace('unknown field "', `unknown field "${prefix}.`));
}

const embedding = new WeakMap<JSONSchemaProps, boolean>();

/** Most schemas embed nothing: then there is no need to walk the value. */
function hasEmbedded(schema: JSONSchemaProps | undefined): boolean {
  if (schema === undefined) return false;
  const known = embedding.get(schema);
  if (known !== undefined) return known;
  const children = childSchemas(schema);
  const found = children.some(
    (child) => child['x-kubernetes-embedded-resource'] === true || hasEmbedded(child),
  );
  embedding.set(schema, found);
  return found;
}

/** The schemas of what stands directly in a value. */
export function childSchemas(schema: JSONSchemaProps): JSONSchemaProps[] {
  const { properties = {}, items, additionalProperties } = schema;
  const children = Object.values(properties);
  if (items !== undefined) children.push(items);
  if (typeof additionalProperties === 'object') children.push(additionalProperties);
  return children;
}

/** Null where the schema does not allow it counts as not given. */
function isAbsent(schema: JSONSchemaProps, value: unknown): boolean {
  return value === undefined || (value === null && schema.nullable !== true);
}

function fillDefaults(schema: JSONSchemaProps, value: unknown): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return;
    for (const [index, item] of value.entries()) {
      if (item === null && items.nullable !== true && items.default !== undefined)
        value[index] = deepCopy(items.default);
      fillDefaults(items, value[index]);
    }
    return;
  }
  if (!isObject(value)) return;
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    const given = Object.hasOwn(value, key) ? value[key] : undefined;
    if (!isAbsent(child, given)) continue;
    if (child.default !== undefined) setOwn(value, key, deepCopy(child.default));
    else if (given === null) delete value[key];
  }
  for (const key of Object.keys(value)) {
    const child = childSchema(schema, key);
    if (child === undefined || child === true) continue;
    if (value[key] === null && child.nullable !== true && child.default !== undefined)
      setOwn(value, key, deepCopy(child.default));
    fillDefaults(child, value[key]);
  }
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return value === null ? 'null' : typeof value === 'boolean' ? 'bool' : typeof value;
}

/** Drops what the schema does not know from a part of an object. Mutates; gives what it dropped. */
export function pruneUnknown(schema: JSONSchemaProps, value: unknown): readonly string[] {
  const unknownFields: string[] = [];
  prune(schema, value, { path: '', isResource: false, unknownFields });
  return unknownFields;
}
