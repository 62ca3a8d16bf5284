// Reads ASN.1 in its distinguished encoding, as far as certificate requests need it.
// Source: ITU-T X.690.

export interface DerValue {
  readonly tag: number;
  /** Without tag and length. */
  readonly content: Uint8Array;
  /** With them. */
  readonly whole: Uint8Array;
}

/** What was read is not in this encoding. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** One value that fills `bytes`. Throws DerError. */
export function readOne(bytes: Uint8Array): DerValue {
  const [value, ...rest] = readAll(bytes);
  if (value === undefined || rest.length > 0) throw new DerError('one value was expected');
  return value;
}

/** The content of a value that has to be there and of that tag. Throws DerError. */
export function contentOf(value: DerValue | undefined, tag: number): Uint8Array {
  if (value?.tag !== tag) throw new DerError(`tag ${tag} was expected`);
  return value.content;
}

export const tags = { bitString: 0x03, objectIdentifier: 0x06, sequence: 0x30, set: 0x31 };

/** The values that follow each other in `bytes`. Throws DerError. */
export function readAll(bytes: Uint8Array): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length;) {
    const value = readAt(bytes, at);
    values.push(value);
    at += value.whole.length;
  }
  return values;
}

function readAt(bytes: Uint8Array, at: number): DerValue {
  const tag = bytes[at] ?? 0;
  if ((tag & 0x1f) === 0x1f) throw new DerError('long tags are not supported');
  const first = bytes[at + 1];
  if (first === undefined) throw new DerError('the value is cut off');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (lengthBytes > 4 || first === 0x80) throw new DerError('the length is not supported');
  let length = first < 0x80 ? first : 0;
  for (let index = 0; index < lengthBytes; index++)
    length = length * 256 + (bytes[at + 2 + index] ?? 0);
  const start = at + 2 + lengthBytes;
  if (start + length > bytes.length) throw new DerError('the value is cut off');
  return {
    tag,
    content: bytes.subarray(start, start + length),
    whole: bytes.subarray(at, start + length),
  };
}

/** Dotted form. */
export function readObjectIdentifier(content: Uint8Array): string {
  const numbers: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    numbers.push(value);
    value = 0;
  }
  const [both = 0, ...rest] = numbers;
  const first = Math.min(2, Math.floor(both / 40));
  return [first, both - first * 40, ...rest].join('.');
}
