// What mutating policies make: `Object{…}` and `Object.spec{…}` are parts of an apply configuration, named by the
// fields that lead to them; `JSONPatch{…}` is one operation. And any value as JSON.
// Source: kubernetes apiserver pkg/cel/mutation/{typeresolver,jsonpatch}.go, dynamic/objects.go.
import { Optional, type Environment } from '@marcbachmann/cel-js';
import { Duration } from '@marcbachmann/cel-js/evaluator';
import { durationText, timeText } from './durations.ts';
import { originalFieldName } from './field-names.ts';
import { registerNamespace } from './namespaces.ts';

/** The library knows a type by its class. */
export class Message {
  readonly typeName: string;
  readonly fields: ReadonlyMap<string, unknown>;

  constructor(typeName: string, fields: ReadonlyMap<string, unknown>) {
    this.typeName = typeName;
    this.fields = fields;
  }
}
class ObjectMessage extends Message {}
class FieldMessage extends Message {}
class PatchMessage extends Message {}

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

/** Throws an Error for a part that is named by other fields than those it is at. */
function messageJson(message: Message): unknown {
  const wrong = misplaced(message, [message.typeName]);
  if (wrong.length > 0) throw new Error(`type mismatch: ${wrong.join('\n')}`);
  return recordOf(message.fields, (name) => originalFieldName(keyText(name)));
}

function misplaced(value: unknown, path: readonly string[]): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => misplaced(item, path));
  if (value instanceof Map) return [...value.values()].flatMap((item) => misplaced(item, path));
  if (!(value instanceof Message)) return [];
  const wanted = path.join('.');
  const { typeName, fields } = value;
  return [
    ...(typeName === wanted
      ? []
      : [
          `unexpected type name ${JSON.stringify(typeName)}, expected ${JSON.stringify(wanted)}, ` +
            'which matches field name path from root Object type',
        ]),
    ...[...fields].flatMap(([name, field]) => misplaced(field, [...path, name])),
  ];
}

/** Throws an Error for what has no JSON. */
export function jsonOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(jsonOf);
  if (value instanceof Map) return recordOf(value, keyText);
  if (value instanceof PatchMessage) return recordOf(value.fields, keyText);
  if (value instanceof Message) return messageJson(value);
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
): Record<string, unknown> {
  return Object.fromEntries([...map].map(([key, value]) => [nameOf(key), jsonOf(value)]));
}

function keyText(key: unknown): string {
  if (typeof key === 'string') return key;
  throw new Error(`map key "${String(key)}" is not a string`);
}
