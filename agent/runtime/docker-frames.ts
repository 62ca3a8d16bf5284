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

/** So many lines of a followed log are remembered, 1.5 MB when it is flooded. */
const rememberedLines = 16_384;

export interface LogForm {
  readonly timestamps: boolean;
  readonly follow: boolean;
}

/**
 * A log as the engine tells it with times, which has to be mended in two ways: what is longer than 16 KiB is kept in
 * parts, with the time before each; and engines before 23 tell lines again when they begin another file while
 * somebody follows. Only lines that were told are left out: a clock may go back.
 */
export class LogLines {
  readonly #form: LogForm;
  readonly #unfinished = new Set<OutputFrame['stream']>();
  /** `<stream> <time>` of what was told last, oldest first. */
  readonly #told = new Set<string>();
  #newest = '';
  #isRepeating = false;

  constructor(form: LogForm) {
    this.#form = form;
  }

  /** Undefined: it was told before. */
  bytesOf({ stream, bytes }: OutputFrame): Uint8Array | undefined {
    const { timestamps, follow } = this.#form;
    const end = bytes.indexOf(0x20);
    const time = Buffer.from(bytes.subarray(0, end)).toString('latin1');
    if (follow && this.#isRepeat(stream, time)) return undefined;
    const isRest = this.#unfinished.has(stream);
    if (bytes.at(-1) === 0x0a) this.#unfinished.delete(stream);
    else this.#unfinished.add(stream);
    return isRest || !timestamps ? bytes.subarray(end + 1) : bytes;
  }

  #isRepeat(stream: OutputFrame['stream'], time: string): boolean {
    const key = `${stream} ${time}`;
    const isOld = time < this.#newest || (this.#isRepeating && time === this.#newest);
    this.#isRepeating = isOld && this.#told.has(key);
    if (this.#isRepeating) return true;
    this.#newest = time;
    this.#told.add(key);
    for (const oldest of this.#told) {
      if (this.#told.size <= rememberedLines) break;
      this.#told.delete(oldest);
    }
    return false;
  }
}

/** `lines`: of a log that is asked for with times. */
export async function* decodeOutput(
  chunks: AsyncIterable<Uint8Array>,
  tty: boolean,
  lines?: LogLines,
): AsyncIterable<Uint8Array> {
  if (tty) {
    yield* chunks;
    return;
  }
  const decoder = new FrameDecoder();
  for await (const chunk of chunks) {
    // One chunk out for each in: a line a frame would be a message a line.
    const parts: Uint8Array[] = [];
    for (const frame of decoder.push(chunk)) {
      const bytes = lines === undefined ? frame.bytes : lines.bytesOf(frame);
      if (bytes !== undefined) parts.push(bytes);
    }
    if (parts.length > 0) yield Buffer.concat(parts);
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
