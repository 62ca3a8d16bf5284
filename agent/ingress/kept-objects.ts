// What is kept of the cluster's objects, so that an agent that starts while the API server is away serves the same
// routes: our own Ingresses and what they lead to, without what routes don't depend on. The same for the same
// routes: neither versions nor orders count. No Secrets: keys lie on no disk because of this. Pure.
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Ingress, IngressBackend, IngressClass } from '#kube/api/networking.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { keyOf } from '#kube/client/resources.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { ingressController, ownIngresses } from '#kube/machinery/ingress.ts';
import type { IngressState } from './routes.ts';

export type IngressObjects = Omit<IngressState, 'place'>;

export function keptObjects(objects: IngressObjects): IngressObjects {
  const own = ownIngresses(objects.ingresses, objects.classes);
  const wanted = new Set(own.flatMap(serviceKeys));
  return {
    ingresses: sorted(own).map(keptIngress),
    classes: sorted(objects.classes)
      .filter(({ spec }) => spec.controller === ingressController)
      .map(keptClass),
    services: sorted(objects.services)
      .filter((service) => wanted.has(keyOf(service)))
      .map(keptService),
    endpointSlices: sorted(objects.endpointSlices)
      .filter((slice) => wanted.has(serviceKeyOf(slice)))
      .map(keptSlice),
  };
}

function serviceKeys({ metadata, spec }: Ingress): string[] {
  const { defaultBackend, rules = [] } = spec;
  const backends: (IngressBackend | undefined)[] = rules.flatMap(({ http }) =>
    (http?.paths ?? []).map(({ backend }) => backend),
  );
  return [defaultBackend, ...backends].flatMap((backend) =>
    backend?.service === undefined ? [] : [`${metadata.namespace}/${backend.service.name}`],
  );
}

function serviceKeyOf({ metadata }: EndpointSlice): string {
  return `${metadata.namespace}/${metadata.labels?.[serviceNameLabel] ?? ''}`;
}

function sorted<T extends KubeObject>(objects: readonly T[]): T[] {
  return objects.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keptIngress({ apiVersion, kind, metadata, spec }: Ingress): Ingress {
  const { name, namespace, uid, creationTimestamp } = metadata;
  const own = { name, namespace, uid, creationTimestamp, annotations: said(metadata) };
  return { apiVersion, kind, metadata: defined(own), spec };
}

function keptClass({ apiVersion, kind, metadata, spec }: IngressClass): IngressClass {
  const { name } = metadata;
  return { apiVersion, kind, metadata: defined({ name, annotations: said(metadata) }), spec };
}

function keptService({ apiVersion, kind, metadata, spec }: Service): Service {
  const { name, namespace } = metadata;
  return { apiVersion, kind, metadata: defined({ name, namespace }), spec };
}

/** Controllers write a slice's endpoints in any order. */
function keptSlice(slice: EndpointSlice): EndpointSlice {
  const { apiVersion, kind, metadata, addressType, ports, endpoints = [] } = slice;
  const { name, namespace, labels } = metadata;
  const first = ({ addresses: [address = ''] }: (typeof endpoints)[number]): string => address;
  return {
    apiVersion,
    kind,
    metadata: defined({ name, namespace, labels }),
    addressType,
    ...(ports === undefined ? {} : { ports }),
    endpoints: endpoints.toSorted((a, b) => (first(a) < first(b) ? -1 : 1)),
  };
}

/** Without what kubectl notes for itself. */
function said({ annotations = {} }: KubeObject['metadata']): Readonly<Record<string, string>> {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...own } = annotations;
  return own;
}

type Metadata = KubeObject['metadata'];

function defined(
  given: { readonly [K in keyof Metadata]: Metadata[K] | undefined } & Pick<Metadata, 'name'>,
): Metadata {
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as unknown as Metadata;
}
