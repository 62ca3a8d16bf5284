// Pure: from the Nodes and this machine's own addresses to what the pods' network needs on it: a route to the
// pods of each other machine, directly where it is a neighbour, else through the overlay.
import type { Node } from '#kube/api/core.ts';
import { holds, overlap, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { networkOf, type MachineAddress } from './machine-network.ts';
import { overlayBytes, overlayEnd, type NetworkNames } from './names.ts';

export interface DirectRoute {
  readonly cidr: string;
  readonly via: string;
  readonly device: string;
}

/** Another machine as the overlay's device has to know it. */
export interface OverlayPeer {
  readonly cidr: string;
  /** Of the machine. */
  readonly via: string;
  /** Of its end of the overlay. */
  readonly address: string;
  readonly mac: string;
}

export interface Overlay {
  /** This machine's address, which the others send to. */
  readonly local: string;
  /** Of this machine's end. */
  readonly address: string;
  readonly mac: string;
  readonly mtu: number;
  readonly peers: readonly OverlayPeer[];
}

export interface WantedNetwork {
  readonly podCidr: string;
  readonly direct: readonly DirectRoute[];
  readonly overlay: Overlay | undefined;
  /** Addresses and networks that meet our pods without translation, both ways. */
  readonly cluster: readonly string[];
  /** What can't be, in words. */
  readonly problems: readonly string[];
}

interface Peer {
  readonly name: string;
  readonly cidr: string;
  readonly address: string;
}

/** Interfaces of containers and virtual machines: nobody else is there. */
const notOfTheHome = /^(lo|docker|br-|flt-|flv-|veth|virbr|cni|flannel)/;

/** Undefined: nothing is to be known now (no network given yet, or no address), so nothing is to be changed. */
export function wantedNetwork(
  nodes: readonly Node[],
  nodeName: string,
  addresses: readonly MachineAddress[],
  ours: Pick<NetworkNames, 'bridge' | 'overlay'>,
): WantedNetwork | undefined {
  const node = nodes.find(({ metadata }) => metadata.name === nodeName);
  const podCidr = node?.spec.podCIDR ?? '';
  const local = node === undefined ? undefined : addressOf(node);
  if (podCidr === '') return undefined;
  // Tests have two nodes on one machine.
  const isHere = ({ address }: Peer) => addresses.some((entry) => entry.address === address);
  const others = nodes.filter((other) => other !== node).flatMap(peerOf);
  const peers = others.filter((peer) => !isHere(peer));
  // Also bridges of container engines and virtual machines: wherever packets would go instead.
  const foreign = addresses.filter(
    ({ device }) => ![ours.bridge, ours.overlay, 'lo'].includes(device),
  );
  const problems = foreign
    .filter((entry) => isClash(podCidr, networkOf(entry)))
    .map((entry) => ownClash(nodeName, podCidr, entry));
  if (peers.length === 0) return { podCidr, direct: [], overlay: undefined, cluster: [], problems };
  const home = addresses.filter(({ device }) => !notOfTheHome.test(device));
  // A moment after it got another address, the Node still tells the one before.
  const own = home.find(({ address }) => address === local) ?? home[0];
  if (own === undefined) return undefined;
  const direct: DirectRoute[] = [];
  const far: OverlayPeer[] = [];
  for (const { name, cidr, address } of peers) {
    const clash = foreign.find((entry) => isClash(cidr, networkOf(entry)));
    if (clash !== undefined) {
      problems.push(
        `pods of ${name} can't be reached: their network ${cidr} is also that of ${clash.device} (${networkOf(clash)}) on this machine`,
      );
      continue;
    }
    const segment = neighbourhood(home, own, address);
    if (segment === undefined) far.push({ cidr, via: address, ...overlayEnd(cidr) });
    else direct.push({ cidr, via: address, device: segment.device });
  }
  const overlay =
    far.length === 0
      ? undefined
      : { local: own.address, ...overlayEnd(podCidr), mtu: own.mtu - overlayBytes, peers: far };
  const reached = [...direct, ...far].map(({ cidr }) => cidr);
  const cluster = [podCidr, own.address, ...reached, ...direct.map(({ via }) => via)].toSorted();
  return { podCidr, direct, overlay, cluster, problems };
}

function ownClash(nodeName: string, podCidr: string, entry: MachineAddress): string {
  return `pods here and what is in ${networkOf(entry)} (${entry.device}) may not reach each other: the network of the pods, ${podCidr}, is in the same range. Take that one away, or give the pods another: kubectl drain ${nodeName} --ignore-daemonsets --delete-emptydir-data, then kubectl delete node ${nodeName} (it comes back by itself, with a network that is free)`;
}

function addressOf({ status }: Node): string | undefined {
  const found = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  // What a machine tells that has no network.
  return found?.startsWith('127.') === true ? undefined : found;
}

function peerOf(node: Node): Peer[] {
  const { name } = node.metadata;
  const cidr = node.spec.podCIDR ?? '';
  const address = addressOf(node);
  const isReadable = parseIpv4Network(cidr) !== undefined;
  return isReadable && address !== undefined ? [{ name, cidr, address }] : [];
}

function isClash(cidr: string, other: string): boolean {
  const [pods, network] = [parseIpv4Network(cidr), parseIpv4Network(other)];
  return pods !== undefined && network !== undefined && overlap(pods, network);
}

/** The interface by which another machine is a neighbour; the one whose address we tell goes first. */
function neighbourhood(
  home: readonly MachineAddress[],
  own: MachineAddress,
  address: string,
): MachineAddress | undefined {
  return [own, ...home].find((entry) => {
    const network = parseIpv4Network(networkOf(entry));
    return network !== undefined && holds(network, address);
  });
}
