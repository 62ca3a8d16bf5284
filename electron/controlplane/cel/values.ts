// Objects as expressions see them: numbers, times and bytes typed by the schema, fields under names
// that are identifiers. Maps throughout: no key can be mistaken for something of JavaScript's.
// Source: kubernetes apiserver pkg/cel/{escaping,value}.go, pkg/cel/common/values.go.
import { Duration } from '@marcbachmann/cel-js/evaluator';
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { childSchema } from '#kube/machinery/structural/structural.ts';
import { parseDuration } from './durations.ts';
import { escapedName } from './field-names.ts';
import { markUnordered } from './unordered.ts';

/** `sizes`: takes how much is in each list and map. */
export function celValue(
  schema: JSONSchemaProps | true | undefined,
  value: unknown,
  sizes: WeakMap<object, number>,
): unknown {
  const known = schema === true ? undefined : schema;
  if (Array.isArray(value)) {
    const list = value.map((item: unknown) => celValue(known?.items, item, sizes));
    sizes.set(list, sumOf(list, sizes));
    markUnordered(list, known);
    return list;
  }
  if (isObject(value)) return mapOf(known, value, sizes);
  if (typeof value === 'bigint') return known?.type === 'number' ? Number(value) : value;
  if (typeof value === 'number')
    return Number.isInteger(value) && known?.type !== 'number' ? BigInt(value) : value;
  return typeof value === 'string' ? textValue(known?.format, value) : value;
}

/** What has no schema, or is not looked at through one: fields keep their names. */
export function plainValue(value: unknown, sizes: WeakMap<object, number>): unknown {
  if (Array.isArray(value)) {
    const list = value.map((item: unknown) => plainValue(item, sizes));
    sizes.set(list, sumOf(list, sizes));
    return list;
  }
  if (isObject(value)) {
    const map = new Map<string, unknown>();
    for (const key of Object.keys(value))
      if (value[key] !== undefined) map.set(key, plainValue(value[key], sizes));
    sizes.set(map, sumOf(map.values(), sizes));
    return map;
  }
  return typeof value === 'number' && Number.isInteger(value) ? BigInt(value) : value;
}

function mapOf(
  schema: JSONSchemaProps | undefined,
  value: Record<string, unknown>,
  sizes: WeakMap<object, number>,
): Map<string, unknown> {
  const map = new Map<string, unknown>();
  // Keys of maps are data, names of fields have to be identifiers.
  const isMap = schema?.additionalProperties !== undefined;
  for (const key of Object.keys(value)) {
    const name = isMap ? key : escapedName(key);
    if (name !== undefined) map.set(name, celValue(childSchema(schema, key), value[key], sizes));
  }
  sizes.set(map, sumOf(map.values(), sizes));
  markUnordered(map, undefined);
  return map;
}

function sumOf(values: Iterable<unknown>, sizes: WeakMap<object, number>): number {
  let sum = 1;
  for (const value of values) {
    if (typeof value === 'string') sum += 1 + value.length / 10;
    else sum += typeof value === 'object' && value !== null ? (sizes.get(value) ?? 1) : 1;
  }
  return sum;
}

function textValue(format: string | undefined, text: string): unknown {
  switch (format) {
    case 'date':
    case 'date-time': {
      const time = new Date(text);
      return Number.isNaN(time.getTime()) ? text : time;
    }
    case 'duration': {
      const nanos = parseDuration(text);
      return nanos === undefined
        ? text
        : new Duration(nanos / 1_000_000_000n, Number(nanos % 1_000_000_000n));
    }
    case 'byte':
      return new Uint8Array(Buffer.from(text, 'base64'));
    default:
      return text;
  }
}
