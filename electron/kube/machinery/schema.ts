// The schema of every kind as data: loaded from resources/schema documents, resolved by name.
// Whoever needs defaults, types, merge keys or OpenAPI reads it from here; nothing here knows
// a particular kind or reads a disk.
// Source of the form: OpenAPI with Kubernetes' x-kubernetes-* extensions.
import type { JSONSchemaProps } from '../api/apiextensions.ts';
import { assert } from '../base/assert.ts';
import { deepCopy, isObject } from './equality.ts';
import { required, type FieldError, type FieldPath } from './field.ts';

export interface Schema {
  /** Full name of another type, such as `core/v1.PodSpec`. */
  readonly $ref?: string;
  readonly type?: 'object' | 'array' | 'string' | 'boolean' | 'integer' | 'number';
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  /** Values of a map. */
  readonly additionalProperties?: Schema;
  /** Beside a `$ref`: true and false may stand there as well. */
  readonly orBoolean?: boolean;
  readonly default?: unknown;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'map' | 'set';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: string;
  /** `merge`, `replace`, `retainKeys` or `merge,retainKeys`. */
  readonly 'x-kubernetes-patch-strategy'?: string;
  readonly 'x-kubernetes-patch-merge-key'?: string;
}

/** One file of resources/schema. */
export interface SchemaDocument {
  /** `apps/v1`: types are named `apps/v1.Deployment`. */
  readonly package: string;
  readonly types: Readonly<Record<string, Schema>>;
}

/** How objects of a kind that was defined at run time are read, in place of the built-in kinds' way. */
export interface KindRules {
  /** The schema as its author wrote it, for OpenAPI. */
  readonly published: JSONSchemaProps;
  readonly decode: (value: unknown) => Decoded;
  /** Mutates. Idempotent. */
  readonly applyDefaults: (object: object) => void;
}

export interface Decoded {
  /** A new object: shares only free-form parts with the given value. */
  readonly object: Record<string, unknown>;
  /** `unknown field "spec.foo"`, in the order of the text. */
  readonly unknownFields: readonly string[];
}

export class SchemaRegistry {
  readonly #types = new Map<string, Schema>();
  readonly #rules = new Map<string, KindRules>();
  /** Few fields have defaults: found once, not for every object. */
  readonly #defaults = new WeakMap<Schema, readonly (readonly [name: string, value: unknown])[]>();

  /** Takes the parsed JSON documents as they are. */
  constructor(documents: readonly unknown[]) {
    for (const document of documents) {
      assert(isSchemaDocument(document), 'a schema document has a package and types');
      for (const [name, schema] of Object.entries(document.types))
        this.#types.set(`${document.package}.${name}`, schema);
    }
    for (const schema of this.#types.values()) this.#checkReferences(schema);
  }

  /** A type that came at run time; in place of one of the same name. */
  define(name: string, schema: Schema, rules: KindRules): void {
    this.#types.set(name, schema);
    this.#rules.set(name, rules);
  }

  remove(name: string): void {
    this.#types.delete(name);
    this.#rules.delete(name);
  }

  rulesOf(name: string): KindRules | undefined {
    return this.#rules.get(name);
  }

  has(name: string): boolean {
    return this.#types.has(name);
  }

  /** The type of that full name; naming one that does not exist is a programmer's error. */
  get(name: string): Schema {
    const schema = this.#types.get(name);
    assert(schema, `no schema named ${name}`);
    return schema;
  }

  /** Follows `$ref`; extensions beside a `$ref` stay with the caller's schema. */
  resolve(schema: Schema): Schema {
    return schema.$ref === undefined ? schema : this.get(schema.$ref);
  }

  /** The fields of an object schema that have a default. */
  defaultsOf(schema: Schema): readonly (readonly [name: string, value: unknown])[] {
    const known = this.#defaults.get(schema);
    if (known !== undefined) return known;
    const found = Object.entries(schema.properties ?? {})
      .filter(([, child]) => child.default !== undefined)
      .map(([name, child]) => [name, child.default] as const);
    this.#defaults.set(schema, found);
    return found;
  }

  names(): string[] {
    return [...this.#types.keys()];
  }

  /** A reference that leads nowhere shows at start, not at the first object. */
  #checkReferences(schema: Schema): void {
    if (schema.$ref !== undefined) this.get(schema.$ref);
    if (schema.items !== undefined) this.#checkReferences(schema.items);
    if (schema.additionalProperties !== undefined)
      this.#checkReferences(schema.additionalProperties);
    for (const child of Object.values(schema.properties ?? {})) this.#checkReferences(child);
  }
}

function isSchemaDocument(document: unknown): document is SchemaDocument {
  return (
    isObject(document) && typeof document['package'] === 'string' && isObject(document['types'])
  );
}

/** The schema of one field of a resolved object schema: a declared property or a map's value. */
export function fieldSchema(schema: Schema, name: string): Schema | undefined {
  const { properties } = schema;
  if (properties !== undefined && Object.hasOwn(properties, name)) return properties[name];
  return schema.additionalProperties;
}

/**
 * Fills in what the schema of type `name` declares as default, wherever the surrounding object
 * exists. Mutates `object`; running it again changes nothing.
 */
export function applySchemaDefaults(registry: SchemaRegistry, name: string, object: object): void {
  const rules = registry.rulesOf(name);
  if (rules === undefined) fillDefaults(registry, registry.get(name), object);
  else rules.applyDefaults(object);
}

function fillDefaults(registry: SchemaRegistry, given: Schema, value: unknown): void {
  const schema = registry.resolve(given);
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) for (const item of value) fillDefaults(registry, items, item);
    return;
  }
  if (!isObject(value)) return;
  for (const [name, preset] of registry.defaultsOf(schema))
    if (value[name] === undefined) value[name] = deepCopy(preset);
  for (const name of Object.keys(value)) {
    const child = fieldSchema(schema, name);
    if (child !== undefined) fillDefaults(registry, child, value[name]);
  }
}

/**
 * Required fields that are missing, as `Required value` errors in the order of the schema. For
 * kinds without a hand-written strategy: Kubernetes' own validations word some of these better.
 */
export function findMissingFields(
  registry: SchemaRegistry,
  name: string,
  root: { readonly object: unknown; readonly path: FieldPath },
): FieldError[] {
  const errors: FieldError[] = [];
  collectMissing(registry, registry.get(name), { value: root.object, path: root.path, errors });
  return errors;
}

interface MissingWalk {
  readonly value: unknown;
  readonly path: FieldPath;
  readonly errors: FieldError[];
}

function collectMissing(registry: SchemaRegistry, given: Schema, walk: MissingWalk): void {
  const { value, path, errors } = walk;
  const schema = registry.resolve(given);
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return;
    for (const [index, item] of value.entries())
      collectMissing(registry, items, { value: item, path: path.index(index), errors });
    return;
  }
  if (!isObject(value)) return;
  for (const name of schema.required ?? [])
    if (value[name] === undefined) errors.push(required(path.child(name), ''));
  for (const [name, child] of Object.entries(value)) {
    const childSchema = fieldSchema(schema, name);
    const isMapKey = schema.additionalProperties !== undefined;
    const childPath = isMapKey ? path.key(name) : path.child(name);
    if (childSchema !== undefined)
      collectMissing(registry, childSchema, { value: child, path: childPath, errors });
  }
}
