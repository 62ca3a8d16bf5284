// JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Neither mutates what it is given.
// What JSON Patch does beyond its RFC (indices from the end, a replaced key that is not there), and the words
// of its errors: evanphx/json-patch v4, which Kubernetes uses. Status codes and limits: kubernetes apiserver
// pkg/endpoints/handlers/patch.go.
import { unreachable } from '../base/assert.ts';
import { deepCopy, deepEqual, isObject, setOwn } from './equality.ts';
import { badRequest, entityTooLarge, unprocessable } from './status.ts';

const operationNames = ['add', 'remove', 'replace', 'move', 'copy', 'test'] as const;

export type JsonPatchOperation = {
  readonly op: (typeof operationNames)[number];
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
};

const maxOperations = 10_000;
/** What copy operations may add in all, as JSON text. */
const maxCopiedLength = 3 * 1024 * 1024;
/** List items that give way when others come or go before them: some 50 ms. Real patches move few. */
const maxShiftedItems = 30_000_000;

/** RFC 7386: null deletes, objects merge, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return deepCopy(patch);
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else setOwn(result, key, mergePatch(Object.hasOwn(result, key) ? result[key] : {}, value));
  }
  return result;
}

/** Throws 400 when `patch` is no list of operations, 413 for a list too long, 422 for illegal ones. */
export function parseJsonPatch(patch: unknown): JsonPatchOperation[] {
  if (!Array.isArray(patch)) {
    const kind = isObject(patch) ? 'object' : patch === null ? 'null' : typeof patch;
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${kind} into Go value of type []handlers.jsonPatchOp`,
    );
  }
  if (patch.length > maxOperations)
    throw entityTooLarge(
      `The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`,
    );
  return patch.map((operation: unknown) => parseOperation(operation));
}

const operationFields = new Set(['op', 'path', 'from', 'value']);

/** What a strict decoder has to say of the operations themselves. */
export function unknownOperationFields(patch: unknown): string[] {
  if (!Array.isArray(patch)) return [];
  return patch.flatMap((operation: unknown, index) =>
    Object.keys(isObject(operation) ? operation : {})
      .filter((name) => !operationFields.has(name))
      .map((name) => `unknown field ${JSON.stringify(`[${index}].${name}`)}`),
  );
}

function parseOperation(operation: unknown): JsonPatchOperation {
  if (!isObject(operation)) throw badRequest('error decoding patch: an operation is not an object');
  const { op, path, from, value } = operation;
  const name = operationNames.find((known) => known === op);
  if (name === undefined)
    throw unprocessable(`Unexpected kind: ${typeof op === 'string' ? op : 'unknown'}`);
  if (typeof path !== 'string')
    throw unprocessable(`${name} operation failed to decode path: missing value`);
  const needsFrom = name === 'move' || name === 'copy';
  if (needsFrom && typeof from !== 'string')
    throw unprocessable(`${name} operation failed to decode from: missing value`);
  return { op: name, path, ...(typeof from === 'string' ? { from } : {}), value };
}

/** RFC 6902, all operations or none. Throws 400 or 422. */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  const operations = parseJsonPatch(patch);
  const holder: Holder = { root: deepCopy(document), copiedLength: 0, shiftedItems: 0 };
  for (const operation of operations) applyOperation(holder, operation);
  return holder.root;
}

interface Holder {
  root: unknown;
  copiedLength: number;
  shiftedItems: number;
}

/** All behind `index` gives way. Throws 413 for a patch that would hold up everybody else. */
function shift(holder: Holder, list: readonly unknown[], index: number): void {
  holder.shiftedItems += list.length - index;
  if (holder.shiftedItems > maxShiftedItems)
    throw entityTooLarge(
      'this JSON patch inserts into or removes from long lists too often; replace the lists as a whole',
    );
}

function applyOperation(holder: Holder, operation: JsonPatchOperation): void {
  const { op, path, from = '', value } = operation;
  switch (op) {
    case 'add':
      return add(holder, {
        at: locate(holder, path, `add operation does not apply: doc is missing path: "${path}"`),
        value: deepCopy(value ?? null),
        wrong: `error in add for path: '${path}'`,
      });
    case 'replace':
      return replace(holder, path, deepCopy(value ?? null));
    case 'remove': {
      const missing = `remove operation does not apply: doc is missing path: "${path}"`;
      return remove(holder, locate(holder, path, missing), `error in remove for path: '${path}'`);
    }
    case 'move': {
      const missing = `move operation does not apply: doc is missing from path: ${from}`;
      const source = locate(holder, from, missing);
      const wrong = `error in move for path: '${source.key}'`;
      const moved = valueAt(source, wrong);
      remove(holder, source, wrong);
      const lost = `move operation does not apply: doc is missing destination path: ${path}`;
      const at = locate(holder, path, lost);
      return add(holder, { at, value: moved, wrong: `error in move for path: '${path}'` });
    }
    case 'copy':
      return copy(holder, from, path);
    case 'test':
      return test(holder, path, value ?? null);
    default:
      return unreachable(op);
  }
}

function copy(holder: Holder, from: string, path: string): void {
  const missing = `copy operation does not apply: doc is missing from path: ${from}`;
  const source = locate(holder, from, missing);
  const found = valueAt(source, `error in copy for from: '${from}'`);
  const lost = `copy operation does not apply: doc is missing destination path: ${path}`;
  const at = locate(holder, path, lost);
  const copied = deepCopy(found ?? null);
  holder.copiedLength += JSON.stringify(copied).length;
  if (holder.copiedLength > maxCopiedLength)
    throw unprocessable(
      `Unable to complete the copy, the accumulated size increase of copy is ${holder.copiedLength}, exceeding the limit ${maxCopiedLength}`,
    );
  add(holder, { at, value: copied, wrong: 'error while adding value during copy' });
}

function test(holder: Holder, path: string, want: unknown): void {
  const found =
    path === ''
      ? holder.root
      : valueAt(
          locate(holder, path, `test operation does not apply: is missing path: ${path}`),
          `error in test for path: '${path}'`,
        );
  // A missing value equals null, as far as a test is concerned.
  if (!deepEqual(found ?? null, want))
    throw unprocessable(`testing value ${path} failed: test failed`);
}

/** Why a patch does not apply, which its Status does not say. */
export function patchFailure(error: unknown): string {
  const { cause } = error as Error;
  return cause instanceof Error ? cause.message : (error as Error).message;
}

/** Whether a patch came to nothing because what it tested is not so. */
export function isFailedTest(error: unknown): boolean {
  return patchFailure(error).endsWith(': test failed');
}

interface Addition {
  readonly at: Location;
  readonly value: unknown;
  /** What an error begins with. */
  readonly wrong: string;
}

function add(holder: Holder, { at: { parent, key }, value, wrong }: Addition): void {
  if (!Array.isArray(parent)) return setOwn(parent, key, value);
  if (key === '-') return void parent.push(value);
  const given = readIndex(key);
  if (given === undefined)
    throw unprocessable(
      `${wrong}: value was not a proper array index: '${key}': ${badNumber(key)}`,
    );
  const index = within(given, parent.length + 1, wrong);
  shift(holder, parent, index);
  parent.splice(index, 0, value);
}

function replace(holder: Holder, path: string, value: unknown): void {
  if (path === '') {
    if (!isObject(value) && !Array.isArray(value))
      throw unprocessable('replace operation value must be object or array: invalid value');
    holder.root = value;
    return;
  }
  const missing = `replace operation does not apply: doc is missing path: ${path}`;
  const { parent, key } = locate(holder, path, missing);
  // What is not there is made, in an object.
  if (!Array.isArray(parent)) return setOwn(parent, key, value);
  const index = indexIn(parent, key);
  if (typeof index !== 'number')
    throw unprocessable(
      `replace operation does not apply: doc is missing key: ${path}: missing value`,
    );
  parent[index] = value;
}

function remove(holder: Holder, { parent, key }: Location, wrong: string): void {
  if (Array.isArray(parent)) {
    const index = indexIn(parent, key);
    if (typeof index !== 'number') throw unprocessable(`${wrong}: ${index.why}`);
    shift(holder, parent, index);
    parent.splice(index, 1);
    return;
  }
  if (!Object.hasOwn(parent, key))
    throw unprocessable(`${wrong}: Unable to remove nonexistent key: ${key}: missing value`);
  delete parent[key];
}

/** Undefined in an object: there is no such key. */
function valueAt({ parent, key }: Location, wrong: string): unknown {
  if (!Array.isArray(parent)) return Object.hasOwn(parent, key) ? parent[key] : undefined;
  const index = indexIn(parent, key);
  if (typeof index !== 'number') throw unprocessable(`${wrong}: ${index.why}`);
  return parent[index];
}

interface Location {
  readonly parent: Record<string, unknown> | unknown[];
  readonly key: string;
}

/** The container that holds the last segment of `path`. What is before the first slash does not count. */
function locate(holder: Holder, path: string, missing: string): Location {
  const segments = path.split('/').slice(1);
  const keys = segments.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const key = keys.pop();
  let parent: unknown = holder.root;
  for (const segment of keys) parent = step(parent, segment);
  if (key === undefined || (!Array.isArray(parent) && !isObject(parent)))
    throw unprocessable(`${missing}: missing value`);
  return { parent, key };
}

function step(container: unknown, key: string): unknown {
  if (Array.isArray(container)) {
    const index = indexIn(container, key);
    return typeof index === 'number' ? container[index] : undefined;
  }
  return isObject(container) && Object.hasOwn(container, key) ? container[key] : undefined;
}

/** As Go reads one: with a sign, if it must be. */
function readIndex(key: string): number | undefined {
  return /^[+-]?\d{1,15}$/.test(key) ? Number(key) : undefined;
}

function badNumber(key: string): string {
  return `strconv.Atoi: parsing ${JSON.stringify(key)}: invalid syntax`;
}

function indexIn(list: readonly unknown[], key: string): number | { readonly why: string } {
  const given = readIndex(key);
  if (given === undefined) return { why: badNumber(key) };
  return counted(given, list.length) ?? { why: outside(given) };
}

/** Negative ones count from the end. */
function counted(index: number, length: number): number | undefined {
  if (index >= length || index < -length) return undefined;
  return index < 0 ? index + length : index;
}

function within(index: number, length: number, wrong: string): number {
  const found = counted(index, length);
  if (found === undefined) throw unprocessable(`${wrong}: ${outside(index)}`);
  return found;
}

function outside(index: number): string {
  return `Unable to access invalid index: ${index}: invalid index referenced`;
}
