// Decodes a byte stream of JSON documents, one a line, as watches and stats streams send them.
// Chunk borders mean nothing: a document or even a character may be cut anywhere.
import { type SharedMessage, TransportError } from './transport.ts';

/** One event of a watch is one object; the API server takes none over 3 MiB. */
export const lineLengthMax = 16 * 1024 * 1024;

/** Throws TransportError when a line is not JSON (a cut connection) or is too long. */
export async function* decodeJsonLines(
  chunks: AsyncIterable<Uint8Array | SharedMessage>,
): AsyncGenerator<unknown, void, undefined> {
  const lines = new LineDecoder();
  for await (const chunk of chunks) {
    if (!(chunk instanceof Uint8Array)) yield chunk.document;
    else for (const line of lines.take(chunk)) if (line.trim() !== '') yield parse(line);
  }
  const last = lines.rest();
  if (last.trim() !== '') yield parse(last);
}

/** Text lines without their line feed; a last line without one counts too. */
export async function* decodeLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, undefined> {
  const lines = new LineDecoder();
  for await (const chunk of chunks) yield* lines.take(chunk);
  const last = lines.rest();
  if (last !== '') yield last;
}

class LineDecoder {
  readonly #decoder = new TextDecoder();
  #pending = '';

  /** The lines that end in this chunk. */
  *take(chunk: Uint8Array): Generator<string, void, undefined> {
    let text = this.#decoder.decode(chunk, { stream: true });
    let end = text.indexOf('\n');
    while (end >= 0) {
      const line = this.#pending + text.slice(0, end);
      this.#pending = '';
      yield line;
      text = text.slice(end + 1);
      end = text.indexOf('\n');
    }
    this.#pending += text;
    if (this.#pending.length > lineLengthMax)
      throw new TransportError(`a line of the stream is longer than ${lineLengthMax} characters`);
  }

  rest(): string {
    return this.#pending + this.#decoder.decode();
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new TransportError(`the stream was cut inside a document: ${line.slice(0, 80)}`, {
      cause: error,
    });
  }
}
