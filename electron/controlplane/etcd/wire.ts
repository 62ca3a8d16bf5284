// Protocol Buffers' wire format, by tables: a message is its fields' numbers and kinds, and encoding
// and decoding follow from them. Integers are JavaScript numbers: one beyond 2^53 is refused, but
// for ids, which nobody calculates with. Messages are written from their end to their start, so
// that a length is known when it is to be written.
// Source: protobuf.dev/programming-guides/encoding.

/** A message could not be read: it is cut off, or holds what we can't represent. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

/**
 * `int`: any integer type. `id`: one whose last bits may be lost beyond 2^53. `key`: bytes as a
 * string of one UTF-16 unit each (ByteKey). `bytes` are views of the message, not copies.
 */
export type ScalarKind = 'int' | 'id' | 'bool' | 'bytes' | 'key' | 'string';

type AnyMessage = MessageType<object>;
/** Types that hold each other are named by a function. */
type Kind = ScalarKind | AnyMessage | (() => AnyMessage);

export interface Field {
  readonly number: number;
  readonly kind: Kind;
  readonly isRepeated: boolean;
}

export type Fields<T> = { readonly [K in keyof Required<T>]: Field };

export function one(number: number, kind: Kind): Field {
  return { number, kind, isRepeated: false };
}

export function many(number: number, kind: Kind): Field {
  return { number, kind, isRepeated: true };
}

interface NamedField extends Field {
  readonly name: string;
}

const noBytes = new Uint8Array();

/** What a singular field is when the message does not say. */
function defaultOf(kind: Kind): unknown {
  if (typeof kind !== 'string') return undefined;
  if (kind === 'int' || kind === 'id') return 0;
  if (kind === 'bool') return false;
  return kind === 'bytes' ? noBytes : '';
}

function typeOf(kind: Kind): AnyMessage | ScalarKind {
  return typeof kind === 'function' ? kind() : kind;
}

export class MessageType<T extends object> {
  /** By number, highest first: the order of writing. */
  readonly #fields: readonly NamedField[];
  readonly #byNumber: readonly (NamedField | undefined)[];
  readonly #defaults: Readonly<Record<string, unknown>>;
  readonly #repeated: readonly string[];

  constructor(fields: Fields<T>) {
    const named = Object.entries<Field>(fields).map(([name, field]) => ({ name, ...field }));
    this.#fields = named.toSorted((a, b) => b.number - a.number);
    const byNumber: (NamedField | undefined)[] = [];
    for (const field of named) byNumber[field.number] = field;
    this.#byNumber = byNumber;
    this.#repeated = named.filter((field) => field.isRepeated).map((field) => field.name);
    this.#defaults = Object.fromEntries(named.map(({ name, kind }) => [name, defaultOf(kind)]));
  }

  /** A whole message: `given`, and the defaults of everything else. */
  make(given: Partial<T> = {}): T {
    return { ...this.#blank(), ...given } as T;
  }

  encode(message: T): Buffer {
    const writer = new Writer();
    this.write(message, writer);
    return writer.take();
  }

  /** The message behind gRPC's five bytes: not compressed, its length. */
  encodeFrame(message: T): Buffer {
    const writer = new Writer();
    this.write(message, writer);
    writer.frame();
    return writer.take();
  }

  /** Throws WireError. */
  decode(bytes: Uint8Array): T {
    const reader = new Reader(bytes);
    return this.read(reader, bytes.byteLength);
  }

  write(message: T, writer: Writer): void {
    const record = message as Readonly<Record<string, unknown>>;
    for (const field of this.#fields) {
      const value = record[field.name];
      if (value === undefined) continue;
      const kind = typeOf(field.kind);
      if (field.isRepeated) {
        const values = value as readonly unknown[];
        for (let i = values.length - 1; i >= 0; i--)
          writeField(writer, field.number, kind, values[i]);
      } else if (typeof kind !== 'string' || !isDefault(value)) {
        writeField(writer, field.number, kind, value);
      }
    }
  }

  read(reader: Reader, end: number): T {
    const record = this.#blank();
    while (reader.at < end) {
      const tag = reader.varint();
      const field = this.#byNumber[tag >>> 3];
      if (field === undefined) reader.skip(tag & 7);
      else readField(reader, record, field, tag & 7);
    }
    if (reader.at !== end) throw new WireError('a field is longer than its message');
    return record as T;
  }

  #blank(): Record<string, unknown> {
    const record: Record<string, unknown> = { ...this.#defaults };
    for (const name of this.#repeated) record[name] = [];
    return record;
  }
}

function isDefault(value: unknown): boolean {
  if (typeof value === 'object') return (value as Uint8Array).byteLength === 0;
  return value === 0 || value === false || value === '';
}

function writeField(
  writer: Writer,
  number: number,
  kind: AnyMessage | ScalarKind,
  value: unknown,
): void {
  if (kind === 'int' || kind === 'id' || kind === 'bool') {
    writer.varint(Number(value));
    writer.varint(number * 8);
    return;
  }
  const before = writer.length;
  if (typeof kind !== 'string') kind.write(value as object, writer);
  else if (kind === 'bytes') writer.bytes(value as Uint8Array);
  else writer.text(value as string, kind === 'key' ? 'latin1' : 'utf8');
  writer.varint(writer.length - before);
  writer.varint(number * 8 + 2);
}

function readField(
  reader: Reader,
  record: Record<string, unknown>,
  field: NamedField,
  wireType: number,
): void {
  const kind = typeOf(field.kind);
  const isNumber = kind === 'int' || kind === 'id' || kind === 'bool';
  if (isNumber && wireType === 2 && field.isRepeated) {
    const end = reader.varint() + reader.at;
    while (reader.at < end) (record[field.name] as unknown[]).push(readScalar(reader, kind));
    return;
  }
  if (wireType !== (isNumber ? 0 : 2))
    throw new WireError(`field ${field.name} has wire type ${wireType}`);
  const value =
    typeof kind === 'string' ? readScalar(reader, kind) : kind.read(reader, reader.block());
  if (field.isRepeated) (record[field.name] as unknown[]).push(value);
  else record[field.name] = value;
}

function readScalar(reader: Reader, kind: ScalarKind): unknown {
  if (kind === 'bool') return reader.varint() !== 0;
  if (kind === 'id') return reader.varint();
  if (kind === 'int') {
    const value = reader.varint();
    if (Number.isSafeInteger(value)) return value;
    throw new WireError(`${value} is beyond the integers that can be told apart (2^53)`);
  }
  return reader.content(kind);
}

/** Grows to the front; `length` bytes are written. */
class Writer {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 1024;

  get length(): number {
    return this.#buffer.length - this.#at;
  }

  take(): Buffer {
    return this.#buffer.subarray(this.#at);
  }

  #reserve(size: number): number {
    if (size > this.#at) {
      const grown = Buffer.allocUnsafe((this.length + size) * 2);
      this.#buffer.copy(grown, grown.length - this.length, this.#at);
      this.#at += grown.length - this.#buffer.length;
      this.#buffer = grown;
    }
    this.#at -= size;
    return this.#at;
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.byteLength);
    this.#buffer.set(value, at);
  }

