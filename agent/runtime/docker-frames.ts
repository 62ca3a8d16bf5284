// Docker's framing of a container's output: 8 bytes of header (stream, length), then the bytes.
// Containers with a terminal have no frames. Source: Docker Engine API, "attach", stream format.
import type { OutputFrame } from './runtime.ts';

const headerBytes = 8;

/** Feed chunks as they come; frames come out whole, however the chunks were cut. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0);

  *push(chunk: Uint8Array): Generator<OutputFrame> {
    this.#pending =
      this.#pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= headerBytes) {
      const end = headerBytes + this.#pending.readUInt32BE(4);
      if (this.#pending.length < end) return;
      const stream = this.#pending[0] === 2 ? 'stderr' : 'stdout';
      yield { stream, bytes: this.#pending.subarray(headerBytes, end) };
      this.#pending = this.#pending.subarray(end);
    }
  }
}

/**
 * Takes away the times in the middle of lines: the engine keeps what is longer than 16 KiB in parts, and writes
 * the time before each.
 */
export class LineTimes {
  readonly #unfinished = new Set<OutputFrame['stream']>();

  bytesOf({ stream, bytes }: OutputFrame): Uint8Array {
    const isRest = this.#unfinished.has(stream);
    if (bytes.at(-1) === 0x0a) this.#unfinished.delete(stream);
    else this.#unfinished.add(stream);
    return isRest ? bytes.subarray(bytes.indexOf(0x20) + 1) : bytes;
  }
}

/** `times`: of a log that is asked for with them. */
export async function* decodeOutput(
  chunks: AsyncIterable<Uint8Array>,
  tty: boolean,
  times?: LineTimes,
): AsyncIterable<Uint8Array> {
  if (tty) {
    yield* chunks;
    return;
  }
  const decoder = new FrameDecoder();
  for await (const chunk of chunks) {
    // One chunk out for each in: a line a frame would be a message a line.
    const frames = [...decoder.push(chunk)];
    if (frames.length > 0)
      yield Buffer.concat(frames.map((frame) => times?.bytesOf(frame) ?? frame.bytes));
  }
}

export async function* outputFrames(
  chunks: AsyncIterable<Uint8Array>,
  tty: boolean,
): AsyncIterable<OutputFrame> {
  if (tty) for await (const bytes of chunks) yield { stream: 'stdout', bytes };
  else {
    const decoder = new FrameDecoder();
    for await (const chunk of chunks) yield* decoder.push(chunk);
  }
}
