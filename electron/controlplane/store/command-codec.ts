// Commands to bytes and back: what an entry of the log carries. Pure.
// First byte: the version of this format, second: the type. What an older release could not read has
// a higher version, so that it stops instead of leaving out what all others apply (isNewerCommand).
// Numbers are LEB128, strings and values have their length before them.
import { assert, unreachable } from '#kube/base/assert.ts';
import type { ByteKey, Command, Compare, KeyRange, Operation, Txn } from './commands.ts';

export const commandVersion = 2;

/** Each is written in the oldest version that knows it. */
function versionOf(command: Command): number {
  const isNew = command.type === 'hash-claim';
  return isNew || (command.type === 'lease-revoke' && command.due !== undefined) ? 2 : 1;
}

/** The order is the format: new ones go to the end. */
const types = [
  'put-if',
  'delete-if',
  'txn',
  'compact',
  'lease-grant',
  'lease-revoke',
  'lease-keep',
  'range',
  'put',
  'delete',
  'hash-claim',
] as const;
const targets = ['version', 'create', 'mod', 'value', 'lease'] as const;
const relations = ['equal', 'not-equal', 'greater', 'less'] as const;
const sorts = ['key', 'version', 'create', 'mod', 'value'] as const;

/** Transactions inside transactions; deeper ones are refused on both sides. */
export const txnDepthMax = 8;

export function encodeCommand(command: Command): Uint8Array {
  const writer = new Writer('value' in command ? command.value.length + 128 : 256);
  writer.byte(versionOf(command));
  writer.byte(types.indexOf(command.type));
  switch (command.type) {
    case 'put-if':
      writer.key(command.key);
      writer.number(command.expectedRevision);
      writer.bytes(command.value);
      break;
    case 'delete-if':
      writer.key(command.key);
      writer.number(command.expectedRevision);
      break;
    case 'txn':
      writeTxn(writer, command);
      break;
    case 'compact':
      writer.number(command.revision);
      writer.optional(command.hash);
      break;
    case 'lease-grant':
      writer.number(command.id);
      writer.number(command.ttlSeconds);
      break;
    case 'lease-revoke':
      writer.number(command.id);
      if (command.due === undefined) break;
      writer.number(command.due.term);
      writer.number(command.due.keptAt);
      break;
    case 'lease-keep':
      writer.number(command.id);
      break;
    case 'hash-claim':
      writer.number(command.member);
      writer.number(command.revision);
      writer.number(command.hash);
      break;
    default:
      unreachable(command);
  }
  return writer.finish();
}

/** Written by a release that knows more than this one: it must not be left out. */
export function isNewerCommand(data: Uint8Array, known = commandVersion): boolean {
  const [version = 0, type = 0] = data;
  return version > known || (version > 0 && type >= types.length);
}

/** Undefined for what is no command, or a newer one. */
export function decodeCommand(data: Uint8Array): Command | undefined {
  const reader = new Reader(data);
  try {
    const version = reader.byte();
    const command = readCommand(reader);
    return reader.isAtEnd() && version === versionOf(command) ? command : undefined;
  } catch (error) {
    if (error instanceof MalformedError) return undefined;
    throw error;
  }
}

function readCommand(reader: Reader): Command {
  const type = reader.choice(types);
  switch (type) {
    case 'put-if': {
      const key = reader.key();
      const expectedRevision = reader.number();
      return { type, key, value: reader.bytes(), expectedRevision };
    }
    case 'delete-if':
      return { type, key: reader.key(), expectedRevision: reader.number() };
    case 'txn':
      return { type, ...readTxn(reader, 1) };
    case 'compact': {
      const revision = reader.number();
      const hash = reader.optional();
      return hash === undefined ? { type, revision } : { type, revision, hash };
    }
    case 'lease-grant':
      return { type, id: reader.number(), ttlSeconds: reader.number() };
    case 'lease-revoke': {
      const id = reader.number();
      if (reader.isAtEnd()) return { type, id };
      return { type, id, due: { term: reader.number(), keptAt: reader.number() } };
    }
    case 'lease-keep':
      return { type, id: reader.number() };
    case 'hash-claim': {
      const member = reader.number();
      const revision = reader.number();
      return { type, member, revision, hash: reader.number() };
    }
    case 'range':
    case 'put':
    case 'delete':
      throw new MalformedError('an operation stands only in a transaction');
  }
}

