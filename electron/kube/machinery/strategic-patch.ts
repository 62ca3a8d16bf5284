// Strategic merge patch: a merge patch that knows from the schema which lists merge by key, and
// obeys the directives $patch, $retainKeys, $deleteFromPrimitiveList and $setElementOrder.
// Mutates neither document nor patch.
// Source: kubernetes apimachinery pkg/util/strategicpatch/patch.go, pkg/util/mergepatch/errors.go.
import { isObject, setOwn } from './equality.ts';
import { KeyIndex } from './key-index.ts';
import { fieldSchema, type Schema, type SchemaRegistry } from './schema.ts';
import { badRequest } from './status.ts';
import { orderMerged } from './strategic-order.ts';

type JsonObject = Record<string, unknown>;

const patchDirective = '$patch';
const retainKeysDirective = '$retainKeys';
const deletePrefix = '$deleteFromPrimitiveList/';
const orderPrefix = '$setElementOrder/';

/**
 * `original` with `patch`, both of the type `name` (such as `apps/v1.Deployment`). Throws 400.
 * Differs: Kubernetes answers some malformed patches with a bare 500 of the same text.
 */
export function strategicMergePatch(
  registry: SchemaRegistry,
  name: string,
  documents: { readonly original: unknown; readonly patch: unknown },
): JsonObject {
  const { original, patch } = documents;
  if (!isObject(original) || !isObject(patch)) throw badRequest('invalid JSON document');
  return new StrategicMerge(registry).mergeObject(original, patch, registry.get(name));
}

/** How a field's schema wants it patched. */
interface PatchMeta {
  readonly schema: Schema;
  /** From `x-kubernetes-patch-strategy`. */
  readonly merges: boolean;
  readonly replaces: boolean;
  readonly mergeKey: string;
}

class StrategicMerge {
  readonly #registry: SchemaRegistry;

  constructor(registry: SchemaRegistry) {
    this.#registry = registry;
  }

  /** `schema` is undefined below free-form fields: there, lists replace. */
  mergeObject(original: JsonObject, patch: JsonObject, schema: Schema | undefined): JsonObject {
    const directive = patch[patchDirective];
    if (directive === 'replace') return withoutDirectives(patch);
    if (directive === 'delete') return {};
    if (directive !== undefined && directive !== 'merge') throw badPatchType(directive, patch);
    const result = retainKeys(original, patch);
    for (const key of Object.keys(patch)) {
      if (key === patchDirective || key === retainKeysDirective || key.startsWith(orderPrefix))
        continue;
      if (key.startsWith(deletePrefix)) {
        const name = key.slice(deletePrefix.length);
        if (!Object.hasOwn(patch, name)) this.#mergeField(result, patch, { name, schema });
      } else this.#mergeField(result, patch, { name: key, schema });
    }
    for (const key of Object.keys(patch)) {
      if (!key.startsWith(orderPrefix)) continue;
      const name = key.slice(orderPrefix.length);
      const isPatched =
        Object.hasOwn(patch, name) || Object.hasOwn(patch, `${deletePrefix}${name}`);
      if (!isPatched) this.#reorder(result, name, { order: patch[key], schema });
    }
    return result;
  }

  #mergeField(
    result: JsonObject,
    patch: JsonObject,
    at: { readonly name: string; readonly schema: Schema | undefined },
  ): void {
    const { name } = at;
    const meta = this.#patchMeta(at.schema, name);
    const old = Object.hasOwn(result, name) ? result[name] : undefined;
    const value = Object.hasOwn(patch, name) ? patch[name] : [];
    if (value === null) {
      delete result[name];
      return;
    }
    if (isObject(value)) {
      const base = isObject(old) && !meta.replaces ? old : {};
      setOwn(result, name, this.mergeObject(base, value, meta.schema));
    } else if (Array.isArray(value)) {
      const order = listDirective(patch, `${orderPrefix}${name}`, orderFormat);
      const removed = listDirective(patch, `${deletePrefix}${name}`, primitiveFormat) ?? [];
      const given = Array.isArray(old) ? old : [];
      if (meta.merges)
        setOwn(result, name, this.#mergeList(given, value, { meta, order, removed }));
      else if (Object.hasOwn(patch, name)) setOwn(result, name, value.map(withoutNulls));
      else if (Array.isArray(old)) result[name] = removePrimitives(old, removed);
    } else setOwn(result, name, value);
  }

  #mergeList(original: readonly unknown[], patch: readonly unknown[], how: ListMerge): unknown[] {
    const { meta, order, removed } = how;
    const kept = removePrimitives(original, removed);
    if (![...kept, ...patch].some(isObject)) {
      if ([...kept, ...patch].some((item) => Array.isArray(item)))
        throw badRequest('lists of lists are not supported');
      const merged = [...new Set([...kept, ...patch])];
      return orderMerged({ merged, patch, original: kept, order, identity: (item) => item });
    }
    if (meta.mergeKey === '') throw badRequest('cannot merge lists without merge key');
    return this.#mergeObjects(kept, patch, how);
  }

  #mergeObjects(kept: readonly unknown[], patch: readonly unknown[], how: ListMerge): unknown[] {
    const { meta, order } = how;
    const { mergeKey } = meta;
    const items = this.#registry.resolve(meta.schema.items ?? {});
    const { base, additions } = applyElementDirectives(kept, patch, mergeKey);
    const identity = (item: unknown): unknown => (isObject(item) ? item[mergeKey] : undefined);
    if (order !== undefined) checkOrder(additions, order, identity);
    const merged = [...base];
    const positions = new KeyIndex(merged.map(identity));
    for (const addition of additions) {
      const key = keyOf(addition, mergeKey);
      const index = positions.find(key);
      if (index < 0) positions.add(key, merged.length);
      const old = merged[index];
      const next = this.mergeObject(isObject(old) ? old : {}, addition, items);
      if (index < 0) merged.push(next);
      else merged[index] = next;
    }
    return orderMerged({ merged, patch: additions, original: kept, order, identity });
  }

  /** An order alone, with no change to the list. */
  #reorder(
    result: JsonObject,
    name: string,
    how: { readonly order: unknown; readonly schema: Schema | undefined },
  ): void {
    const list = result[name];
    if (!Array.isArray(list)) return;
    if (!Array.isArray(how.order)) throw badRequest(orderFormat);
    const { mergeKey } = this.#patchMeta(how.schema, name);
    const identity = (item: unknown): unknown => (isObject(item) ? item[mergeKey] : item);
    const order: unknown[] = how.order;
    result[name] = orderMerged({ merged: list, patch: [], original: list, order, identity });
  }

  #patchMeta(parent: Schema | undefined, name: string): PatchMeta {
    const given = parent === undefined ? undefined : fieldSchema(parent, name);
    const strategies = given?.['x-kubernetes-patch-strategy']?.split(',') ?? [];
    return {
      schema: given === undefined ? {} : this.#registry.resolve(given),
      merges: strategies.includes('merge'),
      replaces: strategies.includes('replace'),
      mergeKey: given?.['x-kubernetes-patch-merge-key'] ?? '',
    };
  }
}

