// Gives every namespace its ServiceAccount `default`.
// Source: kubernetes pkg/controller/serviceaccount/serviceaccounts_controller.go.
import { Controller } from '#kube/client/controller.ts';
import { namespaces, serviceAccounts } from '#kube/client/resources.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { isNamespaceTerminating } from './pod-control.ts';

const name = 'default';

export function createServiceAccountController(deps: ControllerDeps): RunnableController {
  const { client } = deps;
  const all = deps.informers.informer(namespaces);
  const accounts = deps.informers.informer(serviceAccounts);
  const controller = new Controller({
    name: 'serviceaccount-controller',
    clock: deps.clock,
    logger: deps.logger,
    reconcile,
  });
  controller.watch(all);
  // A deleted account comes back.
  controller.watchWith(accounts, {
    onDelete: ({ metadata }) => controller.enqueue(metadata.namespace ?? ''),
  });

  async function reconcile(namespace: string): Promise<void> {
    const object = all.lister.get('', namespace);
    if (object === undefined || object.status?.phase === 'Terminating') return;
    if (object.metadata.deletionTimestamp !== undefined) return;
    if (accounts.lister.get(namespace, name) !== undefined) return;
    const account = {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { namespace, name },
    } as const;
    try {
      await client.create(serviceAccounts, account);
    } catch (error) {
      if (!hasReason(error, 'AlreadyExists') && !isNamespaceTerminating(error)) throw error;
    }
  }
  return controller;
}
