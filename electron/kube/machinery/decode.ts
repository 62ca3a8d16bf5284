// From parsed JSON to a typed object, as Go's decoder does it for built-in kinds: wrong types are
// refused in Go's words, nulls are absent, unknown fields are dropped and reported, quantities
// and times take their canonical text.
// Source: sigs.k8s.io/json; kubernetes apiserver pkg/endpoints/handlers/rest.go (decode errors).
import { unreachable } from '../base/assert.ts';
import { isObject, setOwn } from './equality.ts';
import { isInt64 } from './exact-json.ts';
import { canonicalQuantity } from './quantity.ts';
import type { Decoded, Schema, SchemaRegistry } from './schema.ts';
import { badRequest, StatusError } from './status.ts';
import { canonicalMicroTime, canonicalTime } from './time.ts';

const maxUnknownFields = 100;

/**
 * Decodes `value` as the type `name`, such as `apps/v1.Deployment`. Throws 400: `Deployment in
 * version "v1" cannot be handled as a Deployment: json: cannot unmarshal …`.
 */
export function decodeObject(registry: SchemaRegistry, name: string, value: unknown): Decoded {
  try {
    const rules = registry.rulesOf(name);
    if (rules !== undefined) return rules.decode(value);
    const decoder = new Decoder(registry);
    const object = decoder.struct(name, value);
    return { object, unknownFields: decoder.unknownFields };
  } catch (error) {
    if (error instanceof StatusError) throw decodeError(name, error.message);
    throw error;
  }
}

/** The complaints a strict decoder would have; throws 400 on wrong types like decodeObject. */
export function findUnknownFields(
  registry: SchemaRegistry,
  name: string,
  value: unknown,
): readonly string[] {
  return decodeObject(registry, name, value).unknownFields;
}

/** 400 for a body whose kind is known. `name` is the schema's, such as `apps/v1.Deployment`. */
export function decodeError(name: string, detail: string): StatusError {
  const [, version = '', kind = ''] = /^[^/]*\/([^.]+)\.(.+)$/.exec(name) ?? [];
  return badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${detail}`);
}

/** 400 for strict field validation; `complaints` are unknown and duplicate fields. */
export function strictDecodeError(name: string, complaints: readonly string[]): StatusError {
  return decodeError(name, strictMessage(complaints));
}

export function strictMessage(complaints: readonly string[]): string {
  return `strict decoding error: ${complaints.join(', ')}`;
}

/** 400 for a body in which no kind can be found. `detail`: what the JSON parser said. */
export function unrecognizedError(kind: string, detail: string, body: string): StatusError {
  const why = `couldn't get version/kind; json parse error: ${detail}`;
  return badRequest(
    `the object provided is unrecognized (must be of type ${kind}): ${why} (${summary(body)})`,
  );
}

/** The first 30 bytes: readable when it looks like JSON, else in hexadecimal. */
function summary(body: string): string {
  const maxLength = 30;
  if (body === '') return '<empty>';
  const start = body.slice(0, maxLength);
  const rest = body.length > maxLength ? ' ...' : '';
  if (body.startsWith('{')) return `${start}${rest}`;
  const hex = Array.from(new TextEncoder().encode(start), (b) => b.toString(16).padStart(2, '0'));
  return `${hex.slice(0, maxLength).join('')}${rest}`;
}

/** One decoding. `path` has indices, `fields` and `structs` are what Go's errors name. */
class Decoder {
  readonly unknownFields: string[] = [];
  readonly #registry: SchemaRegistry;
  readonly #path: string[] = [];
  readonly #fields: string[] = [];
  readonly #structs: string[] = [];

  constructor(registry: SchemaRegistry) {
    this.#registry = registry;
  }

  struct(name: string, value: unknown): Record<string, unknown> {
    const schema = this.#registry.get(name);
    if (!isObject(value)) throw this.#mismatch(value, goTypeName(name));
    this.#structs.push(name.slice(name.indexOf('.') + 1));
    const result: Record<string, unknown> = {};
    const properties = schema.properties ?? {};
    for (const key of Object.keys(value)) {
      const child = value[key];
      const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
      if (property === undefined) {
        if (schema['x-kubernetes-preserve-unknown-fields'] === true) setOwn(result, key, child);
        else this.#reportUnknown(key);
      } else if (child !== null && child !== undefined) {
        this.#path.push(this.#path.length === 0 ? key : `.${key}`);
        this.#fields.push(key);
        result[key] = this.#value(property, child);
        this.#path.pop();
        this.#fields.pop();
      }
    }
    this.#structs.pop();
    return result;
  }

