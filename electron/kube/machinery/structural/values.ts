// Whether a value is what a custom resource's schema says, in the words clients know.
// Patterns come compiled: whoever compiles them sees to it that none takes long.
// Source: kubernetes kube-openapi pkg/validation/validate, apiextensions-apiserver
// pkg/apiserver/validation/validation.go, pkg/apiserver/schema/listtype.
import type { JSONSchemaProps } from '../../api/apiextensions.ts';
import { deepEqual, isObject, stableStringify } from '../equality.ts';
import {
  duplicate,
  FieldPath,
  invalid,
  notSupported,
  required,
  tooLong,
  tooMany,
  typeInvalid,
  type FieldError,
} from '../field.ts';
import { hasFormat } from './formats.ts';
import { childSchema } from './structural.ts';

export interface ValueContext {
  /** Whether the pattern is found in `text`. Throws for what is no pattern. */
  readonly matches: (pattern: string, text: string) => boolean;
}

/** Stops where nobody reads on. */
const maxErrors = 100;

export interface ValueWalk {
  /** As clients see it, '' for the root. */
  readonly path: string;
  /** What stood at the same place before; what did not change is not judged. Undefined: it is new. */
  readonly old?: unknown;
  readonly context: ValueContext;
  readonly errors: FieldError[];
}

export function validateValue(schema: JSONSchemaProps, value: unknown, walk: ValueWalk): void {
  if (walk.errors.length >= maxErrors) return;
  if (value === null && schema.nullable === true) return;
  if (walk.old !== undefined && deepEqual(value, walk.old)) return;
  checkType(schema, value, walk);
  checkCombinations(schema, value, walk);
  if (typeof value === 'string') checkText(schema, value, walk);
  else if (typeof value === 'number' || typeof value === 'bigint') checkNumber(schema, value, walk);
  else if (Array.isArray(value)) checkList(schema, value, walk);
  checkEnum(schema, value, walk);
  if (isObject(value)) checkObject(schema, value, walk);
}

/** Go prints the root's path so. */
function at(path: string): FieldPath {
  return new FieldPath(path === '' ? '<nil>' : path);
}

function complain(walk: ValueWalk, value: unknown, detail: string): void {
  walk.errors.push(invalid(at(walk.path), value, `${walk.path} in body ${detail}`));
}

export function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'bigint') return 'integer';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function checkType(schema: JSONSchemaProps, value: unknown, { path, errors }: ValueWalk): void {
  const allowed =
    schema['x-kubernetes-int-or-string'] === true ? ['integer', 'string'] : [schema.type ?? ''];
  const [first = ''] = allowed;
  if (first === '') return;
  const actual = typeOf(value);
  if (allowed.includes(actual) || (first === 'number' && actual === 'integer')) return;
  const why = `${path} in body must be of type ${allowed.join(',')}: ${JSON.stringify(actual)}`;
  errors.push(typeInvalid(at(path), actual, why));
}

/** The errors of one alternative alone. */
function errorsOf(schema: JSONSchemaProps, value: unknown, walk: ValueWalk): FieldError[] {
  const errors: FieldError[] = [];
  validateValue(schema, value, { ...walk, old: undefined, errors });
  return errors;
}

function checkCombinations(schema: JSONSchemaProps, value: unknown, walk: ValueWalk): void {
  const { allOf, anyOf, oneOf, not } = schema;
  const say = (detail: string): void =>
    void walk.errors.push(invalid(at(''), '', `${JSON.stringify(walk.path)} ${detail}`));
  if (anyOf !== undefined && anyOf.length > 0) {
    const results = anyOf.map((one) => errorsOf(one, value, walk));
    if (results.every((errors) => errors.length > 0)) {
      say('must validate at least one schema (anyOf)');
      walk.errors.push(...fewest(results));
    }
  }
  if (oneOf !== undefined && oneOf.length > 0) {
    const results = oneOf.map((one) => errorsOf(one, value, walk));
    const valid = results.filter((errors) => errors.length === 0).length;
    if (valid === 0) {
      say('must validate one and only one schema (oneOf). Found none valid');
      walk.errors.push(...fewest(results));
    } else if (valid > 1)
      say(`must validate one and only one schema (oneOf). Found ${valid} valid alternatives`);
  }
  if (allOf !== undefined && allOf.length > 0) {
    const results = allOf.map((one) => errorsOf(one, value, walk));
    const failed = results.filter((errors) => errors.length > 0);
    if (failed.length > 0) {
      walk.errors.push(...failed.flat());
      say(
        `must validate all the schemas (allOf)${failed.length === results.length ? '. None validated' : ''}`,
      );
    }
  }
  if (not !== undefined && errorsOf(not, value, walk).length === 0)
    say('must not validate the schema (not)');
}

function fewest(results: readonly FieldError[][]): FieldError[] {
  return results.reduce((best, errors) => (errors.length < best.length ? errors : best));
}

function checkText(schema: JSONSchemaProps, value: string, walk: ValueWalk): void {
  const { maxLength, minLength, pattern, format } = schema;
  if (maxLength !== undefined || minLength !== undefined) {
    const length = Array.from(value).length;
    if (maxLength !== undefined && length > maxLength)
      walk.errors.push(tooLong(at(walk.path), maxLength));
    if (minLength !== undefined && length < minLength)
      complain(walk, value, `should be at least ${minLength} chars long`);
  }
  if (pattern !== undefined && pattern !== '' && !walk.context.matches(pattern, value))
    complain(walk, value, `should match '${pattern}'`);
  if (format !== undefined && !hasFormat(format, value)) {
    const why = `${walk.path} in body must be of type ${format}: ${JSON.stringify(value)}`;
    walk.errors.push(typeInvalid(at(walk.path), value, why));
  }
}

