// What an age file holds, in chunks of 64 KiB, each sealed with its number and whether it is the last: none
// can be changed, left out, put elsewhere or cut off unnoticed (STREAM). A chunk is handed on after it
// was verified, never before. Memory: some chunks, whatever the length.
// Source: C2SP age.md, "Payload"; Hoang et al., Online Authenticated-Encryption (STREAM).
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { ByteReader } from './byte-reader.ts';
import { SealedStreamError } from './errors.ts';

export const chunkBytes = 64 * 1024;
const tagBytes = 16;
const saltBytes = 16;

export async function* sealPayload(
  reader: ByteReader,
  fileKey: Uint8Array,
): AsyncGenerator<Uint8Array> {
  const salt = randomBytes(saltBytes);
  yield salt;
  const key = payloadKey(fileKey, salt);
  for (let number = 0; ; number++) {
    const chunk = await reader.read(chunkBytes);
    const isLast = await reader.isAtEnd();
    const options = { authTagLength: tagBytes };
    const cipher = createCipheriv('chacha20-poly1305', key, nonce(number, isLast), options);
    yield Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
    if (isLast) return;
  }
}

/** Throws SealedStreamError, also after chunks were handed on: what came is whole when it has ended. */
export async function* openPayload(
  reader: ByteReader,
  fileKey: Uint8Array,
): AsyncGenerator<Uint8Array> {
  const salt = await reader.read(saltBytes);
  if (salt.length < saltBytes) throw new SealedStreamError('cut');
  const key = payloadKey(fileKey, salt);
  for (let number = 0; ; number++) {
    const sealed = await reader.read(chunkBytes + tagBytes);
    const isLast = await reader.isAtEnd();
    const chunk = openChunk(sealed, key, number, isLast);
    // Only nothing at all may end with an empty chunk: one length, one way to write it.
    if (chunk.length === 0 && number > 0) throw new SealedStreamError('damaged');
    if (chunk.length > 0) yield chunk;
    if (isLast) return;
  }
}

function openChunk(sealed: Uint8Array, key: Buffer, number: number, isLast: boolean): Buffer {
  if (sealed.length < tagBytes) throw new SealedStreamError('cut');
  const chunk = verified(sealed, key, nonce(number, isLast));
  if (chunk !== undefined) return chunk;
  // One that is whole, but not the last, at the end: the rest of the file is missing.
  const isCut = isLast && verified(sealed, key, nonce(number, false)) !== undefined;
  throw new SealedStreamError(isCut ? 'cut' : 'damaged');
}

function verified(sealed: Uint8Array, key: Buffer, iv: Buffer): Buffer | undefined {
  const options = { authTagLength: tagBytes };
  const cipher = createDecipheriv('chacha20-poly1305', key, iv, options);
  cipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  try {
    const body = cipher.update(sealed.subarray(0, sealed.length - tagBytes));
    cipher.final();
    return body;
  } catch {
    return undefined;
  }
}

function payloadKey(fileKey: Uint8Array, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', fileKey, salt, 'payload', 32));
}

/** Eleven bytes of counter, of which 48 bits are more than any disk; one for "the last". */
function nonce(number: number, isLast: boolean): Buffer {
  const iv = Buffer.alloc(12);
  iv.writeUIntBE(number, 5, 6);
  iv[11] = isLast ? 1 : 0;
  return iv;
}
