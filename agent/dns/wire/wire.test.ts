// Our reading and writing of messages, beside dns-packet's, and with bytes that nobody should send.
import { packet, type Answer, type Packet } from '../../../test/setup/dns-packet.ts';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ask, told } from '../../../test/setup/dns-messages.ts';
import { addressBytes, addressKey } from './addresses.ts';
import { addressOfReverse, isName, readName } from './names.ts';
import { readQuery, type Query } from './query.ts';
import { encodeReply, failure, limitOf, type DnsRecord } from './reply.ts';
import {
  answersOf,
  deliver,
  encodeQuestion,
  readUpstreamReply,
  type UpstreamReply,
} from './upstream-reply.ts';

function queryOf(message: Buffer): Query {
  const read = readQuery(message);
  if (read.kind !== 'query') throw new Error(read.kind);
  return read.query;
}

describe('a question', () => {
  it('is read with its case, its size and its wishes', () => {
    const message = ask('WwW.Example.COM', 'AAAA', { id: 99, ednsBytes: 4096, wantsDnssec: true });
    const { id, question, edns } = queryOf(message);
    expect({ id, ...question, bytes: question.bytes.toString('latin1').slice(1, 4) }).toEqual({
      id: 99,
      name: 'www.example.com',
      type: 28,
      class: 1,
      bytes: 'WwW',
    });
    expect(edns).toEqual({ sizeBytes: 4096, wantsDnssec: true, version: 0 });
  });

  const header = (flags: number, counts: readonly number[], rest: readonly number[] = []) => {
    const bytes = [7, flags, ...counts].flatMap((value) => [value >> 8, value & 0xff]);
    return Buffer.from([...bytes, ...rest]);
  };
  const root = [0, 0, 1, 0, 1];
  const opt = [0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0];
  const cases: { name: string; given: Buffer; want: object }[] = [
    { name: 'too short', given: Buffer.alloc(11), want: { kind: 'noise' } },
    { name: 'an answer', given: header(0x8000, [1, 0, 0, 0], root), want: { kind: 'noise' } },
    { name: 'another operation', given: header(0x2800, [1, 0, 0, 0], root), want: { rcode: 4 } },
    { name: 'none', given: header(0, [0, 0, 0, 0]), want: { rcode: 1 } },
    { name: 'two', given: header(0, [2, 0, 0, 0], [...root, ...root]), want: { rcode: 1 } },
    { name: 'cut off', given: header(0, [1, 0, 0, 0], [0, 0, 1]), want: { rcode: 1 } },
    { name: 'a name cut off', given: header(0, [1, 0, 0, 0], [3, 97]), want: { rcode: 1 } },
    {
      name: 'a name that points at itself',
      given: header(0, [1, 0, 0, 0], [0xc0, 12, 0, 1, 0, 1]),
      want: { rcode: 1 },
    },
    { name: 'records missing', given: header(0, [1, 0, 0, 1], root), want: { rcode: 1 } },
    {
      name: 'EDNS twice',
      given: header(0, [1, 0, 0, 2], [...root, ...opt, ...opt]),
      want: { rcode: 1 },
    },
    {
      name: 'EDNS among answers',
      given: header(0, [1, 1, 0, 0], [...root, ...opt]),
      want: { rcode: 1 },
    },
    { name: 'the root', given: header(0, [1, 0, 0, 0], root), want: { kind: 'query' } },
  ];
  it.each(cases)('that is $name', ({ given, want }) => {
    expect(readQuery(given)).toMatchObject(want);
  });
});

describe('names', () => {
  it('keep a dot within a label apart from one between labels', () => {
    const bytes = Buffer.from([3, 0x61, 0x2e, 0x62, 1, 0x5c, 0]);
    expect(readName(bytes, 0)).toEqual({ name: 'a\\.b.\\\\', end: 7, isWhole: true });
  });

  it('have labels of 63 bytes and 255 in all', () => {
    const label = 'a'.repeat(63);
    expect(['', 'a', label, `${label}a`, 'a..b', '.a', 'a.'].map(isName)).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
    expect(isName(`${label}.${label}.${label}.${'a'.repeat(61)}`)).toBe(true);
    expect(isName(`${label}.${label}.${label}.${'a'.repeat(62)}`)).toBe(false);
  });

  it('of addresses are read back, and no others', () => {
    expect(addressOfReverse('4.3.2.1.in-addr.arpa')).toBe('1.2.3.4');
    for (const name of ['4.3.2.in-addr.arpa', '04.3.2.1.in-addr.arpa', 'x.ip6.arpa', '4.3.2.1'])
      expect(addressOfReverse(name)).toBeUndefined();
  });

  it('addresses are the same however they are written', () => {
    expect(addressKey('::1')).toBe(addressKey('0:0:0:0:0:0:0:1'));
    expect(addressKey('::ffff:1.2.3.4')).toBe(addressKey('::ffff:102:304'));
    expect(addressBytes('1.2.3')).toBeUndefined();
  });
});

