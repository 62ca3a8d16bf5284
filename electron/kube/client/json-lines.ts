// Decodes a byte stream of JSON documents, one a line, as watches and stats streams send them.
// Chunk borders mean nothing: a document or even a character may be cut anywhere.
import { TransportError } from './transport.ts';

/** One event of a watch is one object; the API server takes none over 3 MiB. */
export const lineLengthMax = 16 * 1024 * 1024;

/** Throws TransportError when a line is not JSON (a cut connection) or is too long. */
export async function* decodeJsonLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<unknown, void, undefined> {
  for await (const line of decodeLines(chunks)) if (line.trim() !== '') yield parse(line);
}

/** Text lines without their line feed; a last line without one counts too. */
export async function* decodeLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let pending = '';
  for await (const chunk of chunks) {
    let text = decoder.decode(chunk, { stream: true });
    let end = text.indexOf('\n');
    while (end >= 0) {
      yield pending + text.slice(0, end);
      pending = '';
      text = text.slice(end + 1);
      end = text.indexOf('\n');
    }
    pending += text;
    if (pending.length > lineLengthMax)
      throw new TransportError(`a line of the stream is longer than ${lineLengthMax} characters`);
  }
  pending += decoder.decode();
  if (pending !== '') yield pending;
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
