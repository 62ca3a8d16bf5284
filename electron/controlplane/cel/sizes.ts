// How large a value can be by its schema: what bounds it, or what fits into a request.
// Source: kubernetes apiserver pkg/cel/common/schemas.go, apiextensions-apiserver
// pkg/apis/apiextensions/validation/cel_validation.go.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { childSchema } from '#kube/machinery/structural/structural.ts';
import { escapedName } from './field-names.ts';

export const maxRequestBytes = 3 * 1024 * 1024;

export interface Sized {
  /** Characters, items or entries; 1 for what has no size. */
  readonly max: number;
  /** Of a list's items or a map's values. */
  items(): Sized | undefined;
  field(name: string): Sized | undefined;
}

export function sizeOnly(max: number, items?: Sized): Sized {
  return { max, items: () => items, field: () => undefined };
}

/** Undefined: nothing is known. */
export function sizedOf(schema: JSONSchemaProps | true | undefined): Sized | undefined {
  if (schema === undefined || schema === true) return undefined;
  if (schema['x-kubernetes-int-or-string'] === true) return sizeOnly(textLength(schema));
  switch (schema.type) {
    case 'string':
      return sizeOnly(textLength(schema));
    case 'array':
      return {
        max: maxItems(schema) ?? fitting(minBytes(schema.items) + 1),
        items: () => sizedOf(schema.items),
        field: () => undefined,
      };
    case 'object':
      return objectSized(schema);
    default:
      return sizeOnly(1);
  }
}

function objectSized(schema: JSONSchemaProps): Sized {
  const { additionalProperties: others } = schema;
  if (others !== undefined && others !== false) {
    const values = others === true ? undefined : others;
    const inner = (): Sized | undefined => sizedOf(values);
    return {
      max: maxItems(schema) ?? fitting(minBytes(values) + 6),
      items: inner,
      field: inner,
    };
  }
  const names = new Map(
    Object.keys(schema.properties ?? {}).map((name) => [escapedName(name) ?? name, name]),
  );
  return {
    max: 0,
    items: () => undefined,
    field: (name) => sizedOf(childSchema(schema, names.get(name) ?? name)),
  };
}

const formatted: Readonly<Record<string, number>> = { duration: 32, date: 12, 'date-time': 37 };

function textLength({ maxLength, format = '', enum: choices }: JSONSchemaProps): number {
  if (formatted[format] !== undefined) return formatted[format];
  // A character takes up to four bytes.
  if (maxLength !== undefined) return Math.max(0, maxLength) * (format === 'byte' ? 1 : 4);
  const texts = (choices ?? []).filter((one) => typeof one === 'string');
  if (texts.length > 0) return Math.max(...texts.map((one) => one.length));
  return maxRequestBytes - 2;
}

/** As the schema bounds a list or a map; undefined: it does not. */
export function maxItems(schema: JSONSchemaProps): number | undefined {
  const given = schema.type === 'array' ? schema.maxItems : schema.maxProperties;
  return given === undefined ? undefined : Math.max(0, given);
}

function fitting(bytes: number): number {
  return Math.floor((maxRequestBytes - 2) / bytes);
}

/** How often such a value can stand in a request. */
export function maxOccurrences(schema: JSONSchemaProps): number {
  return Math.floor(maxRequestBytes / (minBytes(schema) + 1));
}

/** Of its shortest JSON. */
function minBytes(schema: JSONSchemaProps | undefined): number {
  if (schema === undefined) return 1;
  switch (schema.type) {
    case 'array':
      return 2;
    case 'object': {
      const { properties = {}, required = [] } = schema;
      return required.reduce((sum, name) => {
        const child = Object.hasOwn(properties, name) ? properties[name] : undefined;
        if (child === undefined || child.default !== undefined) return sum;
        return sum + name.length + minBytes(child) + 4;
      }, 2);
    }
    case 'string':
      return schema.format === 'date-time' ? 21 : schema.format === 'date' ? 12 : 2;
    case 'boolean':
      return 4;
    default:
      return 1;
  }
}
