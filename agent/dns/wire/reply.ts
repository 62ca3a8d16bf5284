// Answers of our own as bytes. The question stands as it was asked (clients compare letter by letter),
// names are compressed: many clients in containers know neither EDNS nor TCP, so 512 bytes have to do.
// Sources: RFC 1035 4.1, RFC 2782 (the target of SRV is not compressed), RFC 6891.
import { addressBytes } from './addresses.ts';
import { firstLabel, suffixesOf } from './names.ts';
import { classIn, flag, headerBytes, types, type Query } from './query.ts';

interface Owned {
  readonly name: string;
  readonly ttl: number;
}

export type DnsRecord = Owned &
  (
    | { readonly type: 'A' | 'AAAA'; readonly address: string }
    | { readonly type: 'CNAME' | 'PTR' | 'NS'; readonly target: string }
    | {
        readonly type: 'SRV';
        readonly weight: number;
        readonly port: number;
        readonly target: string;
      }
    | { readonly type: 'TXT'; readonly text: string }
    | {
        readonly type: 'SOA';
        readonly server: string;
        readonly mailbox: string;
        readonly serial: number;
      }
    /** Somebody else's, with whole names in it. */
    | { readonly type: 'other'; readonly number: number; readonly data: Buffer }
  );

export interface Reply {
  readonly rcode: number;
  readonly isAuthoritative: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  /** Left out where they don't fit. */
  readonly additionals: readonly DnsRecord[];
}

/** What we take and send by UDP: no fragments anywhere (DNS flag day 2020). */
export const udpBytesMax = 1232;
const plainUdpBytesMax = 512;
export const tcpBytesMax = 65_535;
const optBytes = 11;
/** Of the zone's SOA, as CoreDNS has them; nobody transfers the zone. */
const soaTimes = { refresh: 7200, retry: 1800, expire: 86_400 };

/** How long an answer to this query may be. */
export function limitOf(query: Query, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return tcpBytesMax;
  return Math.min(Math.max(query.edns?.sizeBytes ?? 0, plainUdpBytesMax), udpBytesMax);
}

export function failure(rcode: number): Reply {
  return { rcode, isAuthoritative: false, answers: [], authorities: [], additionals: [] };
}

/** With as many answers as fit, and marked as truncated when some don't. */
export function encodeReply(query: Query, reply: Reply, limitBytes: number): Buffer {
  const room = limitBytes - (query.edns === undefined ? 0 : optBytes);
  const writer = new Writer(query.question.name, query.question.bytes, room);
  const answers = writer.addAll(reply.answers);
  const authorities = writer.addAll(reply.authorities);
  const isTruncated = answers < reply.answers.length || authorities < reply.authorities.length;
  const additionals = isTruncated ? 0 : writer.addAll(reply.additionals);
  const flags =
    flag.response |
    flag.recursionAvailable |
    (query.flags & (flag.recursionDesired | flag.checkingDisabled)) |
    (reply.isAuthoritative ? flag.authoritative : 0) |
    (isTruncated ? flag.truncated : 0) |
    (reply.rcode & 0xf);
  const counts = [1, answers, authorities, additionals + (query.edns === undefined ? 0 : 1)];
  return writer.finish(query, [query.id, flags, ...counts], reply.rcode);
}

/** To what could not be read as a question: a header alone. */
export function encodeError(id: number, flags: number, rcode: number): Buffer {
  const message = Buffer.alloc(headerBytes);
  const kept = flags & (0x7800 | flag.recursionDesired);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(flag.response | kept | rcode, 2);
  return message;
}

/** Ours, at the end of an answer to a client that speaks EDNS. */
export function writeOpt(message: Buffer, at: number, query: Query, rcode: number): void {
  message.fill(0, at, at + optBytes);
  message.writeUInt16BE(types.OPT, at + 1);
  message.writeUInt16BE(udpBytesMax, at + 3);
  message[at + 5] = rcode >> 4;
  if (query.edns?.wantsDnssec === true) message[at + 7] = 0x80;
}
export { optBytes };