function checkNumber(schema: JSONSchemaProps, value: number | bigint, walk: ValueWalk): void {
  const { maximum, minimum, exclusiveMaximum, exclusiveMinimum, multipleOf, format } = schema;
  if (maximum !== undefined) {
    if (exclusiveMaximum === true && value >= maximum)
      complain(walk, value, `should be less than ${maximum}`);
    else if (value > maximum) complain(walk, value, `should be less than or equal to ${maximum}`);
  }
  if (minimum !== undefined) {
    if (exclusiveMinimum === true && value <= minimum)
      complain(walk, value, `should be greater than ${minimum}`);
    else if (value < minimum)
      complain(walk, value, `should be greater than or equal to ${minimum}`);
  }
  if (multipleOf !== undefined && multipleOf > 0 && !isMultiple(value, multipleOf))
    complain(walk, value, `should be a multiple of ${multipleOf}`);
  const bits = schema.type === 'integer' && format === 'int32' ? 31 : 63;
  if (schema.type === 'integer' && (value >= 2 ** bits || value < -(2 ** bits)))
    complain(walk, value, `must be of type ${format ?? 'int64'}: ${JSON.stringify(value)}`);
}

function isMultiple(value: number | bigint, of: number): boolean {
  if (typeof value === 'bigint')
    return Number.isInteger(of) ? value % BigInt(of) === 0n : isMultiple(Number(value), of);
  const quotient = value / of;
  return Math.abs(quotient - Math.round(quotient)) < 1e-9;
}

function checkList(schema: JSONSchemaProps, value: readonly unknown[], walk: ValueWalk): void {
  const { maxItems, minItems, uniqueItems, items } = schema;
  const { path, errors } = walk;
  if (items !== undefined) {
    const before = correlated(schema, walk.old);
    for (const [index, item] of value.entries())
      validateValue(items, item, { ...walk, path: `${path}[${index}]`, old: before(item) });
  }
  if (maxItems !== undefined && value.length > maxItems)
    errors.push(tooMany(at(path), value.length, maxItems));
  if (minItems !== undefined && value.length < minItems)
    complain(walk, value.length, `should have at least ${minItems} items`);
  if (uniqueItems === true && new Set(value.map(stableStringify)).size < value.length)
    complain(walk, value, "shouldn't contain duplicates");
  checkListType(schema, value, walk);
}

/** Finds an item of the list as it was before; only the items of a list map have an identity. */
export function correlated(schema: JSONSchemaProps, old: unknown): (item: unknown) => unknown {
  if (!Array.isArray(old) || schema['x-kubernetes-list-type'] !== 'map') return () => undefined;
  const keyText = (item: unknown): string => stableStringify(keyOf(schema, item));
  const byKey = new Map<string, unknown>(old.map((item: unknown) => [keyText(item), item]));
  return (item) => byKey.get(keyText(item));
}

/** A set holds each value once, a map each key. */
function checkListType(schema: JSONSchemaProps, value: readonly unknown[], walk: ValueWalk): void {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map') return;
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    const key = type === 'set' ? item : keyOf(schema, item);
    const text = stableStringify(key);
    if (seen.has(text)) walk.errors.push(duplicate(new FieldPath(`${walk.path}[${index}]`), key));
    seen.add(text);
  }
}

/** The part of an item of a list map that tells it from the others. */
export function keyOf(schema: JSONSchemaProps, item: unknown): Record<string, unknown> {
  const key: Record<string, unknown> = {};
  if (!isObject(item)) return key;
  for (const name of schema['x-kubernetes-list-map-keys'] ?? [])
    if (Object.hasOwn(item, name)) key[name] = item[name];
  return key;
}

function checkEnum(schema: JSONSchemaProps, value: unknown, { path, errors }: ValueWalk): void {
  const allowed = schema.enum;
  if (allowed === undefined || allowed.length === 0) return;
  if (allowed.some((one) => deepEqual(one, value))) return;
  const texts = allowed.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)));
  errors.push(notSupported(at(path), value, texts));
}

function checkObject(
  schema: JSONSchemaProps,
  value: Record<string, unknown>,
  walk: ValueWalk,
): void {
  const { path, errors } = walk;
  const { maxProperties, minProperties } = schema;
  const keys = Object.keys(value);
  if (minProperties !== undefined && keys.length < minProperties)
    complain(walk, keys.length, `should have at least ${minProperties} properties`);
  if (maxProperties !== undefined && keys.length > maxProperties)
    errors.push(tooMany(at(path), keys.length, maxProperties));
  const below = (key: string): string => (path === '' ? key : `${path}.${key}`);
  for (const key of keys) {
    const child = childSchema(schema, key);
    if (child !== undefined && child !== true)
      validateValue(child, value[key], { ...walk, path: below(key), old: fieldOf(walk.old, key) });
  }
  for (const name of schema.required ?? [])
    if (!Object.hasOwn(value, name)) errors.push(required(at(below(name)), ''));
  if (schema['x-kubernetes-embedded-resource'] === true) checkEmbedded(value, walk);
}

export function fieldOf(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function checkEmbedded(value: Record<string, unknown>, { path, errors }: ValueWalk): void {
  for (const name of ['apiVersion', 'kind']) {
    const text = value[name];
    if (typeof text !== 'string' || text === '')
      errors.push(required(at(`${path}.${name}`), 'must not be empty'));
  }
}
