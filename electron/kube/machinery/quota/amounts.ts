// Arithmetic on lists of amounts: resource name → quantity. Nothing is changed in place.
// Source: kubernetes apiserver pkg/quota/v1/resources.go.
import type { Quantity } from '../../api/scalars.ts';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  formatQuantity,
  isZeroQuantity,
  parseQuantity,
  subtractQuantities,
} from '../quantity.ts';

export type Amounts = Readonly<Record<string, Quantity>>;

export function amountIn(amounts: Amounts | undefined, name: string): Quantity | undefined {
  return amounts !== undefined && Object.hasOwn(amounts, name) ? amounts[name] : undefined;
}

export function addAmounts(a: Amounts, b: Amounts): Record<string, Quantity> {
  const sum = { ...a };
  for (const [name, amount] of Object.entries(b)) {
    const before = amountIn(a, name);
    sum[name] = before === undefined ? amount : addQuantities(before, amount);
  }
  return sum;
}

/** Of the named amounts, over many lists: adds without writing down what is in between. */
export function sumAmounts(
  names: readonly string[],
  lists: readonly Amounts[],
): Record<string, Quantity> {
  return Object.fromEntries(
    names.map((name) => {
      let sum = parseQuantity('0');
      for (const amounts of lists) {
        const more = amountIn(amounts, name);
        if (more === undefined) continue;
        const { nanos, format } = parseQuantity(more);
        sum = { nanos: sum.nanos + nanos, format: sum.nanos === 0n ? format : sum.format };
      }
      return [name, formatQuantity(sum)];
    }),
  );
}

/** What `a` has more than `b`; never negative. */
export function surplusOf(a: Amounts, b: Amounts): Record<string, Quantity> {
  const surplus: Record<string, Quantity> = {};
  for (const [name, amount] of Object.entries(a)) {
    const less = amountIn(b, name) ?? 0;
    surplus[name] = compareQuantities(amount, less) > 0 ? subtractQuantities(amount, less) : '0';
  }
  return surplus;
}

export function onlyNamed(amounts: Amounts, names: Iterable<string>): Record<string, Quantity> {
  const wanted = new Set(names);
  return Object.fromEntries(Object.entries(amounts).filter(([name]) => wanted.has(name)));
}

/** Names whose amount is above its limit; without a limit nothing is. */
export function namesAbove(amounts: Amounts, limits: Amounts): string[] {
  return Object.keys(amounts).filter((name) => {
    const limit = amountIn(limits, name);
    return limit !== undefined && compareQuantities(amounts[name] ?? 0, limit) > 0;
  });
}

export function isSameAmounts(a: Amounts = {}, b: Amounts = {}): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => {
      const other = amountIn(b, name);
      return other !== undefined && compareQuantities(a[name] ?? 0, other) === 0;
    })
  );
}

export function withoutZeroAmounts(amounts: Amounts): Record<string, Quantity> {
  return Object.fromEntries(Object.entries(amounts).filter(([, one]) => !isZeroQuantity(one)));
}

/** `cpu=1,memory=2Gi`, by name. */
export function showAmounts(amounts: Amounts): string {
  return Object.keys(amounts)
    .toSorted()
    .map((name) => `${name}=${canonicalQuantity(amounts[name] ?? 0)}`)
    .join(',');
}
