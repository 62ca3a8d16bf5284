// Takes back what was said of a pod that was to be disrupted and was not: nobody deleted it.
// Source: kubernetes pkg/controller/disruption/disruption.go (syncStalePodDisruption).
import type { Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { keyOf, parseKey, pods } from '#kube/client/resources.ts';
import { setCondition } from '#kube/machinery/conditions.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { isPodActive, podCondition } from '../pod-state.ts';

const staleAfterMs = 120_000;

export function createStaleDisruptionController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const informer = deps.informers.informer(pods);
  const controller = new Controller({
    name: 'stale-disruption',
    clock,
    logger,
    async reconcile(key): Promise<ReconcileResult> {
      const { namespace, name } = parseKey(key);
      const pod = informer.lister.get(namespace, name);
      const dueMs = pod === undefined ? undefined : staleMs(pod);
      if (pod === undefined || dueMs === undefined) return {};
      const leftMs = dueMs - clock.now();
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      const next = { type: 'DisruptionTarget', status: 'False' };
      const conditions = setCondition(pod.status?.conditions, next, rfc3339(clock.now()));
      const changed = { ...pod, status: { ...pod.status, conditions } };
      await client.updateStatus(pods, changed).catch(ignoreNotFound);
      return {};
    },
  });
  controller.watch(informer, (pod) => (staleMs(pod) === undefined ? [] : [keyOf(pod)]));
  return controller;
}

/** Agents may take as long as they need. */
function staleMs(pod: Pod): number | undefined {
  const condition = podCondition(pod, 'DisruptionTarget');
  const isMeant =
    condition?.status === 'True' && condition.reason !== 'TerminationByKubelet' && isPodActive(pod);
  return isMeant ? Date.parse(condition.lastTransitionTime ?? '') + staleAfterMs : undefined;
}
