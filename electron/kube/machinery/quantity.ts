// Resource quantities (`100m`, `1.5Gi`, `2e3`): exact arithmetic in billionths, canonical text.
// Finer amounts round away from zero, so that asking for something never becomes nothing.
// Source: kubernetes apimachinery pkg/api/resource/{quantity,suffix}.go.
import type { Quantity } from '../api/scalars.ts';
import { badRequest } from './status.ts';

export type QuantityFormat = 'DecimalSI' | 'BinarySI' | 'DecimalExponent';

export interface ParsedQuantity {
  /** The amount in units of 10^-9. */
  readonly nanos: bigint;
  readonly format: QuantityFormat;
}

const wrongFormat =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const wrongSuffix = "unable to parse quantity's suffix";
const wrongNumber = 'unable to parse numeric part of quantity';

const nanosPerUnit = 1_000_000_000n;
const maxInt64 = 2n ** 63n - 1n;
/** Differs: Kubernetes has no bound; without one a short text could ask for endless digits. */
const maxTextLength = 128;
const maxExponent = 64n;

const decimalSuffixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];
const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
/** Power of ten of the first decimal suffix. */
const firstExponent = -9;

/** Throws 400 with Kubernetes' message. */
export function parseQuantity(quantity: Quantity): ParsedQuantity {
  const text = typeof quantity === 'number' ? numberText(quantity) : quantity;
  // The length first: on a text of endless digits the expression would take forever.
  if (text === '' || text.length > maxTextLength) throw badRequest(wrongFormat);
  const match = /^([+-]?)(\d*)(\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)$/.exec(text);
  if (match === null) throw badRequest(wrongFormat);
  const [, sign = '', whole = '', point, fraction = '', suffix = ''] = match;
  const scale = parseSuffix(suffix);
  if (scale === undefined) throw badRequest(wrongSuffix);
  if (point !== undefined && whole === '' && fraction === '') throw badRequest(wrongNumber);
  const digits = BigInt(`${whole}${fraction}` || '0') * scale.multiplier;
  const exponent = scale.exponent - BigInt(fraction.length) + 9n;
  let nanos = exponent >= 0n ? digits * 10n ** exponent : divideUp(digits, 10n ** -exponent);
  let format = scale.format;
  if (format === 'BinarySI') {
    // The cap is Kubernetes'; below one a binary form would only confuse.
    if (nanos > maxInt64 * nanosPerUnit) nanos = maxInt64 * nanosPerUnit;
    if (nanos < nanosPerUnit && nanos > 0n) format = 'DecimalSI';
  }
  return { nanos: sign === '-' ? -nanos : nanos, format };
}

interface Scale {
  readonly format: QuantityFormat;
  readonly multiplier: bigint;
  /** Power of ten. */
  readonly exponent: bigint;
}

function parseSuffix(suffix: string): Scale | undefined {
  const decimal = decimalSuffixes.indexOf(suffix);
  if (decimal >= 0)
    return { format: 'DecimalSI', multiplier: 1n, exponent: BigInt(firstExponent + decimal * 3) };
  const binary = binarySuffixes.indexOf(suffix);
  if (binary > 0) return { format: 'BinarySI', multiplier: 1024n ** BigInt(binary), exponent: 0n };
  const exponentText = /^[eE]([-+]?\d+)$/.exec(suffix)?.[1];
  if (exponentText === undefined) return undefined;
  const exponent = BigInt(exponentText.replace('+', ''));
  if (exponent > maxExponent || exponent < -maxExponent) return undefined;
  return { format: 'DecimalExponent', multiplier: 1n, exponent };
}

/** JSON numbers as a person would have written them: `1e21` has a suffix of its own. */
function numberText(value: number): string {
  return Number.isFinite(value) ? String(value) : '';
}

function divideUp(value: bigint, divisor: bigint): bigint {
  return (value + divisor - 1n) / divisor;
}