function writeTxn(writer: Writer, { compares, success, failure }: Txn, depth = 1): void {
  assert(depth <= txnDepthMax, `transactions are nested at most ${txnDepthMax} deep`);
  writer.number(compares.length);
  for (const compare of compares) writeCompare(writer, compare);
  for (const branch of [success, failure]) {
    writer.number(branch.length);
    for (const operation of branch) writeOperation(writer, operation, depth);
  }
}

function readTxn(reader: Reader, depth: number): Txn {
  if (depth > txnDepthMax) throw new MalformedError('transactions nested too deep');
  return {
    compares: reader.list(() => readCompare(reader)),
    success: reader.list(() => readOperation(reader, depth)),
    failure: reader.list(() => readOperation(reader, depth)),
  };
}

function writeCompare(writer: Writer, { range, target, relation, operand }: Compare): void {
  writer.range(range);
  writer.byte(targets.indexOf(target));
  writer.byte(relations.indexOf(relation));
  if (typeof operand === 'number') writer.number(operand);
  else writer.bytes(operand);
}

function readCompare(reader: Reader): Compare {
  const range = reader.range();
  const target = reader.choice(targets);
  const relation = reader.choice(relations);
  const operand = target === 'value' ? reader.bytes() : reader.number();
  return { range, target, relation, operand };
}

function writeOperation(writer: Writer, operation: Operation, depth: number): void {
  writer.byte(types.indexOf(operation.type));
  switch (operation.type) {
    case 'range':
      writer.range(operation.range);
      writer.number(operation.revision);
      writer.number(operation.limit);
      writer.flags([operation.keysOnly, operation.countOnly, operation.sort?.isDescending]);
      writer.optional(operation.sort && sorts.indexOf(operation.sort.by));
      writer.optional(operation.modRevisionMin);
      writer.optional(operation.modRevisionMax);
      writer.optional(operation.createRevisionMin);
      writer.optional(operation.createRevisionMax);
      return;
    case 'put':
      writer.key(operation.key);
      writer.bytes(operation.value);
      writer.number(operation.lease);
      writer.flags([operation.wantsPrevious, operation.keepsValue, operation.keepsLease]);
      return;
    case 'delete':
      writer.range(operation.range);
      writer.flags([operation.wantsPrevious]);
      return;
    case 'txn':
      return writeTxn(writer, operation, depth + 1);
    default:
      unreachable(operation);
  }
}

function readOperation(reader: Reader, depth: number): Operation {
  const type = reader.choice(types);
  switch (type) {
    case 'range':
      return readRange(reader);
    case 'put': {
      const key = reader.key();
      const value = reader.bytes();
      const lease = reader.number();
      const [wantsPrevious, keepsValue, keepsLease] = reader.flags();
      return { type, key, value, lease, wantsPrevious, keepsValue, keepsLease };
    }
    case 'delete': {
      const range = reader.range();
      const [wantsPrevious] = reader.flags();
      return { type, range, wantsPrevious };
    }
    case 'txn':
      return { type, ...readTxn(reader, depth + 1) };
    default:
      throw new MalformedError('a command does not stand in a transaction');
  }
}

