// What an expression costs at most, by the sizes of what it sees: told before it ever runs.
// Differs: of what nothing is known (a number as a text) is taken to fit into a request, where Kubernetes
// takes it to be endless; a few functions are estimated lower: what Kubernetes takes is to be taken here, too.
// Source: cel-go checker/cost.go, kubernetes apiserver pkg/cel/library/cost.go.
import { maxRequestBytes, sizeOnly, type Sized } from './sizes.ts';

/** Of one expression, for all places it is evaluated at. */
export const expressionCostLimit = 10_000_000;
/** Of all expressions of one schema. */
export const schemaCostLimit = 100_000_000;

interface AstNode {
  readonly op: string;
  readonly args: unknown;
  readonly checkedType?: { readonly kind: string; readonly name: string };
}
interface Estimate {
  readonly cost: number;
  /** Undefined: nothing is known of it. */
  readonly sized: Sized | undefined;
}
type Scope = ReadonlyMap<string, Sized | undefined>;

const perCharacter = 0.1;
const perPatternCharacter = 0.25;
const scalar = sizeOnly(1);

/** `root`: of a checked expression. */
export function estimateCost(root: unknown, variables: Readonly<Record<string, Sized>>): number {
  return estimate(root as AstNode, new Map(Object.entries(variables))).cost;
}

function estimate(node: AstNode, scope: Scope): Estimate {
  const args = node.args as readonly [AstNode, AstNode, AstNode];
  switch (node.op) {
    case 'value':
      return { cost: 0, sized: sizeOnly(lengthOf(node.args)) };
    case 'id':
      return { cost: 1, sized: scope.get(String(node.args)) };
    case '.':
    case '.?': {
      const [of, name] = node.args as readonly [AstNode, string];
      const left = estimate(of, scope);
      return { cost: left.cost + 1, sized: left.sized?.field(name) };
    }
    case '[]':
    case '[?]': {
      const left = estimate(args[0], scope);
      return { cost: left.cost + estimate(args[1], scope).cost + 1, sized: left.sized?.items() };
    }
    case 'list': {
      const items = args.map((one) => estimate(one, scope));
      const largest = Math.max(0, ...items.map(sizeOf));
      return { cost: 10 + costOf(items), sized: sizeOnly(items.length, sizeOnly(largest)) };
    }
    case 'map': {
      const entries = (node.args as readonly (readonly AstNode[])[]).flat();
      const items = entries.map((one) => estimate(one, scope));
      return { cost: 30 + costOf(items), sized: sizeOnly(items.length / 2) };
    }
    case '?:': {
      const [condition, left, right] = args.map((one) => estimate(one, scope)) as [
        Estimate,
        Estimate,
        Estimate,
      ];
      const cost = condition.cost + Math.max(left.cost, right.cost);
      return { cost, sized: sizeOf(left) > sizeOf(right) ? left.sized : right.sized };
    }
    case 'call':
    case 'rcall':
      return estimateCall(node, scope);
    default:
      return estimateOperator(node, scope);
  }
}

function estimateOperator(node: AstNode, scope: Scope): Estimate {
  const nodes = (Array.isArray(node.args) ? node.args : [node.args]) as readonly AstNode[];
  const parts = nodes.map((one) => estimate(one, scope));
  const cost = costOf(parts);
  const [left = unknown, right = unknown] = parts;
  switch (node.op) {
    case '&&':
    case '||':
      return { cost, sized: scalar };
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return { cost: cost + traversal(Math.min(sizeOf(left), sizeOf(right))), sized: scalar };
    case 'in':
      return {
        cost: cost + (nodes[1]?.checkedType?.kind === 'list' ? sizeOf(right) : 1),
        sized: scalar,
      };
    case '+': {
      const { kind, name } = node.checkedType ?? { kind: '', name: '' };
      const size = sizeOf(left) + sizeOf(right);
      if (kind === 'list') return { cost: cost + 1, sized: sizeOnly(size, left.sized?.items()) };
      return name === 'string' || name === 'bytes'
        ? { cost: cost + traversal(size), sized: sizeOnly(size) }
        : { cost: cost + 1, sized: scalar };
    }
    default:
      return { cost: cost + 1, sized: scalar };
  }
}

const unknown: Estimate = { cost: 0, sized: undefined };
/** What one turn of a loop costs beside its own expressions. */
const loops: Readonly<Record<string, number>> = {
  all: 3,
  exists: 3,
  exists_one: 3,
  existsOne: 3,
  map: 12,
  filter: 12,
  transformList: 12,
  transformMap: 12,
  transformMapEntry: 12,
  sortBy: 12,
};
const loopVariables: Readonly<Record<string, readonly number[]>> = {
  // By how many arguments there are: how many of them are names.
  map: [0, 0, 1, 1],
  transformList: [0, 0, 0, 2, 2],
  transformMap: [0, 0, 0, 2, 2],
  transformMapEntry: [0, 0, 0, 2, 2],
};

