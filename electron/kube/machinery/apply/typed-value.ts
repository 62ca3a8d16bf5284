// What can be done with a value and its schema, field by field: which fields it has, how two values
// differ, what is left without some fields. Values are not changed.
// Source: sigs.k8s.io/structured-merge-diff typed/{tofieldset,compare,remove}.go.
import { deepEqual, isObject, setOwn } from '../equality.ts';
import type { Schema } from '../schema.ts';
import { below, emptySet, isEmptySet, isMember, nodeOf, type FieldSet } from './field-set.ts';
import type { Part, Shape, Shapes } from './shapes.ts';

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

type Building = Record<string, FieldSet>;
type BuildingComparison = Record<keyof Comparison, Building>;

/** The fields that a configuration mentions: its leaves, and the items and map keys it names. */
export function fieldsOf(shapes: Shapes, schema: Schema | undefined, value: unknown): FieldSet {
  const result: Building = {};
  for (const part of shapes.parts(shapes.of(schema, value), value)) {
    const shape = shapes.of(part.schema, part.value);
    const isWhole = shape.kind === 'leaf' || isEmptyObject(part.value);
    const inner = isWhole ? emptySet : fieldsOf(shapes, part.schema, part.value);
    const found = nodeOf(isWhole || !part.isDeclared, inner);
    if (found !== undefined) result[part.element] = found;
  }
  return result;
}

/** Every field of a value, with the containers on the way. */
function allFieldsOf(shapes: Shapes, schema: Schema | undefined, value: unknown): FieldSet {
  const shape = shapes.of(schema, value);
  if (shape.kind === 'leaf') return emptySet;
  const result: Building = {};
  for (const part of shapes.parts(shape, value))
    result[part.element] = allFieldsOf(shapes, part.schema, part.value);
  return nodeOf(true, result) ?? emptySet;
}

function allOf(shapes: Shapes, { schema, value }: Part): FieldSet {
  return allFieldsOf(shapes, schema, value);
}

export function compare(
  shapes: Shapes,
  schema: Schema | undefined,
  values: { readonly old: unknown; readonly next: unknown },
): Comparison {
  const result: BuildingComparison = { added: {}, modified: {}, removed: {} };
  const { old, next } = values;
  compareParts(shapes, shapes.parts(shapes.of(schema, old), old), {
    parts: shapes.parts(shapes.of(schema, next), next),
    result,
  });
  return result;
}

interface Right {
  readonly parts: readonly Part[];
  readonly result: BuildingComparison;
}

function compareParts(shapes: Shapes, left: readonly Part[], { parts, result }: Right): void {
  const before = byElement(left);
  const after = byElement(parts);
  for (const [element, olds] of before) {
    const news = after.get(element);
    if (news === undefined) result.removed[element] = allOf(shapes, first(olds));
    else if (olds.length === 1 && news.length === 1)
      comparePart(shapes, first(olds), { part: first(news), result });
    else if (!deepEqual(olds.map(valueOf), news.map(valueOf)))
      // Items with the same key can't be told apart: they have one owner together.
      result.modified[element] = emptySet;
  }
  for (const [element, news] of after)
    if (!before.has(element)) result.added[element] = allOf(shapes, first(news));
}

function comparePart(
  shapes: Shapes,
  old: Part,
  { part: next, result }: { readonly part: Part; readonly result: BuildingComparison },
): void {
  // Most of an object stays as it is in a write.
  if (deepEqual(old.value, next.value)) return;
  const { element } = old;
  const [left, right] = [shapes.of(old.schema, old.value), shapes.of(next.schema, next.value)];
  if (left.kind !== right.kind && old.value !== null && next.value !== null) {
    result.removed[element] = allOf(shapes, old);
    result.added[element] = allOf(shapes, next);
    return;
  }
  const [leftParts, rightParts] = [shapes.parts(left, old.value), shapes.parts(right, next.value)];
  if (leftParts.length === 0 && rightParts.length === 0) {
    result.modified[element] = emptySet;
    return;
  }
  const inner: BuildingComparison = { added: {}, modified: {}, removed: {} };
  compareParts(shapes, leftParts, { parts: rightParts, result: inner });
  for (const kind of ['added', 'modified', 'removed'] as const)
    if (!isEmptySet(inner[kind])) result[kind][element] = inner[kind];
}

function byElement(parts: readonly Part[]): Map<string, Part[]> {
  const found = new Map<string, Part[]>();
  for (const part of parts) {
    const same = found.get(part.element);
    if (same === undefined) found.set(part.element, [part]);
    else same.push(part);
  }
  return found;
}

const valueOf = ({ value }: Part): unknown => value;

function first(parts: readonly Part[]): Part {
  return parts[0] as Part;
}

/** `value` without the members of `set` and all below them. */
export function withoutFields(
  shapes: Shapes,
  schema: Schema | undefined,
  { value, set }: { readonly value: unknown; readonly set: FieldSet },
): unknown {
  const shape = shapes.of(schema, value);
  const kept = shapes.parts(shape, value).flatMap((part) => {
    if (isMember(set[part.element])) return [];
    const inner = below(set, part.element);
    if (isEmptySet(inner) || shapes.of(part.schema, part.value).kind === 'leaf') return [part];
    const rest = withoutFields(shapes, part.schema, { value: part.value, set: inner });
    return [{ ...part, value: rest }];
  });
  return assemble(shape, kept);
}

/** A container of these parts. */
export function assemble(shape: Shape, parts: readonly Part[]): unknown {
  if (shape.kind === 'items') return parts.map(valueOf);
  const result: Record<string, unknown> = {};
  for (const { key, value } of parts) setOwn(result, String(key), value);
  return result;
}

/** `set` with the declared fields on the way to its members: they go when all below them goes. */
export function withDeclared(shapes: Shapes, schema: Schema | undefined, set: FieldSet): FieldSet {
  const result: Building = {};
  for (const element of Object.keys(set)) {
    if (element === '.') continue;
    const child = schemaOf(shapes, schema, element);
    const inner = withDeclared(shapes, child.schema, set[element] ?? emptySet);
    result[element] = nodeOf(isMember(set[element]) || child.isDeclared, inner) ?? emptySet;
  }
  return result;
}

function schemaOf(shapes: Shapes, given: Schema | undefined, element: string) {
  const schema = given === undefined ? undefined : shapes.registry.resolve(given);
  if (element.startsWith('f:')) return shapes.field(schema, element.slice(2), undefined);
  return { schema: schema?.items, isDeclared: false };
}

export function isEmptyObject(value: unknown): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}
