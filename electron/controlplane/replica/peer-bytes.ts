// Frames between peers and what they are made of: a writer, a reader that trusts nothing, and the
// cutting of a stream into frames. Pure. Little-endian; whole numbers up to 2^53 - 1 in 8 bytes.
import { assert } from '#kube/base/assert.ts';

/** The other side sent what it must not. The connection can only be ended. */
export class PeerProtocolError extends Error {
  override readonly name = 'PeerProtocolError';
}

/** Length of what follows the length itself, and the type. */
export const frameHeadBytes = 5;

/**
 * Type and body of one frame; it bounds what a peer can make us hold. Far above an append (one
 * entry, or some of them up to about 1 MiB) and a chunk of a snapshot.
 */
export const frameBytesMax = 64 * 1024 * 1024;

const two32 = 0x1_0000_0000;

/** Builds one frame. */
export class ByteWriter {
  private buffer: Buffer;
  private at = frameHeadBytes;

  /** `sizeBytes`: of the body, as a guess. */
  constructor(frameType: number, sizeBytes: number) {
    this.buffer = Buffer.allocUnsafe(frameHeadBytes + sizeBytes);
    this.buffer[4] = frameType;
  }

  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `${value} is not a number to send`);
    this.reserve(8);
    this.buffer.writeUInt32LE(value % two32, this.at);
    this.buffer.writeUInt32LE(Math.floor(value / two32), this.at + 4);
    this.at += 8;
  }

  count(value: number): void {
    this.reserve(4);
    this.buffer.writeUInt32LE(value, this.at);
    this.at += 4;
  }

  byte(value: number): void {
    this.reserve(1);
    this.buffer[this.at] = value;
    this.at += 1;
  }

  flag(value: boolean): void {
    this.byte(value ? 1 : 0);
  }

  choice<T>(choices: readonly T[], value: T): void {
    this.byte(choices.indexOf(value));
  }

  /** With their length. */
  bytes(data: Uint8Array): void {
    this.count(data.length);
    this.reserve(data.length);
    this.buffer.set(data, this.at);
    this.at += data.length;
  }

  finish(): Buffer {
    this.buffer.writeUInt32LE(this.at - 4, 0);
    return this.buffer.subarray(0, this.at);
  }

  private reserve(count: number): void {
    if (this.at + count <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.at + count, this.buffer.length * 2));
    larger.set(this.buffer.subarray(0, this.at));
    this.buffer = larger;
  }
}

/** Reads a body from its start to its end. Throws PeerProtocolError. */
export class ByteReader {
  private readonly buffer: Buffer;
  private at = 0;

  constructor(body: Buffer) {
    this.buffer = body;
  }

  number(): number {
    const at = this.take(8);
    const value = this.buffer.readUInt32LE(at) + this.buffer.readUInt32LE(at + 4) * two32;
    if (value > Number.MAX_SAFE_INTEGER) throw new PeerProtocolError('a number that is too large');
    return value;
  }

  count(): number {
    return this.buffer.readUInt32LE(this.take(4));
  }

  byte(): number {
    return this.buffer.readUInt8(this.take(1));
  }

  flag(): boolean {
    const value = this.byte();
    if (value > 1) throw new PeerProtocolError('a flag that is neither 0 nor 1');
    return value === 1;
  }

  choice<T>(choices: readonly T[]): T {
    const value = choices[this.byte()];
    if (value === undefined) throw new PeerProtocolError('a choice that is unknown here');
    return value;
  }

  /** A view. */
  bytes(): Buffer {
    const length = this.count();
    const at = this.take(length);
    return this.buffer.subarray(at, at + length);
  }

  /** A count and as many items, each of at least `itemBytesMin`. */
  list<T>(itemBytesMin: number, read: (i: number) => T): T[] {
    const count = this.count();
    // Before anything is made of a count that only claims to be large.
    if (count * itemBytesMin > this.buffer.length - this.at)
      throw new PeerProtocolError('a list that is longer than its message');
    const items: T[] = [];
    for (let i = 0; i < count; i += 1) items.push(read(i));
    return items;
  }

  end(): void {
    if (this.at !== this.buffer.length)
      throw new PeerProtocolError('more bytes than the message has');
  }

  private take(count: number): number {
    const { at } = this;
    if (at + count > this.buffer.length)
      throw new PeerProtocolError('fewer bytes than the message needs');
    this.at = at + count;
    return at;
  }
}

export type OnFrame = (type: number, body: Buffer) => void;

/** Cuts what a connection brings into frames. Holds at most one incomplete frame. */
export class FrameReader {
  private readonly bytesMax: number;
  private readonly onFrame: OnFrame;
  private parts: Buffer[] = [];
  private held = 0;
  /** Of the frame under way with its length; 0: not known yet. */
  private wanted = 0;

  constructor(onFrame: OnFrame, bytesMax: number = frameBytesMax) {
    this.onFrame = onFrame;
    this.bytesMax = bytesMax;
  }

  /** Bodies are views of `chunk` where it holds them whole. Throws PeerProtocolError. */
  push(chunk: Buffer): void {
    if (this.held === 0) return this.consume(chunk);
    this.parts.push(chunk);
    this.held += chunk.length;
    if (this.held < Math.max(this.wanted, 4)) return;
    const joined = Buffer.concat(this.parts, this.held);
    this.parts = [];
    this.held = 0;
    this.wanted = 0;
    this.consume(joined);
  }

  private consume(bytes: Buffer): void {
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32LE(at);
      if (length < 1 || length > this.bytesMax)
        throw new PeerProtocolError(`a frame of ${length} bytes`);
      if (bytes.length - at < 4 + length) {
        this.wanted = 4 + length;
        break;
      }
      const end = at + 4 + length;
      this.onFrame(bytes.readUInt8(at + 4), bytes.subarray(at + frameHeadBytes, end));
      at = end;
    }
    if (at === bytes.length) return;
    this.parts = [bytes.subarray(at)];
    this.held = bytes.length - at;
  }
}
