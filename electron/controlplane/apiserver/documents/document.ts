// A document that changes only with the server itself (discovery, OpenAPI): serialized once,
// answered with an ETag, and with 304 to those who have it already. Compressed once as well, for
// clients that can take it.
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { ApiRequest, ApiResponse } from '../http.ts';

const compress = promisify(gzip);
/** Below this, compressing costs more than it saves. */
const compressFromBytes = 16 * 1024;

export class CachedDocument {
  readonly #bytes: Uint8Array;
  readonly #contentType: string;
  #compressed: Promise<Uint8Array> | undefined;
  /** SHA-256 of the content in upper-case hex. */
  readonly hash: string;

  /** Bytes are taken as they are, all else is serialized as JSON. */
  constructor(content: unknown, contentType = 'application/json') {
    this.#bytes =
      content instanceof Uint8Array ? content : new TextEncoder().encode(JSON.stringify(content));
    this.#contentType = contentType;
    this.hash = createHash('sha256').update(this.#bytes).digest('hex').toUpperCase();
  }

  async answer(
    request: ApiRequest,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ApiResponse> {
    const etag = `"${this.hash}"`;
    const shared = { 'content-type': this.#contentType, etag, vary: 'Accept', ...headers };
    if (hasEtag(request.headers['if-none-match'], etag)) return { status: 304, headers: shared };
    const accepted = (request.headers['accept-encoding'] ?? '').includes('gzip');
    if (!accepted || this.#bytes.length < compressFromBytes)
      return { status: 200, headers: shared, body: this.#bytes };
    this.#compressed ??= compress(this.#bytes);
    const body = await this.#compressed;
    return { status: 200, headers: { ...shared, 'content-encoding': 'gzip' }, body };
  }
}

function hasEtag(header: string | undefined, etag: string): boolean {
  const offered = (header ?? '').split(',').map((value) => value.trim().replace(/^W\//, ''));
  return offered.includes('*') || offered.includes(etag);
}
