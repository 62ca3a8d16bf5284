// How a value falls into fields that can have different owners, as its schema says: a struct or map
// into its keys, a list of type map or set into its items; everything else is one field as a whole.
// Source: sigs.k8s.io/structured-merge-diff typed/{helpers,tofieldset}.go, kube-openapi schemaconv.
import { isObject } from '../equality.ts';
import { fieldSchema, type Schema, type SchemaRegistry } from '../schema.ts';
import { fieldElement, keyElement, valueElement } from './field-set.ts';

export type Shape =
  | { readonly kind: 'leaf' }
  /** `schema` undefined: free-form, each value as it comes. */
  | { readonly kind: 'fields'; readonly schema: Schema | undefined }
  | { readonly kind: 'items'; readonly keys: readonly string[]; readonly item: Schema };

/** A part of a value, under its path element. */
export interface Part {
  readonly element: string;
  readonly value: unknown;
  readonly schema: Schema | undefined;
  /** A field that its type declares, not a key of a map and not an item. */
  readonly isDeclared: boolean;
  /** The field's name, or the item's position. */
  readonly key: string | number;
}

const leaf: Shape = { kind: 'leaf' };
const freeForm: Shape = { kind: 'fields', schema: undefined };

/** One for all schemas of a registry: it remembers what it has found out about each. */
export class Shapes {
  readonly registry: SchemaRegistry;
  readonly #known = new WeakMap<Schema, Shape>();

  constructor(registry: SchemaRegistry) {
    this.registry = registry;
  }

  /** `schema` undefined: free-form. A value of another type than its schema's is a leaf. */
  of(schema: Schema | undefined, value: unknown): Shape {
    const shape = schema === undefined ? freeForm : this.#shapeOf(schema);
    if (shape.kind === 'items') return Array.isArray(value) ? shape : leaf;
    return shape.kind === 'fields' && isObject(value) ? shape : leaf;
  }

  /** The parts of a container, in its own order; null and undefined are not there. */
  parts(shape: Shape, value: unknown): Part[] {
    if (shape.kind === 'items') return this.#items(shape, value as readonly unknown[]);
    if (shape.kind === 'leaf') return [];
    const parts: Part[] = [];
    const fields = value as Readonly<Record<string, unknown>>;
    for (const key of Object.keys(fields)) {
      const part = fields[key];
      if (part !== undefined) parts.push(this.field(shape.schema, key, part));
    }
    return parts;
  }

  field(parent: Schema | undefined, key: string, value: unknown): Part {
    const schema = parent === undefined ? undefined : fieldSchema(parent, key);
    const isDeclared = parent?.properties !== undefined && Object.hasOwn(parent.properties, key);
    return { element: fieldElement(key), value, schema, isDeclared, key };
  }

  #items({ keys, item }: Shape & { kind: 'items' }, list: readonly unknown[]): Part[] {
    return list.map((value, index) => ({
      element: keys.length === 0 ? valueElement(value) : keyElement(this.keyOf(keys, item, value)),
      value,
      schema: item,
      isDeclared: false,
      key: index,
    }));
  }

  /** The key fields of an item; those left out have their default, or are missing here as well. */
  keyOf(keys: readonly string[], itemSchema: Schema, item: unknown): Record<string, unknown> {
    const key: Record<string, unknown> = {};
    const properties = this.registry.resolve(itemSchema).properties ?? {};
    for (const name of keys) {
      const value = isObject(item) && Object.hasOwn(item, name) ? item[name] : undefined;
      const found = value ?? properties[name]?.default;
      if (found !== undefined) key[name] = found;
    }
    return key;
  }

  #shapeOf(given: Schema): Shape {
    const known = this.#known.get(given);
    if (known !== undefined) return known;
    const shape = this.#find(given);
    this.#known.set(given, shape);
    return shape;
  }

  #find(given: Schema): Shape {
    const schema = this.registry.resolve(given);
    // What the field says goes before what its type says.
    const mapType = given['x-kubernetes-map-type'] ?? schema['x-kubernetes-map-type'];
    if (mapType === 'atomic' || schema['x-kubernetes-int-or-string'] === true) return leaf;
    if (schema.type === 'array') return listShape(schema);
    if (schema.properties !== undefined || schema.additionalProperties !== undefined)
      return { kind: 'fields', schema };
    const isFree = schema['x-kubernetes-preserve-unknown-fields'] === true;
    return isFree || schema.type === 'object' ? freeForm : leaf;
  }
}

function listShape(schema: Schema): Shape {
  const item = schema.items ?? {};
  switch (schema['x-kubernetes-list-type']) {
    case 'map':
      return { kind: 'items', keys: schema['x-kubernetes-list-map-keys'] ?? [], item };
    case 'set':
      return { kind: 'items', keys: [], item };
    default:
      return leaf;
  }
}
