// Keeps Endpoints of every Service with a selector: what EndpointSlices replaced, for those who still
// read it. Source: kubernetes pkg/controller/endpoint/endpoints_controller.go.
import type { Endpoints, Pod, Service } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { endpoints, parseKey, pods, services } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { labelsMatcher } from '#kube/machinery/selector.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { isSameEndpoint, servicesOf } from '../endpoint-slice/endpoint-slice.ts';
import { addressTypes, endpointGroups, isHeadless } from '../endpoint-slice/endpoints.ts';
import { headlessLabel } from '../endpoint-slice/slices.ts';
import { ignoreNotFound } from '../ownership.ts';
import { subsetsOf } from './subsets.ts';

const managedByLabel = 'endpoints.kubernetes.io/managed-by';
const managedByUs = 'endpoint-controller';
const overCapacity = 'endpoints.kubernetes.io/over-capacity';

export function createEndpointsController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const allServices = deps.informers.informer(services);
  const allPods = deps.informers.informer(pods);
  const existing = deps.informers.informer(endpoints);
  const controller = new Controller({
    name: 'endpoint-controller',
    clock,
    logger,
    workers: 5,
    reconcile,
  });
  controller.watch(allServices);
  controller.watch(existing);
  controller.watchWith(allPods, {
    onAdd: enqueueFor,
    onUpdate(old, pod) {
      if (!isSameEndpoint(old, pod)) [old, pod].forEach(enqueueFor);
    },
    onDelete: enqueueFor,
  });

  function enqueueFor(pod: Pod): void {
    for (const key of servicesOf(pod, allServices.lister)) controller.enqueue(key);
  }

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = parseKey(key);
    const service = allServices.lister.get(namespace, name);
    const current = existing.lister.get(namespace, name);
    if (service === undefined) {
      // Differs: Kubernetes deletes them whoever wrote them.
      if (current === undefined || !isOurs(current)) return;
      const options = { preconditions: { uid: current.metadata.uid ?? '' } };
      await client.delete(endpoints, { namespace, name }, options).catch(ignoreNotFound);
      return;
    }
    const { selector, type } = service.spec;
    if (selector === undefined || type === 'ExternalName') return;
    const selected = allPods.lister.list({ namespace, selector: labelsMatcher(selector) });
    const [family = 'IPv4'] = addressTypes(service);
    const groups = endpointGroups({ service, pods: selected, nodes: new Map() }, family);
    const next = wanted(service, current, subsetsOf(service, groups));
    if (current === undefined) await client.create(endpoints, next);
    else if (!deepEqual(next, current)) await client.update(endpoints, next);
  }
  return controller;
}

function isOurs({ metadata }: Endpoints): boolean {
  return metadata.labels?.[managedByLabel] === managedByUs;
}

function wanted(
  service: Service,
  current: Endpoints | undefined,
  { subsets, isTruncated }: ReturnType<typeof subsetsOf>,
): Endpoints {
  const { name, namespace, labels: given } = service.metadata;
  const labels: Record<string, string> = { ...given, [managedByLabel]: managedByUs };
  if (isHeadless(service)) labels[headlessLabel] = '';
  else delete labels[headlessLabel];
  const annotations: Record<string, string> = { ...current?.metadata.annotations };
  if (isTruncated) annotations[overCapacity] = 'truncated';
  else delete annotations[overCapacity];
  const { annotations: _, ...metadata } = current?.metadata ?? { name, namespace };
  const isBare = Object.keys(annotations).length === 0;
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { ...metadata, labels, ...(isBare ? {} : { annotations }) },
    ...(subsets.length === 0 ? {} : { subsets }),
  };
}
