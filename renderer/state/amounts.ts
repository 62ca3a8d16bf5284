// Quantities as plain numbers for bars and charts, where the last digit doesn't matter.
import type { Quantity } from '#kube/api/scalars.ts';
import { toNumber } from '#kube/machinery/quantity.ts';

/** In the quantity's base unit (cores, bytes); 0 when absent or malformed. */
export function quantityNumber(quantity: Quantity | undefined): number {
  if (quantity === undefined || quantity === '') return 0;
  try {
    return toNumber(quantity);
  } catch {
    // Only a display: the server has validated what it stores.
    return 0;
  }
}
