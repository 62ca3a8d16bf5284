// Quantities as kinds store and judge them. Unlike machinery/quantity.ts, nothing here throws on
// an illegal quantity: validation reports those.
// Source: kubernetes pkg/apis/core/v1/defaults.go SetDefaults_ResourceList.
import type { Quantity } from '#kube/api/scalars.ts';
import { formatQuantity, parseQuantity, validateQuantity } from '#kube/machinery/quantity.ts';

const nanosPerMilli = 1_000_000n;
const nanosPerUnit = 1_000_000_000n;

/** The canonical text, rounded up to thousandths; an illegal quantity stays what it is. */
export function canonicalOrSame(quantity: Quantity): Quantity {
  if (validateQuantity(quantity) !== undefined) return quantity;
  const { nanos, format } = parseQuantity(quantity);
  const rest = nanos % nanosPerMilli;
  return formatQuantity({ nanos: rest > 0n ? nanos - rest + nanosPerMilli : nanos - rest, format });
}

/** The quantity has to be legal. */
export function isNegative(quantity: Quantity): boolean {
  return parseQuantity(quantity).nanos < 0n;
}

/** The quantity has to be legal. */
export function isWhole(quantity: Quantity): boolean {
  return parseQuantity(quantity).nanos % nanosPerUnit === 0n;
}

/** Makes all quantities of a list canonical; writes nothing when they are. */
export function canonicalize(quantities: Record<string, Quantity> | undefined): void {
  for (const [name, quantity] of Object.entries(quantities ?? {})) {
    const canonical = canonicalOrSame(quantity);
    if (quantities !== undefined && canonical !== quantity) quantities[name] = canonical;
  }
}
