// JSON as Go reads it where JavaScript would change what it says: integers beyond 2^53 are bigints,
// up to what an int64 holds, and halves of surrogate pairs become U+FFFD. All else is JSON.parse.
// Bigints are written as they were read, by JSON.stringify wherever it is called.

// Not in the library's types yet (ECMAScript: JSON.parse source text access).
type Revive = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;
const { parse, rawJSON } = JSON as unknown as {
  parse(text: string, revive?: Revive): unknown;
  rawJSON(text: string): unknown;
};

// oxlint-disable-next-line no-extend-native -- what JSON.stringify asks for
Object.defineProperty(BigInt.prototype, 'toJSON', {
  configurable: true,
  writable: true,
  value(this: bigint): unknown {
    return rawJSON(String(this));
  },
});

/** Cheap, and true of whatever may need care: reviving costs ten times as much as parsing. */
const mayNeedCare = /(?:^|[:[,\s-])\d{16}|\\u[dD][89a-fA-F]/;
const integer = /^-?\d+$/;

/** Throws SyntaxError as JSON.parse does. */
export function exactJson(text: string): unknown {
  return mayNeedCare.test(text) ? parse(text, revive) : parse(text);
}

const revive: Revive = (_key, value, { source }) => {
  if (typeof value === 'string') return value.isWellFormed() ? value : value.toWellFormed();
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  if (source === undefined || source === String(value) || !integer.test(source)) return value;
  const exact = BigInt(source);
  return isInt64(exact) ? exact : value;
};

export function isInt64(value: bigint): boolean {
  return BigInt.asIntN(64, value) === value;
}
