// Keys as byte strings (see ByteKey), from and to the strings that Store speaks, and ranges of them.
// Pure. Byte order of the UTF-8 form is the order of ByteKeys under JavaScript's own comparison.
import type { ByteKey, KeyRange } from './commands.ts';

const beyondAscii = /[^\0-\x7f]/;

/** `text` must be well-formed Unicode: anything else could not be told from another key. */
export function byteKeyOf(text: string): ByteKey {
  return beyondAscii.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

/** The string of a key that `byteKeyOf` made; other bytes come out as U+FFFD. */
export function textOfKey(key: ByteKey): string {
  return beyondAscii.test(key) ? Buffer.from(key, 'latin1').toString('utf8') : key;
}

/** Every key that starts with `prefix`. */
export function prefixRange(prefix: ByteKey): KeyRange {
  return { key: prefix, end: prefixEnd(prefix) };
}

/** The first key behind all that start with `prefix`; '\0', which is "no end", when there is none. */
function prefixEnd(prefix: ByteKey): ByteKey {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const unit = prefix.charCodeAt(i);
    if (unit < 0xff) return prefix.slice(0, i) + String.fromCharCode(unit + 1);
  }
  return '\0';
}

export function isInRange({ key, end }: KeyRange, candidate: ByteKey): boolean {
  if (end === undefined) return candidate === key;
  return candidate >= key && (end === '\0' || candidate < end);
}
