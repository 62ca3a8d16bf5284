// Gives LoadBalancer Services the addresses of the home's machines (plan.ts decides), as a cloud would give them
// a balancer's. Source of what it is to look like: kubernetes cloud-provider controllers/service/controller.go.
import type { Service } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { endpointSlices, keyOf, nodes, services } from '#kube/client/resources.ts';
import { isBalanced } from '#kube/machinery/balancers.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { serviceNameLabel } from '../endpoint-slice/slices.ts';
import { ignoreNotFound } from '../ownership.ts';
import { planBalancer } from './plan.ts';

const sliceIndex = 'slices-of-service';

export function createBalancerController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const recorder = recorderFor(deps, 'service-controller');
  const allServices = deps.informers.informer(services);
  const allNodes = deps.informers.informer(nodes);
  const slices = deps.informers.informer(endpointSlices, {
    indexers: {
      [sliceIndex]: ({ metadata }) => {
        const name = metadata.labels?.[serviceNameLabel];
        return name === undefined ? [] : [`${metadata.namespace}/${name}`];
      },
    },
  });
  /** Of each Service: what was said. */
  const told = new Map<string, string>();
  const controller = new Controller({ name: 'balancer', clock, logger, reconcile });

  async function reconcile(key: string): Promise<void> {
    const service = allServices.lister.getByKey(key);
    if (service === undefined || !isBalanced(service)) return void told.delete(key);
    const { ingress, refusals } = planBalancer(service, {
      services: allServices.lister.list(),
      nodes: allNodes.lister.list(),
      slices: slices.lister.byIndex(sliceIndex, key),
    });
    const text = refusals.join('; ');
    if (text !== '' && told.get(key) !== text)
      recorder.event(service, 'Warning', 'PortTaken', text);
    told.set(key, text);
    const known = service.status?.loadBalancer?.ingress ?? [];
    if (deepEqual(known, ingress)) return;
    const loadBalancer = ingress.length === 0 ? {} : { ingress: [...ingress] };
    const status = { ...service.status, loadBalancer };
    await client.updateStatus(services, { ...service, status }).catch(ignoreNotFound);
  }

  /** One's port may be what another waits for. */
  const enqueueAll = (): void => {
    for (const service of allServices.lister.list())
      if (isBalanced(service)) controller.enqueue(keyOf(service));
  };
  const onService = (service: Service): void => {
    if (isBalanced(service)) enqueueAll();
  };
  controller.watchWith(allServices, {
    onAdd: onService,
    onUpdate(old, service) {
      if (isBalanced(old) || isBalanced(service)) enqueueAll();
    },
    onDelete: onService,
  });
  controller.watchWith(allNodes, { onAdd: enqueueAll, onUpdate: enqueueAll, onDelete: enqueueAll });
  controller.watch(slices, ({ metadata }) => {
    const name = metadata.labels?.[serviceNameLabel];
    return name === undefined ? [] : [`${metadata.namespace}/${name}`];
  });
  return controller;
}
