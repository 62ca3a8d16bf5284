// What a client asks: one message read, and judged. Never throws, whatever the bytes are.
// Sources: RFC 1035 4.1, RFC 6891 (EDNS).
import { readName, skipName } from './names.ts';

export const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
} as const;

export const rcodes = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVers: 16,
} as const;

export const classIn = 1;
export const headerBytes = 12;
/** Of the header's second pair of bytes. */
export const flag = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
} as const;

export interface Question {
  /** In lower case, without the last dot. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Name, type and class as they were sent. */
  readonly bytes: Buffer;
}

export interface Edns {
  /** The largest message that the client takes by UDP. */
  readonly sizeBytes: number;
  readonly wantsDnssec: boolean;
  readonly version: number;
}

export interface Query {
  readonly id: number;
  /** As they were sent. */
  readonly flags: number;
  readonly question: Question;
  readonly edns: Edns | undefined;
}

export type ReadQuery =
  | { readonly kind: 'query'; readonly query: Query }
  /** To be answered with an error, as far as it could be read. */
  | { readonly kind: 'bad'; readonly id: number; readonly flags: number; readonly rcode: number }
  /** An answer, or less than a header: nobody waits for a word. */
  | { readonly kind: 'noise' };

export function readQuery(message: Buffer): ReadQuery {
  if (message.length < headerBytes) return { kind: 'noise' };
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  if ((flags & flag.response) !== 0) return { kind: 'noise' };
  const bad = (rcode: number): ReadQuery => ({ kind: 'bad', id, flags, rcode });
  if (((flags >> 11) & 0xf) !== 0) return bad(rcodes.notImp);
  if (message.readUInt16BE(4) !== 1) return bad(rcodes.formErr);
  const question = readQuestion(message);
  if (question === undefined) return bad(rcodes.formErr);
  const edns = readEdns(message, headerBytes + question.bytes.length);
  if (edns === 'bad') return bad(rcodes.formErr);
  return { kind: 'query', query: { id, flags, question, edns } };
}

export function readQuestion(message: Buffer): Question | undefined {
  const read = readName(message, headerBytes);
  if (read === undefined || !read.isWhole || read.end + 4 > message.length) return undefined;
  return {
    name: read.name,
    type: message.readUInt16BE(read.end),
    class: message.readUInt16BE(read.end + 2),
    bytes: message.subarray(headerBytes, read.end + 4),
  };
}

function readEdns(message: Buffer, start: number): Edns | undefined | 'bad' {
  const before = message.readUInt16BE(6) + message.readUInt16BE(8);
  const count = before + message.readUInt16BE(10);
  let edns: Edns | undefined;
  let at = start;
  for (let i = 0; i < count; i++) {
    const record = readRecord(message, at);
    if (record === undefined) return 'bad';
    at = record.end;
    if (record.type !== types.OPT) continue;
    if (i < before || edns !== undefined || record.dataStart - record.start !== 11) return 'bad';
    edns = {
      sizeBytes: record.class,
      wantsDnssec: (record.ttl & 0x8000) !== 0,
      version: (record.ttl >> 16) & 0xff,
    };
  }
  return edns;
}

export interface RecordPlace {
  readonly start: number;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly ttlStart: number;
  readonly dataStart: number;
  readonly end: number;
}

/** A resource record that stands there; undefined when it is cut off. */
export function readRecord(message: Buffer, start: number): RecordPlace | undefined {
  const at = skipName(message, start);
  if (at === undefined || at + 10 > message.length) return undefined;
  const end = at + 10 + message.readUInt16BE(at + 8);
  if (end > message.length) return undefined;
  return {
    start,
    type: message.readUInt16BE(at),
    class: message.readUInt16BE(at + 2),
    ttl: message.readUInt32BE(at + 4),
    ttlStart: at + 4,
    dataStart: at + 10,
    end,
  };
}