class Writer {
  readonly #bytes: Buffer;
  readonly #limit: number;
  readonly #asked: string;
  /** Where the rest of a name was written before. Most answers have no name but the one asked for. */
  #known: Map<string, number> | undefined;
  #at: number;

  constructor(name: string, question: Buffer, limit: number) {
    this.#asked = name;
    this.#limit = limit;
    this.#bytes = Buffer.allocUnsafe(Math.min(limit, 65_535) + optBytes);
    question.copy(this.#bytes, headerBytes);
    this.#at = headerBytes + question.length;
  }

  /** How many of them fit. */
  addAll(records: readonly DnsRecord[]): number {
    for (const [index, record] of records.entries()) if (!this.#add(record)) return index;
    return records.length;
  }

  finish(query: Query, header: readonly number[], rcode: number): Buffer {
    header.forEach((value, index) => this.#bytes.writeUInt16BE(value, index * 2));
    if (query.edns === undefined) return this.#bytes.subarray(0, this.#at);
    writeOpt(this.#bytes, this.#at, query, rcode);
    return this.#bytes.subarray(0, this.#at + optBytes);
  }

  /** All of it or nothing. */
  #add(record: DnsRecord): boolean {
    const start = this.#at;
    try {
      this.#name(record.name, true);
      this.#uint16(record.type === 'other' ? record.number : types[record.type]);
      this.#uint16(classIn);
      this.#uint32(record.ttl);
      const lengthAt = this.#at;
      this.#uint16(0);
      this.#data(record);
      this.#bytes.writeUInt16BE(this.#at - lengthAt - 2, lengthAt);
      return true;
    } catch (error) {
      if (!(error instanceof FullError)) throw error;
      this.#at = start;
      for (const [name, at] of this.#known ?? []) if (at >= start) this.#known?.delete(name);
      return false;
    }
  }

  #data(record: DnsRecord): void {
    switch (record.type) {
      case 'A':
      case 'AAAA':
        return this.#raw(addressBytes(record.address) ?? Buffer.alloc(0));
      case 'CNAME':
      case 'PTR':
      case 'NS':
        return this.#name(record.target, true);
      case 'SRV':
        this.#uint16(0);
        this.#uint16(record.weight);
        this.#uint16(record.port);
        return this.#name(record.target, false);
      case 'TXT':
        return this.#raw(Buffer.from([record.text.length, ...Buffer.from(record.text)]));
      case 'SOA':
        this.#name(record.server, true);
        this.#name(record.mailbox, true);
        this.#uint32(record.serial);
        this.#uint32(soaTimes.refresh);
        this.#uint32(soaTimes.retry);
        this.#uint32(soaTimes.expire);
        return this.#uint32(record.ttl);
      case 'other':
        return this.#raw(record.data);
    }
  }

  #name(name: string, mayCompress: boolean): void {
    if (mayCompress && name === this.#asked && name !== '')
      return this.#uint16(0xc000 | headerBytes);
    const known = (this.#known ??= this.#partsOfQuestion());
    for (const suffix of suffixesOf(name)) {
      const at = mayCompress ? known.get(suffix) : undefined;
      if (at !== undefined) return this.#uint16(0xc000 | at);
      // What lies further back than a pointer reaches is written anew each time.
      if (this.#at < 0x4000 && !known.has(suffix)) known.set(suffix, this.#at);
      const label = firstLabel(suffix);
      this.#byte(label.length);
      this.#raw(label);
    }
    this.#byte(0);
  }

  #partsOfQuestion(): Map<string, number> {
    const parts = new Map<string, number>();
    let at = headerBytes;
    for (const suffix of suffixesOf(this.#asked)) {
      parts.set(suffix, at);
      at += 1 + (this.#bytes[at] ?? 0);
    }
    return parts;
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  #uint16(value: number): void {
    this.#reserve(2);
    this.#at = this.#bytes.writeUInt16BE(value, this.#at);
  }

  #uint32(value: number): void {
    this.#reserve(4);
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  #raw(bytes: Buffer): void {
    this.#reserve(bytes.length);
    this.#at += bytes.copy(this.#bytes, this.#at);
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes > this.#limit) throw new FullError();
  }
}

class FullError extends Error {
  override readonly name = 'FullError';
}
