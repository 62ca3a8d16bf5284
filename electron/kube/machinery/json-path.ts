// The small part of JSONPath that custom resources use: printer columns (`.spec.list[0].name`, with
// `[*]` and `[?(@.type=="Ready")]`) and the simple paths of scale and selectable fields.
// Pure; what is not there yields nothing. Source: client-go util/jsonpath.
import { deepEqual, isObject } from './equality.ts';

export type JsonPath = readonly Step[];

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'slice'; readonly from: number | undefined; readonly to: number | undefined }
  | { readonly kind: 'all' }
  | { readonly kind: 'descend'; readonly name: string }
  | {
      readonly kind: 'filter';
      readonly path: JsonPath;
      readonly operator: string;
      readonly value: unknown;
    };

const maxDepth = 20;

/** Throws an Error that says what can't be read. Accepts the path with or without braces. */
export function parseJsonPath(text: string): JsonPath {
  const inner = /^\{(.*)\}$/s.exec(text.trim())?.[1] ?? text.trim();
  return parseSteps(inner.replace(/^\$/, ''), 0);
}

function parseSteps(text: string, depth: number): Step[] {
  if (depth > maxDepth) throw new Error('nested too deeply');
  const steps: Step[] = [];
  let rest = text;
  while (rest !== '') {
    const [step, length] = parseStep(rest, depth);
    steps.push(step);
    rest = rest.slice(length);
  }
  return steps;
}

function parseStep(text: string, depth: number): [step: Step, length: number] {
  const wildcard = /^\.?\[\*\]|^\.\*/.exec(text);
  if (wildcard !== null) return [{ kind: 'all' }, wildcard[0].length];
  const below = /^\.\.([\w-]+)/.exec(text);
  if (below !== null) return [{ kind: 'descend', name: below[1] ?? '' }, below[0].length];
  const name = /^\.((?:\\.|[^.[\\\]{}()'"?*\s])+)/.exec(text);
  if (name !== null)
    return [{ kind: 'field', name: (name[1] ?? '').replaceAll(/\\(.)/g, '$1') }, name[0].length];
  const quoted = /^\.?\[\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)")\s*\]/.exec(text);
  if (quoted !== null) {
    const key = (quoted[1] ?? quoted[2] ?? '').replaceAll(/\\(.)/g, '$1');
    return [{ kind: 'field', name: key }, quoted[0].length];
  }
  const index = /^\[\s*(-?\d+)\s*\]/.exec(text);
  if (index !== null) return [{ kind: 'index', index: Number(index[1]) }, index[0].length];
  const slice = /^\[\s*(-?\d*)\s*:\s*(-?\d*)\s*\]/.exec(text);
  if (slice !== null) {
    const bound = (part: string | undefined) =>
      part === undefined || part === '' ? undefined : Number(part);
    return [{ kind: 'slice', from: bound(slice[1]), to: bound(slice[2]) }, slice[0].length];
  }
  if (text.startsWith('[?(')) return parseFilter(text, depth);
  throw new Error(`unrecognized character in action: ${JSON.stringify(text.slice(0, 20))}`);
}

function parseFilter(text: string, depth: number): [step: Step, length: number] {
  const match =
    /^\[\?\(\s*@([^=!<>)]*?)\s*(?:(==|!=|<=|>=|<|>)\s*('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^)\s]+)\s*)?\)\]/.exec(
      text,
    );
  if (match === null) throw new Error(`unterminated filter: ${JSON.stringify(text.slice(0, 40))}`);
  const [whole, path = '', operator = 'exists', literal = ''] = match;
  const step: Step = {
    kind: 'filter',
    path: parseSteps(path, depth + 1),
    operator,
    value: literalValue(literal),
  };
  return [step, whole.length];
}

function literalValue(text: string): unknown {
  if (/^['"]/.test(text)) return text.slice(1, -1).replaceAll(/\\(.)/g, '$1');
  if (text === 'true' || text === 'false') return text === 'true';
  return text !== '' && !Number.isNaN(Number(text)) ? Number(text) : text;
}

/** Everything the path leads to, in order. */
export function findByPath(path: JsonPath, value: unknown): unknown[] {
  let found: unknown[] = [value];
  for (const step of path) found = found.flatMap((one) => follow(step, one));
  return found;
}

function follow(step: Step, value: unknown): unknown[] {
  switch (step.kind) {
    case 'field':
      if (!isObject(value) || !Object.hasOwn(value, step.name)) return [];
      return [value[step.name]];
    case 'index': {
      if (!Array.isArray(value)) return [];
      const item = value.at(step.index) as unknown;
      return item === undefined ? [] : [item];
    }
    case 'slice':
      return Array.isArray(value) ? value.slice(step.from, step.to) : [];
    case 'all':
      if (Array.isArray(value)) return value;
      return isObject(value) ? Object.values(value) : [];
    case 'descend':
      return descend(step.name, value, 0);
    case 'filter':
      return Array.isArray(value) ? value.filter((item) => passes(step, item)) : [];
  }
}

function descend(name: string, value: unknown, depth: number): unknown[] {
  if (depth > 100) return [];
  if (Array.isArray(value)) return value.flatMap((item) => descend(name, item, depth + 1));
  if (!isObject(value)) return [];
  const own = Object.hasOwn(value, name) ? [value[name]] : [];
  return [...own, ...Object.values(value).flatMap((item) => descend(name, item, depth + 1))];
}

function passes({ path, operator, value }: Step & { kind: 'filter' }, item: unknown): boolean {
  const [left] = findByPath(path, item);
  switch (operator) {
    case 'exists':
      return left !== undefined;
    case '==':
      return deepEqual(left, value);
    case '!=':
      return left !== undefined && !deepEqual(left, value);
    default: {
      if (typeof left !== typeof value || (typeof left !== 'number' && typeof left !== 'string'))
        return false;
      const other = value as typeof left;
      if (operator === '<') return left < other;
      if (operator === '>') return left > other;
      return operator === '<=' ? left <= other : left >= other;
    }
  }
}
