// SPDY/3.1's header blocks: names and values with their lengths, deflated with the protocol's own
// dictionary and one window for the whole connection. Pure and synchronous: a deflate stream that
// is flushed after each block has no state but the last 32 KiB of what came out of it.
// Source: SPDY Protocol draft 3.1, 2.6.10 (Name/Value Header Block) and 2.6.10.1 (dictionary).
import { constants, inflateRawSync } from 'node:zlib';

export type SpdyHeaders = Readonly<Record<string, string>>;

/** What a header block may weigh when unpacked; Kubernetes' clients send some hundred bytes. */
const headersMaxBytes = 16 * 1024;
const windowBytes = 32 * 1024;
/** Compression header, flags, and the dictionary's checksum. */
const zlibHeadBytes = 6;

/** The peer's bytes make no sense: the connection can't go on. */
export class SpdyError extends Error {
  override readonly name = 'SpdyError';
}

const dictionaryWords =
  'options head post put delete trace accept accept-charset accept-encoding accept-language ' +
  'accept-ranges age allow authorization cache-control connection content-base content-encoding ' +
  'content-language content-length content-location content-md5 content-range content-type date ' +
  'etag expect expires from host if-match if-modified-since if-none-match if-range ' +
  'if-unmodified-since last-modified location max-forwards pragma proxy-authenticate ' +
  'proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url ' +
  'public set-cookie keep-alive origin';
const dictionaryText =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505' +
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request' +
  '401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented' +
  '503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, ' +
  'Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,' +
  'application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,' +
  'sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

export const spdyDictionary: Buffer = Buffer.concat([
  ...dictionaryWords.split(' ').map((word) => lengthAndText(word.replace('_', ' '))),
  Buffer.from(dictionaryText),
]);

function lengthAndText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** One per connection: later blocks refer to what earlier ones held. */
export class HeaderDecoder {
  #window: Buffer = spdyDictionary;
  #isFirst = true;

  /** Names are lower-case; a name's several values are joined by ', '. Throws SpdyError. */
  decode(block: Uint8Array): SpdyHeaders {
    const deflated = this.#isFirst ? block.subarray(zlibHeadBytes) : block;
    if (this.#isFirst && (block.length <= zlibHeadBytes || ((block[1] ?? 0) & 0x20) === 0))
      throw new SpdyError('the first header block names no dictionary');
    this.#isFirst = false;
    const plain = this.#inflate(deflated);
    this.#window = Buffer.concat([this.#window, plain]).subarray(-windowBytes);
    return parseHeaders(plain);
  }

  #inflate(deflated: Uint8Array): Buffer {
    try {
      return inflateRawSync(deflated, {
        dictionary: this.#window,
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: headersMaxBytes,
      });
    } catch (error) {
      throw new SpdyError('a header block can not be inflated', { cause: error });
    }
  }
}

function parseHeaders(plain: Buffer): SpdyHeaders {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  let at = 0;
  function readNumber(): number {
    if (at + 4 > plain.length) throw new SpdyError('a header block is cut off');
    at += 4;
    return plain.readUInt32BE(at - 4);
  }
  function readText(): string {
    const length = readNumber();
    if (at + length > plain.length) throw new SpdyError('a header block is cut off');
    at += length;
    return plain.toString('utf8', at - length, at);
  }
  for (let left = readNumber(); left > 0; left--) {
    const name = readText().toLowerCase();
    const value = readText();
    if (name === '') throw new SpdyError('a header has no name');
    headers[name] = value.replaceAll('\0', ', ');
  }
  return headers;
}

/** One per connection. Stores instead of deflating: what we send is some ten bytes. */
export class HeaderEncoder {
  #isFirst = true;

  encode(headers: SpdyHeaders): Buffer {
    const entries = Object.entries(headers);
    const count = Buffer.alloc(4);
    count.writeUInt32BE(entries.length);
    const texts = entries.flatMap(([name, value]) => [lengthAndText(name), lengthAndText(value)]);
    const plain = Buffer.concat([count, ...texts]);
    if (plain.length > headersMaxBytes) throw new SpdyError('the headers are too large');
    const head = this.#isFirst ? zlibHead() : Buffer.alloc(0);
    this.#isFirst = false;
    // The empty block is what a flush leaves behind: without it readers wait for more.
    return Buffer.concat([head, storedBlock(plain), storedBlock(Buffer.alloc(0))]);
  }
}

function zlibHead(): Buffer {
  const head = Buffer.from([0x78, 0x20, 0, 0, 0, 0]);
  head.writeUInt32BE(adler32(spdyDictionary), 2);
  return head;
}

function storedBlock(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(bytes.length, 1);
  head.writeUInt16LE(~bytes.length & 0xffff, 3);
  return Buffer.concat([head, bytes]);
}

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return ((b << 16) | a) >>> 0;
}
