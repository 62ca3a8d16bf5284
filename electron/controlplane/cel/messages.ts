// What mutating policies make: `Object{…}` and `Object.spec{…}` are parts of an apply configuration, named by the
// fields that lead to them; `JSONPatch{…}` is one operation. And any value as JSON.
// Source: kubernetes apiserver pkg/cel/mutation/{typeresolver,jsonpatch}.go, dynamic/objects.go.
import { Optional, type Environment } from '@marcbachmann/cel-js';
import { Duration } from '@marcbachmann/cel-js/evaluator';
import { durationText, timeText } from './durations.ts';
import { originalFieldName } from './field-names.ts';
import { Message } from './message.ts';
import { registerNamespace } from './namespaces.ts';

class ObjectMessage extends Message {}
class FieldMessage extends Message {}
class PatchMessage extends Message {}

/** Of mistakes, in one answer. */
const toldMax = 10;

export interface MessageType {
  /** In the environment: all fields of objects share one. */
  readonly name: string;
  /** Their types; undefined: any of any type. */
  readonly fields: Readonly<Record<string, string>> | undefined;
  make(typeName: string, fields: ReadonlyMap<string, unknown>): Message;
}

const objectType: MessageType = {
  name: 'Object',
  fields: undefined,
  make: (name, fields) => new ObjectMessage(name, fields),
};
const fieldType: MessageType = {
  name: 'Object.field',
  fields: undefined,
  make: (name, fields) => new FieldMessage(name, fields),
};
const patchType: MessageType = {
  name: 'JSONPatch',
  fields: { op: 'string', path: 'string', from: 'string', value: 'dyn' },
  make: (name, fields) => new PatchMessage(name, fields),
};

export function messageType(name: string): MessageType | undefined {
  if (name === 'JSONPatch') return patchType;
  if (name === 'Object') return objectType;
  return name.startsWith('Object.') ? fieldType : undefined;
}

export function registerMessages(env: Environment): void {
  env.registerType(objectType.name, ObjectMessage);
  env.registerType(fieldType.name, FieldMessage);
  env.registerType(patchType.name, PatchMessage);
  registerNamespace(env, 'jsonpatch', 'JsonPatchNamespace');
  env.registerFunction('JsonPatchNamespace.escapeKey(string): string', (_: unknown, key: string) =>
    key.replaceAll('~', '~0').replaceAll('/', '~1'),
  );
}

/** Throws an Error for parts that are named by other fields than those they are at. */
function checkPlaces(message: Message): void {
  const wrong: string[] = [];
  findMisplaced(message, message.typeName, wrong);
  if (wrong.length > 0) throw new Error(`type mismatch: ${wrong.join('\n')}`);
}

function findMisplaced(value: unknown, wanted: string, wrong: string[]): void {
  if (wrong.length === toldMax) return;
  if (Array.isArray(value) || value instanceof Map)
    for (const item of value.values()) findMisplaced(item, wanted, wrong);
  if (!(value instanceof Message)) return;
  const { typeName, fields } = value;
  if (typeName !== wanted)
    wrong.push(
      `unexpected type name ${JSON.stringify(typeName)}, expected ${JSON.stringify(wanted)}, ` +
        'which matches field name path from root Object type',
    );
  for (const [name, field] of fields) findMisplaced(field, `${wanted}.${name}`, wrong);
}

/** Throws an Error for what has no JSON. */
export function jsonOf(value: unknown): unknown {
  return toJson(value, false);
}

/** `isPlaced`: the message that this is in was looked through, with all its parts. */
function toJson(value: unknown, isPlaced: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => toJson(item, isPlaced));
  if (value instanceof Map) return recordOf(value, keyText, isPlaced);
  if (value instanceof PatchMessage) return recordOf(value.fields, keyText, isPlaced);
  if (value instanceof Message) {
    if (!isPlaced) checkPlaces(value);
    return recordOf(value.fields, (name) => originalFieldName(keyText(name)), true);
  }
  if (value instanceof Date) return timeText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  // An unsigned number is an object of its own.
  const plain: unknown =
    typeof value === 'object' && value !== null && !(value instanceof Optional)
      ? value.valueOf()
      : value;
  if (typeof plain === 'bigint') {
    const number = Number(plain);
    return Number.isSafeInteger(number) ? number : plain;
  }
  if (plain === null || ['string', 'number', 'boolean'].includes(typeof plain)) return plain;
  throw new Error('unsupported type: it has no form in JSON');
}

function recordOf(
  map: ReadonlyMap<unknown, unknown>,
  nameOf: (key: unknown) => string,
  isPlaced: boolean,
): Record<string, unknown> {
  return Object.fromEntries([...map].map(([key, value]) => [nameOf(key), toJson(value, isPlaced)]));
}

function keyText(key: unknown): string {
  if (typeof key === 'string') return key;
  throw new Error(`map key "${String(key)}" is not a string`);
}