interface ListMerge {
  readonly meta: PatchMeta;
  readonly order: readonly unknown[] | undefined;
  /** From $deleteFromPrimitiveList. */
  readonly removed: readonly unknown[];
}

const orderFormat = 'invalid patch format of setElementOrder list';
const primitiveFormat = 'invalid patch format of primitive list';
const retainKeysFormat = 'invalid patch format of retainKeys';

function listDirective(patch: JsonObject, key: string, complaint: string): unknown[] | undefined {
  const value = patch[key];
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw badRequest(complaint);
  return value;
}

/** A shallow copy of `original` with only the keys that $retainKeys names, if the patch has it. */
function retainKeys(original: JsonObject, patch: JsonObject): JsonObject {
  const retained = listDirective(patch, retainKeysDirective, retainKeysFormat);
  if (retained === undefined) return { ...original };
  const names = new Set(retained);
  const isForeign = (key: string): boolean =>
    !key.startsWith('$') && patch[key] !== null && !names.has(key);
  if (Object.keys(patch).some(isForeign))
    throw badRequest("patch content doesn't match retainKeys list");
  return Object.fromEntries(Object.entries(original).filter(([key]) => names.has(key)));
}

/** Elements that are directives ($patch: delete, replace) change the list before it merges. */
function applyElementDirectives(
  original: readonly unknown[],
  patch: readonly unknown[],
  mergeKey: string,
): { readonly base: readonly unknown[]; readonly additions: readonly JsonObject[] } {
  const additions: JsonObject[] = [];
  const deleted = new KeyIndex();
  let base = original;
  for (const element of patch) {
    if (!isObject(element)) throw badRequest('invalid JSON document');
    const directive = element[patchDirective];
    if (directive === undefined) additions.push(element);
    else if (directive === 'replace') base = [];
    else if (directive === 'delete') deleted.add(keyOf(element, mergeKey), 0);
    else if (directive === 'merge')
      throw badRequest('merging lists cannot yet be specified in the patch');
    else throw badPatchType(directive, element);
  }
  for (const addition of additions) keyOf(addition, mergeKey);
  base = base.filter((item) => !isObject(item) || !deleted.has(item[mergeKey]));
  return { base, additions };
}

function keyOf(element: JsonObject, mergeKey: string): unknown {
  const key = element[mergeKey];
  if (key === undefined)
    throw badRequest(`map: ${goText(element)} does not contain declared merge key: ${mergeKey}`);
  return key;
}

/** What is patched must stand in the order list, in the same sequence. */
function checkOrder(
  additions: readonly JsonObject[],
  order: readonly unknown[],
  identity: (item: unknown) => unknown,
): void {
  const wanted = new KeyIndex(order.map((item) => (isObject(item) ? identity(item) : item)));
  let position = -1;
  for (const addition of additions) {
    const next = wanted.find(identity(addition));
    if (next < position || next < 0)
      throw badRequest(
        `The order in patch list:\n${goText(additions)}\n doesn't match ${orderPrefix}* list:\n${goText(order)}\n`,
      );
    position = next;
  }
}

function removePrimitives(list: readonly unknown[], removed: readonly unknown[]): unknown[] {
  const gone = new KeyIndex(removed);
  return list.filter((item) => !gone.has(item));
}

function withoutDirectives(patch: JsonObject): JsonObject {
  const { [patchDirective]: _directive, ...rest } = patch;
  return rest;
}

/** Nulls in a list that replaces another have nothing to delete. */
function withoutNulls(value: unknown): unknown {
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const [key, child] of Object.entries(value))
    if (child !== null) setOwn(result, key, withoutNulls(child));
  return result;
}

function badPatchType(directive: unknown, patch: JsonObject): Error {
  return badRequest(`unknown patch type: ${goText(directive)} in map: ${goText(patch)}`);
}

/** Go's `%v` of a JSON value: `map[a:1 b:[x y]]`, keys sorted. */
function goText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  if (isObject(value)) {
    const entries = Object.keys(value).toSorted();
    return `map[${entries.map((key) => `${key}:${goText(value[key])}`).join(' ')}]`;
  }
  if (value === null || value === undefined) return '<nil>';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