function estimateCall(node: AstNode, scope: Scope): Estimate {
  const isMethod = node.op === 'rcall';
  const parts = node.args as readonly unknown[];
  const name = String(parts[0]);
  const receiver = isMethod ? (parts[1] as AstNode) : undefined;
  const nodes = parts[isMethod ? 2 : 1] as readonly AstNode[];
  const [first] = nodes;
  if (!isMethod && name === 'has' && first !== undefined)
    return { cost: Math.max(0, estimate(first, scope).cost - 1), sized: scalar };
  if (receiver !== undefined && Object.hasOwn(loops, name))
    return estimateLoop({ name, range: receiver, nodes }, scope);
  if (receiver !== undefined && (name === 'bind' || name === 'optMap' || name === 'optFlatMap')) {
    const [variable, value = receiver, body = value] =
      name === 'bind' ? nodes : [first, receiver, nodes[1]];
    const bound = estimate(value, scope);
    const inner = new Map(scope).set(String(variable?.args), bound.sized);
    const made = estimate(body, inner);
    return { cost: bound.cost + made.cost + 1, sized: made.sized };
  }
  const given = [...(receiver === undefined ? [] : [receiver]), ...nodes];
  const estimates = given.map((one) => estimate(one, scope));
  const own = functionEstimate(name, estimates, given[0]?.checkedType?.kind === 'list');
  return { cost: costOf(estimates) + own.cost, sized: own.sized };
}

interface LoopCall {
  readonly name: string;
  readonly range: AstNode;
  readonly nodes: readonly AstNode[];
}

function estimateLoop({ name, range, nodes }: LoopCall, scope: Scope): Estimate {
  const over = estimate(range, scope);
  const isMap = range.checkedType?.kind === 'map';
  const count = loopVariables[name]?.[nodes.length] ?? nodes.length - 1;
  const inner = new Map(scope);
  const value = over.sized?.items();
  const [one, two] = nodes.slice(0, count).map((variable) => String(variable.args));
  if (one !== undefined) inner.set(one, two === undefined && !isMap ? value : undefined);
  if (two !== undefined) inner.set(two, value);
  const bodies = nodes.slice(count).map((body) => estimate(body, inner));
  const turns = sizeOf(over);
  const isQuantifier = (loops[name] ?? 0) === 3;
  return {
    cost: over.cost + turns * (costOf(bodies) + (loops[name] ?? 0)),
    sized: isQuantifier
      ? scalar
      : sizeOnly(turns, name === 'filter' ? value : bodies.at(-1)?.sized),
  };
}

function functionEstimate(
  name: string,
  [first = unknown, second = unknown, third = unknown]: readonly Estimate[],
  isList: boolean,
): Estimate {
  const [size, other] = [sizeOf(first), sizeOf(second)];
  switch (name) {
    case 'boundedMatches':
    case 'find':
    case 'findAll': {
      const cost = traversal(size + 1) * Math.ceil(other * perPatternCharacter);
      return { cost, sized: name === 'boundedMatches' ? scalar : first.sized };
    }
    case 'contains':
      return { cost: traversal(size) * traversal(other), sized: scalar };
    case 'startsWith':
    case 'endsWith':
      return { cost: traversal(other), sized: scalar };
    case 'isSorted':
    case 'sum':
    case 'min':
    case 'max':
    case 'indexOf':
    case 'lastIndexOf':
      return {
        cost: isList ? size : traversal(size),
        sized: isList ? first.sized?.items() : scalar,
      };
    case 'lowerAscii':
    case 'upperAscii':
    case 'substring':
    case 'trim':
    case 'charAt':
      return { cost: traversal(size), sized: first.sized };
    case 'replace': {
      const grown =
        other === 0 ? size * (sizeOf(third) + 1) : size * Math.max(1, sizeOf(third) / other);
      return { cost: traversal(2 * size), sized: sizeOnly(grown) };
    }
    case 'split':
      return { cost: traversal(2 * size), sized: sizeOnly(size, first.sized) };
    case 'boundedJoin': {
      const length = size * ((first.sized?.items()?.max ?? 0) + (second === unknown ? 0 : other));
      return { cost: traversal(length), sized: sizeOnly(length) };
    }
    case 'string':
    case 'int':
    case 'double':
    case 'bytes':
    case 'url':
    case 'quantity':
    case 'ip':
    case 'cidr':
    case 'semver':
      return { cost: traversal(size), sized: first.sized };
    default:
      return { cost: 1, sized: scalar };
  }
}

function lengthOf(value: unknown): number {
  return typeof value === 'string' || value instanceof Uint8Array ? value.length : 1;
}

function sizeOf({ sized }: Estimate): number {
  return sized?.max ?? maxRequestBytes;
}

function costOf(parts: readonly Estimate[]): number {
  return parts.reduce((sum, { cost }) => sum + cost, 0);
}

function traversal(size: number): number {
  return Math.ceil(size * perCharacter);
}

/** How Kubernetes tells of an estimate that is too high. */
export function costComplaint(what: string, cost: number, limit: number): string {
  const factor = cost / limit;
  const told = factor > 100 ? 'more than 100x' : `${factor.toFixed(factor < 1.5 ? 6 : 1)}x`;
  return (
    `${what} exceeds budget by factor of ${told} (try simplifying the rule, or adding maxItems, ` +
    'maxProperties, and maxLength where arrays, maps, and strings are declared)'
  );
}
