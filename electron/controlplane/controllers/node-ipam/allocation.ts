// Pure: which network the pods of a node get: a /24 that overlaps no other node's and nothing that any
// machine of the cluster is connected to.
// Source: kubernetes pkg/controller/nodeipam/ipam (what a node gets; the clashes are ours).
import type { Node } from '#kube/api/core.ts';
import {
  formatIpv4Network,
  overlap,
  parseIpv4Network,
  subnets,
  type Ipv4Network,
} from '#kube/machinery/ipv4.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';

/**
 * The first is what Kubernetes' own tools take. The others for homes where a VPN or a provider uses all of it:
 * from each of the private blocks one, away from what routers and Docker take first, and at last the one for
 * measurements, which nobody has at home.
 */
export const ranges = [
  '10.244.0.0/16',
  '10.42.0.0/16',
  '172.30.0.0/16',
  '192.168.192.0/18',
  '198.18.0.0/16',
] as const;
const prefixLength = 24;

export type Allocation =
  | {
      readonly cidr: string;
      /** For a person: why not out of the usual range. */ readonly why?: string;
    }
  | { readonly refusal: string };

interface Taken {
  readonly network: Ipv4Network;
  /** Such as `the network 10.0.0.0/8 of laptop`. */
  readonly name: string;
}

/** Undefined: its agent has not told yet what its machine is connected to. */
export function allocate(
  node: Node,
  nodes: readonly Node[],
  given: ReadonlyMap<string, string>,
): Allocation | undefined {
  const annotations = node.metadata.annotations ?? {};
  if (annotations[podNetworkAnnotations.machineNetworks] === undefined) return undefined;
  const others = nodes.filter(({ metadata }) => metadata.name !== node.metadata.name);
  const pods = others.flatMap((other) => podNetworksOf(other, given));
  const own = parseIpv4Network(annotations[podNetworkAnnotations.podNetwork] ?? '');
  // A larger network beside it is no trouble for them; one of the same size or inside of it takes packets away.
  const within = machineNetworksOf(node).filter(
    ({ network }) => network.prefixLength >= prefixLength,
  );
  const inTheWay = [...pods, ...within];
  // Its pods are in there: another network would mean to start them anew.
  if (own?.prefixLength === prefixLength && !inTheWay.some(({ network }) => overlap(network, own)))
    return { cidr: formatIpv4Network(own) };
  const taken = [...pods, ...nodes.flatMap(machineNetworksOf)];
  let why: string | undefined;
  for (const range of ranges) {
    const whole = parseIpv4Network(range);
    if (whole === undefined) continue;
    for (const network of subnets(whole, prefixLength))
      if (!taken.some((other) => overlap(other.network, network)))
        return { cidr: formatIpv4Network(network), ...(why !== undefined && { why }) };
    why ??= explain(range, whole, taken);
  }
  return {
    refusal: `every network for pods (in ${ranges.join(', ')}) overlaps one that a machine of the cluster is connected to, or is another machine's`,
  };
}

function podNetworksOf(node: Node, given: ReadonlyMap<string, string>): Taken[] {
  const { name, annotations = {} } = node.metadata;
  const cidr =
    node.spec.podCIDR || given.get(name) || annotations[podNetworkAnnotations.podNetwork] || '';
  const network = parseIpv4Network(cidr);
  return network === undefined ? [] : [{ network, name: `the pods of ${name}` }];
}

function machineNetworksOf({ metadata }: Node): Taken[] {
  const text = metadata.annotations?.[podNetworkAnnotations.machineNetworks] ?? '';
  return text.split(',').flatMap((cidr) => {
    const network = parseIpv4Network(cidr);
    return network === undefined
      ? []
      : [{ network, name: `the network ${cidr} of ${metadata.name}` }];
  });
}

/** The largest that is in the way stands for all. */
function explain(range: string, whole: Ipv4Network, taken: readonly Taken[]): string {
  const [largest] = taken
    .filter(({ network }) => overlap(network, whole))
    .toSorted((a, b) => a.network.prefixLength - b.network.prefixLength);
  return `nothing of ${range} is free: ${largest?.name ?? 'others'} is in it`;
}
