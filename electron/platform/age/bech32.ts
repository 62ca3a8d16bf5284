// Bech32, in which age writes its keys: five bits to a letter, and six letters that find mistakes of a
// person who copies them. Source: BIP 173, without its limit of 90 letters, as age has it.

const letters = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const checksumLength = 6;

/** `prefix` in small letters. */
export function bech32(prefix: string, bytes: Uint8Array): string {
  const data = regroup(bytes, 8, 5, true) ?? [];
  const sum = polymod([...expanded(prefix), ...data, ...Array<number>(checksumLength).fill(0)]) ^ 1;
  const check = Array.from(
    { length: checksumLength },
    (_, place) => (sum >>> (5 * (checksumLength - 1 - place))) & 31,
  );
  return `${prefix}1${[...data, ...check].map((value) => letters[value]).join('')}`;
}

/** Of a text all in small or all in capital letters. Undefined: it is none with this prefix. */
export function bech32Bytes(prefix: string, text: string): Buffer | undefined {
  const small = text.toLowerCase();
  if (text !== small && text !== text.toUpperCase()) return undefined;
  if (!small.startsWith(`${prefix}1`)) return undefined;
  const values = small
    .slice(prefix.length + 1)
    .split('')
    .map((letter) => letters.indexOf(letter));
  if (values.length < checksumLength || values.includes(-1)) return undefined;
  if (polymod([...expanded(prefix), ...values]) !== 1) return undefined;
  const bytes = regroup(values.slice(0, -checksumLength), 5, 8, false);
  return bytes === undefined ? undefined : Buffer.from(bytes);
}

function expanded(prefix: string): number[] {
  const codes = [...Buffer.from(prefix)];
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

function polymod(values: readonly number[]): number {
  return values.reduce((sum, value) => {
    const shifted = ((sum & 0x1ffffff) << 5) ^ value;
    return generators.reduce(
      (mixed, generator, bit) => (((sum >>> 25) >> bit) & 1 ? mixed ^ generator : mixed),
      shifted,
    );
  }, 1);
}

/** Undefined: what is left over is not the zeros that filling makes. */
function regroup(
  values: Iterable<number>,
  from: number,
  to: number,
  fill: boolean,
): number[] | undefined {
  const grouped: number[] = [];
  let held = 0;
  let bits = 0;
  for (const value of values) {
    held = ((held << from) | value) & 0xfff;
    for (bits += from; bits >= to;) {
      bits -= to;
      grouped.push((held >> bits) & ((1 << to) - 1));
    }
  }
  const rest = (held << (to - bits)) & ((1 << to) - 1);
  if (fill) return bits > 0 ? [...grouped, rest] : grouped;
  return bits >= from || rest !== 0 ? undefined : grouped;
}
