// Keeps the status of disruption budgets: how many pods may go now. Evictions take from it; what they
// took comes back when the pod is replaced, or was not deleted in time.
// Source: kubernetes pkg/controller/disruption/disruption.go.
import type { Pod } from '#kube/api/core.ts';
import type { PodDisruptionBudget } from '#kube/api/policy.ts';
import { AssertionError } from '#kube/base/assert.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { keyOf, parseKey, podDisruptionBudgets, pods } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  formatLabelSelector,
  labelSelectorMatcher,
  matchesLabelSelector,
} from '#kube/machinery/selector.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { type ControllerDeps, recorderFor, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { PodOwners } from './owners.ts';
import { budgetStatus, failedStatus, needsScale } from './status.ts';

/** The owner of a pod may have been unreachable, or may come to be. */
const failedRetryMs = 30_000;

export function createDisruptionController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const recorder = recorderFor(deps, 'controllermanager');
  const budgets = deps.informers.informer(podDisruptionBudgets);
  const allPods = deps.informers.informer(pods);
  const owners = new PodOwners(deps);
  const controller = new Controller({ name: 'disruption-controller', clock, logger, reconcile });
  controller.watch(budgets);
  controller.watch(allPods, (pod) => budgetsOf(pod).map(keyOf));
  owners.addTo(controller);

  function budgetsOf({ metadata }: Pod): PodDisruptionBudget[] {
    const { namespace = '', labels = {} } = metadata;
    return budgets.lister
      .list({ namespace })
      .filter(({ spec }) => matchesLabelSelector(spec.selector, labels));
  }

  async function reconcile(key: string): Promise<ReconcileResult> {
    const { namespace, name } = parseKey(key);
    const budget = budgets.lister.get(namespace, name);
    if (budget === undefined) return {};
    try {
      return await sync(budget);
    } catch (error) {
      if (error instanceof AssertionError || hasReason(error, 'Conflict')) throw error;
      const why = error instanceof Error ? error.message : String(error);
      logger.warn('Disruption budget not counted', { budget: key, error });
      await write(budget, failedStatus(budget, why, clock.now()));
      return { requeueAfterMs: failedRetryMs };
    }
  }

  async function sync(budget: PodDisruptionBudget): Promise<ReconcileResult> {
    const { namespace = '' } = budget.metadata;
    const selector = labelSelectorMatcher(budget.spec.selector);
    const matching = allPods.lister.list({ namespace, selector });
    const isScaled = needsScale(budget);
    const { scale, unmanaged } = isScaled
      ? await owners.scaleOf(matching)
      : { scale: 0, unmanaged: [] };
    const nowMs = clock.now();
    const result = budgetStatus({ budget, pods: matching, scale, nowMs });
    for (const pod of result.notDeleted)
      recorder.event(
        pod,
        'Warning',
        'NotDeleted',
        `Pod was expected by PDB ${keyOf(budget)} to be deleted but it wasn't`,
      );
    if (!deepEqual(result.status, budget.status)) {
      if (matching.length === 0)
        recorder.event(budget, 'Normal', 'NoPods', 'No matching pods found');
      if (unmanaged.length > 0)
        recorder.event(budget, 'Warning', 'UnmanagedPods', unmanagedMessage(budget));
      await write(budget, result.status);
    }
    return result.recheckMs === undefined ? {} : { requeueAfterMs: result.recheckMs - nowMs };
  }

  async function write(
    budget: PodDisruptionBudget,
    status: NonNullable<PodDisruptionBudget['status']>,
  ): Promise<void> {
    if (deepEqual(status, budget.status)) return;
    await client.updateStatus(podDisruptionBudgets, { ...budget, status }).catch(ignoreNotFound);
  }
  return controller;
}

function unmanagedMessage({ spec }: PodDisruptionBudget): string {
  return (
    `Pods selected by this PodDisruptionBudget (selector: ${formatLabelSelector(spec.selector)}) were ` +
    'found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may ' +
    'result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the ' +
    'PDB to an integer value.'
  );
}
