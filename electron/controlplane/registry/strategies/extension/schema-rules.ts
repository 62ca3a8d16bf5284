// What the schema of a custom resource has to be: structural. Every field of an object has one type,
// told outside of allOf, anyOf, oneOf and not, which may only narrow values.
// Source: kubernetes apiextensions-apiserver pkg/apiserver/schema/{validation,complete}.go,
// pkg/apis/apiextensions/validation/validation.go.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import {
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { deepCopy, isObject } from '#kube/machinery/equality.ts';
import { maxItems } from '../../../cel/sizes.ts';
import { pruneUnknown } from '#kube/machinery/structural/structural.ts';
import { validateValue, type ValueContext } from '#kube/machinery/structural/values.ts';

import {
  validateRules,
  validateTotalCost,
  type ExpressionCost,
  type ExpressionPlace,
} from './expression-rules.ts';

const types = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
/** Deeper ones no client can read, and no walk of ours should have to. */
const maxDepth = 100;

export function validateStructural(
  schema: JSONSchemaProps,
  path: FieldPath,
  engine: Pick<Place, 'context' | 'checker' | 'isKnown'>,
): FieldError[] {
  const costs: ExpressionCost[] = [];
  const place: Place = { level: 'root', depth: 0, cardinality: 1, costs, ...engine };
  const errors = [...validateNode(schema, path, place), ...validateTotalCost(costs, path)];
  const metadata = schema.properties?.['metadata'];
  if (metadata !== undefined) errors.push(...validateMetadata(metadata, path));
  return errors;
}

interface Place extends ExpressionPlace {
  readonly depth: number;
  readonly context: ValueContext;
}

const typeMissing: Readonly<Record<Place['level'], string>> = {
  root: 'must not be empty at the root',
  field: 'must not be empty for specified object fields',
  item: 'must not be empty for specified array items',
};

function validateNode(schema: JSONSchemaProps, path: FieldPath, place: Place): FieldError[] {
  if (place.depth > maxDepth) return [forbidden(path, 'the schema is nested too deeply')];
  const errors = [
    ...validateUnsupported(schema, path),
    ...validateType(schema, path, place),
    ...validateExtensions(schema, path),
    ...validateListType(schema, path),
    ...validatePattern(schema, path, place),
    ...validateRules(schema, path, place),
  ];
  const { properties = {}, items, additionalProperties } = schema;
  const inner = { ...place, depth: place.depth + 1 };
  for (const [name, child] of Object.entries(properties))
    errors.push(
      ...validateNode(child, path.child('properties').key(name), { ...inner, level: 'field' }),
    );
  const many = {
    ...inner,
    cardinality: multiplied(place.cardinality, maxItems(schema)),
  };
  if (typeof additionalProperties === 'object')
    errors.push(
      ...validateNode(additionalProperties, path.child('additionalProperties'), {
        ...many,
        level: 'field',
      }),
    );
  if (items !== undefined)
    errors.push(...validateNode(items, path.child('items'), { ...many, level: 'item' }));
  for (const { child, at } of alternatives(schema, path))
    errors.push(...validateNarrowing(child, at, { schema, path, depth: 0, place }));
  if (errors.length === 0) errors.push(...validateDefault(schema, path, place));
  return errors;
}

function multiplied(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a * b;
}

function validateUnsupported(schema: JSONSchemaProps, path: FieldPath): FieldError[] {
  const errors: FieldError[] = [];
  const refuse = (name: string, detail = `${name} is not supported`): void =>
    void errors.push(forbidden(path.child(name), detail));
  if (schema.$ref !== undefined) refuse('$ref');
  if (schema.$schema !== undefined && schema.$schema !== '')
    refuse('$schema', 'schema is not supported');
  if (schema.id !== undefined && schema.id !== '') refuse('id');
  for (const name of [
    'additionalItems',
    'definitions',
    'dependencies',
    'patternProperties',
  ] as const)
    if (schema[name] !== undefined) refuse(name);
  if (schema.uniqueItems === true)
    refuse(
      'uniqueItems',
      'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
    );
  if (schema.additionalProperties === false)
    refuse('additionalProperties', 'additionalProperties cannot be set to false');
  if (schema.additionalProperties !== undefined && Object.keys(schema.properties ?? {}).length > 0)
    refuse('additionalProperties', 'additionalProperties and properties are mutual exclusive');
  return errors;
}

