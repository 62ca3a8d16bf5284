import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader, GrpcError } from './grpc.ts';
import { MessageType, one } from './wire.ts';

const type = new MessageType<{ value: Uint8Array }>({ value: one(1, 'bytes') });

describe('gRPC frames', () => {
  it('come out the same however the bytes were cut', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 90 })), (values, cuts) => {
        const bytes = Buffer.concat(values.map((value) => type.encodeFrame({ value })));
        const reader = new FrameReader(1000);
        const seen: number[][] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + (cuts[i] ?? bytes.length));
          reader.push(bytes.subarray(at, end), (message) =>
            seen.push(Array.from(type.decode(message).value)),
          );
          at = end;
        }
        expect(seen).toEqual(values.map((value) => Array.from(value)));
        expect(reader.isBetweenMessages).toBe(true);
      }),
    );
  });

  it('are refused when they are compressed or too long, before they are read', () => {
    const compressed = Buffer.from([1, 0, 0, 0, 1, 0]);
    expect(() => new FrameReader(10).push(compressed, () => {})).toThrow(GrpcError);
    const long = Buffer.from([0, 0, 0, 0, 11]);
    expect(() => new FrameReader(10).push(long, () => {})).toThrow('11 vs. 10 bytes');
  });
});
