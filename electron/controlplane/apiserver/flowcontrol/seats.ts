// How many requests of each priority level may run at once, and who may use whose free seats. Pure.
// Every level has its guaranteed seats at any moment; the rest of its own it may find lent out, and
// gets back as soon as one of the borrowers' requests ends.
// Source: kubernetes apiserver pkg/util/flowcontrol/apf_controller.go (shares, lendable seats).
// Differs: seats are lent at the moment they are free, where Kubernetes moves limits every 10 s.
import type { PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';

export interface LevelSeats {
  readonly isExempt: boolean;
  /** The level's own. */
  readonly nominal: number;
  /** Of these, never lent. */
  readonly guaranteed: number;
  /** Own and borrowed. */
  readonly limit: number;
}

/** By the level's name. `total`: what the server does at once. */
export function divideSeats(
  levels: readonly PriorityLevelConfiguration[],
  total: number,
): Map<string, LevelSeats> {
  const all = levels.map((level) => ({ name: level.metadata.name, ...sharesOf(level) }));
  const sum = all.reduce((shares, one) => shares + one.shares, 0);
  return new Map(
    all.map(({ name, isExempt, shares, lendablePercent, borrowingLimitPercent }) => {
      const nominal = sum === 0 ? 0 : Math.ceil((total * shares) / sum);
      const lendable = Math.round((nominal * lendablePercent) / 100);
      const borrowed =
        borrowingLimitPercent === undefined
          ? Number.POSITIVE_INFINITY
          : Math.round((nominal * borrowingLimitPercent) / 100);
      const limit = nominal + borrowed;
      return [name, { isExempt, nominal, guaranteed: nominal - lendable, limit }];
    }),
  );
}

function sharesOf({ spec }: PriorityLevelConfiguration) {
  const isExempt = spec.type === 'Exempt';
  const part = isExempt ? spec.exempt : spec.limited;
  return {
    isExempt,
    shares: part?.nominalConcurrencyShares ?? (isExempt ? 0 : 30),
    lendablePercent: part?.lendablePercent ?? 0,
    borrowingLimitPercent: isExempt ? undefined : spec.limited?.borrowingLimitPercent,
  };
}

/**
 * Whether a request of `width` seats may begin on a level that has `inUse`. `load` is the sum over
 * all levels of what they use or are guaranteed, whichever is more: within `capacity`, nobody uses
 * what is guaranteed to another.
 */
export function maySit(
  { guaranteed, limit }: LevelSeats,
  inUse: number,
  {
    width,
    load,
    capacity,
  }: { readonly width: number; readonly load: number; readonly capacity: number },
): boolean {
  const after = inUse + width;
  if (after > limit) return false;
  if (after <= guaranteed) return true;
  return load + after - Math.max(inUse, guaranteed) <= capacity;
}
