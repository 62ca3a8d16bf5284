// Takes away bootstrap tokens that have ended: each at its time.
// Source: kubernetes pkg/controller/bootstrap/tokencleaner.go.
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { parseKey, secrets } from '#kube/client/resources.ts';
import { bootstrapTokenType, tokenExpiryMs } from '#kube/machinery/machine-tokens.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';

export function createTokenCleaner(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const fieldSelector = `type=${bootstrapTokenType}`;
  const tokens = deps.informers.informer(secrets, { namespace: 'kube-system', fieldSelector });
  const controller = new Controller({
    name: 'token-cleaner',
    clock,
    logger,
    async reconcile(key): Promise<ReconcileResult> {
      const token = tokens.lister.getByKey(key);
      const endMs = token && tokenExpiryMs(token);
      if (token === undefined || endMs === undefined || Number.isNaN(endMs)) return {};
      const leftMs = endMs - clock.now();
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      const { uid = '' } = token.metadata;
      await client.delete(secrets, parseKey(key), { preconditions: { uid } }).catch(ignoreNotFound);
      return {};
    },
  });
  controller.watch(tokens);
  return controller;
}