  #value(schema: Schema, value: unknown): unknown {
    if (schema.orBoolean === true && typeof value === 'boolean') return value;
    if (schema.$ref !== undefined) return this.struct(schema.$ref, value);
    if (schema['x-kubernetes-preserve-unknown-fields'] === true) return value;
    if (schema.format === 'quantity') return decodeQuantity(value);
    if (schema['x-kubernetes-int-or-string'] === true) return decodeIntOrString(value);
    const { type } = schema;
    switch (type) {
      case 'array':
        return this.#array(schema, value);
      case 'object':
        return this.#map(schema, value);
      case 'string':
        return this.#string(schema, value);
      case 'boolean':
        if (typeof value !== 'boolean') throw this.#mismatch(value, 'bool');
        return value;
      case 'integer':
      case 'number':
        if (!isInRange(value, type === 'number' ? 'double' : schema.format))
          throw this.#mismatch(value, goScalar(schema));
        return type === 'number' ? Number(value) : value;
      case undefined:
        return value;
      default:
        return unreachable(type);
    }
  }

  #array(schema: Schema, value: unknown): unknown[] {
    if (!Array.isArray(value)) throw this.#mismatch(value, goType(schema));
    const { items } = schema;
    if (items === undefined) return value;
    return value.map((item: unknown, index) => {
      this.#path.push(`[${index}]`);
      const decoded = item === null ? zeroValue(items) : this.#value(items, item);
      this.#path.pop();
      return decoded;
    });
  }

  #map(schema: Schema, value: unknown): unknown {
    if (!isObject(value)) throw this.#mismatch(value, goType(schema));
    const values = schema.additionalProperties;
    if (values === undefined) return value;
    const result: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      this.#path.push(`.${key}`);
      const item = value[key];
      setOwn(result, key, item === null ? zeroValue(values) : this.#value(values, item));
      this.#path.pop();
    }
    return result;
  }

  #string(schema: Schema, value: unknown): string {
    const isTime = schema.format === 'date-time' || schema.format === 'date-time-micro';
    if (typeof value !== 'string')
      throw isTime ? plainMismatch(value, 'string') : this.#mismatch(value, goScalar(schema));
    if (schema.format === 'date-time') return canonicalTime(value);
    if (schema.format === 'date-time-micro') return canonicalMicroTime(value);
    if (schema.format === 'byte') checkBase64(value);
    return value;
  }

  #reportUnknown(key: string): void {
    if (this.unknownFields.length >= maxUnknownFields) return;
    const parent = this.#path.join('');
    const path = parent === '' ? key : `${parent}.${key}`;
    this.unknownFields.push(`unknown field ${JSON.stringify(path)}`);
  }

  #mismatch(value: unknown, goTypeText: string): StatusError {
    const struct = this.#structs.at(-1);
    const place =
      struct === undefined ? 'value' : `struct field ${struct}.${this.#fields.join('.')}`;
    return badRequest(
      `json: cannot unmarshal ${jsonKind(value, goTypeText)} into Go ${place} of type ${goTypeText}`,
    );
  }
}

/** Errors of types that decode themselves name no field. */
function plainMismatch(value: unknown, goTypeText: string): StatusError {
  return badRequest(
    `json: cannot unmarshal ${jsonKind(value, goTypeText)} into Go value of type ${goTypeText}`,
  );
}

function decodeQuantity(value: unknown): string {
  if (typeof value === 'string') return canonicalQuantity(value.trim());
  return canonicalQuantity(typeof value === 'number' ? value : JSON.stringify(value));
}

function decodeIntOrString(value: unknown): unknown {
  if (typeof value === 'string' || isInRange(value, 'int32')) return value;
  throw plainMismatch(value, 'int32');
}

/** Go's decoder names the first byte that can't be part of base64. */
function checkBase64(text: string): void {
  const clean = text.replaceAll(/[\r\n]/g, '');
  if (/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(clean)) return;
  const bad = clean.search(/[^A-Za-z0-9+/]/);
  const position = bad < 0 ? clean.length - (clean.length % 4) : bad;
  throw badRequest(`illegal base64 data at input byte ${position}`);
}

function isInRange(value: unknown, format: string | undefined): boolean {
  if (typeof value === 'bigint')
    return format === 'double' || (format === 'int64' && isInt64(value));
  if (typeof value !== 'number' || !Number.isFinite(value)) return false;
  if (format === 'double') return true;
  if (!Number.isInteger(value)) return false;
  const limit = format === 'int64' ? 2 ** 63 : 2 ** 31;
  return value >= -limit && value < limit;
}

/** What Go's decoder makes of null where a value has to stand. */
function zeroValue(schema: Schema): unknown {
  if (schema.$ref !== undefined) return {};
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return null;
  if (schema.format === 'quantity') return '0';
  switch (schema.type) {
    case 'integer':
    case 'number':
      return 0;
    case 'boolean':
      return false;
    case 'array':
      return [];
    case 'object':
      return {};
    default:
      return '';
  }
}

function jsonKind(value: unknown, goTypeText: string): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  // Go prints a number that does not fit, but not one that met a wrong type.
  const isNumber = typeof value === 'number' || typeof value === 'bigint';
  const isMisfit = isNumber && /^(?:int|float)/.test(goTypeText);
  if (isMisfit) return `number ${value}`;
  return isNumber ? 'number' : value === null ? 'null' : typeof value;
}

function goTypeName(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}

function goType(schema: Schema): string {
  if (schema.$ref !== undefined) return goTypeName(schema.$ref);
  if (schema.type === 'array') return `[]${goType(schema.items ?? {})}`;
  if (schema.type !== 'object') return goScalar(schema);
  const values = schema.additionalProperties;
  if (values?.format === 'quantity') return 'v1.ResourceList';
  return `map[string]${values === undefined ? 'interface {}' : goType(values)}`;
}

function goScalar(schema: Schema): string {
  switch (schema.type) {
    case 'boolean':
      return 'bool';
    case 'integer':
      return schema.format ?? 'int32';
    case 'number':
      return 'float64';
    default:
      return schema.format === 'byte' ? '[]uint8' : 'string';
  }
}
