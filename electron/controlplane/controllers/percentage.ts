// Numbers that may be given as a percentage (`maxSurge: 25%`).
// Source: kubernetes apimachinery pkg/util/intstr GetScaledValueFromIntOrPercent.
import type { IntOrString } from '#kube/api/scalars.ts';

/** Validation has refused anything else before: what is no number counts as 0. */
export function scaledValue(value: IntOrString, total: number, rounding: 'up' | 'down'): number {
  if (typeof value === 'number') return value;
  const share = (Number(value.replace(/%$/, '')) * total) / 100;
  if (!value.endsWith('%') || Number.isNaN(share)) return 0;
  return rounding === 'up' ? Math.ceil(share) : Math.floor(share);
}
