// Why a text is no expression, in cel-go's words: where, and what is wrong there.
// Source: cel-go common/error.go, checker/errors.go.
import { EvaluationError, ParseError, TypeError } from '@marcbachmann/cel-js';
import { replaced } from './texts.ts';

interface AstNode {
  readonly op: string;
  readonly args: unknown;
  readonly pos: number;
  readonly start: number;
  readonly end: number;
  readonly checkedType?: { readonly name: string };
  readonly argTypes?: readonly { readonly name: string }[];
}

/** Its message has several lines, as Kubernetes shows it. */
export class CompileError extends Error {
  override readonly name = 'CompileError';
}

/** Whether there is a function of that name at all. */
export type KnowsFunction = (name: string) => boolean;

export function compileError(text: string, error: unknown, knows: KnowsFunction): Error {
  if (
    !(error instanceof ParseError) &&
    !(error instanceof TypeError) &&
    !(error instanceof EvaluationError)
  )
    return error instanceof Error ? error : new Error(String(error));
  const node = error.node as AstNode | undefined;
  const isSyntax = error instanceof ParseError;
  const what = isSyntax
    ? `Syntax error: ${lowered(error.summary)}`
    : ((node === undefined ? undefined : said(error.code, node, knows)) ?? lowered(error.summary));
  const at = node === undefined ? (error.range?.start ?? 0) : placeOf(text, node);
  return new CompileError(located(text, at, what));
}

/** `ERROR: <input>:1:6: WHAT` with the line, and a mark below. */
export function located(text: string, at: number, what: string): string {
  const before = text.slice(0, at).split('\n');
  const column = Array.from(before.at(-1) ?? '').length;
  const line = text.split('\n')[before.length - 1] ?? '';
  return `ERROR: <input>:${before.length}:${column + 1}: ${what}\n | ${line}\n | ${'.'.repeat(column)}^`;
}

function said(code: string, node: AstNode, knows: KnowsFunction): string | undefined {
  const args = Array.isArray(node.args) ? (node.args as unknown[]) : [node.args];
  const undeclared = (name: unknown) =>
    `undeclared reference to '${String(name)}' (in container '')`;
  switch (code) {
    case 'unknown_variable':
      return undeclared(args[0]);
    case 'no_such_key':
      return `undefined field '${String(args[1])}'`;
    case 'cannot_index_type':
    case 'invalid_index_type': {
      const [left, right] = args as [AstNode, AstNode];
      if (node.op === '.' || node.op === '.?')
        return `type '${typeName(left)}' does not support field selection`;
      return noOverload('_[_]', [left, right]);
    }
    case 'no_such_overload':
    case 'invalid_logical_operand': {
      const isUnary = node.op.endsWith('_');
      return noOverload(
        isUnary ? node.op : node.op === 'in' ? '@in' : `_${node.op}_`,
        args as AstNode[],
      );
    }
    case 'incompatible_ternary_branches':
      return noOverload('_?_:_', args as AstNode[]);
    case 'no_matching_overload':
      return noFunction(node, args, { knows, undeclared });
    case 'invalid_condition_type':
    case 'invalid_predicate':
      return `expected type 'bool' but found '${typeName(node)}'`;
    default:
      return undefined;
  }
}

function noFunction(
  node: AstNode,
  args: readonly unknown[],
  { knows, undeclared }: { knows: KnowsFunction; undeclared: (name: unknown) => string },
): string {
  const name = originalName(String(args[0]));
  if (!knows(String(args[0]))) return undeclared(name);
  const types = (node.argTypes ?? []).map((type) => celTypeName(type.name));
  const receiver = node.op === 'rcall' ? `${typeName(args[1] as AstNode)}.` : '';
  return `found no matching overload for '${name}' applied to '${receiver}(${types.join(', ')})'`;
}

function noOverload(name: string, nodes: readonly AstNode[]): string {
  return `found no matching overload for '${name}' applied to '(${nodes.map(typeName).join(', ')})'`;
}

function typeName({ checkedType }: AstNode): string {
  return celTypeName(checkedType?.name ?? 'dyn');
}

/** `map<string, optional<int>>` → `map(string, optional_type(int))`. */
export function celTypeName(name: string): string {
  return name
    .replaceAll('optional<', 'optional_type<')
    .replaceAll('<', '(')
    .replaceAll('>', ')')
    .replaceAll(/\b(?:[TKVA])\b/g, 'dyn')
    .replaceAll('google.protobuf.Timestamp', 'timestamp')
    .replaceAll('google.protobuf.Duration', 'duration');
}

function originalName(name: string): string {
  return Object.entries(replaced).find(([, ours]) => ours === name)?.[0] ?? name;
}

/** Where cel-go points to: the operator, the dot before a field, the parenthesis of a call. */
function placeOf(text: string, node: AstNode): number {
  const args = node.args as readonly [AstNode, AstNode];
  const after = (mark: string, from: number): number => {
    const found = text.indexOf(mark, from);
    return found < 0 ? node.start : found;
  };
  switch (node.op) {
    case '.':
    case '.?':
      return Math.max(0, text.lastIndexOf('.', node.pos));
    case '[]':
    case '[?]':
      return after('[', args[0].end);
    case 'call':
      return after('(', node.start);
    case 'rcall':
      return after('(', args[1].end + 1);
    case '?:':
      return after('?', args[0].end);
    case '!_':
    case '-_':
    case 'id':
    case 'value':
    case 'list':
    case 'map':
    case 'message':
      return node.start;
    default:
      return Array.isArray(node.args) && typeof args[0] === 'object' && typeof node.op === 'string'
        ? after(node.op, args[0].end)
        : node.start;
  }
}

function lowered(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
