// Names of DNS: on the wire labels with their lengths, here text without the last dot. A dot or a
// backslash inside a label is written with a backslash before it, so that no label can be mistaken for
// two. Sources: RFC 1035 3.1 and 4.1.4, RFC 4343 (letters of either case are the same).

export const nameBytesMax = 255;
const labelBytesMax = 63;
const pointerBits = 0xc0;

export interface ReadName {
  /** In lower case. */
  readonly name: string;
  /** Behind it in the message. */
  readonly end: number;
  /** Whether all of it stands here, without a pointer to an earlier place. */
  readonly isWhole: boolean;
}

/** Undefined when no name stands there: cut off, too long, or a pointer that does not lead back. */
export function readName(message: Buffer, start: number): ReadName | undefined {
  let text = '';
  let bytes = 1;
  let at = start;
  let end: number | undefined;
  for (;;) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) {
      const name = text.slice(0, -1);
      return { name, end: end ?? at + 1, isWhole: end === undefined };
    }
    if ((length & pointerBits) === pointerBits) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      const target = ((length & ~pointerBits) << 8) | low;
      // Only ever back, so that it ends.
      if (target >= at || target >= start) return undefined;
      end ??= at + 2;
      start = target;
      at = target;
      continue;
    }
    if (length > labelBytesMax) return undefined;
    bytes += length + 1;
    if (bytes > nameBytesMax || at + 1 + length > message.length) return undefined;
    text += `${readLabel(message, at + 1, length)}.`;
    at += length + 1;
  }
}

function readLabel(message: Buffer, start: number, length: number): string {
  const text = message.toString('latin1', start, start + length);
  return /[A-Z.\\]/.test(text) ? text.replaceAll(/[A-Z.\\]/g, plain) : text;
}

function plain(character: string): string {
  return character === '.' || character === '\\' ? `\\${character}` : character.toLowerCase();
}

/** Behind the name that begins there; undefined when it is cut off. Pointers are not followed. */
export function skipName(message: Buffer, start: number): number | undefined {
  for (let at = start; at < message.length;) {
    const length = message[at] ?? 0;
    if (length === 0) return at + 1;
    if ((length & pointerBits) === pointerBits) return at + 2 > message.length ? undefined : at + 2;
    if (length > labelBytesMax) return undefined;
    at += length + 1;
  }
  return undefined;
}

/** The name itself, then what is left of it without its first label, and so on; not the root. */
export function suffixesOf(name: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < name.length;) {
    found.push(name.slice(at));
    while (at < name.length && name[at] !== '.') at += name[at] === '\\' ? 2 : 1;
    at++;
  }
  return found;
}

/** The first label of a name as its bytes. */
export function firstLabel(name: string): Buffer {
  let text = '';
  for (let at = 0; at < name.length && name[at] !== '.'; at++) {
    if (name[at] === '\\') at++;
    text += name[at] ?? '';
  }
  return Buffer.from(text, 'latin1');
}

/** Whether it can be written down: labels of 1 to 63 bytes, 255 in all. */
export function isName(name: string): boolean {
  if (name === '') return true;
  let bytes = 1;
  for (const suffix of suffixesOf(name)) {
    const { length } = firstLabel(suffix);
    if (length === 0 || length > labelBytesMax) return false;
    bytes += length + 1;
  }
  return bytes <= nameBytesMax && !name.endsWith('.');
}

/** `b.a.in-addr.arpa`'s address, as zone.ts keys addresses; undefined for any other name. */
export function addressOfReverse(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const labels = name.slice(0, -'.in-addr.arpa'.length).split('.');
    const isAddress =
      labels.length === 4 && labels.every((label) => /^(?:0|[1-9]\d{0,2})$/.test(label));
    return isAddress ? labels.toReversed().join('.') : undefined;
  }
  if (!name.endsWith('.ip6.arpa')) return undefined;
  const nibbles = name.slice(0, -'.ip6.arpa'.length).split('.');
  if (nibbles.length !== 32 || !nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble)))
    return undefined;
  return nibbles.toReversed().join('');
}
