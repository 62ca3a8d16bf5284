import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '#kube/api/policy.ts';
import { budgetStatus, deletionTimeoutMs, failedStatus } from './status.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const now = '2026-01-01T00:00:00Z';

function podOf(name: string, { ready = true, deleted = false } = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...(deleted ? { deletionTimestamp: now } : {}) },
    spec: { containers: [] },
    status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}

function budgetOf(
  spec: PodDisruptionBudget['spec'],
  status: PodDisruptionBudgetStatus = {},
): PodDisruptionBudget {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'b', generation: 3 },
    spec,
    status,
  };
}

const three = ['a', 'b', 'c'].map((name) => podOf(name));

describe('a budget', () => {
  const cases = [
    ['of a number that stays', { minAvailable: 2 }, three, 0, [3, 2, 3, 1]],
    ['of a share that stays, rounded up', { minAvailable: '50%' }, three, 3, [3, 2, 3, 1]],
    ['of a number that may miss', { maxUnavailable: 1 }, three, 4, [3, 3, 4, 0]],
    ['of a share that may miss, rounded up', { maxUnavailable: '30%' }, three, 3, [3, 2, 3, 1]],
    ['of more than there are', { maxUnavailable: 9 }, three, 3, [3, 0, 3, 3]],
    ['without pods', { minAvailable: 0 }, [], 0, [0, 0, 0, 0]],
    [
      'counts neither what is not ready nor what goes',
      { minAvailable: 1 },
      [podOf('a'), podOf('b', { ready: false }), podOf('c', { deleted: true })],
      0,
      [1, 1, 3, 0],
    ],
  ] as const;
  it.each(cases)('%s', (_, spec, pods, scale, want) => {
    const { status } = budgetStatus({ budget: budgetOf(spec), pods, scale, nowMs });
    expect([
      status.currentHealthy,
      status.desiredHealthy,
      status.expectedPods,
      status.disruptionsAllowed,
    ]).toEqual(want);
    const isAllowed = want[3] > 0;
    expect([status.observedGeneration, status.conditions]).toEqual([
      3,
      [
        {
          type: 'DisruptionAllowed',
          status: isAllowed ? 'True' : 'False',
          reason: isAllowed ? 'SufficientPods' : 'InsufficientPods',
          message: '',
          observedGeneration: 3,
          lastTransitionTime: now,
        },
      ],
    ]);
  });

  it('takes evicted pods for gone, for a time', () => {
    const disruptedPods = {
      a: '2025-12-31T23:59:00Z',
      b: '2025-12-31T23:58:00Z',
      gone: '2025-12-31T23:59:59Z',
    };
    const budget = budgetOf({ minAvailable: 1 }, { disruptedPods });
    const { status, recheckMs, notDeleted } = budgetStatus({
      budget,
      pods: three,
      scale: 0,
      nowMs,
    });
    expect([status.currentHealthy, status.disruptionsAllowed, status.disruptedPods]).toEqual([
      2,
      1,
      { a: disruptedPods.a },
    ]);
    expect([recheckMs, notDeleted.map(({ metadata }) => metadata.name)]).toEqual([
      nowMs - 60_000 + deletionTimeoutMs,
      ['b'],
    ]);
  });

  it('that can not be counted allows nothing, and says why', () => {
    const budget = budgetOf({ minAvailable: 1 }, { disruptionsAllowed: 2, currentHealthy: 3 });
    expect(failedStatus(budget, 'no owner', nowMs)).toMatchObject({
      disruptionsAllowed: 0,
      currentHealthy: 3,
      conditions: [{ reason: 'SyncFailed', status: 'False', message: 'no owner' }],
    });
  });
});
