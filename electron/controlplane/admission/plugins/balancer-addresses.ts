// Refuses a pool of addresses that can't be read, or that can't all be given away, when it is written: later only Services
// could tell of it.
import type { ConfigMap, Node } from '#kube/api/core.ts';
import {
  overlapsPool,
  parseAddressPool,
  poolConfigMap,
  type AddressPool,
} from '#kube/machinery/address-pool.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { formatIpv4, overlap, parseIpv4Network, type Ipv4Network } from '#kube/machinery/ipv4.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { invalid } from '#kube/machinery/status.ts';
import type { AdmissionPlugin, ObjectReader } from '../chain.ts';

const nodes = { group: '', version: 'v1', resource: 'nodes' };

export function balancerAddresses(reader: ObjectReader): AdmissionPlugin {
  const { namespace, name, key } = poolConfigMap;
  const textOf = (object: unknown): string => (object as ConfigMap | undefined)?.data?.[key] ?? '';
  return {
    name: 'BalancerAddresses',
    handles: (request) =>
      (request.operation === 'CREATE' || request.operation === 'UPDATE') &&
      request.resource.group === '' &&
      request.resource.resource === 'configmaps' &&
      request.namespace === namespace &&
      request.name === name,
    validate({ kind, object, oldObject }) {
      const text = textOf(object);
      const pool = parseAddressPool(text);
      const isNew = text !== textOf(oldObject);
      const problem =
        typeof pool === 'string' || !isNew
          ? pool
          : whyNotAll(pool, reader.list(nodes, '') as readonly Node[]);
      if (typeof problem === 'string')
        throw invalid(kind, name, [invalidField(field('data', key), text, problem)]);
    },
  };
}

/** Undefined: nothing that machines are known to use is among them. */
function whyNotAll(pool: AddressPool, all: readonly Node[]): string | undefined {
  for (const { metadata, spec, status } of all) {
    const pods = parseIpv4Network(spec.podCIDR ?? '');
    if (pods !== undefined && overlapsPool(pool, pods))
      return `${spec.podCIDR} is the network of the pods of ${metadata.name}`;
    for (const { type, address } of status?.addresses ?? []) {
      const own = type === 'InternalIP' ? parseIpv4Network(address) : undefined;
      if (own === undefined) continue;
      if (overlapsPool(pool, own)) return `${address} is the address of ${metadata.name}`;
      const network = networksOf(metadata.annotations).find((one) => overlap(one, own));
      if (network === undefined) continue;
      for (const [end, what] of [
        [network.first, 'the network itself'],
        [network.last, 'all devices of the network'],
      ] as const)
        if (overlapsPool(pool, { first: end, last: end, prefixLength: 32 }))
          return `${formatIpv4(end)} means ${what} where ${metadata.name} is: leave it out`;
    }
  }
  return undefined;
}

/** Of which the first and the last address are none of a device. */
function networksOf(annotations: Readonly<Record<string, string>> = {}): readonly Ipv4Network[] {
  const text = annotations[podNetworkAnnotations.machineNetworks] ?? '';
  return text
    .split(',')
    .flatMap((one) => parseIpv4Network(one) ?? [])
    .filter(({ prefixLength }) => prefixLength <= 30);
}