/** Canonical text: no fraction, the largest suffix that keeps the value exact. */
export function formatQuantity(quantity: ParsedQuantity): string {
  const { nanos, format } = quantity;
  if (nanos === 0n) return '0';
  const isSmall = nanos > -1024n * nanosPerUnit && nanos < 1024n * nanosPerUnit;
  if (format === 'BinarySI' && !isSmall && nanos % nanosPerUnit === 0n)
    return formatBinary(nanos / nanosPerUnit);
  let digits = nanos;
  let step = 0;
  // Kubernetes has no suffix past E: larger amounts keep their zeros.
  const maxStep = format === 'DecimalExponent' ? Infinity : decimalSuffixes.length - 1;
  while (digits % 1000n === 0n && step < maxStep) {
    digits /= 1000n;
    step++;
  }
  const exponent = firstExponent + step * 3;
  if (format !== 'DecimalExponent') return `${digits}${decimalSuffixes[step] ?? ''}`;
  return exponent === 0 ? String(digits) : `${digits}e${exponent}`;
}

function formatBinary(units: bigint): string {
  let digits = units;
  let step = 0;
  while (digits % 1024n === 0n && step < binarySuffixes.length - 1) {
    digits /= 1024n;
    step++;
  }
  return `${digits}${binarySuffixes[step] ?? ''}`;
}

/** `1000m` → `1`, `2048Ki` → `2Mi`. Throws 400. */
export function canonicalQuantity(quantity: Quantity): string {
  return formatQuantity(parseQuantity(quantity));
}

/** Negative when a < b, 0 when equal, positive when a > b. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  const [left, right] = [parseQuantity(a).nanos, parseQuantity(b).nanos];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The sum keeps the format of `a`, or takes that of `b` when `a` is zero. */
export function addQuantities(a: Quantity, b: Quantity): string {
  return combine(parseQuantity(a), parseQuantity(b), 1n);
}

export function subtractQuantities(a: Quantity, b: Quantity): string {
  return combine(parseQuantity(a), parseQuantity(b), -1n);
}

function combine(left: ParsedQuantity, right: ParsedQuantity, sign: 1n | -1n): string {
  const format = left.nanos === 0n ? right.format : left.format;
  return formatQuantity({ nanos: left.nanos + sign * right.nanos, format });
}

export function isZeroQuantity(quantity: Quantity): boolean {
  return parseQuantity(quantity).nanos === 0n;
}

/** Thousandths, rounded up: CPU in millicores. */
export function toMilli(quantity: Quantity): number {
  return Number(roundUp(parseQuantity(quantity).nanos, 1_000_000n));
}

/** Whole units, rounded up: bytes, pods. Go's `Value()`. */
export function toInteger(quantity: Quantity): number {
  return Number(roundUp(parseQuantity(quantity).nanos, nanosPerUnit));
}

/** The nearest double: for charts and ratios, not for accounting. */
export function toNumber(quantity: Quantity): number {
  const { nanos } = parseQuantity(quantity);
  const whole = nanos / nanosPerUnit;
  return Number(whole) + Number(nanos - whole * nanosPerUnit) / 1e9;
}

function roundUp(nanos: bigint, divisor: bigint): bigint {
  return nanos < 0n ? -divideUp(-nanos, divisor) : divideUp(nanos, divisor);
}

/** Millicores as canonical text: 1500 → `1500m`, 2000 → `2`. */
export function quantityFromMilli(millis: number): string {
  return formatQuantity({ nanos: BigInt(Math.round(millis)) * 1_000_000n, format: 'DecimalSI' });
}

/** Bytes as canonical binary text: 1073741824 → `1Gi`. */
export function quantityFromBytes(sizeBytes: number): string {
  return formatQuantity({
    nanos: BigInt(Math.round(sizeBytes)) * nanosPerUnit,
    format: 'BinarySI',
  });
}

/** The message of what is wrong with a value, in Kubernetes' words; undefined when legal. */
export function validateQuantity(value: unknown): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return wrongFormat;
  try {
    parseQuantity(typeof value === 'string' ? value.trim() : value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
