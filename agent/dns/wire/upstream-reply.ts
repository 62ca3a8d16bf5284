// What another server answered, kept as its bytes: record types that nobody here knows pass through as they
// are. Read once for what a cache has to know: how long it holds, where its times to live stand, where
// it may be cut. Never throws, whatever the bytes are.
// Sources: RFC 2308 (how long "no" holds), RFC 2181 5.2, RFC 6891.
import { firstLabel, readName, suffixesOf } from './names.ts';
import {
  classIn,
  flag,
  headerBytes,
  rcodes,
  readQuestion,
  readRecord,
  types,
  type Query,
  type Question,
  type RecordPlace,
} from './query.ts';
import { optBytes, tcpBytesMax, udpBytesMax, writeOpt, type DnsRecord } from './reply.ts';

export interface UpstreamReply {
  /** Without EDNS' record, which is between two neighbours only. */
  readonly bytes: Buffer;
  readonly rcode: number;
  readonly isTruncated: boolean;
  /** How long it may be kept; undefined: not at all. */
  readonly ttlSeconds: number | undefined;
  readonly ttlStarts: readonly number[];
  /** Ends of the records of answer, authority and additional. */
  readonly ends: readonly [readonly number[], readonly number[], readonly number[]];
}

const positiveMaxSeconds = 3_600;
const negativeMaxSeconds = 300;

/** A question to another server, with EDNS unless it does not understand that. */
export function encodeQuestion(
  question: Question,
  options: { id: number; flags: number; wantsDnssec: boolean; withEdns: boolean },
): Buffer {
  const length = headerBytes + question.bytes.length;
  const message = Buffer.alloc(length + (options.withEdns ? optBytes : 0));
  message.writeUInt16BE(options.id, 0);
  message.writeUInt16BE(flag.recursionDesired | options.flags, 2);
  message.writeUInt16BE(1, 4);
  message.writeUInt16BE(options.withEdns ? 1 : 0, 10);
  question.bytes.copy(message, headerBytes);
  if (!options.withEdns) return message;
  message.writeUInt16BE(types.OPT, length + 1);
  message.writeUInt16BE(udpBytesMax, length + 3);
  if (options.wantsDnssec) message[length + 7] = 0x80;
  return message;
}

/** Undefined when it is no answer to that question. */
export function readUpstreamReply(
  message: Buffer,
  asked: { readonly id: number; readonly question: Question },
): UpstreamReply | undefined {
  if (message.length < headerBytes || message.length > tcpBytesMax) return undefined;
  const flags = message.readUInt16BE(2);
  if (message.readUInt16BE(0) !== asked.id || (flags & flag.response) === 0) return undefined;
  const own = message.readUInt16BE(4) === 1 ? readQuestion(message) : undefined;
  if (own === undefined || !isSame(own, asked.question)) return undefined;
  const sections = readSections(message, headerBytes + own.bytes.length);
  if (sections === undefined) return undefined;
  const [answers, authorities, additionals] = sections;
  const opt = additionals.find(({ type }) => type === types.OPT);
  const rcode = (flags & 0xf) | (opt === undefined ? 0 : (opt.ttl >>> 24) << 4);
  // Records behind EDNS' would point to other places without it: they are never needed.
  const kept = opt === undefined ? additionals : additionals.slice(0, additionals.indexOf(opt));
  const end = opt?.start ?? message.length;
  const all = [answers, authorities, kept] as const;
  return {
    bytes: Buffer.from(message.subarray(0, end)),
    rcode,
    isTruncated: (flags & flag.truncated) !== 0,
    ttlSeconds: holdsSeconds(message, rcode, all),
    ttlStarts: all.flatMap((places) => places.map(({ ttlStart }) => ttlStart)),
    ends: [endsOf(answers), endsOf(authorities), endsOf(kept)],
  };
}

function isSame(a: Question, b: Question): boolean {
  return a.name === b.name && a.type === b.type && a.class === b.class;
}

function endsOf(places: readonly RecordPlace[]): number[] {
  return places.map(({ end }) => end);
}

type Sections = readonly [readonly RecordPlace[], readonly RecordPlace[], readonly RecordPlace[]];

function readSections(message: Buffer, start: number): Sections | undefined {
  let at = start;
  const sections: RecordPlace[][] = [];
  for (const countAt of [6, 8, 10]) {
    const places: RecordPlace[] = [];
    for (let left = message.readUInt16BE(countAt); left > 0; left--) {
      const place = readRecord(message, at);
      if (place === undefined) return undefined;
      places.push(place);
      at = place.end;
    }
    sections.push(places);
  }
  const [answers = [], authorities = [], additionals = []] = sections;
  return [answers, authorities, additionals];
}

function holdsSeconds(
  message: Buffer,
  rcode: number,
  [answers, authorities]: Sections,
): number | undefined {
  if (rcode !== rcodes.noError && rcode !== rcodes.nxDomain) return undefined;
  const least = Math.min(...answers.map(({ ttl }) => positive(ttl)));
  const soa = authorities.find(({ type }) => type === types.SOA);
  const isNegative = rcode === rcodes.nxDomain || answers.length === 0;
  if (!isNegative) return Math.min(least, positiveMaxSeconds) || undefined;
  if (soa === undefined || soa.end - soa.dataStart < 22) return undefined;
  const minimum = positive(message.readUInt32BE(soa.end - 4));
  return Math.min(least, positive(soa.ttl), minimum, negativeMaxSeconds) || undefined;
}

