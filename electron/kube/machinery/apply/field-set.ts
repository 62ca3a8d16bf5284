// Sets of fields of an object, in the very form in which they travel (FieldsV1), so that reading and
// writing them costs nothing. Keys are path elements: `f:replicas` (a field), `k:{"name":"web"}` (an
// item by its keys), `v:"x"` (an item by its value). A path is a member if its node is empty or has
// the key `.`; a node without members below it does not exist. Sets are never changed, only replaced.
// Source: sigs.k8s.io/structured-merge-diff fieldpath/{set,serialize,serialize-pe}.go.
import { exactJson } from '../exact-json.ts';
import { isObject, stableStringify } from '../equality.ts';

export interface FieldSet {
  readonly [element: string]: FieldSet;
}

/** Path elements from the outside in: `['f:spec', 'f:replicas']`. */
export type FieldPathElements = readonly string[];

export const emptySet: FieldSet = Object.freeze({});
const self = '.';

export const fieldElement = (name: string): string => `f:${name}`;
export const valueElement = (value: unknown): string => `v:${stableStringify(value)}`;
/** Key names in their order of the alphabet. */
export const keyElement = (key: Readonly<Record<string, unknown>>): string =>
  `k:${stableStringify(key)}`;

export function fieldSet(...paths: readonly FieldPathElements[]): FieldSet {
  return paths.map(chain).reduce(union, emptySet);
}

function chain(path: FieldPathElements): FieldSet {
  return path.reduceRight<FieldSet>((inner, element) => ({ [element]: inner }), emptySet);
}

export function isEmptySet(set: FieldSet): boolean {
  for (const element in set) if (element !== self) return false;
  return true;
}

/** Whether the path that leads to this node is itself in the set. */
export function isMember(inner: FieldSet | undefined): boolean {
  return inner !== undefined && (Object.hasOwn(inner, self) || isEmptySet(inner));
}

/** The node for a path with what is below it; undefined if neither is in the set. */
export function nodeOf(member: boolean, inner: FieldSet): FieldSet | undefined {
  if (isEmptySet(inner)) return member ? emptySet : undefined;
  return member ? { [self]: emptySet, ...inner } : inside(inner);
}

/** What is below an element, without saying whether the element itself is a member. */
export function below(set: FieldSet | undefined, element: string): FieldSet {
  const inner = set === undefined ? undefined : own(set, element);
  if (inner === undefined) return emptySet;
  if (!Object.hasOwn(inner, self)) return inner;
  const { [self]: _, ...rest } = inner;
  return rest;
}

export function hasPath(set: FieldSet, path: FieldPathElements): boolean {
  let inner: FieldSet | undefined = set;
  for (const element of path) inner = inner === undefined ? undefined : own(inner, element);
  return path.length > 0 && isMember(inner);
}

function own(set: FieldSet, element: string): FieldSet | undefined {
  return Object.hasOwn(set, element) ? set[element] : undefined;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a)) return b;
  if (isEmptySet(b)) return a;
  const result: Record<string, FieldSet> = { ...a };
  for (const element in b) {
    const [left, right] = [own(a, element), b[element] as FieldSet];
    if (element !== self) result[element] = left === undefined ? right : joined(left, right);
  }
  return result;
}

function joined(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b) return a;
  const isIn = isMember(a) || isMember(b);
  return nodeOf(isIn, union(inside(a), inside(b))) ?? emptySet;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (left, right) =>
    right === undefined
      ? undefined
      : nodeOf(isMember(left) && isMember(right), intersection(left, right)),
  );
}

/** What is in `a` and not in `b`; a member of `b` takes nothing away below it. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(b)) return a;
  return combine(a, b, (left, right) =>
    right === undefined
      ? left
      : nodeOf(isMember(left) && !isMember(right), difference(left, right)),
  );
}

/** As difference, but a member of `b` also takes away all that is below it. */
export function withoutTrees(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(b)) return a;
  return combine(a, b, (left, right) => {
    if (right === undefined) return left;
    return isMember(right) ? undefined : nodeOf(isMember(left), withoutTrees(left, right));
  });
}

/** What of `set` one of the paths leads to, with all below it. `*` stands for any element. */
export function within(set: FieldSet, paths: readonly FieldPathElements[]): FieldSet {
  if (paths.some((path) => path.length === 0)) return set;
  const result: Record<string, FieldSet> = {};
  for (const element of Object.keys(inside(set))) {
    const deeper = paths
      .filter(([first]) => first === element || first === '*')
      .map((path) => path.slice(1));
    const child = set[element] as FieldSet;
    const inner = within(child, deeper);
    const isWhole = deeper.some((path) => path.length === 0);
    if (isWhole || !isEmptySet(inner)) result[element] = inner;
  }
  return result;
}

function combine(
  a: FieldSet,
  b: FieldSet,
  join: (left: FieldSet, right: FieldSet | undefined) => FieldSet | undefined,
): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const element in a) {
    if (element === self) continue;
    const joint = join(a[element] as FieldSet, own(b, element));
    if (joint !== undefined) result[element] = joint;
  }
  return result;
}

function inside(set: FieldSet): FieldSet {
  if (!Object.hasOwn(set, self)) return set;
  const { [self]: _, ...rest } = set;
  return rest;
}

/** All members, outer ones before those below them, else in the order of their elements. */
export function pathsOf(set: FieldSet): string[][] {
  const paths: string[][] = [];
  function walk(inner: FieldSet, prefix: readonly string[]): void {
    for (const element of Object.keys(inner).toSorted()) {
      if (element === self) continue;
      const child = inner[element] as FieldSet;
      const path = [...prefix, element];
      if (isMember(child)) paths.push(path);
      walk(child, path);
    }
  }
  walk(set, []);
  return paths;
}

/** With elements in order, as it is stored. */
export function sorted(set: FieldSet): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const element of Object.keys(set).toSorted())
    result[element] = sorted(set[element] as FieldSet);
  return result;
}

/** As people read it: `.spec.containers[name="web"].image`, `.metadata.finalizers["x"]`. */
export function pathText(path: FieldPathElements): string {
  return path.map(elementText).join('');
}

export function elementText(element: string): string {
  const text = element.slice(2);
  if (element.startsWith('f:')) return `.${text}`;
  if (element.startsWith('v:')) return `[=${text}]`;
  if (!element.startsWith('k:')) return `[${text}]`;
  const key = JSON.parse(text) as Record<string, unknown>;
  const pairs = Object.entries(key).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `[${pairs.join(',')}]`;
}

/** Deeper ones than any object's could exhaust the stack. */
const maxDepth = 1000;

/** A set as a client sent it, its elements in our spelling; undefined if it is none. */
export function readFieldSet(value: unknown, depth = 0): FieldSet | undefined {
  if (!isObject(value) || depth > maxDepth) return undefined;
  const result: Record<string, FieldSet> = {};
  for (const key of Object.keys(value)) {
    const inner = readFieldSet(value[key], depth + 1);
    const element = key === self ? self : readElement(key);
    if (inner === undefined || element === undefined) return undefined;
    result[element] = element === self ? emptySet : inner;
  }
  return result;
}

function readElement(text: string): string | undefined {
  const kind = text.slice(0, 2);
  if (kind === 'f:') return text;
  if (kind === 'i:') return /^-?\d+$/.test(text.slice(2)) ? text : undefined;
  if (kind !== 'k:' && kind !== 'v:') return undefined;
  try {
    const value = exactJson(text.slice(2));
    if (kind === 'v:') return valueElement(value);
    return isObject(value) ? keyElement(value) : undefined;
  } catch {
    return undefined;
  }
}
