// Expressions that judge a request: conditions of webhooks, admission policies. Compiled in one of three
// surroundings that differ in their variables; each run is counted against the budget of its request.
// Source: kubernetes apiserver pkg/admission/plugin/cel/{compile,condition,composition}.go.
import { Budget, BudgetError, requestBudget } from './budget.ts';
import { TypeScope, type ObjectTypes } from './admission-types.ts';
import { registerAuthorizer } from './authorizer.ts';
import { celTypeName } from './compile-error.ts';
import { createEnvironment } from './environment.ts';
import { jsonOf, registerMessages } from './messages.ts';
import { createPatterns } from './patterns.ts';
import { compile, errorText } from './program.ts';
import { plainValue } from './values.ts';

const common = ['object', 'oldObject', 'request'];
const surroundings = {
  /** Of a webhook. */
  condition: [...common, 'authorizer'],
  /** Of a policy, its conditions and variables too. */
  policy: [...common, 'params', 'namespaceObject', 'variables', 'authorizer'],
  /** What a policy changes: only here can apply configurations and patches be made. */
  mutation: [...common, 'params', 'namespaceObject', 'variables', 'authorizer'],
  /** Messages, and what is put down for the audit: who may what is nothing they could tell. */
  message: [...common, 'params', 'namespaceObject', 'variables'],
} as const;

export type Surroundings = keyof typeof surroundings;

export interface Expression {
  readonly text: string;
  /** Throws an Error in CEL's words, or a BudgetError. */
  run(variables: Readonly<Record<string, unknown>>): unknown;
}

export class AdmissionExpressions {
  readonly #budget = new Budget();
  readonly #environments = new Map<Surroundings, ReturnType<typeof createEnvironment>>();
  readonly #patterns = createPatterns();
  /** With no variables: what types are declared upon. */
  #functions: ReturnType<typeof createEnvironment> | undefined;

  /** `types`: what it may come to, if that matters. Throws an Error that says why it is no such expression. */
  compile(text: string, where: Surroundings, types?: readonly string[]): Expression {
    const env = this.#environmentOf(where);
    const left = this.#budget.left;
    this.#budget.left = requestBudget;
    try {
      const { type, run } = compile(env, this.#budget, text);
      const why = unfitting(type, types);
      if (why !== undefined) throw new Error(why);
      return { text, run };
    } finally {
      this.#budget.left = left;
    }
  }

  /** Where expressions are checked against types, and a policy's variables are declared. */
  scope(where: Surroundings, types?: ObjectTypes): TypeScope {
    this.#functions ??= this.#environment([]);
    const base = this.#functions.clone();
    if (where === 'mutation') registerMessages(base);
    return new TypeScope(base, surroundings[where], types);
  }

  /** Why the text is no such expression; undefined: it is one. */
  complaint(text: string, scope: TypeScope, types?: readonly string[]): string | undefined {
    let type: string;
    try {
      type = scope.check(text);
    } catch (error) {
      return `compilation failed: ${error instanceof Error ? error.message : String(error)}`;
    }
    return unfitting(type, types);
  }

  /** Counts what the work's expressions cost, which may be this much. */
  counted<T>(limit: number, work: () => T): { readonly value: T; readonly cost: number } {
    const left = Math.max(0, Math.min(limit, requestBudget));
    this.#budget.left = left;
    const value = work();
    return { value, cost: Math.min(left, left - this.#budget.left) };
  }

  /** An object as expressions see it; nothing at all is null. */
  value(object: unknown): unknown {
    return object === undefined || object === null ? null : plainValue(object, this.#budget.sizes);
  }

  /** The JSON that a mutation comes to. Throws an Error with the expression. */
  made(expression: Expression, variables: Readonly<Record<string, unknown>>): unknown {
    let value: unknown;
    try {
      value = expression.run(variables);
    } catch (error) {
      throw new Error(failureText(expression, error), { cause: error });
    }
    return jsonOf(value);
  }

  failureText(expression: Expression, error: unknown): string {
    return failureText(expression, error);
  }

  /** `variables.NAME`, each evaluated when it is first asked for. A later one may use those before it. */
  variables(
    named: ReadonlyMap<string, Expression>,
    given: Readonly<Record<string, unknown>>,
  ): Map<string, unknown> {
    return lazyVariables(named, given);
  }

  #environmentOf(where: Surroundings): ReturnType<typeof createEnvironment> {
    const known = this.#environments.get(where);
    if (known !== undefined) return known;
    const env = this.#environment(surroundings[where]);
    if (where === 'mutation') registerMessages(env);
    this.#environments.set(where, env);
    return env;
  }

  #environment(names: readonly string[]): ReturnType<typeof createEnvironment> {
    const env = createEnvironment(this.#budget, this.#patterns, names);
    registerAuthorizer(env, this.#budget);
    return env;
  }
}

function unfitting(type: string, types: readonly string[] | undefined): string | undefined {
  if (types === undefined || type === 'dyn' || types.includes(type)) return undefined;
  // Of what, shows when it runs.
  const isAnyList = type === 'list' || type === 'list<T>';
  if (isAnyList && types.some((one) => one.startsWith('list<'))) return undefined;
  const [only = ''] = types;
  return `must evaluate to ${
    types.length === 1 ? celTypeName(only) : `one of the types: [${types.join(' ')}]`
  }`;
}

/** How Kubernetes tells of an expression that came to nothing. */
function failureText({ text }: Expression, error: unknown): string {
  if (error instanceof BudgetError)
    return 'validation failed due to running out of cost budget, no further validation rules will be run';
  return `expression '${text}' resulted in error: ${errorText(error)}`;
}

function lazyVariables(
  expressions: ReadonlyMap<string, Expression>,
  variables: Readonly<Record<string, unknown>>,
): Map<string, unknown> {
  const values = new Map<string, unknown>();
  const failures = new Map<string, unknown>();
  const all = new Map<string, unknown>();
  // The library reads fields of maps by `get`, and knows a map by its constructor.
  all.get = (name) => {
    if (values.has(name)) return values.get(name);
    if (failures.has(name)) throw failures.get(name);
    const expression = expressions.get(name);
    if (expression === undefined) return undefined;
    // Until it has a value: one that asks for itself, by whatever way, gets this.
    failures.set(name, new Error(`undeclared reference to '${name}'`));
    try {
      const value = expression.run({ ...variables, variables: all });
      values.set(name, value);
      return value;
    } catch (error) {
      const failure =
        error instanceof BudgetError
          ? error
          : new Error(`composited variable "${name}" fails to evaluate: ${errorText(error)}`);
      failures.set(name, failure);
      throw failure;
    }
  };
  all.has = (name) => expressions.has(name);
  return all;
}
