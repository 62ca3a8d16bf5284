// Conditions of a status: found, judged and replaced by their type.
// Source: kubernetes apimachinery pkg/api/meta/conditions.go.

/** What the condition types of all kinds have in common. */
export interface ConditionLike {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export function getCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(
  conditions: readonly ConditionLike[] | undefined,
  type: string,
): boolean {
  return getCondition(conditions, type)?.status === 'True';
}

/**
 * The list with `next` in the place of its type, or behind the others. `now` becomes its
 * lastTransitionTime only when the status changes. Does not mutate.
 */
export function setCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  next: Omit<C, 'lastTransitionTime'>,
  now: string,
): C[] {
  const old = getCondition(conditions, next.type);
  const isSame = old !== undefined && old.status === next.status;
  const since = (isSame ? old.lastTransitionTime : undefined) ?? now;
  const placed = { ...next, lastTransitionTime: since } as C;
  if (old === undefined) return [...(conditions ?? []), placed];
  return (conditions ?? []).map((condition) => (condition === old ? placed : condition));
}

export function removeCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  type: string,
): C[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}
