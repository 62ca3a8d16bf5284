// What gRPC's server and client share: status codes, errors, messages in HTTP/2 data. Ours is the
// part of gRPC that etcd's clients use: no compression, no reflection, no name resolution.
// Source: grpc doc/PROTOCOL-HTTP2.md, doc/statuscodes.md.

export const grpcCodes = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  /** One of grpcCodes, or one of a newer peer. */
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const prefixBytes = 5;

/** Cuts the bytes of a stream into messages. */
export class FrameReader {
  readonly #bytesMax: number;
  #pending: Buffer = Buffer.alloc(0);
  /** Behind `#pending`, not joined yet: a long message is joined once. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #wantedBytes = prefixBytes;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Calls `message` for each whole one. Throws GrpcError for one that is compressed or too long. */
  push(chunk: Buffer, message: (bytes: Buffer) => void): void {
    this.#parts.push(chunk);
    this.#partBytes += chunk.length;
    if (this.#pending.length + this.#partBytes < this.#wantedBytes) return;
    let bytes = this.#joined();
    for (;;) {
      this.#wantedBytes = prefixBytes;
      if (bytes.length < prefixBytes) break;
      this.#wantedBytes = prefixBytes + this.#messageLength(bytes);
      if (bytes.length < this.#wantedBytes) break;
      message(bytes.subarray(prefixBytes, this.#wantedBytes));
      bytes = bytes.subarray(this.#wantedBytes);
    }
    this.#pending = bytes;
  }

  /** Whether the stream may end here. */
  get isBetweenMessages(): boolean {
    return this.#pending.length + this.#partBytes === 0;
  }

  #joined(): Buffer {
    const [only] = this.#parts;
    const isOne = this.#pending.length === 0 && this.#parts.length === 1 && only !== undefined;
    const joined = isOne ? only : Buffer.concat([this.#pending, ...this.#parts]);
    this.#parts = [];
    this.#partBytes = 0;
    return joined;
  }

  #messageLength(bytes: Buffer): number {
    if (bytes[0] !== 0)
      throw new GrpcError(grpcCodes.unimplemented, 'compressed messages are not understood');
    const length = bytes.readUInt32BE(1);
    if (length > this.#bytesMax) {
      const sizes = `${length} vs. ${this.#bytesMax} bytes`;
      throw new GrpcError(grpcCodes.resourceExhausted, `the message is too large (${sizes})`);
    }
    return length;
  }
}
