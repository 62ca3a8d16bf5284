// The one condition of a PodDisruptionBudget, as API server and disruption controller write it.
// Source: kubernetes component-helpers apps/poddisruptionbudget/helpers.go.
import type { PodDisruptionBudgetStatus } from '../api/policy.ts';
import { setCondition } from './conditions.ts';
import type { Condition } from '../api/meta.ts';

/** The status with a condition that fits its `disruptionsAllowed`. `now`: RFC 3339. */
export function withDisruptionAllowed(
  status: PodDisruptionBudgetStatus,
  now: string,
): PodDisruptionBudgetStatus {
  const isAllowed = (status.disruptionsAllowed ?? 0) > 0;
  const condition = {
    type: 'DisruptionAllowed',
    status: isAllowed ? 'True' : 'False',
    reason: isAllowed ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: status.observedGeneration ?? 0,
  };
  const conditions = setCondition<Condition>(status.conditions, condition, now);
  return { ...status, conditions };
}
