// The text an age file begins with: for whom its key is wrapped, a stanza for each, and a MAC over all of
// it, so that no stanza can be added, changed or taken away unnoticed. Strict: there is one way to
// write a header, and only that is read.
// Source: C2SP age.md, https://age-encryption.org/v1.
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { ByteReader } from './byte-reader.ts';
import { SealedStreamError } from './errors.ts';

export interface Stanza {
  /** Its type, then what belongs to it: visible ASCII without spaces. */
  readonly words: readonly string[];
  readonly body: Uint8Array;
}

export interface Header {
  readonly stanzas: readonly Stanza[];
  /** What the MAC is of. */
  readonly text: string;
  readonly mac: Uint8Array;
}

const versionLine = 'age-encryption.org/v1';
const columns = 64;
const macBytes = 32;
/** A header of many times what we write: what is longer is no header. */
const limits = { lineBytes: 4096, stanzas: 32, bodyLines: 256 };

export function headerText(stanzas: readonly Stanza[], fileKey: Uint8Array): string {
  const text = [versionLine, ...stanzas.flatMap(stanzaLines), '---'].join('\n');
  return `${text} ${unpadded(mac(text, fileKey))}\n`;
}

/** Throws SealedStreamError. */
export async function readHeader(reader: ByteReader): Promise<Header> {
  if ((await reader.readLine(limits.lineBytes)) !== versionLine)
    throw new SealedStreamError('not-sealed');
  const lines = [versionLine];
  const nextLine = async (): Promise<string> => {
    const line = await reader.readLine(limits.lineBytes);
    if (line === undefined)
      throw new SealedStreamError((await reader.isAtEnd()) ? 'cut' : 'damaged');
    lines.push(line);
    return line;
  };
  const stanzas: Stanza[] = [];
  for (;;) {
    const line = await nextLine();
    const end = /^--- (\S+)$/.exec(line);
    if (end !== null) {
      lines[lines.length - 1] = '---';
      return { stanzas, text: lines.join('\n'), mac: exactly(end[1] ?? '', macBytes) };
    }
    if (!/^->(?: [!-~]+)+$/.test(line) || stanzas.length === limits.stanzas)
      throw new SealedStreamError('damaged');
    stanzas.push({ words: line.slice(3).split(' '), body: await readBody(nextLine) });
  }
}

/** Throws SealedStreamError. */
export function verifyHeader(header: Header, fileKey: Uint8Array): void {
  if (!timingSafeEqual(mac(header.text, fileKey), header.mac))
    throw new SealedStreamError('damaged');
}

/** Base64 without "=", in its one canonical form. Throws SealedStreamError. */
export function fromUnpadded(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (unpadded(bytes) !== text) throw new SealedStreamError('damaged');
  return bytes;
}

export function exactly(text: string, length: number): Buffer {
  const bytes = fromUnpadded(text);
  if (bytes.length !== length) throw new SealedStreamError('damaged');
  return bytes;
}

export function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}

/** The last line is shorter than the others, empty when it must be: so a body shows its end. */
function stanzaLines(stanza: Stanza): string[] {
  const text = unpadded(stanza.body);
  const lines = [`-> ${stanza.words.join(' ')}`];
  for (let at = 0; at <= text.length; at += columns) lines.push(text.slice(at, at + columns));
  return lines;
}

async function readBody(nextLine: () => Promise<string>): Promise<Buffer> {
  let text = '';
  for (let count = 0; count < limits.bodyLines; count++) {
    const line = await nextLine();
    if (line.length > columns) break;
    text += line;
    if (line.length < columns) return fromUnpadded(text);
  }
  throw new SealedStreamError('damaged');
}

function mac(text: string, fileKey: Uint8Array): Buffer {
  const key = Buffer.from(hkdfSync('sha256', fileKey, new Uint8Array(0), 'header', 32));
  return createHmac('sha256', key).update(text).digest();
}
