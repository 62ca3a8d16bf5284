// Turns the endpoints a Service should have into the fewest writes to its EndpointSlices. Pure.
// Source: kubernetes staging endpointslice/reconciler.go reconcileByPortMapping.
import type { Service } from '#kube/api/core.ts';
import type { Endpoint, EndpointSlice } from '#kube/api/discovery.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import { controllerRef } from '#kube/machinery/ownership.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { type AddressType, type EndpointGroup, isHeadless, portsKey } from './endpoints.ts';

export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
export const managedByUs = 'endpointslice-controller.k8s.io';
export const headlessLabel = 'service.kubernetes.io/headless';

export const endpointsPerSliceMax = 100;

export interface SliceChanges {
  readonly create: readonly EndpointSlice[];
  readonly update: readonly EndpointSlice[];
  readonly remove: readonly EndpointSlice[];
}

/** Whose slices they are: a Service's own, or mirrored Endpoints'. */
export interface SliceOwner {
  readonly object: KubeObject;
  readonly serviceName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly managedBy: string;
}

export interface SliceView {
  readonly owner: SliceOwner;
  readonly addressType: AddressType;
  /** Of this Service and address type, managed by us. */
  readonly existing: readonly EndpointSlice[];
  readonly groups: readonly EndpointGroup[];
}

export function planSlices(view: SliceView): SliceChanges {
  const { owner, addressType, existing } = view;
  // A Service with no endpoints keeps one empty slice, so that consumers know it was looked at.
  const groups = view.groups.length > 0 ? view.groups : [{ ports: [], endpoints: [] }];
  const create: EndpointSlice[] = [];
  const update: EndpointSlice[] = [];
  const unused = new Set(existing);
  for (const group of groups) {
    const key = portsKey(group.ports);
    const slices = existing.filter((slice) => portsKey(slice.ports) === key);
    const { kept, added } = distribute(group, slices);
    for (const [slice, endpoints] of kept) {
      unused.delete(slice);
      const next = dress(deepCopy(slice), owner, group, endpoints);
      if (!deepEqual(next, slice)) update.push(next);
    }
    for (const endpoints of added)
      create.push(dress(emptySlice(owner, addressType), owner, group, endpoints));
  }
  return { create, update, remove: [...unused] };
}

interface Distribution {
  readonly kept: readonly (readonly [EndpointSlice, Endpoint[]])[];
  readonly added: readonly Endpoint[][];
}

/** Endpoints stay in the slice they are in; only new ones are put where there is room. */
function distribute(group: EndpointGroup, slices: readonly EndpointSlice[]): Distribution {
  const wanted = new Map(group.endpoints.map((endpoint) => [identity(endpoint), endpoint]));
  const kept: (readonly [EndpointSlice, Endpoint[]])[] = [];
  for (const slice of slices) {
    const staying: Endpoint[] = [];
    for (const { targetRef, addresses } of slice.endpoints ?? []) {
      const id = identity({ targetRef, addresses });
      const endpoint = wanted.get(id);
      if (endpoint === undefined || staying.length === endpointsPerSliceMax) continue;
      staying.push(endpoint);
      wanted.delete(id);
    }
    kept.push([slice, staying]);
  }
  const rest = [...wanted.values()];
  for (const [, endpoints] of kept)
    endpoints.push(...rest.splice(0, endpointsPerSliceMax - endpoints.length));
  const added: Endpoint[][] = [];
  while (rest.length > 0) added.push(rest.splice(0, endpointsPerSliceMax));
  const filled = kept.filter(([, endpoints]) => endpoints.length > 0);
  // Empty slices go, unless that left none at all.
  if (filled.length > 0 || added.length > 0) return { kept: filled, added };
  return kept.length > 0 ? { kept: kept.slice(0, 1), added } : { kept, added: [[]] };
}

function identity({ targetRef, addresses }: Pick<Endpoint, 'targetRef' | 'addresses'>): string {
  return `${targetRef?.uid ?? ''} ${addresses.join(',')}`;
}

function emptySlice({ object }: SliceOwner, addressType: AddressType): EndpointSlice {
  const { namespace = '', name } = object.metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: '',
      generateName: `${name}-`,
      namespace,
      ownerReferences: [controllerRef(object)],
    },
    addressType,
  };
}

function dress(
  slice: EndpointSlice,
  owner: SliceOwner,
  group: EndpointGroup,
  endpoints: readonly Endpoint[],
): EndpointSlice {
  slice.metadata.labels = labelsFor(owner);
  slice.endpoints = [...endpoints];
  slice.ports = [...group.ports];
  return slice;
}

function labelsFor({ labels, serviceName, managedBy }: SliceOwner): Record<string, string> {
  return { ...labels, [serviceNameLabel]: serviceName, [managedByLabel]: managedBy };
}

export function ownerOfService(service: Service): SliceOwner {
  const labels: Record<string, string> = { ...service.metadata.labels };
  delete labels[headlessLabel];
  if (isHeadless(service)) labels[headlessLabel] = '';
  const serviceName = service.metadata.name;
  return { object: service, serviceName, labels, managedBy: managedByUs };
}