function readRange(reader: Reader): Operation {
  const range = reader.range();
  const revision = reader.number();
  const limit = reader.number();
  const [keysOnly, countOnly, isDescending] = reader.flags();
  const sort = reader.optional();
  const by = sort === undefined ? undefined : sorts[sort];
  if (sort !== undefined && by === undefined) throw new MalformedError('an unknown order');
  const bounds = {
    modRevisionMin: reader.optional(),
    modRevisionMax: reader.optional(),
    createRevisionMin: reader.optional(),
    createRevisionMax: reader.optional(),
  };
  const options = { ...(by && { sort: { by, isDescending } }), ...definedOf(bounds) };
  return { type: 'range', range, revision, limit, keysOnly, countOnly, ...options };
}

function definedOf(bounds: Record<string, number | undefined>): Record<string, number> {
  const defined: Record<string, number> = {};
  for (const [name, bound] of Object.entries(bounds))
    if (bound !== undefined) defined[name] = bound;
  return defined;
}

class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

class Writer {
  #buffer: Buffer;
  #at = 0;

  constructor(sizeBytes: number) {
    this.#buffer = Buffer.allocUnsafe(sizeBytes);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#at++] = value;
  }

  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `${value} is no number for a command`);
    this.#reserve(8);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80))
      this.#buffer[this.#at++] = (rest % 0x80) | 0x80;
    this.#buffer[this.#at++] = rest;
  }

  /** 0 for undefined, else the number and 1. */
  optional(value: number | undefined): void {
    this.number(value === undefined ? 0 : value + 1);
  }

  flags(values: readonly (boolean | undefined)[]): void {
    this.byte(values.reduce((bits, value, i) => (value === true ? bits | (1 << i) : bits), 0));
  }

  key(key: ByteKey): void {
    this.number(key.length);
    this.#reserve(key.length);
    this.#at += this.#buffer.write(key, this.#at, 'latin1');
  }

  bytes(bytes: Uint8Array): void {
    this.number(bytes.length);
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  range({ key, end }: KeyRange): void {
    this.key(key);
    this.byte(end === undefined ? 0 : 1);
    if (end !== undefined) this.key(end);
  }

  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#at + count, this.#buffer.length * 2));
    larger.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = larger;
  }
}

class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  }

  isAtEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  byte(): number {
    const value = this.#buffer[this.#at++];
    if (value === undefined) throw new MalformedError('too short');
    return value;
  }

  number(): number {
    let value = 0;
    for (let unit = 1; ; unit *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * unit;
      if (value > Number.MAX_SAFE_INTEGER) throw new MalformedError('a number too large');
      if (byte < 0x80) return value;
    }
  }

  optional(): number | undefined {
    const value = this.number();
    return value === 0 ? undefined : value - 1;
  }

  flags(): [boolean, boolean, boolean] {
    const bits = this.byte();
    if (bits > 7) throw new MalformedError('an unknown flag');
    return [(bits & 1) !== 0, (bits & 2) !== 0, (bits & 4) !== 0];
  }

  choice<T>(choices: readonly T[]): T {
    const choice = choices[this.byte()];
    if (choice === undefined) throw new MalformedError('an unknown choice');
    return choice;
  }

  key(): ByteKey {
    const start = this.#take();
    return this.#buffer.toString('latin1', start, this.#at);
  }

  /** A view of the data. */
  bytes(): Uint8Array {
    const start = this.#take();
    const { buffer, byteOffset } = this.#buffer;
    return new Uint8Array(buffer, byteOffset + start, this.#at - start);
  }

  range(): KeyRange {
    const key = this.key();
    switch (this.byte()) {
      case 0:
        return { key };
      case 1:
        return { key, end: this.key() };
      default:
        throw new MalformedError('an unknown kind of range');
    }
  }

  list<T>(read: () => T): T[] {
    const count = this.number();
    // Before a count that only claims to be large makes a loop of it.
    if (count > this.#buffer.length - this.#at) throw new MalformedError('a list too long');
    return Array.from({ length: count }, read);
  }

  /** Moves behind what the length says; where it begins. */
  #take(): number {
    const length = this.number();
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#buffer.length) throw new MalformedError('too short');
    return start;
  }
}
