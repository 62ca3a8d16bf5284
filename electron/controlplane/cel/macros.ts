// Macros that bind variables of their own and that the library lacks: comprehensions over two variables
// (index and item, or key and value), `existsOne`, `sortBy`, `optMap`. The library's hooks for macros are
// those of its own `cel.bind`; custom-resources/cel.test.ts fails should they change.
// Source: cel-go ext/comprehensions.go, ext/lists.go, cel/library.go (optMap).
import { Optional, type Environment } from '@marcbachmann/cel-js';
import { BudgetError } from './budget.ts';
import { compareValues } from './equality.ts';

interface Type {
  readonly kind: string;
  readonly name: string;
  readonly keyType: Type;
  readonly valueType: Type;
  isDynOrBool(): boolean;
}
interface Context {
  forkWithVariable(name: string, type: Type): Context;
  reuse(parent: Context): Context;
  setIterValue(value: unknown, evaluator: Evaluator): Context;
}
interface AstNode {
  readonly op: string;
  readonly args: unknown;
}
interface Checker {
  readonly registry: {
    getListType(type: Type): Type;
    getMapType(key: Type, value: Type): Type;
    getOptionalType(type: Type): Type;
  };
  check(node: AstNode, context: Context): Type;
  getType(name: string): Type;
  formatType(type: Type): string;
  createError(code: string, message: string, node: AstNode): Error;
}
interface Evaluator {
  run(node: AstNode, context: Context): unknown;
}
interface Call {
  readonly args: readonly AstNode[];
  readonly receiver: AstNode;
}

type Entry = readonly [key: unknown, value: unknown];
/** What a loop's expression comes to for one of its entries. */
type Run = (expression: number, entry: Entry) => unknown;

interface LoopTypes {
  readonly range: Type;
  readonly key: Type;
  /** Of the last expression. */
  readonly made: Type;
}

interface Form {
  readonly variables: 1 | 2;
  readonly expressions: 1 | 2;
  /** The first of the expressions has to be true or false. */
  readonly hasPredicate: boolean;
  type(checker: Checker, types: LoopTypes): Type;
  fold(entries: Iterable<Entry>, run: Run): unknown;
}

export function registerMacros(env: Environment): void {
  registerLoop(
    env,
    'all',
    quantifier((entries, run) => !decides(entries, run, false)),
  );
  registerLoop(
    env,
    'exists',
    quantifier((entries, run) => decides(entries, run, true)),
  );
  registerLoop(env, 'existsOne', quantifier(holdsOnce));
  registerLoop(env, 'existsOne', { ...quantifier(holdsOnce), variables: 1 });
  for (const expressions of [1, 2] as const) {
    const form = { variables: 2, expressions, hasPredicate: expressions === 2 } as const;
    const last = expressions - 1;
    registerLoop(env, 'transformList', {
      ...form,
      type: ({ registry }, { made }) => registry.getListType(made),
      fold: (entries, run) => Array.from(passing(form, entries, run), (entry) => run(last, entry)),
    });
    registerLoop(env, 'transformMap', {
      ...form,
      type: ({ registry }, { key, made }) => registry.getMapType(key, made),
      fold: (entries, run) =>
        new Map(Array.from(passing(form, entries, run), (entry) => [entry[0], run(last, entry)])),
    });
    registerLoop(env, 'transformMapEntry', {
      ...form,
      type: (checker, { made }) => (made.kind === 'map' ? made : checker.getType('map')),
      fold: (entries, run) => merged(passing(form, entries, run), (entry) => run(last, entry)),
    });
  }
  registerLoop(env, 'sortBy', {
    variables: 1,
    expressions: 1,
    hasPredicate: false,
    type: (_checker, { range }) => range,
    fold: (entries, run) =>
      Array.from(entries, (entry) => ({ item: entry[0], by: run(0, entry) }))
        .sort((a, b) => compareValues(a.by, b.by))
        .map(({ item }) => item),
  });
  registerOptional(env, 'optMap', (value) => Optional.of(value));
  registerOptional(env, 'optFlatMap', (value) => value);
}

function quantifier(fold: (entries: Iterable<Entry>, run: Run) => boolean): Form {
  const type = (checker: Checker): Type => checker.getType('bool');
  return { variables: 2, expressions: 1, hasPredicate: true, type, fold };
}

/** An error counts only if no other entry decides. */
function decides(entries: Iterable<Entry>, run: Run, decisive: boolean): boolean {
  let failure: unknown;
  for (const entry of entries)
    try {
      if (truth(run(0, entry)) === decisive) return true;
    } catch (error) {
      if (error instanceof BudgetError) throw error;
      failure ??= error;
    }
  if (failure !== undefined) throw failure;
  return false;
}

function holdsOnce(entries: Iterable<Entry>, run: Run): boolean {
  let count = 0;
  for (const entry of entries) if (truth(run(0, entry))) count++;
  return count === 1;
}

function* passing(
  { hasPredicate }: Pick<Form, 'hasPredicate'>,
  entries: Iterable<Entry>,
  run: Run,
): Generator<Entry> {
  for (const entry of entries) if (!hasPredicate || truth(run(0, entry))) yield entry;
}

function merged(entries: Iterable<Entry>, make: (entry: Entry) => unknown): Map<unknown, unknown> {
  const all = new Map<unknown, unknown>();
  for (const entry of entries) {
    const made = make(entry);
    if (!(made instanceof Map)) throw new Error('no such overload');
    for (const [key, value] of made) {
      if (all.has(key)) throw new Error(`insert failed: key ${String(key)} already exists`);
      all.set(key, value);
    }
  }
  return all;
}

