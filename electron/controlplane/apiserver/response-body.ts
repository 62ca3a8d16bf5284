// The forms that the body of an answer has, for whoever passes one on.
import type { ApiResponse, Chunk, SlicedBody } from './http.ts';

type Body = ApiResponse['body'];

/** Not there yet: it may go on for hours. */
export function isStream(body: Body): body is AsyncIterable<Chunk> {
  return typeof body === 'object' && Symbol.asyncIterator in body;
}

export function isSliced(body: Body): body is SlicedBody {
  return typeof body === 'object' && 'slices' in body;
}

export function bytesOfChunk(chunk: Chunk): Uint8Array | string {
  return typeof chunk === 'object' && 'bytes' in chunk ? chunk.bytes : chunk;
}

/** All of it at once. */
export function joined({ byteLength, slices }: SlicedBody): Uint8Array {
  const result = new Uint8Array(byteLength);
  let at = 0;
  for (const slice of slices()) {
    result.set(slice, at);
    at += slice.length;
  }
  return result;
}