function validateType(schema: JSONSchemaProps, path: FieldPath, place: Place): FieldError[] {
  const at = path.child('type');
  const { type = '' } = schema;
  const isFree =
    schema['x-kubernetes-int-or-string'] === true ||
    schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (schema['x-kubernetes-int-or-string'] === true && type !== '')
    return [forbidden(at, 'must be empty if x-kubernetes-int-or-string is true')];
  if (type === 'null')
    return [forbidden(at, 'type cannot be set to null, use nullable as an alternative')];
  if (type === '') {
    if (place.level !== 'root' && isFree) return [];
    return [required(at, typeMissing[place.level])];
  }
  if (!types.includes(type)) return [notSupported(at, type, types)];
  if (place.level === 'root' && type !== 'object')
    return [invalid(at, type, 'must be object at the root')];
  if (type === 'array' && schema.items === undefined)
    return [required(path.child('items'), 'must be specified')];
  if (type !== 'object' && schema.properties !== undefined)
    return [invalid(at, type, 'must be object if properties are specified')];
  return [];
}

function validateExtensions(schema: JSONSchemaProps, path: FieldPath): FieldError[] {
  const errors: FieldError[] = [];
  if (schema['x-kubernetes-preserve-unknown-fields'] === false)
    errors.push(
      invalid(
        path.child('x-kubernetes-preserve-unknown-fields'),
        false,
        'must be true or undefined',
      ),
    );
  if (schema['x-kubernetes-embedded-resource'] === true) {
    if (schema.type !== 'object')
      errors.push(
        invalid(
          path.child('type'),
          schema.type ?? '',
          'must be object if x-kubernetes-embedded-resource is true',
        ),
      );
    const isOpen = schema['x-kubernetes-preserve-unknown-fields'] === true;
    if (!isOpen && Object.keys(schema.properties ?? {}).length === 0)
      errors.push(
        required(
          path.child('properties'),
          'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields',
        ),
      );
  }
  const mapType = schema['x-kubernetes-map-type'];
  if (mapType !== undefined) {
    const at = path.child('x-kubernetes-map-type');
    if (!['atomic', 'granular'].includes(mapType))
      errors.push(notSupported(at, mapType, ['atomic', 'granular']));
    if (schema.type !== 'object')
      errors.push(
        invalid(
          path.child('type'),
          schema.type ?? '',
          'must be object if x-kubernetes-map-type is specified',
        ),
      );
  }
  return errors;
}

const listTypes = ['atomic', 'map', 'set'];

function validateListType(schema: JSONSchemaProps, path: FieldPath): FieldError[] {
  const type = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const keysPath = path.child('x-kubernetes-list-map-keys');
  const errors: FieldError[] = [];
  if (type !== undefined && !listTypes.includes(type))
    errors.push(notSupported(path.child('x-kubernetes-list-type'), type, listTypes));
  if (type !== undefined && schema.type !== 'array')
    errors.push(
      invalid(
        path.child('type'),
        schema.type ?? '',
        'must be array if x-kubernetes-list-type is specified',
      ),
    );
  if (type !== 'map') {
    if (keys.length > 0)
      errors.push(
        invalid(
          path.child('x-kubernetes-list-type'),
          type ?? '',
          'must be map if x-kubernetes-list-map-keys is non-empty',
        ),
      );
    return errors;
  }
  if (keys.length === 0)
    errors.push(required(keysPath, 'must not be empty if x-kubernetes-list-type is map'));
  const { items } = schema;
  if (items === undefined) return errors;
  if (items.type !== 'object')
    errors.push(
      invalid(
        path.child('items', 'type'),
        items.type ?? '',
        "must be object if parent array's x-kubernetes-list-type is map",
      ),
    );
  for (const [index, key] of keys.entries()) {
    const property = items.properties?.[key];
    if (property === undefined)
      errors.push(
        invalid(keysPath.index(index), key, 'entries must all be names of item properties'),
      );
    else if (property.default === undefined && !(items.required ?? []).includes(key))
      errors.push(
        required(
          path.child('items', 'properties').key(key).child('default'),
          'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
        ),
      );
  }
  if (new Set(keys).size < keys.length)
    errors.push(invalid(keysPath, keys, 'must not contain duplicate entries'));
  return errors;
}

function validatePattern(
  { pattern }: JSONSchemaProps,
  path: FieldPath,
  { context }: Place,
): FieldError[] {
  if (pattern === undefined || pattern === '') return [];
  try {
    context.matches(pattern, '');
    return [];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [
      invalid(
        path.child('pattern'),
        pattern,
        `must be a valid regular expression, but isn't: ${why}`,
      ),
    ];
  }
}

function* alternatives(
  schema: JSONSchemaProps,
  path: FieldPath,
): Generator<{ readonly child: JSONSchemaProps; readonly at: FieldPath }> {
  for (const name of ['allOf', 'anyOf', 'oneOf'] as const)
    for (const [index, child] of (schema[name] ?? []).entries())
      yield { child, at: path.child(name).index(index) };
  if (schema.not !== undefined) yield { child: schema.not, at: path.child('not') };
}

interface Narrowing {
  /** What is narrowed: the part of the structure at the same place. */
  readonly schema: JSONSchemaProps | undefined;
  readonly path: FieldPath;
  readonly depth: number;
  readonly place: Place;
}

