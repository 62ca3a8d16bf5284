import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  dataFrameHead,
  goAwayFrame,
  pingFrame,
  rstStreamFrame,
  SpdyFrameReader,
  synReplyFrame,
  synStreamFrame,
  type SpdyFrame,
} from './spdy-frames.ts';
import { SpdyError } from './spdy-headers.ts';

function data(streamId: number, text: string, fin: boolean): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([dataFrameHead(streamId, bytes.length, fin), bytes]);
}

const block = Buffer.from('block');
const cases: readonly { bytes: Buffer; want: SpdyFrame }[] = [
  {
    bytes: synStreamFrame(1, block),
    want: { type: 'synStream', streamId: 1, fin: false, unidirectional: false, headerBlock: block },
  },
  {
    bytes: synStreamFrame(3, block, { fin: true }),
    want: { type: 'synStream', streamId: 3, fin: true, unidirectional: false, headerBlock: block },
  },
  {
    bytes: synReplyFrame(1, block),
    want: { type: 'synReply', streamId: 1, fin: false, headerBlock: block },
  },
  { bytes: rstStreamFrame(5, 3), want: { type: 'rstStream', streamId: 5, status: 3 } },
  { bytes: pingFrame(7), want: { type: 'ping', id: 7 } },
  { bytes: goAwayFrame(9), want: { type: 'goAway', lastStreamId: 9, status: 0 } },
  {
    bytes: data(1, 'hello', false),
    want: { type: 'data', streamId: 1, fin: false, bytes: Buffer.from('hello') },
  },
  {
    bytes: data(1, '', true),
    want: { type: 'data', streamId: 1, fin: true, bytes: Buffer.alloc(0) },
  },
  // SETTINGS with one entry: nothing here depends on it.
  {
    bytes: Buffer.from('800300040000000c000000010000000400000064', 'hex'),
    want: { type: 'ignored' },
  },
];

/** Parts of one data frame as one, since cutting is not a difference. */
function whole(frames: readonly SpdyFrame[]): unknown[] {
  const result: unknown[] = [];
  let open = Buffer.alloc(0);
  for (const frame of frames) {
    if (frame.type !== 'data') result.push(frame);
    else {
      open = Buffer.concat([open, frame.bytes]);
      if (frame.fin) result.push(`data ${frame.streamId} ${open.toString()}`);
      if (frame.fin) open = Buffer.alloc(0);
    }
  }
  return result;
}

describe('frames', () => {
  it.each(cases)('$want.type $want.streamId', ({ bytes, want }) => {
    expect([...new SpdyFrameReader().push(bytes)]).toEqual([want]);
  });

  it('are the same however their bytes are cut', () => {
    const bytes = Buffer.concat([
      ...cases.map((entry) => entry.bytes),
      data(11, 'x'.repeat(300), true),
      pingFrame(1),
    ]);
    const want = whole([...new SpdyFrameReader().push(bytes)]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        const reader = new SpdyFrameReader();
        const frames: SpdyFrame[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          for (const frame of reader.push(bytes.subarray(at, at + size))) frames.push(frame);
          at += size;
        }
        expect(whole(frames)).toEqual(want);
      }),
    );
  });

  it('of data are passed on before they are whole', () => {
    const reader = new SpdyFrameReader();
    const head = dataFrameHead(1, 16_000_000, true);
    const [part] = [...reader.push(Buffer.concat([head, Buffer.from('abc')]))];
    expect(part).toEqual({ type: 'data', streamId: 1, fin: false, bytes: Buffer.from('abc') });
  });

  const refused = [
    { name: 'a control frame that is too large', bytes: Buffer.from('8003000100ffffff', 'hex') },
    { name: 'another version', bytes: Buffer.from('800200060000000400000001', 'hex') },
    { name: 'a ping that is cut off', bytes: Buffer.from('80030006000000020000', 'hex') },
  ];
  it.each(refused)('$name is refused', ({ bytes }) => {
    expect(() => [...new SpdyFrameReader().push(bytes)]).toThrow(SpdyError);
  });

  it('of any bytes are read or refused by name', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.uint8Array(), fc.constantFrom(...cases.map(({ bytes }) => bytes)))),
        (chunks) => {
          const reader = new SpdyFrameReader();
          try {
            for (const chunk of chunks) for (const frame of reader.push(chunk)) void frame;
          } catch (error) {
            expect(error).toBeInstanceOf(SpdyError);
          }
        },
      ),
    );
  });
});
