// What expressions of admission see, as types: checked when a policy or a webhook is written.
// Source: kubernetes apiserver pkg/admission/plugin/cel/compile.go (BuildRequestType, BuildNamespaceType).
import type { Environment } from '@marcbachmann/cel-js';
import { check } from './program.ts';
import { TypeDeclarer, type ResolveType, type TypeSchema } from './types.ts';

const text: TypeSchema = { type: 'string' };
const texts: TypeSchema = { type: 'array', items: text };
const map = (additionalProperties: TypeSchema): TypeSchema => ({
  type: 'object',
  additionalProperties,
});
const time: TypeSchema = { type: 'string', format: 'date-time' };
const int: TypeSchema = { type: 'integer' };
const object = (properties: Record<string, TypeSchema>): TypeSchema => ({
  type: 'object',
  properties,
});

const kind = object({ group: text, version: text, kind: text });
const resource = object({ group: text, version: text, resource: text });
const request = object({
  kind,
  resource,
  subResource: text,
  requestKind: kind,
  requestResource: resource,
  requestSubResource: text,
  name: text,
  namespace: text,
  operation: text,
  userInfo: object({ username: text, uid: text, groups: texts, extra: map(texts) }),
  dryRun: { type: 'boolean' },
  options: {},
});
const namespaceObject = object({
  metadata: object({
    name: text,
    generateName: text,
    namespace: text,
    labels: map(text),
    annotations: map(text),
    UID: text,
    uid: text,
    creationTimestamp: time,
    deletionGracePeriodSeconds: int,
    deletionTimestamp: time,
    generation: int,
    resourceVersion: text,
    finalizers: texts,
  }),
  spec: object({ finalizers: texts }),
  status: object({ phase: text }),
});

const known: Readonly<Record<string, TypeSchema>> = { request, namespaceObject };

/** Of the objects of one kind. Undefined: of any. */
export interface ObjectTypes {
  readonly object?: TypeSchema | undefined;
  readonly params?: TypeSchema | undefined;
  readonly resolve?: ResolveType;
}

/** Where expressions are checked; a policy's variables come to it one after the other. */
export class TypeScope {
  readonly #declared: Environment;
  readonly #hasVariables: boolean;
  readonly #variables: Record<string, string> = {};
  #current: Environment | undefined;

  /** `env` has the functions, and is this scope's; `names` are the variables of the surroundings. */
  constructor(
    env: Environment,
    names: readonly string[],
    { object: objectSchema, params, resolve }: ObjectTypes = {},
  ) {
    const declarer = new TypeDeclarer(env, { resolve, keepsNames: true });
    const objectType = declarer.declare(objectSchema);
    for (const name of names)
      if (name === 'authorizer') env.registerVariable(name, 'Authorizer');
      else if (name === 'object' || name === 'oldObject') env.registerVariable(name, objectType);
      else if (name === 'params') env.registerVariable(name, declarer.declare(params));
      else if (name !== 'variables') env.registerVariable(name, declarer.declare(known[name]));
    this.#declared = env;
    this.#hasVariables = names.includes('variables');
  }

  /** Its type. Throws a CompileError. */
  check(expression: string): string {
    this.#current ??= this.#environment();
    return check(this.#current, expression).type;
  }

  /** From here on there is `variables.NAME`; of any type if its expression has none. */
  add(name: string, expression: string): void {
    let type = 'dyn';
    try {
      type = this.check(expression);
    } catch {
      // Told where the variable itself is checked.
    }
    this.#variables[name] = /<[A-Z]\b/.test(type) ? 'dyn' : type;
    this.#current = undefined;
  }

  #environment(): Environment {
    if (!this.#hasVariables) return this.#declared;
    const env = this.#declared.clone();
    const type = new TypeDeclarer(env).fields(this.#variables, 'Variables');
    env.registerVariable('variables', type);
    return env;
  }
}