/** A part of allOf, anyOf, oneOf or not: it may say nothing of the structure. */
function validateNarrowing(
  schema: JSONSchemaProps,
  path: FieldPath,
  { schema: structure, path: structurePath, depth, place }: Narrowing,
): FieldError[] {
  if (depth > maxDepth) return [forbidden(path, 'the schema is nested too deeply')];
  const errors = [
    ...validateUnsupported(schema, path).filter(
      ({ field }) => !field.endsWith('additionalProperties'),
    ),
    ...validatePattern(schema, path, place),
  ];
  const isIntOrString = structure?.['x-kubernetes-int-or-string'] === true;
  const isTypeAllowed = isIntOrString && ['integer', 'string'].includes(schema.type ?? '');
  const say = (name: string, detail: string): void =>
    void errors.push(forbidden(path.child(name), detail));
  if (schema.type !== undefined && schema.type !== '' && !isTypeAllowed)
    say('type', 'must be empty to be structural');
  if (schema.title !== undefined && schema.title !== '')
    say('title', 'must be empty to be structural');
  if (schema.description !== undefined && schema.description !== '')
    say('description', 'must be empty to be structural');
  if (schema.default !== undefined) say('default', 'must be undefined to be structural');
  if (schema.additionalProperties !== undefined)
    say('additionalProperties', 'must be undefined to be structural');
  if (schema.nullable === true) say('nullable', 'must be false to be structural');
  for (const name of [
    'x-kubernetes-preserve-unknown-fields',
    'x-kubernetes-embedded-resource',
    'x-kubernetes-int-or-string',
  ] as const)
    if (schema[name] === true) say(name, 'must be false to be structural');
  // Differs: Kubernetes takes rules here since 1.31. Nobody would ask them.
  if ((schema['x-kubernetes-validations'] ?? []).length > 0)
    say('x-kubernetes-validations', 'must be empty to be structural');
  for (const name of [
    'x-kubernetes-list-type',
    'x-kubernetes-list-map-keys',
    'x-kubernetes-map-type',
  ] as const)
    if (schema[name] !== undefined) say(name, 'must be undefined to be structural');
  const inner = { depth: depth + 1, place };
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const at = path.child('properties').key(name);
    const target = structurePath.child('properties').key(name);
    const part = structure?.properties?.[name];
    if (part === undefined && structure?.['x-kubernetes-preserve-unknown-fields'] !== true)
      errors.push(required(target, `because it is defined in ${at.toString()}`));
    errors.push(...validateNarrowing(child, at, { ...inner, schema: part, path: target }));
  }
  if (schema.items !== undefined) {
    const at = path.child('items');
    const target = structurePath.child('items');
    if (
      structure?.items === undefined &&
      structure?.['x-kubernetes-preserve-unknown-fields'] !== true
    )
      errors.push(required(target, `because it is defined in ${at.toString()}`));
    errors.push(
      ...validateNarrowing(schema.items, at, { ...inner, schema: structure?.items, path: target }),
    );
  }
  for (const { child, at } of alternatives(schema, path))
    errors.push(
      ...validateNarrowing(child, at, { ...inner, schema: structure, path: structurePath }),
    );
  return errors;
}

/** A default is stored as it stands: it must be legal itself. */
function validateDefault(
  schema: JSONSchemaProps,
  path: FieldPath,
  { level, context }: Place,
): FieldError[] {
  const value = schema.default;
  if (value === undefined) return [];
  const at = path.child('default');
  if (level === 'root') return [forbidden(at, 'must not be set at the root')];
  const pruned = deepCopy(value);
  if (isObject(pruned) || Array.isArray(pruned)) {
    const unknownFields = pruneUnknown(schema, pruned);
    if (unknownFields.length > 0) return [invalid(at, value, `must not have unknown fields`)];
  }
  const errors: FieldError[] = [];
  validateValue(schema, value, { path: at.toString(), context, errors });
  return errors;
}

/** Metadata is every kind's own business; schemas may only narrow the name. */
function validateMetadata(metadata: JSONSchemaProps, path: FieldPath): FieldError[] {
  const at = path.child('properties').key('metadata');
  const { type, properties = {}, description: _d, title: _t, nullable: _n, ...rest } = metadata;
  const errors: FieldError[] = [];
  if (type !== 'object') errors.push(invalid(at.child('type'), type ?? '', 'must be object'));
  const others = Object.keys(properties).filter(
    (name) => name !== 'name' && name !== 'generateName',
  );
  if (others.length > 0 || Object.keys(rest).length > 0)
    errors.push(
      forbidden(
        at,
        'must not specify anything other than name and generateName, but metadata is implicitly specified',
      ),
    );
  return errors;
}
