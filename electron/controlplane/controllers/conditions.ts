// Conditions of a status, changed without noise: an entry that says the same stays as it is.
// Source: kubernetes pkg/controller/deployment/util/deployment_util.go SetDeploymentCondition.
import { type ConditionLike, getCondition, removeCondition } from '#kube/machinery/conditions.ts';

/** The list with `next` in place of its type's old entry; equal when nothing would change. */
export function withCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  next: C,
): C[] {
  const list = [...(conditions ?? [])];
  const current = getCondition(list, next.type);
  if (current?.status === next.status && current.reason === next.reason) return list;
  const isSameStatus = current?.status === next.status;
  const merged = isSameStatus ? { ...next, lastTransitionTime: current?.lastTransitionTime } : next;
  return [...removeCondition(list, next.type), merged];
}
