// Values of expressions compared from outside of the library: by what they are, whatever their class.
import { Optional } from '@marcbachmann/cel-js';

/** What has its own classes (quantities, addresses, versions) tells by `compareTo` how it compares. */
export interface ComparableValue {
  compareTo(other: this): number;
}

export function equalValues(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isNumber(a) && isNumber(b)) return a.valueOf() == b.valueOf();
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a.constructor !== b.constructor) return false;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => equalValues(item, b[index]));
  if (a instanceof Map && b instanceof Map)
    return (
      a.size === b.size &&
      [...a].every(([key, value]) => b.has(key) && equalValues(value, b.get(key)))
    );
  if (a instanceof Uint8Array && b instanceof Uint8Array)
    return a.length === b.length && a.every((byte, index) => byte === b[index]);
  if (a instanceof Optional && b instanceof Optional)
    return a.hasValue() === b.hasValue() && (!a.hasValue() || equalValues(a.value(), b.value()));
  if (isComparable(a)) return a.compareTo(b as typeof a) === 0;
  return a.valueOf() === b.valueOf();
}

/** Throws for values that have no order. */
export function compareValues(a: unknown, b: unknown): number {
  const [left, right] = [plain(a), plain(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Numbers compare with each other, whichever kind they are of; times and durations have numbers as values. */
function plain(value: unknown): bigint | number | string | boolean {
  const own = typeof value === 'object' && value !== null ? value.valueOf() : value;
  if (
    typeof own === 'bigint' ||
    typeof own === 'number' ||
    typeof own === 'string' ||
    typeof own === 'boolean'
  )
    return own;
  throw new Error('no such overload');
}

function isNumber(value: unknown): value is bigint | number {
  if (typeof value === 'bigint' || typeof value === 'number') return true;
  return typeof value === 'object' && value !== null && typeof value.valueOf() === 'bigint';
}

function isComparable(value: object): value is ComparableValue {
  return 'compareTo' in value && typeof value.compareTo === 'function';
}
