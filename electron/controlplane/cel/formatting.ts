// `'%s of %d'.format([…])`. Source: cel-go ext/formatting_v2.go.
import { Duration, UnsignedInt } from '@marcbachmann/cel-js/evaluator';
import type { Budget } from './budget.ts';
import { durationText, timeText } from './durations.ts';

const defaultPrecision = 6;

export function formatted(text: string, values: readonly unknown[], budget: Budget): string {
  let used = 0;
  const made = text.replaceAll(
    /%(?:%|(?:\.(\d+))?(.?))/gs,
    (whole, precision?: string, verb = '') => {
      if (whole === '%%') return '%';
      if (verb === '') throw new Error('unexpected end of string');
      if (used >= values.length) throw new Error(`index ${used} out of range`);
      const part = clause(verb, values[used++], precision);
      budget.spend(part.length / 50);
      return part;
    },
  );
  if (used < values.length)
    throw new Error(
      `too many arguments supplied to string.format (expected ${used}, got ${values.length})`,
    );
  return made;
}

function clause(verb: string, value: unknown, precision: string | undefined): string {
  const digits = precision === undefined ? defaultPrecision : Number(precision);
  if (digits > 100) throw new Error('precision is too large');
  switch (verb) {
    case 's':
      return textOf(value);
    case 'd': {
      const whole = wholeNumber(value);
      if (whole !== undefined) return String(whole);
      if (typeof value === 'number' && !Number.isFinite(value)) return textOf(value);
      throw notFor('decimal clause', 'integers', value);
    }
    case 'f':
    case 'e':
      return fractional(verb, value, digits);
    case 'b':
      if (typeof value === 'boolean') return value ? '1' : '0';
      return radix(value, 2, 'binary clause');
    case 'o':
      return radix(value, 8, 'octal clause');
    case 'x':
    case 'X': {
      const made = hexadecimal(value);
      return verb === 'X' ? made.toUpperCase() : made;
    }
    default:
      throw new Error(`unrecognized formatting clause ${JSON.stringify(verb)}`);
  }
}

function notFor(what: string, allowed: string, value: unknown): Error {
  return new Error(`${what} can only be used on ${allowed}, was given ${kindOf(value)}`);
}

function wholeNumber(value: unknown): bigint | undefined {
  if (value instanceof UnsignedInt) return value.valueOf();
  return typeof value === 'bigint' ? value : undefined;
}

function radix(value: unknown, base: number, what: string): string {
  const whole = wholeNumber(value);
  if (whole === undefined)
    throw notFor(what, base === 2 ? 'integers and bools' : 'integers', value);
  return whole.toString(base);
}

function hexadecimal(value: unknown): string {
  if (typeof value === 'string') return Buffer.from(value).toString('hex');
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  const whole = wholeNumber(value);
  if (whole === undefined) throw notFor('hex clause', 'integers, byte buffers, and strings', value);
  return whole.toString(16);
}

function fractional(verb: 'f' | 'e', value: unknown, digits: number): string {
  const whole = wholeNumber(value);
  const number = whole === undefined ? value : Number(whole);
  if (typeof number !== 'number')
    throw notFor(verb === 'f' ? 'fixed-point clause' : 'scientific clause', 'doubles', value);
  if (!Number.isFinite(number)) return textOf(number);
  if (verb === 'f') return number.toFixed(digits);
  return number.toExponential(digits).replace(/e([+-])(\d)$/, 'e$10$2');
}

function textOf(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'number':
      return Number.isFinite(value) || Number.isNaN(value)
        ? String(value)
        : `${value < 0 ? '-' : ''}Infinity`;
    default:
      return typeof value === 'object' ? objectText(value) : '';
  }
}

function objectText(value: object | null): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`;
  if (value instanceof Map)
    return `{${[...value]
      .map(([key, item]) => [textOf(key), textOf(item)])
      .sort(([a = ''], [b = '']) => (a < b ? -1 : 1))
      .map((pair) => pair.join(': '))
      .join(', ')}}`;
  if (value instanceof Date) return timeText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (value instanceof UnsignedInt) return String(value.valueOf());
  throw new Error(
    `string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given ${kindOf(value)}`,
  );
}

function kindOf(value: unknown): string {
  if (value === null) return 'null_type';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Map) return 'map';
  const names: Readonly<Record<string, string>> = {
    bigint: 'int',
    number: 'double',
    boolean: 'bool',
    string: 'string',
  };
  return names[typeof value] ?? (value as object).constructor.name.toLowerCase();
}
