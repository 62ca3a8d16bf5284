// Schemas as types of expressions. What no schema tells of is `dyn`: of any type, which shows when an
// expression runs.
// Source: kubernetes apiserver pkg/cel/common/schemas.go (SchemaDeclType).
import type { Environment } from '@marcbachmann/cel-js';
import { escapedName } from './field-names.ts';

/** What a type is made of: structural schemas of custom resources have this form, and those of built-in kinds. */
export interface TypeSchema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly nullable?: boolean;
  readonly properties?: Readonly<Record<string, TypeSchema>>;
  readonly items?: TypeSchema;
  readonly additionalProperties?: TypeSchema | boolean;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-embedded-resource'?: boolean;
}

const text: TypeSchema = { type: 'string' };
/** What every object has, as rules of custom resources see it. */
export const resourceFields: Readonly<Record<string, TypeSchema>> = {
  apiVersion: text,
  kind: text,
  metadata: { type: 'object', properties: { name: text, generateName: text } },
};

const byFormat: Readonly<Record<string, string>> = {
  byte: 'bytes',
  date: 'google.protobuf.Timestamp',
  'date-time': 'google.protobuf.Timestamp',
  duration: 'google.protobuf.Duration',
};
const scalars: Readonly<Record<string, string>> = {
  integer: 'int',
  number: 'double',
  boolean: 'bool',
};

/** Finds the schema of a `$ref`. */
export type ResolveType = (name: string) => TypeSchema | undefined;

/** Declares the types of schemas in one environment. */
export class TypeDeclarer {
  readonly #env: Environment;
  readonly #resolve: ResolveType;
  /** By the name in `$ref`: such types may contain themselves. */
  readonly #named = new Map<string, string>();
  readonly #keepsNames: boolean;
  #count = 0;

  /** `keepsNames`: fields are there under their own names, too, as admission shows them. */
  constructor(
    env: Environment,
    {
      resolve = () => undefined,
      keepsNames = false,
    }: { readonly resolve?: ResolveType | undefined; readonly keepsNames?: boolean } = {},
  ) {
    this.#env = env;
    this.#resolve = resolve;
    this.#keepsNames = keepsNames;
  }

  /** The type's name. */
  declare(schema: TypeSchema | undefined): string {
    if (schema === undefined) return 'dyn';
    if (schema.$ref !== undefined) return this.#reference(schema.$ref);
    // Nothing of it could be compared with null otherwise.
    if (schema.nullable === true || schema['x-kubernetes-int-or-string'] === true) return 'dyn';
    switch (schema.type) {
      case 'array':
        return `list<${this.declare(schema.items)}>`;
      case 'object':
        return this.#object(schema, undefined);
      case 'string':
        return byFormat[schema.format ?? ''] ?? 'string';
      default:
        return scalars[schema.type ?? ''] ?? 'dyn';
    }
  }

  /** An object type of fields whose types are declared. */
  fields(types: Readonly<Record<string, string>>, name = this.#newName()): string {
    this.#env.registerType(name, { ctor: class extends Declared {}, fields: { ...types } });
    this.#env.registerOperator(`${name} == ${name}`, never);
    this.#env.registerOperator(`${name} == null`, never);
    return name;
  }

  #reference(name: string): string {
    const known = this.#named.get(name);
    if (known !== undefined) return known;
    const schema = this.#resolve(name);
    if (schema === undefined || schema.type !== 'object') return this.declare(schema);
    const type = this.#newName();
    this.#named.set(name, type);
    const made = this.#object(schema, type);
    this.#named.set(name, made);
    return made;
  }

  #object(schema: TypeSchema, name: string | undefined): string {
    const { properties, additionalProperties: others } = schema;
    if (others !== undefined && others !== false)
      return `map<string, ${others === true ? 'dyn' : this.declare(others)}>`;
    const isResource = schema['x-kubernetes-embedded-resource'] === true;
    if (properties === undefined && !isResource) {
      if (schema['x-kubernetes-preserve-unknown-fields'] === true) return 'dyn';
    }
    const all = { ...properties, ...(isResource ? resourceFields : {}) };
    const fields: Record<string, string> = {};
    for (const [key, child] of Object.entries(all)) {
      const type = this.declare(child);
      const field = escapedName(key);
      if (field !== undefined) fields[field] = type;
      if (this.#keepsNames) fields[key] = type;
    }
    return this.fields(fields, name);
  }

  #newName(): string {
    return `Object${++this.#count}`;
  }
}

/** Of every declared type. */
class Declared {
  readonly isDeclared = true;
}

/** Nothing runs with declared types: they are for checking. */
function never(): boolean {
  throw new Error('declared types are only checked');
}