  text(value: string, encoding: 'latin1' | 'utf8'): void {
    const size = encoding === 'latin1' ? value.length : Buffer.byteLength(value);
    const at = this.#reserve(size);
    this.#buffer.write(value, at, size, encoding);
  }

  frame(): void {
    const { length } = this;
    const at = this.#reserve(5);
    this.#buffer[at] = 0;
    this.#buffer.writeUInt32BE(length, at + 1);
  }

  varint(value: number): void {
    if (value < 0) return this.#negative(value);
    let size = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
    let at = this.#reserve(size);
    let rest = value;
    for (; rest >= 2 ** 31; rest = Math.floor(rest / 128)) this.#buffer[at++] = (rest % 128) | 128;
    for (; rest >= 128; rest >>>= 7) this.#buffer[at++] = (rest & 127) | 128;
    this.#buffer[at] = rest;
  }

  /** As the 64-bit two's complement: always ten bytes. */
  #negative(value: number): void {
    const at = this.#reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let i = 0; i < 9; i++, rest >>= 7n) this.#buffer[at + i] = Number(rest & 127n) | 128;
    this.#buffer[at + 9] = Number(rest);
  }
}

class Reader {
  at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** 64 bits, signed. */
  varint(): number {
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 127) << shift;
      if (byte < 128) return low;
    }
    let high = 0;
    for (let weight = 1, count = 0; count < 6; weight *= 128, count++) {
      const byte = this.#byte();
      high += (byte & 127) * weight;
      if (byte < 128) return signed(high, low);
    }
    throw new WireError('a number is longer than ten bytes');
  }

  #byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new WireError('the message is cut off');
    return byte;
  }

  /** Where the block that begins here ends. */
  block(): number {
    const length = this.varint();
    const end = this.at + length;
    if (length < 0 || end > this.#bytes.length) throw new WireError('the message is cut off');
    return end;
  }

  content(kind: 'bytes' | 'key' | 'string'): Uint8Array | string {
    const end = this.block();
    const start = this.at;
    this.at = end;
    if (kind === 'bytes')
      return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + start, end - start);
    return this.#bytes.toString(kind === 'key' ? 'latin1' : 'utf8', start, end);
  }

  skip(wireType: number): void {
    if (wireType === 0) this.varint();
    else if (wireType === 1) this.at += 8;
    else if (wireType === 2) this.at = this.block();
    else if (wireType === 5) this.at += 4;
    else throw new WireError(`wire type ${wireType} is unknown`);
  }
}

/** From bits 28 and up, and the 28 below. Exact up to 2^53; also for small negative numbers. */
function signed(high: number, low: number): number {
  // Bit 63 is bit 35 of `high`.
  const value = high >= 2 ** 35 ? high - 2 ** 36 : high;
  return value * 2 ** 28 + low;
}
