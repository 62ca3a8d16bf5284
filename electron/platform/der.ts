// ASN.1 in its distinguished encoding, as far as certificates need it: tags, lengths, the few
// universal types, and PEM around it. Writes only; reading is left to node:crypto.
// Source: ITU-T X.690.

/** One encoded value: tag, length, content. */
export type Der = Uint8Array;

const universal = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
};

export function sequence(...items: readonly Der[]): Der {
  return encode(universal.sequence, concat(items));
}

export function set(...items: readonly Der[]): Der {
  return encode(universal.set, concat(items));
}

/** Context-specific tag around whole values (`[n] EXPLICIT`). */
export function explicit(tag: number, ...items: readonly Der[]): Der {
  return encode(0xa0 | tag, concat(items));
}

/** Context-specific tag in place of a primitive's own (`[n] IMPLICIT`). */
export function implicit(tag: number, content: Uint8Array): Der {
  return encode(0x80 | tag, content);
}

export function boolean(value: boolean): Der {
  return encode(universal.boolean, Uint8Array.of(value ? 0xff : 0));
}

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  const needsSign = ((trimmed[0] ?? 0) & 0x80) !== 0;
  return encode(universal.integer, needsSign ? concat([Uint8Array.of(0), trimmed]) : trimmed);
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Der {
  return encode(universal.bitString, concat([Uint8Array.of(unusedBits), bytes]));
}

export function octetString(bytes: Uint8Array): Der {
  return encode(universal.octetString, bytes);
}

export function utf8String(text: string): Der {
  return encode(universal.utf8String, new TextEncoder().encode(text));
}

/** Dotted form: `2.5.29.17`. */
export function objectIdentifier(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const content = [first * 40 + second, ...rest].flatMap(base128);
  return encode(universal.objectIdentifier, Uint8Array.from(content));
}

/** RFC 5280 §4.1.2.5: two-digit years through 2049, four digits from 2050 on. */
export function time(ms: number): Der {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  const ascii = new TextEncoder().encode(digits);
  const isLate = Number(digits.slice(0, 4)) >= 2050;
  return isLate
    ? encode(universal.generalizedTime, ascii)
    : encode(universal.utcTime, ascii.subarray(2));
}

export function pem(label: string, der: Der): string {
  const base64 = Buffer.from(der).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

function encode(tag: number, content: Uint8Array): Der {
  return concat([Uint8Array.of(tag, ...length(content.length)), content]);
}

function length(count: number): number[] {
  if (count < 0x80) return [count];
  const bytes: number[] = [];
  for (let rest = count; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

function base128(value: number): number[] {
  const groups = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128))
    groups.unshift(0x80 | (rest % 128));
  return groups;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
