// What the pod network of a cluster is called on its machines: two clusters may share one.
import { formatIpv4, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { bridgeName, shortClusterId } from '../runtime/pod-network.ts';

export interface NetworkNames {
  /** The pods' bridge, which is Docker's. */
  readonly bridge: string;
  /** The device that wraps packets for machines of other segments. */
  readonly overlay: string;
  /** The number by which its packets are told from other clusters'. */
  readonly overlayId: number;
  /** Of nftables. */
  readonly table: string;
  /** Of our routes: which cluster's they are. */
  readonly metric: number;
}

/** Of our routes: that they are Flotilla's. Nobody else's in iproute2's list. */
export const routeProtocol = '102';
/** What flannel takes on Linux. The official 4789 is Docker Swarm's, on the machines where that runs. */
export const overlayPort = 8472;
/** Of an Ethernet, an IPv4, a UDP and a VXLAN header. */
export const overlayBytes = 50;

export function networkNames(clusterId: string): NetworkNames {
  const short = shortClusterId(clusterId);
  return {
    bridge: bridgeName(clusterId),
    overlay: `flv-${short}`,
    overlayId: Number.parseInt(short.slice(0, 6), 16) || 1,
    table: `flotilla_net_${short}`,
    metric: 0x66_00_00_00 + Number.parseInt(short.slice(2), 16),
  };
}

/** A machine's end of the overlay: its address and its MAC, which all others know without asking. */
export function overlayEnd(podCidr: string): { readonly address: string; readonly mac: string } {
  const { first } = parseIpv4Network(podCidr) ?? { first: 0 };
  const address = formatIpv4(first);
  const bytes = [0x0a, 0x58, ...address.split('.').map(Number)];
  return { address, mac: bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':') };
}
