// Lists that are sets or maps by their schema: equal to others with the same items, in whatever order.
// Source: kubernetes apiserver pkg/cel/common/values.go (unstructuredSetList, unstructuredMapList).
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { equalValues } from './equality.ts';
import { escapedName } from './field-names.ts';

/** `set`, the fields by which items are known, or `within`: such a list is somewhere in it. */
type Mark = 'set' | 'within' | readonly string[];
const mark = Symbol('unordered');
interface Marked {
  [mark]?: Mark;
}

/** `container` is a list or map of values whose own lists are marked. */
export function markUnordered(
  container: readonly unknown[] | ReadonlyMap<unknown, unknown>,
  schema: JSONSchemaProps | undefined,
): void {
  const own = Array.isArray(container) ? markOf(schema) : undefined;
  if (own !== undefined) (container as Marked)[mark] = own;
  else
    for (const value of container.values())
      if (isMarked(value)) (container as Marked)[mark] = 'within';
}

function markOf(schema: JSONSchemaProps | undefined): Mark | undefined {
  const keys = schema?.['x-kubernetes-list-map-keys'] ?? [];
  switch (schema?.['x-kubernetes-list-type']) {
    case 'set':
      return 'set';
    case 'map':
      return keys.flatMap((key) => escapedName(key) ?? []);
    default:
      return undefined;
  }
}

export function isMarked(value: unknown): boolean {
  return typeof value === 'object' && value !== null && mark in value;
}

/** What `a` is decides how they compare. */
export function equalUnordered(a: unknown, b: unknown): boolean {
  if (!isMarked(a)) return equalValues(a, b);
  if (a instanceof Map)
    return (
      b instanceof Map &&
      a.size === b.size &&
      [...a].every(([key, value]) => b.has(key) && equalUnordered(value, b.get(key)))
    );
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  const kind = (a as Marked)[mark];
  if (kind === 'within' || kind === undefined)
    return a.every((item, index) => equalUnordered(item, b[index]));
  const known = new Map(b.map((item: unknown) => [identity(item, kind), item]));
  return a.every((item) => {
    const name = identity(item, kind);
    return known.has(name) && (kind === 'set' || equalUnordered(item, known.get(name)));
  });
}

function identity(item: unknown, kind: 'set' | readonly string[]): string {
  if (kind === 'set') return textOf(item);
  return item instanceof Map ? textOf(kind.map((key) => item.get(key) as unknown)) : '';
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(textOf).join()}]`;
  if (value instanceof Map)
    return `{${[...value]
      .map(([key, item]) => `${textOf(key)}:${textOf(item)}`)
      .toSorted()
      .join()}}`;
  // As a text it has no milliseconds.
  if (value instanceof Date) return value.toISOString();
  return `${typeof value} ${JSON.stringify(String(value))}`;
}
