// D-Bus messages as bytes: what calls to avahi take and give, and no more (strings, paths, signatures, numbers of 32
// bits, bytes, booleans; in headers any of them as a variant). Little-endian, as all machines that we run on.
// Pure. Source: D-Bus Specification, "Type System", "Message Protocol".

export type MessageType = 'call' | 'return' | 'error' | 'signal';
export type Value = string | number | boolean;

export interface BusMessage {
  readonly type: MessageType;
  readonly serial: number;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly sender?: string;
  /** Of the body, such as `iiuss`. */
  readonly signature?: string;
  readonly body: readonly Value[];
}

const types = ['call', 'return', 'error', 'signal'] as const;
const littleEndian = 0x6c;
const protocolVersion = 1;
/** Nobody is started by being called. */
const noAutoStart = 2;
const fixedHeaderBytes = 16;
/** The protocol's own bound is 128 MiB; nobody whom we ask has so much to say. */
const messageBytesMax = 1024 * 1024;

/** Header fields by their number. */
const fields = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replySerial: [5, 'u'],
  destination: [6, 's'],
  sender: [7, 's'],
  signature: [8, 'g'],
} as const;
type Field = keyof typeof fields;
const fieldNames = new Map(Object.entries(fields).map(([name, [code]]) => [code, name as Field]));

/** Of what is read of a header, before it is known to be all there. */
type Header = Partial<Record<Field, string & number>>;

export class BusProtocolError extends Error {
  override readonly name = 'BusProtocolError';
}

export function encode(message: BusMessage): Buffer {
  const body = new Writer();
  for (const [i, type] of typesOf(message.signature).entries())
    body.value(type, message.body[i] ?? '');
  const bodyBytes = body.bytes();
  const header = new Writer();
  for (const value of [littleEndian, types.indexOf(message.type) + 1, noAutoStart, protocolVersion])
    header.value('y', value);
  header.value('u', bodyBytes.length);
  header.value('u', message.serial);
  header.array(() => {
    for (const [name, [code, type]] of Object.entries(fields) as [Field, [number, string]][]) {
      const value = message[name];
      if (value === undefined) continue;
      header.pad(8);
      header.value('y', code);
      header.value('g', type);
      header.value(type, value);
    }
  });
  header.pad(8);
  return Buffer.concat([header.bytes(), bodyBytes]);
}

/** The first message in `bytes`, and how many it took; undefined: it is not all there yet. */
export function decode(
  bytes: Buffer,
): { readonly message: BusMessage; readonly length: number } | undefined {
  if (bytes.length < fixedHeaderBytes) return undefined;
  if (bytes[0] !== littleEndian || bytes[3] !== protocolVersion)
    throw new BusProtocolError('a message of another byte order or version');
  const bodyLength = bytes.readUInt32LE(4);
  const fieldsEnd = fixedHeaderBytes + bytes.readUInt32LE(12);
  const bodyStart = aligned(fieldsEnd, 8);
  const length = bodyStart + bodyLength;
  if (length > messageBytesMax) throw new BusProtocolError(`a message of ${length} bytes`);
  if (bytes.length < length) return undefined;
  const type = types[(bytes[1] ?? 0) - 1];
  // Of a kind that is not known yet: to be passed over.
  if (type === undefined) return { message: { type: 'signal', serial: 0, body: [] }, length };
  const header = readFields(new Reader(bytes.subarray(0, fieldsEnd), fixedHeaderBytes));
  const body = readBody(bytes.subarray(bodyStart, length), header.signature ?? '');
  return { message: { type, serial: bytes.readUInt32LE(8), ...header, body }, length };
}

function readFields(reader: Reader): Header {
  const header: Partial<Record<string, Value>> = {};
  while (!reader.isAtEnd) {
    reader.pad(8);
    const code = reader.value('y') as number;
    const value = reader.value(reader.value('g') as string);
    const name = fieldNames.get(code as never);
    if (name !== undefined) header[name] = value;
  }
  return header;
}

/** As far as its types are known here; what comes after them is left out. */
function readBody(bytes: Buffer, signature: string): Value[] {
  const reader = new Reader(bytes, 0);
  const known = /^[sogyuib]*/.exec(signature)?.[0];
  return typesOf(known).map((type) => reader.value(type));
}

/** Each is a letter. */
function typesOf(signature = ''): string[] {
  return signature.split('');
}

function aligned(offset: number, to: number): number {
  return Math.ceil(offset / to) * to;
}

class Writer {
  #parts: Buffer[] = [];
  #length = 0;

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  pad(to: number): void {
    this.#add(Buffer.alloc(aligned(this.#length, to) - this.#length));
  }

  value(type: string, value: Value): void {
    if (type === 'y') return this.#add(Buffer.of(Number(value)));
    if (type === 'g') {
      const text = Buffer.from(String(value));
      return this.#add(Buffer.from([text.length, ...text, 0]));
    }
    this.pad(4);
    if (type === 's' || type === 'o') {
      const text = Buffer.from(String(value));
      this.#add(uint32(text.length));
      return this.#add(Buffer.from([...text, 0]));
    }
    if (type !== 'u' && type !== 'i' && type !== 'b')
      throw new BusProtocolError(`type ${type} can't be written`);
    // As two's complement where it is below zero.
    this.#add(uint32(Number(value) >>> 0));
  }

  /** Of structs: what `write` adds, with its length before it. */
  array(write: () => void): void {
    this.pad(4);
    const at = this.#parts.push(Buffer.alloc(4)) - 1;
    this.#length += 4;
    this.pad(8);
    const start = this.#length;
    write();
    this.#parts[at] = uint32(this.#length - start);
  }

  #add(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  pad(to: number): void {
    this.#at = aligned(this.#at, to);
  }

  value(type: string): Value {
    switch (type) {
      case 'y':
        return this.#take(1)[0] ?? 0;
      case 'g':
        return this.#text(this.#take(1)[0] ?? 0);
      case 's':
      case 'o':
        return this.#text(this.value('u') as number);
      case 'u':
        this.pad(4);
        return this.#take(4).readUInt32LE();
      case 'i':
        this.pad(4);
        return this.#take(4).readInt32LE();
      case 'b':
        return this.value('u') !== 0;
      default:
        throw new BusProtocolError(`type ${type} can't be read`);
    }
  }

  /** With the zero byte after it. */
  #text(length: number): string {
    return this.#take(length + 1)
      .subarray(0, length)
      .toString('utf8');
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new BusProtocolError('a message ends before its values do');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
