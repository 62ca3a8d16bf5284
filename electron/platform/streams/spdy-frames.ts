// SPDY/3.1 frames to bytes and back, as far as Kubernetes' streams use them. Pure: bytes go in as
// they come, frames come out however the bytes were cut. Data is passed on in parts, so that a
// frame of 16 MiB needs no memory; everything else has a bound.
// Source: SPDY Protocol draft 3.1, 2.2 (framing) and 2.6 (control frames).
import { SpdyError } from './spdy-headers.ts';

export type SpdyFrame =
  | {
      readonly type: 'synStream';
      readonly streamId: number;
      readonly fin: boolean;
      readonly unidirectional: boolean;
      readonly headerBlock: Uint8Array;
    }
  | {
      readonly type: 'synReply' | 'headers';
      readonly streamId: number;
      readonly fin: boolean;
      readonly headerBlock: Uint8Array;
    }
  | { readonly type: 'rstStream'; readonly streamId: number; readonly status: number }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'goAway'; readonly lastStreamId: number; readonly status: number }
  /** A part of a data frame; `fin` only with the last part. */
  | {
      readonly type: 'data';
      readonly streamId: number;
      readonly fin: boolean;
      readonly bytes: Uint8Array;
    }
  /** Settings, window updates, credentials: nothing here depends on them. */
  | { readonly type: 'ignored' };

export const rstStatus = {
  protocolError: 1,
  refusedStream: 3,
  cancel: 5,
} as const;

const version = 3;
const controlType = { synStream: 1, synReply: 2, rstStream: 3, ping: 6, goAway: 7, headers: 8 };
const finFlag = 1;
const unidirectionalFlag = 2;
const headBytes = 8;
const controlMaxBytes = 16 * 1024;

interface OpenData {
  readonly streamId: number;
  readonly fin: boolean;
  leftBytes: number;
}

export class SpdyFrameReader {
  #pending: Buffer = Buffer.alloc(0);
  #data: OpenData | undefined;

  /** Throws SpdyError; then nothing more can be read of this connection. */
  *push(chunk: Uint8Array): Generator<SpdyFrame> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let rest = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    for (;;) {
      if (this.#data !== undefined) {
        if (rest.length === 0 && this.#data.leftBytes > 0) break;
        const part = rest.subarray(0, this.#data.leftBytes);
        rest = rest.subarray(part.length);
        yield this.#dataPart(this.#data, part);
        continue;
      }
      if (rest.length < headBytes) break;
      const length = rest.readUIntBE(5, 3);
      const first = rest.readUInt32BE(0);
      const flags = rest[4] ?? 0;
      if (first < 0x8000_0000) {
        this.#data = { streamId: first, fin: (flags & finFlag) !== 0, leftBytes: length };
        rest = rest.subarray(headBytes);
        continue;
      }
      if (length > controlMaxBytes) throw new SpdyError(`a control frame of ${length} bytes`);
      if (rest.length < headBytes + length) break;
      const payload = rest.subarray(headBytes, headBytes + length);
      rest = rest.subarray(headBytes + length);
      yield controlFrame(first, flags, payload);
    }
    // A copy: the chunk is the socket's, and may be large.
    this.#pending = Buffer.from(rest);
  }

  #dataPart(data: OpenData, bytes: Uint8Array): SpdyFrame {
    data.leftBytes -= bytes.length;
    const isLast = data.leftBytes === 0;
    if (isLast) this.#data = undefined;
    return { type: 'data', streamId: data.streamId, fin: data.fin && isLast, bytes };
  }
}

function controlFrame(first: number, flags: number, payload: Buffer): SpdyFrame {
  const spoken = (first >>> 16) & 0x7fff;
  if (spoken !== version) throw new SpdyError(`a frame of SPDY version ${spoken}`);
  const fin = (flags & finFlag) !== 0;
  const number = (at: number): number => {
    if (payload.length < at + 4) throw new SpdyError('a control frame is cut off');
    return payload.readUInt32BE(at);
  };
  const streamId = (): number => number(0) & 0x7fff_ffff;
  switch (first & 0xffff) {
    case controlType.synStream: {
      if (payload.length < 10) throw new SpdyError('a control frame is cut off');
      const unidirectional = (flags & unidirectionalFlag) !== 0;
      const headerBlock = payload.subarray(10);
      return { type: 'synStream', streamId: streamId(), fin, unidirectional, headerBlock };
    }
    case controlType.synReply:
      return { type: 'synReply', streamId: streamId(), fin, headerBlock: payload.subarray(4) };
    case controlType.headers:
      return { type: 'headers', streamId: streamId(), fin, headerBlock: payload.subarray(4) };
    case controlType.rstStream:
      return { type: 'rstStream', streamId: streamId(), status: number(4) };
    case controlType.ping:
      return { type: 'ping', id: number(0) };
    case controlType.goAway:
      return { type: 'goAway', lastStreamId: streamId(), status: number(4) };
    default:
      return { type: 'ignored' };
  }
}

function control(type: number, flags: number, ...parts: (number | Uint8Array)[]): Buffer {
  const payload = Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? uint32(part) : part)),
  );
  const head = Buffer.alloc(headBytes);
  head.writeUInt16BE(0x8000 | version, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
  return Buffer.concat([head, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export interface SynOptions {
  readonly fin?: boolean;
}

/** As a client opens a stream: for tests, which play the client. */
export function synStreamFrame(
  streamId: number,
  headerBlock: Uint8Array,
  { fin = false }: SynOptions = {},
): Buffer {
  const priority = Buffer.alloc(2);
  return control(
    controlType.synStream,
    fin ? finFlag : 0,
    streamId,
    0,
    Buffer.concat([priority, headerBlock]),
  );
}

export function synReplyFrame(streamId: number, headerBlock: Uint8Array): Buffer {
  return control(controlType.synReply, 0, streamId, headerBlock);
}

export function rstStreamFrame(streamId: number, status: number): Buffer {
  return control(controlType.rstStream, 0, streamId, status);
}

export function pingFrame(id: number): Buffer {
  return control(controlType.ping, 0, id);
}

export function goAwayFrame(lastStreamId: number, status = 0): Buffer {
  return control(controlType.goAway, 0, lastStreamId, status);
}

/** The head of a data frame; `lengthBytes` of data have to follow. */
export function dataFrameHead(streamId: number, lengthBytes: number, fin: boolean): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt32BE(streamId, 0);
  head.writeUInt32BE((((fin ? finFlag : 0) << 24) | lengthBytes) >>> 0, 4);
  return head;
}
