// Makes EndpointSlices of Endpoints that somebody wrote by hand for a Service without a selector, so
// that proxies, which read slices only, send traffic there.
// Source: kubernetes pkg/controller/endpointslicemirroring/endpointslicemirroring_controller.go.
import type { Endpoints, Service } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { endpoints, endpointSlices, parseKey, services } from '#kube/client/resources.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { applySlices, sliceKeys } from '../endpoint-slice/endpoint-slice.ts';
import { planSlices, type SliceOwner } from '../endpoint-slice/slices.ts';
import { groupsOf } from './subsets.ts';

const managedByUs = 'endpointslicemirroring-controller.k8s.io';
const skipLabel = 'endpointslice.kubernetes.io/skip-mirror';
const leaderAnnotation = 'control-plane.alpha.kubernetes.io/leader';
const mirrorIndex = 'mirrored';

export function createEndpointMirroringController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const allServices = deps.informers.informer(services);
  const all = deps.informers.informer(endpoints);
  const slices = deps.informers.informer(endpointSlices, {
    indexers: { [mirrorIndex]: sliceKeys(managedByUs) },
  });
  const controller = new Controller({
    name: 'endpointslicemirroring-controller',
    clock,
    logger,
    reconcile,
  });
  controller.watch(all);
  controller.watch(allServices);
  controller.watch(slices, sliceKeys(managedByUs));

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = parseKey(key);
    const given = all.lister.get(namespace, name);
    const existing = slices.lister.byIndex(mirrorIndex, key);
    const isMeant = isMirrored(given, allServices.lister.get(namespace, name));
    if (given === undefined || !isMeant)
      return applySlices(client, { create: [], update: [], remove: existing });
    for (const addressType of ['IPv4', 'IPv6'] as const) {
      const ofFamily = existing.filter((slice) => slice.addressType === addressType);
      const groups = groupsOf(given.subsets ?? [], addressType);
      await applySlices(
        client,
        groups.length === 0
          ? { create: [], update: [], remove: ofFamily }
          : planSlices({ owner: ownerOf(given), addressType, existing: ofFamily, groups }),
      );
    }
  }
  return controller;
}

function isMirrored(given: Endpoints | undefined, service: Service | undefined): boolean {
  if (given === undefined || service === undefined || service.spec.selector !== undefined)
    return false;
  const { labels = {}, annotations = {} } = given.metadata;
  return labels[skipLabel] !== 'true' && !Object.hasOwn(annotations, leaderAnnotation);
}

function ownerOf(given: Endpoints): SliceOwner {
  const { name, labels } = given.metadata;
  return { object: given, serviceName: name, labels: { ...labels }, managedBy: managedByUs };
}