const records: readonly DnsRecord[] = Array.from({ length: 40 }, (_, i) => ({
  name: 'web.default.svc.cluster.local',
  ttl: 5,
  type: 'A',
  address: `10.244.0.${i}`,
}));

describe('an answer', () => {
  const reply = { ...failure(0), isAuthoritative: true };

  it('of ten addresses fits where neither EDNS nor TCP is known', () => {
    const query = queryOf(ask('web.default.svc.cluster.local', 'A'));
    const message = encodeReply(
      query,
      { ...reply, answers: records.slice(0, 20) },
      limitOf(query, 'udp'),
    );
    expect(told(message)).toMatchObject({ isTruncated: false, answers: { length: 20 } });
    expect(message.length).toBeLessThanOrEqual(512);
  });

  it('that is too long has what fits, and says so', () => {
    const query = queryOf(ask('web.default.svc.cluster.local', 'A'));
    const message = encodeReply(query, { ...reply, answers: records }, 512);
    expect(told(message)).toMatchObject({ isTruncated: true, rcode: 'NOERROR' });
    expect(told(message).answers.length).toBe(29);
    const whole = encodeReply(query, { ...reply, answers: records }, limitOf(query, 'tcp'));
    expect(told(whole)).toMatchObject({ isTruncated: false, answers: { length: 40 } });
  });

  it('that loses only what nobody asked for is whole', () => {
    const query = queryOf(ask('web.default.svc.cluster.local', 'A'));
    const given = { ...reply, answers: records.slice(0, 1), additionals: records };
    expect(told(encodeReply(query, given, 512))).toMatchObject({ isTruncated: false });
  });

  it('is read by others as it was meant', () => {
    const host = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
    const name = fc.array(host, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
    const record = fc.oneof(
      fc.record({ name, ttl: fc.nat(1e6), type: fc.constant('CNAME' as const), target: name }),
      fc.record({
        name,
        ttl: fc.nat(1e6),
        type: fc.constant('SRV' as const),
        weight: fc.nat(9),
        port: fc.nat(65_535),
        target: name,
      }),
    );
    fc.assert(
      fc.property(name, fc.array(record, { maxLength: 30 }), (asked, answers) => {
        const query = queryOf(ask(asked, 'A', { ednsBytes: 1232 }));
        const read = told(encodeReply(query, { ...reply, answers }, 65_535));
        const want = answers.map((each) =>
          each.type === 'CNAME'
            ? `${each.name} ${each.ttl} CNAME ${each.target}`
            : `${each.name} ${each.ttl} SRV 0 ${each.weight} ${each.port} ${each.target}`,
        );
        expect(read.answers).toEqual(want);
      }),
    );
  });
});

const question = queryOf(ask('example.com', 'A')).question;

function upstream(answers: Answer[], rest: Packet = {}): Buffer {
  return packet.encode({
    type: 'response',
    id: 7,
    questions: [{ name: 'example.com', type: 'A' }],
    answers,
    ...rest,
  });
}

const a = (ttl: number, data = '192.0.2.1') => ({ name: 'example.com', type: 'A', ttl, data });
const soaOf = (ttl: number, minimum: number) => ({
  name: 'com',
  type: 'SOA',
  ttl,
  data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
});
function readReply(message: Buffer): UpstreamReply {
  const reply = readUpstreamReply(message, { id: 7, question });
  if (reply === undefined) throw new Error('no answer to the question');
  return reply;
}

const edns = { name: '.', type: 'OPT', udpPayloadSize: 1232, flags: 0, options: [] };

describe("another server's answer", () => {
  const holds: { name: string; message: Buffer; want: number | undefined }[] = [
    { name: 'its shortest time', message: upstream([a(300), a(60)]), want: 60 },
    { name: 'an hour at most', message: upstream([a(90_000)]), want: 3_600 },
    { name: 'not at all at zero', message: upstream([a(0)]), want: undefined },
    { name: 'not at all if it is empty and says nothing', message: upstream([]), want: undefined },
    {
      name: "the SOA's minimum when it is none",
      message: upstream([], { authorities: [soaOf(900, 30)] }),
      want: 30,
    },
    {
      name: "the SOA's own time when that is less",
      message: upstream([], { authorities: [soaOf(20, 900)], flags: 3 }),
      want: 20,
    },
    {
      name: 'five minutes at most when it is none',
      message: upstream([], { authorities: [soaOf(9_000, 9_000)], flags: 3 }),
      want: 300,
    },
    { name: 'not at all when it failed', message: upstream([], { flags: 2 }), want: undefined },
  ];
  it.each(holds)('holds $name', ({ message, want }) => {
    expect(readUpstreamReply(message, { id: 7, question })?.ttlSeconds).toBe(want);
  });

  it('is one only with our number, our question, and all its records', () => {
    const message = upstream([a(60)]);
    expect(readUpstreamReply(message, { id: 8, question })).toBeUndefined();
    const other = queryOf(ask('example.org', 'A')).question;
    expect(readUpstreamReply(message, { id: 7, question: other })).toBeUndefined();
    expect(readUpstreamReply(message.subarray(0, -1), { id: 7, question })).toBeUndefined();
    expect(readUpstreamReply(ask('example.com', 'A'), { id: 7, question })).toBeUndefined();
  });

  it('is delivered with the number, the case and the age of the moment', () => {
    const reply = readReply(upstream([a(300)], { additionals: [edns] }));
    const query = queryOf(ask('eXample.com', 'A', { id: 500 }));
    const message = deliver(reply, query, { ageSeconds: 100, limitBytes: 512 });
    const read = packet.decode(message);
    expect([read.id, read.questions[0]?.name, read.additionals]).toEqual([500, 'eXample.com', []]);
    expect(told(message).answers).toEqual(['example.com 200 A 192.0.2.1']);
    const withEdns = queryOf(ask('example.com', 'A', { ednsBytes: 4096 }));
    const second = packet.decode(deliver(reply, withEdns, { ageSeconds: 0, limitBytes: 1232 }));
    expect(second.additionals.map(({ type }) => type)).toEqual(['OPT']);
  });

  it('is cut between records where it is too long', () => {
    const many = Array.from({ length: 60 }, (_, i) => a(60, `192.0.2.${i}`));
    const reply = readReply(upstream(many));
    const message = deliver(reply, queryOf(ask('example.com', 'A')), {
      ageSeconds: 0,
      limitBytes: 512,
    });
    expect(message.length).toBeLessThanOrEqual(512);
    expect(told(message).isTruncated).toBe(true);
    expect(told(message).answers.length).toBeGreaterThan(15);
  });

  it('gives its records with whole names', () => {
    const message = upstream([
      { name: 'example.com', type: 'CNAME', ttl: 60, data: 'www.example.com' },
      a(60),
    ]);
    const reply = readReply(message);
    const query = queryOf(ask('x', 'A'));
    const again = encodeReply(query, { ...failure(0), answers: answersOf(reply, 10) }, 512);
    expect(told(again).answers).toEqual([
      'example.com 50 CNAME www.example.com',
      'example.com 50 A 192.0.2.1',
    ]);
  });

  it('is asked for as others understand it', () => {
    const sent = { id: 7, flags: 0, wantsDnssec: true, withEdns: true };
    const read = packet.decode(encodeQuestion(question, sent));
    expect(read).toMatchObject({ id: 7, questions: [{ name: 'example.com', type: 'A' }] });
    expect(read.additionals[0]).toMatchObject({ type: 'OPT', udpPayloadSize: 1232 });
  });
});

describe('whatever the bytes', () => {
  const good = [
    ask('web.default.svc.cluster.local', 'A', { ednsBytes: 1232 }),
    upstream([a(60), { name: 'example.com', type: 'CNAME', ttl: 1, data: 'x.example.com' }], {
      authorities: [soaOf(1, 1)],
      additionals: [edns],
    }),
  ];
  /** Good messages with a few bytes of them changed, and some cut off. */
  const spoiled = fc
    .tuple(
      fc.constantFrom(...good),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 }),
      fc.nat(200),
    )
    .map(([message, changes, length]) => {
      const copy = Buffer.from(message);
      for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte;
      return copy.subarray(0, Math.max(12, Math.min(copy.length, length)));
    });
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
    spoiled,
  );

  it('nothing throws, and what is answered can be read', () => {
    fc.assert(
      fc.property(any, any, (message, answer) => {
        const read = readQuery(message);
        if (read.kind !== 'query') return;
        const { query } = read;
        const reply = readUpstreamReply(answer, {
          id: answer.length < 2 ? 0 : answer.readUInt16BE(0),
          question: query.question,
        });
        expect(encodeReply(query, failure(2), 512).readUInt16BE(0)).toBe(query.id);
        if (reply === undefined) return;
        answersOf(reply, 1);
        expect(
          deliver(reply, query, { ageSeconds: 1, limitBytes: 512 }).length,
        ).toBeLessThanOrEqual(512);
      }),
      { numRuns: 2_000 },
    );
  });

  it('nothing throws over spoiled answers to the very question', () => {
    const query = queryOf(ask('example.com', 'A', { ednsBytes: 600 }));
    fc.assert(
      fc.property(spoiled, fc.integer({ min: 60, max: 600 }), (answer, limitBytes) => {
        const reply = readUpstreamReply(answer, { id: answer.readUInt16BE(0), question });
        if (reply === undefined) return;
        answersOf(reply, 1);
        deliver(reply, query, { ageSeconds: 1, limitBytes });
      }),
      { numRuns: 2_000 },
    );
  });
});
