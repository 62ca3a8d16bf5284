// Between the two forms of what is behind a Service: subsets of Endpoints, and groups of endpoints
// as slices hold them. Pure.
// Source: kubernetes pkg/controller/endpoint/endpoints_controller.go, pkg/api/v1/endpoints/util.go,
// pkg/controller/endpointslicemirroring/utils.go.
import type { EndpointAddress, EndpointSubset, Service } from '#kube/api/core.ts';
import type { Endpoint, EndpointPort } from '#kube/api/discovery.ts';
import { stableStringify } from '#kube/machinery/equality.ts';
import { portsKey, type AddressType, type EndpointGroup } from '../endpoint-slice/endpoints.ts';

/** Of all subsets together. */
export const addressesMax = 1000;

export interface Subsets {
  readonly subsets: EndpointSubset[];
  /** There are more than Endpoints may hold; slices have them all. */
  readonly isTruncated: boolean;
}

/** In one order, so that the same pods give the same subsets. */
export function subsetsOf({ spec }: Service, groups: readonly EndpointGroup[]): Subsets {
  let left = addressesMax;
  let isTruncated = false;
  const take = (addresses: EndpointAddress[]): EndpointAddress[] => {
    const taken = addresses.slice(0, left);
    left -= taken.length;
    isTruncated ||= taken.length < addresses.length;
    return taken;
  };
  const isShown = ({ conditions }: Endpoint): boolean =>
    spec.publishNotReadyAddresses === true || conditions?.terminating !== true;
  const all = groups.map(({ ports, endpoints }): EndpointSubset => {
    const shown = endpoints.filter(isShown);
    const ready = shown.filter(({ conditions }) => conditions?.ready === true);
    const other = shown.filter(({ conditions }) => conditions?.ready !== true);
    return {
      addresses: ready.map(addressOf).toSorted(byText),
      notReadyAddresses: other.map(addressOf).toSorted(byText),
      ports: ports
        .map(({ name = '', port = 0, ...rest }) => ({
          ...(name === '' ? {} : { name }),
          port,
          ...rest,
        }))
        .toSorted(byText),
    };
  });
  const subsets = all
    .toSorted(byText)
    .map(({ addresses = [], notReadyAddresses = [], ports = [] }) => ({
      addresses: take(addresses),
      notReadyAddresses: take(notReadyAddresses),
      ports,
    }))
    .filter(({ addresses, notReadyAddresses }) => addresses.length + notReadyAddresses.length > 0)
    .map(withoutEmpty);
  return { subsets, isTruncated };
}

function withoutEmpty(subset: EndpointSubset): EndpointSubset {
  return Object.fromEntries(Object.entries(subset).filter(([, list]) => list.length > 0));
}

function addressOf({ addresses, hostname, nodeName, targetRef }: Endpoint): EndpointAddress {
  return {
    ip: addresses[0] ?? '',
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(targetRef === undefined ? {} : { targetRef }),
  };
}

function byText(a: unknown, b: unknown): number {
  const [left, right] = [stableStringify(a), stableStringify(b)];
  return left === right ? 0 : left < right ? -1 : 1;
}

/** What somebody wrote into Endpoints, as groups of one family. */
export function groupsOf(
  subsets: readonly EndpointSubset[],
  addressType: AddressType,
): EndpointGroup[] {
  const isOfFamily = ({ ip }: EndpointAddress): boolean =>
    ip.includes(':') === (addressType === 'IPv6');
  // Slices are planned for each set of ports: two groups of the same would take each other's.
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>();
  for (const { addresses = [], notReadyAddresses = [], ports: given = [] } of subsets) {
    const ports = given.map(({ name = '', ...port }) => ({ name, ...port }));
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    group.endpoints.push(
      ...addresses.filter(isOfFamily).map((address) => endpointOf(address, true)),
      ...notReadyAddresses.filter(isOfFamily).map((address) => endpointOf(address, false)),
    );
    groups.set(key, group);
  }
  return [...groups.values()].filter(({ endpoints }) => endpoints.length > 0);
}

function endpointOf({ ip, ...rest }: EndpointAddress, ready: boolean): Endpoint {
  return { addresses: [ip], conditions: { ready }, ...rest };
}
