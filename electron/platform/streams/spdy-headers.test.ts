import * as fc from 'fast-check';
import { constants, createDeflate, inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  HeaderDecoder,
  HeaderEncoder,
  SpdyError,
  spdyDictionary,
  type SpdyHeaders,
} from './spdy-headers.ts';

/** Blocks as zlib makes them: one stream, flushed after each. */
async function deflated(...plain: readonly Buffer[]): Promise<Buffer[]> {
  const deflate = createDeflate({ dictionary: spdyDictionary });
  const chunks: Buffer[] = [];
  deflate.on('data', (chunk: Buffer) => chunks.push(chunk));
  const blocks: Buffer[] = [];
  for (const bytes of plain) {
    deflate.write(bytes);
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
    blocks.push(Buffer.concat(chunks.splice(0)));
  }
  return blocks;
}

function plainBlock(headers: Readonly<Record<string, string>>): Buffer {
  const numbers = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const texts = Object.entries(headers).flat();
  return Buffer.concat([
    numbers(texts.length / 2),
    ...texts.flatMap((text) => [numbers(Buffer.byteLength(text)), Buffer.from(text)]),
  ]);
}

const headerSets = fc.array(
  fc.dictionary(
    fc.stringMatching(/^[a-z-]{1,12}$/),
    fc.string({ maxLength: 40 }).filter((text) => !text.includes('\0')),
    { maxKeys: 5 },
  ),
  { maxLength: 6 },
);

describe('the dictionary', () => {
  it("has the protocol's checksum", () => {
    const block = new HeaderEncoder().encode({});
    expect(block.subarray(2, 6).toString('hex')).toBe('e3c6a7c2');
  });
});

describe('header blocks', () => {
  it('of a zlib stream are read one after the other', async () => {
    const sets: SpdyHeaders[] = [
      { streamtype: 'error' },
      { streamtype: 'data', port: '80', requestid: '1' },
    ];
    const decoder = new HeaderDecoder();
    const blocks = await deflated(...sets.map(plainBlock));
    expect(blocks.map((block) => ({ ...decoder.decode(block) }))).toEqual(sets);
  });

  it('make names lower-case and join values', async () => {
    const [block] = await deflated(plainBlock({ StreamType: 'a\0b' }));
    expect({ ...new HeaderDecoder().decode(block ?? new Uint8Array()) }).toEqual({
      streamtype: 'a, b',
    });
  });

  it('that are written can be read, by us and by zlib', () => {
    fc.assert(
      fc.property(headerSets, (sets) => {
        const [encoder, decoder] = [new HeaderEncoder(), new HeaderDecoder()];
        const blocks = sets.map((headers) => encoder.encode(headers));
        expect(blocks.map((block) => ({ ...decoder.decode(block) }))).toEqual(
          sets.map((headers) => ({ ...headers })),
        );
        const options = { dictionary: spdyDictionary, finishFlush: constants.Z_SYNC_FLUSH };
        const whole =
          blocks.length === 0 ? Buffer.alloc(0) : inflateSync(Buffer.concat(blocks), options);
        expect(whole).toEqual(Buffer.concat(sets.map(plainBlock)));
      }),
    );
  });

  it('that swell up are refused', async () => {
    const [block] = await deflated(plainBlock({ a: 'x'.repeat(1_000_000) }));
    expect(() => new HeaderDecoder().decode(block ?? new Uint8Array())).toThrow(SpdyError);
  });

  it('of any bytes are read or refused by name', async () => {
    const [good] = await deflated(plainBlock({ streamtype: 'error', port: '80' }));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 100 }),
          // A good one with one byte changed.
          fc.tuple(fc.nat((good?.length ?? 1) - 1), fc.nat(255)).map(([at, value]) => {
            const bytes = Buffer.from(good ?? []);
            bytes[at] = value;
            return bytes;
          }),
        ),
        (bytes) => {
          try {
            new HeaderDecoder().decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(SpdyError);
          }
        },
      ),
    );
  });
});
