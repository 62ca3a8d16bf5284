// Conditions of a status, changed without noise: a time moves only when what it times changes.
// Source: kubernetes pkg/controller/deployment/util/deployment_util.go SetDeploymentCondition.

export interface StatusCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export function findCondition<C extends StatusCondition>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** The list with `next` in place of its type's old entry; the same list when nothing would change. */
export function withCondition<C extends StatusCondition>(
  conditions: readonly C[] | undefined,
  next: C,
): C[] {
  const list = [...(conditions ?? [])];
  const current = findCondition(list, next.type);
  if (current?.status === next.status && current.reason === next.reason) return list;
  const isSameStatus = current?.status === next.status;
  const merged = isSameStatus ? { ...next, lastTransitionTime: current?.lastTransitionTime } : next;
  return [...withoutCondition(list, next.type), merged];
}

export function withoutCondition<C extends StatusCondition>(
  conditions: readonly C[] | undefined,
  type: string,
): C[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}
