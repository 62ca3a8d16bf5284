// One expression, compiled: counted while it runs. The library has no such limit of its own, so the
// evaluator's one entry for sub-expressions is wrapped; custom-resources/cel.test.ts fails should it move.
import type { Environment } from '@marcbachmann/cel-js';
import type { Budget } from './budget.ts';
import { compileError } from './compile-error.ts';
import { replaced } from './texts.ts';
import { equalUnordered, isMarked } from './unordered.ts';

/** What is left to the tests of a longer one: no one writes such rules by hand. */
const maxExpressionLength = 16_384;

export interface Program {
  readonly usesOldSelf: boolean;
  /** Of its value, as far as it is known: `bool`, `dyn`. */
  readonly type: string;
  /** Throws BudgetError, and whatever the expression meets. */
  run(variables: Readonly<Record<string, unknown>>): unknown;
}

interface Evaluator {
  run: (node: unknown, context: unknown) => unknown;
}
interface Node {
  op: string;
  args: unknown;
  readonly meta: { readonly macro?: Macro };
  setMeta: (name: 'evaluate', value: Node['evaluate']) => void;
  readonly left?: unknown;
  readonly right?: unknown;
  /** What the library found for the operands' types. */
  readonly handle?: (left: unknown, right: unknown, node: unknown, evaluator: Evaluator) => unknown;
  evaluate: (evaluator: Evaluator, node: unknown, context: unknown) => unknown;
}

interface Macro {
  readonly args?: readonly unknown[];
  typeCheck: (checker: Checker, macro: Macro, context: unknown) => unknown;
}
interface Checker {
  check: (node: unknown, context: unknown) => unknown;
}

/** Throws a CompileError that says why the text is no expression. */
export function compile(env: Environment, budget: Budget, text: string): Program {
  const { parsed, names, type } = check(env, text);
  count(parsed.ast as unknown as Node, budget);
  return {
    usesOldSelf: names.has('oldSelf'),
    type,
    run: (variables) => parsed(variables),
  };
}

/** Against what its environment declares, without running it. Throws as `compile`. */
export function check(env: Environment, text: string) {
  if (text.length > maxExpressionLength) throw new Error('the expression is too long');
  const knows = (name: string): boolean =>
    env.getDefinitions().functions.some((one) => one.name === name);
  let parsed: ReturnType<Environment['parse']>;
  try {
    parsed = env.parse(text);
  } catch (error) {
    throw compileError(text, error, knows);
  }
  const names = new Set<string>();
  rename(parsed.ast, names);
  const { valid, error, type = 'dyn' } = parsed.check();
  if (!valid) throw compileError(text, error, knows);
  return { parsed, names, type };
}

/** Why an expression could not be compiled or came to nothing, in CEL's words and one line. */
export function errorText(error: unknown): string {
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  return line.replace(/^No such key/, 'no such key');
}

/** Puts our functions in the place of unbounded ones and of such that lose keys; collects the variables' names. */
function rename(node: unknown, names: Set<string>): void {
  if (Array.isArray(node)) {
    for (const one of node) rename(one, names);
    return;
  }
  if (typeof node !== 'object' || node === null || !('op' in node) || !('args' in node)) return;
  const { op, args } = node as unknown as Node;
  if (op === 'id') names.add(String(args));
  if (op === '==' || op === '!=') (node as unknown as Node).setMeta('evaluate', evaluateEquality);
  if ((op === 'rcall' || op === 'call') && Array.isArray(args)) {
    const ours = Object.hasOwn(replaced, String(args[0])) ? replaced[String(args[0])] : undefined;
    if (ours !== undefined) args[0] = ours;
    if (op === 'call' && args[0] === 'has') checkPresence(node as unknown as Node);
  }
  rename(args, names);
}

/** The library does not ask whether the field is declared. */
function checkPresence({ meta: { macro } }: Node): void {
  if (macro === undefined) return;
  const { typeCheck } = macro;
  macro.typeCheck = (checker, own, context) => {
    const type = typeCheck(checker, own, context);
    checker.check(own.args?.[0], context);
    return type;
  };
}

/** The library compares lists in order, whatever their schema says. */
function evaluateEquality(evaluator: Evaluator, given: unknown, context: unknown): unknown {
  const node = given as Node;
  const left = evaluator.run(node.left, context);
  const right = evaluator.run(node.right, context);
  if (!isMarked(left)) return node.handle?.(left, right, node, evaluator);
  return equalUnordered(left, right) === (node.op === '==');
}

const counted = new WeakSet<Evaluator>();

function count(root: Node, budget: Budget): void {
  const evaluate = root.evaluate;
  root.evaluate = (evaluator, node, context) => {
    if (!counted.has(evaluator)) {
      counted.add(evaluator);
      const run = evaluator.run.bind(evaluator);
      evaluator.run = (part, inner) => {
        const value = run(part, inner);
        budget.spendOn(value);
        return value;
      };
    }
    budget.spend(1);
    return evaluate.call(node, evaluator, node, context);
  };
}
