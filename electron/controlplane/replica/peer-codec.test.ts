import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AppendRequest, DropReason, Message } from '../raft/types.ts';
import { FrameReader, PeerProtocolError } from './peer-bytes.ts';
import { decodeMessage, encodeMessage, MessageEncoder } from './peer-codec.ts';

const ends = { from: 7, to: 2 ** 48 - 1 };

interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

function framesOf(chunks: readonly Uint8Array[], bytesMax?: number): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader((type, body) => frames.push({ type, body }), bytesMax);
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return frames;
}

function decode(frame: Frame): Message {
  return decodeMessage(frame.type, frame.body, ends);
}

const number = fc.oneof(fc.nat(), fc.maxSafeNat());
const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const data = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const envelope = { from: fc.constant(ends.from), to: fc.constant(ends.to), term: number };
const reasons: readonly DropReason[] = [
  'no-leader',
  'transferring',
  'too-much-uncommitted',
  'change-in-progress',
  'invalid-change',
  'not-leader',
];
const membership = fc
  .uniqueArray(
    fc.record({
      id,
      role: fc.constantFrom('voter' as const, 'learner' as const),
      name: fc.string(),
      addresses: fc.array(fc.string(), { maxLength: 3 }),
    }),
    { selector: (member) => member.id, maxLength: 5 },
  )
  .map((members) => ({ members: members.sort((a, b) => a.id - b.id) }));
const append = fc
  .record({
    type: fc.constant('append' as const),
    ...envelope,
    previousIndex: fc.nat(),
    previousTerm: number,
    commit: number,
    entries: fc.array(
      fc.record({
        term: number,
        kind: fc.constantFrom('command' as const, 'membership' as const, 'noop' as const),
        data,
      }),
    ),
  })
  .map((message) => ({
    ...message,
    entries: message.entries.map((entry, i) => ({
      index: message.previousIndex + 1 + i,
      ...entry,
    })),
  }));

const message: fc.Arbitrary<Message> = fc.oneof(
  append,
  fc.record({
    type: fc.constant('vote' as const),
    ...envelope,
    isPreVote: fc.boolean(),
    isTransfer: fc.boolean(),
    lastIndex: number,
    lastTerm: number,
  }),
  fc.record({
    type: fc.constant('vote-response' as const),
    ...envelope,
    isPreVote: fc.boolean(),
    isGranted: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('append-response' as const),
    ...envelope,
    isRejected: fc.boolean(),
    index: number,
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({
    type: fc.constant('heartbeat' as const),
    ...envelope,
    commit: number,
    readRound: number,
  }),
  fc.record({ type: fc.constant('heartbeat-response' as const), ...envelope, readRound: number }),
  fc.record({
    type: fc.constant('snapshot' as const),
    ...envelope,
    snapshot: fc.record({ index: number, term: number, membership }),
  }),
  fc.record({ type: fc.constant('timeout-now' as const), ...envelope }),
  fc.record({
    type: fc.constant('propose' as const),
    ...envelope,
    proposals: fc.array(
      fc.record({
        id: number,
        kind: fc.constantFrom('command' as const, 'membership' as const),
        data,
      }),
    ),
  }),
  fc.record({
    type: fc.constant('propose-dropped' as const),
    ...envelope,
    ids: fc.array(number),
    reason: fc.constantFrom(...reasons),
  }),
  fc.record({ type: fc.constant('read-index' as const), ...envelope, id: number }),
  fc.record({
    type: fc.constant('read-index-response' as const),
    ...envelope,
    id: number,
    index: fc.option(number, { nil: undefined }),
  }),
);

/** Cuts `bytes` at some places. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])];
  places.sort((a, b) => a - b);
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}

describe('messages', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (messages, cuts) => {
          const stream = Buffer.concat(messages.map(encodeMessage));
          expect(framesOf(pieces(stream, cuts)).map(decode)).toEqual(messages);
        },
      ),
    );
  });

  it('are refused when a byte is missing or one too many', () => {
    fc.assert(
      fc.property(message, (sent) => {
        const [frame] = framesOf([encodeMessage(sent)]);
        if (frame === undefined) throw new Error('no frame');
        const longer = Buffer.concat([frame.body, Buffer.of(0)]);
        expect(() => decode({ ...frame, body: longer })).toThrow(PeerProtocolError);
        const shorter = frame.body.subarray(0, -1);
        expect(() => decode({ ...frame, body: shorter })).toThrow(PeerProtocolError);
      }),
    );
  });

  it('made of arbitrary bytes are refused, or mean what they say', () => {
    const body = fc.uint8Array({ maxLength: 120 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), body, (type, bytes) => {
        let decoded: Message;
        try {
          decoded = decode({ type, body: Buffer.from(bytes) });
        } catch (error) {
          expect(error).toBeInstanceOf(PeerProtocolError);
          return;
        }
        const [again] = framesOf([encodeMessage(decoded)]);
        expect(again).toBeDefined();
        expect(decode(again ?? { type, body: Buffer.alloc(0) })).toEqual(decoded);
      }),
      { numRuns: 2000 },
    );
  });

  it('with one byte changed are refused or are another message, never a crash', () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, place, change) => {
        const [frame] = framesOf([encodeMessage(sent)]);
        const body = Buffer.from(frame?.body ?? Buffer.alloc(0));
        const at = place % body.length;
        body.writeUInt8(body.readUInt8(at) ^ change, at);
        try {
          decode({ type: frame?.type ?? 0, body });
        } catch (error) {
          expect(error).toBeInstanceOf(PeerProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('frames', () => {
  const lengths = [
    { name: 'empty', length: 0 },
    { name: 'larger than allowed', length: 1001 },
    { name: 'absurd', length: 0xffffffff },
  ];
  for (const { name, length } of lengths)
    it(`that are ${name} are refused before anything is held for them`, () => {
      const head = Buffer.alloc(5);
      head.writeUInt32LE(length);
      expect(() => framesOf([head], 1000)).toThrow(PeerProtocolError);
      const cut = [head.subarray(0, 3), head.subarray(3)];
      expect(() => framesOf(cut, 1000)).toThrow(PeerProtocolError);
    });

  it('wait for their last byte', () => {
    const frame = encodeMessage({ type: 'timeout-now', ...ends, term: 3 });
    expect(framesOf([frame.subarray(0, -1)])).toEqual([]);
    expect(framesOf([frame.subarray(0, -1), frame.subarray(-1)])).toHaveLength(1);
  });
});

describe('MessageEncoder', () => {
  const entries = [{ index: 5, term: 2, kind: 'command' as const, data: Buffer.from('data') }];
  const first: AppendRequest = {
    type: 'append',
    from: 1,
    to: 2,
    term: 2,
    previousIndex: 4,
    previousTerm: 2,
    commit: 3,
    entries,
  };

  it('gives several peers the same bytes of the same entries', () => {
    const encoder = new MessageEncoder();
    const frame = encoder.encode(first);
    expect(encoder.encode({ ...first, to: 3 })).toBe(frame);
    expect(frame).toEqual(encodeMessage(first));
  });

  it.each<Partial<AppendRequest>>([
    { term: 3 },
    { previousIndex: 3 },
    { previousTerm: 1 },
    { commit: 4 },
    { entries: [...entries] },
    { entries: [] },
  ])('encodes anew what differs: %o', (difference) => {
    const encoder = new MessageEncoder();
    const other = { ...first, to: 3, ...difference };
    const frame = encoder.encode(first);
    expect(encoder.encode(other)).toEqual(encodeMessage(other));
    expect(encoder.encode(other)).not.toBe(frame);
  });
});
