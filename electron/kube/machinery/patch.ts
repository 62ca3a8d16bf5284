// JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Neither mutates what it is given.
// Source of the error texts: evanphx/json-patch, which Kubernetes uses; kubernetes apiserver
// pkg/endpoints/handlers/patch.go for status codes and limits.
import { unreachable } from '../base/assert.ts';
import { deepCopy, deepEqual, isObject, setOwn } from './equality.ts';
import { badRequest, entityTooLarge, StatusError, unprocessable } from './status.ts';

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
      return add(holder, { op, path, value: deepCopy(value ?? null) });
    case 'replace':
      return replace(holder, path, deepCopy(value ?? null));
    case 'remove':
      return void remove(holder, op, path);
    case 'move': {
      if (path.startsWith(`${from}/`))
        throw unprocessable(`move operation does not apply: can't move ${from} into itself`);
      const moved = remove(holder, op, from);
      return add(holder, { op, path, value: moved });
    }
    case 'copy': {
      const copied = deepCopy(find(holder, op, from));
      holder.copiedLength += JSON.stringify(copied).length;
      if (holder.copiedLength > maxCopiedLength)
        throw unprocessable(
          `Unable to complete the copy, the accumulated size increase of copy is ${holder.copiedLength}, exceeding the limit ${maxCopiedLength}`,
        );
      return add(holder, { op, path, value: copied });
    }
    case 'test':
      return test(holder, path, value ?? null);
    default:
      return unreachable(op);
  }
}

function test(holder: Holder, path: string, want: unknown): void {
  let found: unknown;
  try {
    found = find(holder, 'test', path);
  } catch (error) {
    // A missing value equals null, as far as a test is concerned.
    if (!(error instanceof StatusError) || want !== null) throw error;
    found = null;
  }
  if (!deepEqual(found, want)) throw unprocessable(`testing value ${path} failed: test failed`);
}

interface Addition {
  readonly op: string;
  readonly path: string;
  readonly value: unknown;
}

function add(holder: Holder, addition: Addition): void {
  const { op, path, value } = addition;
  if (path === '') {
    holder.root = value;
    return;
  }
  const { parent, key } = locate(holder, op, path);
  if (Array.isArray(parent)) {
    const index = key === '-' ? parent.length : arrayIndex(key);
    if (index === undefined || index > parent.length) throw badIndex(op, path, key);
    shift(holder, parent, index);
    parent.splice(index, 0, value);
  } else setOwn(parent, key, value);
}

function replace(holder: Holder, path: string, value: unknown): void {
  if (path === '') {
    holder.root = value;
    return;
  }
  const { parent, key } = locate(holder, 'replace', path);
  if (Array.isArray(parent)) {
    const index = arrayIndex(key);
    if (index === undefined || index >= parent.length) throw badIndex('replace', path, key);
    parent[index] = value;
    return;
  }
  if (!Object.hasOwn(parent, key)) throw missingKey('replace', path);
  setOwn(parent, key, value);
}

function remove(holder: Holder, op: string, path: string): unknown {
  if (path === '') throw missingKey(op, path);
  const { parent, key } = locate(holder, op, path);
  if (Array.isArray(parent)) {
    const index = arrayIndex(key);
    if (index === undefined || index >= parent.length) throw badIndex(op, path, key);
    shift(holder, parent, index);
    return parent.splice(index, 1)[0];
  }
  if (!Object.hasOwn(parent, key))
    throw operationError(op, path, `Unable to remove nonexistent key: ${key}: missing value`);
  const removed = parent[key];
  delete parent[key];
  return removed;
}

function find(holder: Holder, op: string, path: string): unknown {
  if (path === '') return holder.root;
  const { parent, key } = locate(holder, op, path);
  const value = step(parent, key);
  if (value === undefined) throw missingKey(op, path);
  return value;
}

interface Location {
  readonly parent: Record<string, unknown> | unknown[];
  readonly key: string;
}

/** The container that holds the last segment of `path`. */
function locate(holder: Holder, op: string, path: string): Location {
  if (!path.startsWith('/')) throw missingPath(op, path);
  const segments = path.split('/').slice(1);
  const keys = segments.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const key = keys.pop() ?? '';
  let parent: unknown = holder.root;
  for (const segment of keys) parent = step(parent, segment);
  if (!Array.isArray(parent) && !isObject(parent)) throw missingPath(op, path);
  return { parent, key };
}

function step(container: unknown, key: string): unknown {
  if (Array.isArray(container)) {
    const index = arrayIndex(key);
    return index === undefined ? undefined : container[index];
  }
  return isObject(container) && Object.hasOwn(container, key) ? container[key] : undefined;
}

/** No signs, no leading zeros: RFC 6901. */
function arrayIndex(key: string): number | undefined {
  return /^(?:0|[1-9]\d{0,8})$/.test(key) ? Number(key) : undefined;
}

function missingPath(op: string, path: string): StatusError {
  return unprocessable(
    `${op} operation does not apply: doc is missing path: "${path}": missing value`,
  );
}

function missingKey(op: string, path: string): StatusError {
  return unprocessable(
    `${op} operation does not apply: doc is missing key: ${path}: missing value`,
  );
}

function badIndex(op: string, path: string, key: string): StatusError {
  if (arrayIndex(key) !== undefined)
    return operationError(
      op,
      path,
      `Unable to access invalid index: ${key}: invalid index referenced`,
    );
  return operationError(op, path, `value was not a proper array index: '${key}'`);
}

/** The words are those clients look for. Source: evanphx/json-patch v4. */
function operationError(op: string, path: string, why: string): StatusError {
  return unprocessable(`error in ${op} for path: '${path}': ${why}`);
}
