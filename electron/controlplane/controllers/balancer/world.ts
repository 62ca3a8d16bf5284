// What a plan for a LoadBalancer Service is made of, and what it says.
import type { LoadBalancerIngress, Node, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { AddressPool } from '#kube/machinery/address-pool.ts';

export interface BalancerWorld {
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  /** Of the Service. */
  readonly slices: readonly EndpointSlice[];
  /** What the user left to Services; text: what is wrong with it; undefined: nothing. */
  readonly pool: AddressPool | string | undefined;
  /** By Service: addresses given that the cache may not show yet. */
  readonly given: ReadonlyMap<string, string>;
}

export interface Refusal {
  readonly reason: 'PortTaken' | 'AddressTaken' | 'NoAddress';
  /** A sentence. */
  readonly text: string;
}

export interface BalancerPlan {
  /** Sorted by address. */
  readonly ingress: readonly LoadBalancerIngress[];
  /** Why it is not reached, or not everywhere. */
  readonly refusals: readonly Refusal[];
  /** Of the pool: which address, and who is to answer for it. */
  readonly lan: { readonly address: string; readonly node: string | undefined } | undefined;
}

export function addressOf({ status }: Node): string | undefined {
  return status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
}

export function isOlder(other: Service, service: Service): boolean {
  const key = ({ metadata }: Service): string =>
    `${metadata.creationTimestamp ?? ''} ${metadata.namespace}/${metadata.name}`;
  return key(other) < key(service);
}
