// Writes into the Ingresses of our class where they are reached: the addresses of the nodes that serve
// them now, and on which ports. A node says that itself, and one that is not ready says nothing that holds.
import type { Node } from '#kube/api/core.ts';
import type {
  Ingress,
  IngressClass,
  IngressLoadBalancerIngress,
  IngressPortStatus,
} from '#kube/api/networking.ts';
import { Controller } from '#kube/client/controller.ts';
import { ingressClasses, ingresses, keyOf, nodes } from '#kube/client/resources.ts';
import { appHosts } from '#kube/machinery/app-names.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  ownIngresses,
  servedPorts,
  tlsSecretNames,
  type ServedPorts,
} from '#kube/machinery/ingress.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';

interface ServingNode {
  readonly ip: string;
  readonly ports: ServedPorts;
}

function servingNode(node: Node): ServingNode[] {
  const ports = servedPorts(node);
  const ip = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  const isServing = ports.http !== undefined || ports.https !== undefined;
  const isReady = isConditionTrue(node.status?.conditions, 'Ready');
  return isServing && isReady && ip !== undefined ? [{ ip, ports }] : [];
}

/**
 * Sorted by address. People type `http://`, so that a node whose HTTP port another program has is none of them;
 * but for when all are such, and HTTPS is what is left.
 */
export function ingressAddresses(
  ingress: Ingress,
  classes: readonly IngressClass[],
  all: readonly Node[],
): IngressLoadBalancerIngress[] {
  const hasTls = tlsSecretNames(ingress).length > 0 || appHosts([ingress], classes).length > 0;
  const points = all.flatMap(servingNode).map(({ ip, ports: { http, https } }) => ({
    ip,
    http,
    ports: [...port(http), ...(hasTls ? port(https) : [])],
  }));
  const plain = points.filter(({ http }) => http !== undefined);
  return (plain.length > 0 ? plain : points.filter(({ ports }) => ports.length > 0))
    .map(({ ip, ports }) => ({ ip, ports }))
    .toSorted((a, b) => (a.ip < b.ip ? -1 : 1));
}

function port(number: number | undefined): IngressPortStatus[] {
  return number === undefined ? [] : [{ port: number, protocol: 'TCP' }];
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
    const addresses = ingressAddresses(ingress, classes.lister.list(), allNodes.lister.list());
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
      if (!deepEqual(servingNode(old), servingNode(node))) enqueueAll();
    },
    onDelete: enqueueAll,
  });
  return controller;
}
