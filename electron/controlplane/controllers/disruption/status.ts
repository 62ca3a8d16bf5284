// Pure: a disruption budget, its pods and how many there should be → its status.
// Source: kubernetes pkg/controller/disruption/disruption.go.
import type { Pod } from '#kube/api/core.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '#kube/api/policy.ts';
import { withDisruptionAllowed } from '#kube/machinery/disruption-budget.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { setCondition } from '#kube/machinery/conditions.ts';
import type { Condition } from '#kube/api/meta.ts';
import { scaledValue } from '../percentage.ts';
import { isPodReady } from '../pod-state.ts';

/** An evicted pod that is not deleted by then will not be. */
export const deletionTimeoutMs = 120_000;

/** Whether it has to be known how many pods their owners want. */
export function needsScale({ spec }: PodDisruptionBudget): boolean {
  return spec.maxUnavailable !== undefined || typeof spec.minAvailable === 'string';
}

export interface BudgetInput {
  readonly budget: PodDisruptionBudget;
  readonly pods: readonly Pod[];
  /** What the owners of the pods want together; needed if `needsScale`. */
  readonly scale: number;
  readonly nowMs: number;
}

export interface BudgetResult {
  readonly status: PodDisruptionBudgetStatus;
  /** When an eviction that led to nothing is to be forgotten. */
  readonly recheckMs?: number;
  /** Of which evictions came to nothing. */
  readonly notDeleted: readonly Pod[];
}

export function budgetStatus({ budget, pods, scale, nowMs }: BudgetInput): BudgetResult {
  const { metadata, spec, status: before = {} } = budget;
  const { disrupted, notDeleted, recheckMs } = disruptions(before.disruptedPods, pods, nowMs);
  const expectedPods = needsScale(budget) ? scale : pods.length;
  const currentHealthy = pods.filter(
    (pod) =>
      pod.metadata.deletionTimestamp === undefined &&
      disrupted[pod.metadata.name] === undefined &&
      isPodReady(pod),
  ).length;
  const desiredHealthy = desired(spec, expectedPods);
  const spare = Math.max(0, currentHealthy - desiredHealthy);
  const status: PodDisruptionBudgetStatus = {
    currentHealthy,
    desiredHealthy,
    // A budget without pods allows nothing: it has not seen its first ones yet.
    disruptionsAllowed: expectedPods <= 0 ? 0 : spare,
    expectedPods,
    ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }),
    ...(Object.keys(disrupted).length === 0 ? {} : { disruptedPods: disrupted }),
    ...(before.conditions === undefined ? {} : { conditions: before.conditions }),
  };
  return {
    status: withDisruptionAllowed(status, rfc3339(nowMs)),
    notDeleted,
    ...(recheckMs === undefined ? {} : { recheckMs }),
  };
}

function desired(
  { maxUnavailable, minAvailable }: PodDisruptionBudget['spec'],
  expectedPods: number,
): number {
  if (maxUnavailable !== undefined)
    return Math.max(0, expectedPods - scaledValue(maxUnavailable, expectedPods, 'up'));
  return minAvailable === undefined ? 0 : scaledValue(minAvailable, expectedPods, 'up');
}

function disruptions(
  before: Readonly<Record<string, string>> = {},
  pods: readonly Pod[],
  nowMs: number,
) {
  const disrupted: Record<string, string> = {};
  const notDeleted: Pod[] = [];
  let recheckMs: number | undefined;
  for (const pod of pods) {
    const { name, deletionTimestamp } = pod.metadata;
    const since = before[name];
    if (since === undefined || deletionTimestamp !== undefined) continue;
    const untilMs = Date.parse(since) + deletionTimeoutMs;
    if (untilMs <= nowMs) {
      notDeleted.push(pod);
      continue;
    }
    disrupted[name] = since;
    recheckMs = Math.min(recheckMs ?? untilMs, untilMs);
  }
  return { disrupted, notDeleted, recheckMs };
}

/** Nothing may go while it can't be counted. */
export function failedStatus(
  { status = {} }: PodDisruptionBudget,
  why: string,
  nowMs: number,
): PodDisruptionBudgetStatus {
  const condition = {
    type: 'DisruptionAllowed',
    status: 'False',
    reason: 'SyncFailed',
    message: why,
    observedGeneration: status.observedGeneration ?? 0,
  };
  const conditions = setCondition<Condition>(status.conditions, condition, rfc3339(nowMs));
  return { ...status, disruptionsAllowed: 0, conditions };
}