/** One with its highest bit set counts as none. */
function positive(ttl: number): number {
  return ttl > 0x7fff_ffff ? 0 : ttl;
}

export interface Delivery {
  /** How long it lay here. */
  readonly ageSeconds: number;
  /** The time to live of one that is out of date. */
  readonly staleTtlSeconds?: number;
  readonly limitBytes: number;
}

/** As an answer to this client: its id, its way to write the name, the time that has passed. */
export function deliver(reply: UpstreamReply, query: Query, delivery: Delivery): Buffer {
  const room = delivery.limitBytes - (query.edns === undefined ? 0 : optBytes);
  const { counts, end, isCut } = fitting(reply, query, room);
  const message = Buffer.allocUnsafe(end + (query.edns === undefined ? 0 : optBytes));
  reply.bytes.copy(message, 0, 0, end);
  query.question.bytes.copy(message, headerBytes);
  const wantsProof = query.edns?.wantsDnssec === true || (query.flags & flag.authenticData) !== 0;
  const kept = flag.truncated | (wantsProof ? flag.authenticData : 0);
  const flags =
    (reply.bytes.readUInt16BE(2) & kept) |
    flag.response |
    flag.recursionAvailable |
    (query.flags & (flag.recursionDesired | flag.checkingDisabled)) |
    (isCut ? flag.truncated : 0) |
    (reply.rcode & 0xf);
  const header = [query.id, flags, 1, counts[0], counts[1], counts[2]];
  if (query.edns !== undefined) header[5] = counts[2] + 1;
  header.forEach((value, index) => message.writeUInt16BE(value, index * 2));
  for (const start of reply.ttlStarts)
    if (start + 4 <= end) message.writeUInt32BE(agedTtl(reply, start, delivery), start);
  if (query.edns !== undefined) writeOpt(message, end, query, reply.rcode);
  return message;
}

function agedTtl(reply: UpstreamReply, start: number, delivery: Delivery): number {
  if (delivery.staleTtlSeconds !== undefined) return delivery.staleTtlSeconds;
  return Math.max(0, positive(reply.bytes.readUInt32BE(start)) - delivery.ageSeconds);
}

interface Fitting {
  readonly counts: readonly [number, number, number];
  readonly end: number;
  readonly isCut: boolean;
}

/** Whole records from the front. Losing additional ones only is no truncation. */
function fitting({ bytes, ends }: UpstreamReply, query: Query, room: number): Fitting {
  const [answers, authorities, additionals] = ends;
  const start = headerBytes + query.question.bytes.length;
  const all = [answers.length, authorities.length, additionals.length] as const;
  if (bytes.length <= room) return { counts: all, end: bytes.length, isCut: false };
  const last = (places: readonly number[], from: number): [number, number] => {
    const count = places.filter((place) => place <= room).length;
    return [count, places[count - 1] ?? from];
  };
  const [answerCount, answerEnd] = last(answers, start);
  if (answerCount < answers.length)
    return { counts: [answerCount, 0, 0], end: answerEnd, isCut: true };
  const [authorityCount, authorityEnd] = last(authorities, answerEnd);
  const isCut = authorityCount < authorities.length;
  return {
    counts: [answerCount, isCut ? 0 : authorityCount, 0],
    end: isCut ? answerEnd : authorityEnd,
    isCut,
  };
}

/** Its answers as records of ours, names in them whole; those that are broken are left out. */
export function answersOf({ bytes, ends }: UpstreamReply, ageSeconds: number): DnsRecord[] {
  const [answers] = ends;
  const question = readQuestion(bytes);
  let start = headerBytes + (question?.bytes.length ?? 0);
  return answers.flatMap((end) => {
    const place = readRecord(bytes, start);
    start = end;
    const owner = place && readName(bytes, place.start);
    if (place === undefined || owner === undefined || place.class !== classIn) return [];
    const ttl = Math.max(0, positive(place.ttl) - ageSeconds);
    const data = wholeData(bytes, place);
    if (data === undefined) return [];
    return [{ name: owner.name, ttl, type: 'other', number: place.type, data } as const];
  });
}

/** Types with a name in their data that may be compressed, and what stands before it. */
const nameAfterBytes: Readonly<Record<number, number>> = {
  [types.NS]: 0,
  [types.CNAME]: 0,
  [types.PTR]: 0,
  [types.MX]: 2,
  [types.SRV]: 6,
};

function wholeData(bytes: Buffer, place: RecordPlace): Buffer | undefined {
  const before = nameAfterBytes[place.type];
  if (place.type === types.SOA) return undefined;
  if (before === undefined) return bytes.subarray(place.dataStart, place.end);
  const nameStart = place.dataStart + before;
  const read = readName(bytes, nameStart);
  if (read === undefined || read.end !== place.end) return undefined;
  return Buffer.concat([bytes.subarray(place.dataStart, nameStart), nameBytes(read.name)]);
}

function nameBytes(name: string): Buffer {
  const parts = suffixesOf(name).flatMap((suffix) => {
    const label = firstLabel(suffix);
    return [Buffer.from([label.length]), label];
  });
  return Buffer.concat([...parts, Buffer.from([0])]);
}
