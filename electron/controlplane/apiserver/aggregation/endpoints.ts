// Pure: where the server behind an APIService listens. A pod is reached by its node's agent,
// everything else at its address.
// Source: kubernetes apiserver pkg/util/proxy/proxy.go (ResolveEndpoint).
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { PodPort } from '../service-connection.ts';

export interface ServiceAddress {
  readonly host: string;
  readonly port: number;
  readonly pod?: PodPort;
}

/** All that a request may go to; none when there is no such port, or nobody behind it. */
export function serviceAddresses(
  { metadata, spec }: Service,
  port: number,
  slices: readonly EndpointSlice[],
): readonly ServiceAddress[] {
  if (spec.type === 'ExternalName') return [{ host: spec.externalName ?? '', port }];
  const found = spec.ports?.find((entry) => entry.port === port);
  if (found === undefined) return [];
  return slices.flatMap((slice) => {
    const target = slice.ports?.find((entry) => (entry.name ?? '') === (found.name ?? ''))?.port;
    if (target === undefined) return [];
    return (slice.endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false)
      .map((endpoint) => addressOf(endpoint, target, metadata.namespace ?? ''));
  });
}

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];

function addressOf(
  { addresses, targetRef, nodeName = '' }: Endpoint,
  port: number,
  namespace: string,
): ServiceAddress {
  const host = addresses[0] ?? '';
  if (targetRef?.kind !== 'Pod' || nodeName === '') return { host, port };
  return { host, port, pod: { namespace, pod: targetRef.name ?? '', nodeName, port } };
}
