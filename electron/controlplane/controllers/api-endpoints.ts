// The endpoints of the Service `kubernetes`: where the control planes serve that live. One that was not heard of for
// fifteen seconds is left out, and there again when it is heard of; one that is no member any more is forgotten.
// Differs: Kubernetes' servers renew leases every ten seconds, each for itself; here who leads hears of all anyway.
// Source: kubernetes pkg/controlplane/reconcilers/lease.go (what comes of it).
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { Controller } from '#kube/client/controller.ts';
import { endpointSlices, leases } from '#kube/client/resources.ts';
import {
  apiServerNamespace,
  apiServerPlace,
  type ApiServerPlace,
} from '#kube/machinery/api-servers.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { ignoreNotFound } from './ownership.ts';

const namespace = 'default';
const serviceName = 'kubernetes';
const managedBy = { 'endpointslice.kubernetes.io/managed-by': 'apiserver' };
const lookMs = 5_000;
const silentMs = 15_000;

export function createApiEndpointsController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, apiServers } = deps;
  const registered = deps.informers.informer(leases, { namespace: apiServerNamespace });
  const slices = deps.informers.informer(endpointSlices);
  /** By id: when it was heard of, or we began to listen. */
  const heardMs = new Map<string, number>();
  const controller = new Controller({ name: 'api-endpoints', clock, logger, reconcile });

  async function reconcile() {
    const members = apiServers();
    const places: ApiServerPlace[] = [];
    for (const lease of registered.lister.list()) {
      const place = apiServerPlace(lease);
      if (place === undefined) continue;
      const isHeard = members.get(place.id);
      if (isHeard === undefined) await client.delete(leases, lease.metadata).catch(ignoreNotFound);
      else if (isLiving(place.id, isHeard)) places.push(place);
    }
    await write(apiServerSlices(places));
    // Alone nobody can be missed.
    return members.size > 1 ? { requeueAfterMs: lookMs } : {};
  }

  function isLiving(id: string, isHeard: boolean): boolean {
    const nowMs = clock.monotonicMs();
    const atMs = isHeard ? nowMs : (heardMs.get(id) ?? nowMs);
    heardMs.set(id, atMs);
    return nowMs - atMs < silentMs;
  }

  async function write(wanted: readonly EndpointSlice[]): Promise<void> {
    for (const slice of wanted) {
      const { name } = slice.metadata;
      const found = slices.lister.get(namespace, name);
      if (found === undefined) await client.create(endpointSlices, slice);
      else if (!isSame(slice, found)) {
        const { resourceVersion } = found.metadata;
        await client.update(endpointSlices, {
          ...slice,
          metadata: { ...slice.metadata, resourceVersion },
        });
      }
    }
    const names = new Set(wanted.map(({ metadata }) => metadata.name));
    for (const slice of slices.lister.list())
      if (isOurs(slice) && !names.has(slice.metadata.name))
        await client.delete(endpointSlices, slice.metadata).catch(ignoreNotFound);
  }

  const enqueue = (): void => controller.enqueue(serviceName);
  controller.watch(registered, (lease) =>
    apiServerPlace(lease) === undefined ? [] : [serviceName],
  );
  controller.watchWith(slices, {
    onAdd: (slice) => void (isOurs(slice) && enqueue()),
    onUpdate: (_old, slice) => void (isOurs(slice) && enqueue()),
    onDelete: (slice) => void (isOurs(slice) && enqueue()),
  });
  // What an earlier release or leader left, when nobody has registered.
  enqueue();
  return controller;
}

function isOurs({ metadata }: EndpointSlice): boolean {
  return metadata.namespace === namespace && metadata.labels?.[serviceNameLabel] === serviceName;
}

function isSame(a: EndpointSlice, b: EndpointSlice): boolean {
  return deepEqual([a.ports, a.endpoints], [b.ports, b.endpoints]);
}

/** One for each port; the first, of the most servers, has the name that clients know. Pure. */
export function apiServerSlices(places: readonly ApiServerPlace[]): EndpointSlice[] {
  const byPort = new Map<number, Set<string>>();
  for (const { address, port } of places)
    byPort.set(port, (byPort.get(port) ?? new Set()).add(address));
  return [...byPort]
    .toSorted(([a, of], [b, others]) => others.size - of.size || a - b)
    .map(([port, addresses], index) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        namespace,
        name: index === 0 ? serviceName : `${serviceName}-${port}`,
        labels: { [serviceNameLabel]: serviceName, ...managedBy },
      },
      addressType: 'IPv4',
      endpoints: [...addresses]
        .toSorted()
        .map((address) => ({ addresses: [address], conditions: { ready: true } })),
      ports: [{ name: 'https', port, protocol: 'TCP' }],
    }));
}
