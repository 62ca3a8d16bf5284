// Writes into the Ingresses of our class where they are reached: the addresses of the nodes that serve
// them now. A node says that itself, and one that is not ready says nothing that holds.
import type { Node } from '#kube/api/core.ts';
import type { IngressLoadBalancerIngress } from '#kube/api/networking.ts';
import { Controller } from '#kube/client/controller.ts';
import { ingressClasses, ingresses, keyOf, nodes } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { ingressNode, ownIngresses } from '#kube/machinery/ingress.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { ignoreNotFound } from './ownership.ts';

/** Sorted by address. */
export function ingressAddresses(all: readonly Node[]): IngressLoadBalancerIngress[] {
  return all
    .flatMap(({ metadata, status }) => {
      const ports = metadata.annotations?.[ingressNode.portsAnnotation] ?? '';
      const isReady = status?.conditions?.some(
        ({ type, status: is }) => type === 'Ready' && is === 'True',
      );
      const address = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
      return ports === '' || isReady !== true || address === undefined ? [] : [address];
    })
    .toSorted()
    .map((ip) => ({ ip }));
}

export function createIngressAddressController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const all = deps.informers.informer(ingresses);
  const classes = deps.informers.informer(ingressClasses);
  const allNodes = deps.informers.informer(nodes);
  const controller = new Controller({ name: 'ingress-address', clock, logger, reconcile });

  async function reconcile(key: string): Promise<void> {
    const ingress = all.lister.getByKey(key);
    if (ingress === undefined || ingress.metadata.deletionTimestamp !== undefined) return;
    if (ownIngresses([ingress], classes.lister.list()).length === 0) return;
    const addresses = ingressAddresses(allNodes.lister.list());
    const known = ingress.status?.loadBalancer?.ingress ?? [];
    if (deepEqual(known, addresses)) return;
    const loadBalancer = addresses.length === 0 ? {} : { ingress: addresses };
    await client
      .updateStatus(ingresses, { ...ingress, status: { loadBalancer } })
      .catch(ignoreNotFound);
  }

  const enqueueAll = (): void => {
    for (const ingress of all.lister.list()) controller.enqueue(keyOf(ingress));
  };
  controller.watch(all, (ingress) => [keyOf(ingress)]);
  controller.watchWith(classes, { onAdd: enqueueAll, onUpdate: enqueueAll });
  controller.watchWith(allNodes, {
    onAdd: enqueueAll,
    onUpdate(old, node) {
      // Heartbeats change none of it.
      if (!deepEqual(ingressAddresses([old]), ingressAddresses([node]))) enqueueAll();
    },
    onDelete: enqueueAll,
  });
  return controller;
}