function truth(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new Error('no such overload');
  return value;
}

interface Loop {
  readonly form: Form;
  readonly range: AstNode;
  readonly names: readonly string[];
  readonly expressions: readonly AstNode[];
  /** One inside of the other, for one variable each. */
  scopes: readonly Context[];
  typeCheck(checker: Checker, loop: Loop, context: Context): Type;
  evaluate(evaluator: Evaluator, loop: Loop, context: Context): unknown;
}

function registerLoop(env: Environment, name: string, form: Form): void {
  const parameters = Array.from({ length: form.variables + form.expressions }, () => 'ast');
  env.registerFunction(
    `list.${name}(${parameters.join(', ')}): dyn`,
    ({ args, receiver }: Call): Loop => ({
      form,
      range: receiver,
      names: args.slice(0, form.variables).map(nameOf),
      expressions: args.slice(form.variables),
      scopes: [],
      typeCheck: checkLoop,
      evaluate: evaluateLoop,
    }),
    { async: false },
  );
}

function nameOf({ op, args }: AstNode): string {
  if (op !== 'id' || typeof args !== 'string') throw new Error('argument must be a simple name');
  return args;
}

function checkLoop(checker: Checker, loop: Loop, context: Context): Type {
  const { form, names, expressions } = loop;
  const range = checker.check(loop.range, context);
  const { key, value } = typesIn(checker, range, loop.range);
  const types = names.length === 2 ? [key, value] : [range.kind === 'list' ? value : key];
  const scopes: Context[] = [];
  for (const [index, name] of names.entries())
    scopes.push((scopes.at(-1) ?? context).forkWithVariable(name, types[index] ?? value));
  loop.scopes = scopes;
  const made = expressions.map((expression) => checker.check(expression, scopes.at(-1) ?? context));
  const [first] = made;
  const [predicate] = expressions;
  if (form.hasPredicate && predicate !== undefined && first?.isDynOrBool() !== true)
    throw checker.createError(
      'invalid_predicate',
      `expected type 'bool' but found '${first === undefined ? '' : checker.formatType(first)}'`,
      predicate,
    );
  return form.type(checker, { range, key, made: made.at(-1) ?? range });
}

function typesIn(checker: Checker, range: Type, node: AstNode): { key: Type; value: Type } {
  switch (range.kind) {
    case 'dyn':
      return { key: range, value: range };
    case 'list':
      return { key: checker.getType('int'), value: range.valueType };
    case 'map':
      return { key: range.keyType, value: range.valueType };
    default:
      throw checker.createError(
        'invalid_comprehension_range',
        `expression of type '${checker.formatType(range)}' cannot be range of a comprehension (must be list, map, or dynamic)`,
        node,
      );
  }
}

function evaluateLoop(evaluator: Evaluator, loop: Loop, context: Context): unknown {
  const { form, scopes, expressions } = loop;
  const entries = entriesOf(evaluator.run(loop.range, context), form.variables);
  return form.fold(entries, (index, entry) => {
    let inner = context;
    for (const [at, scope] of scopes.entries())
      inner = scope.reuse(inner).setIterValue(entry[at], evaluator);
    const expression = expressions[index];
    return expression === undefined ? undefined : evaluator.run(expression, inner);
  });
}

/** With one variable, the items of a list or the keys of a map. */
function entriesOf(range: unknown, variables: 1 | 2): Iterable<Entry> {
  if (Array.isArray(range))
    return range.map((item: unknown, index): Entry => {
      return variables === 1 ? [item, undefined] : [BigInt(index), item];
    });
  if (range instanceof Map) return range as Map<unknown, unknown>;
  throw new Error('no such overload');
}

interface Mapping {
  readonly optional: AstNode;
  readonly name: string;
  readonly expression: AstNode;
  scope: Context | undefined;
  typeCheck(checker: Checker, mapping: Mapping, context: Context): Type;
  evaluate(evaluator: Evaluator, mapping: Mapping, context: Context): unknown;
}

/** `optional.optMap(x, EXPRESSION)`; `wrap` makes an optional of what that comes to. */
function registerOptional(
  env: Environment,
  macro: 'optMap' | 'optFlatMap',
  wrap: (value: unknown) => unknown,
): void {
  const typeCheck: Mapping['typeCheck'] = (checker, mapping, context) => {
    const type = checker.check(mapping.optional, context);
    if (type.kind !== 'optional' && type.kind !== 'dyn')
      throw checker.createError(
        'optional_expected',
        `${macro}() receiver must be optional, got '${checker.formatType(type)}'`,
        mapping.optional,
      );
    const inner = type.kind === 'optional' ? type.valueType : type;
    mapping.scope = context.forkWithVariable(mapping.name, inner);
    const made = checker.check(mapping.expression, mapping.scope);
    return macro === 'optMap' ? checker.registry.getOptionalType(made) : made;
  };
  const evaluate: Mapping['evaluate'] = (evaluator, { optional, expression, scope }, context) => {
    const given = evaluator.run(optional, context);
    if (!(given instanceof Optional)) throw new Error('no such overload');
    if (!given.hasValue() || scope === undefined) return Optional.none();
    const value = given.value() as unknown;
    return wrap(evaluator.run(expression, scope.reuse(context).setIterValue(value, evaluator)));
  };
  env.registerFunction(
    `optional.${macro}(ast, ast): dyn`,
    ({ args: [name, expression], receiver }: Call): Mapping => ({
      optional: receiver,
      name: nameOf(name as AstNode),
      expression: expression as AstNode,
      scope: undefined,
      typeCheck,
      evaluate,
    }),
    { async: false },
  );
}
