// The pods' network on this machine: one Docker bridge network per cluster, with what the cluster gave to
// this node, or, for a runtime that belongs to none, a /24 out of 10.244.0.0/16 that is free here. Choosing is pure.
import { createHash } from 'node:crypto';
import {
  formatIpv4,
  formatIpv4Network,
  overlap,
  parseIpv4Network,
  subnets,
} from '#kube/machinery/ipv4.ts';
import { RuntimeError } from './runtime.ts';

export interface PodNetwork {
  /** Docker's name of the network. */
  readonly name: string;
  /** The bridge's interface name (at most 15 characters). */
  readonly bridge: string;
  /** Such as `10.244.0.0/24`. */
  readonly cidr: string;
}

/** The machine's own address in it: Docker gives it the first of the range. */
export function gatewayOf(cidr: string): string {
  const [base = ''] = cidr.split('/');
  return base.replace(/\d+$/, (last) => String(Number(last) + 1));
}

/** 8 hexadecimal digits that stand for the cluster in names with little room. */
export function shortClusterId(clusterId: string): string {
  return createHash('sha256').update(clusterId).digest('hex').slice(0, 8);
}

export function networkName(clusterId: string): string {
  return `flotilla-${shortClusterId(clusterId)}`;
}

export function bridgeName(clusterId: string): string {
  return `flt-${shortClusterId(clusterId)}`;
}

/** The network for this machine's pods, as the cluster decides. */
export interface GivenNetwork {
  /** Undefined: none yet, or nobody is there to be asked. */
  known(): string | undefined;
  /** Rejects when it does not come in good time. */
  wait(): Promise<string>;
}

/** For Docker, but for the labels. Throws when `cidr` is none. */
export function networkBody(clusterId: string, cidr: string, engineVersion: string) {
  const network = parseIpv4Network(cidr);
  if (network === undefined || network.prefixLength > 29)
    throw new RuntimeError('other', `"${cidr}" is no network for pods`);
  const major = Number(engineVersion.split('.')[0]);
  return {
    Name: networkName(clusterId),
    Driver: 'bridge',
    CheckDuplicate: true,
    IPAM: {
      Driver: 'default',
      Config: [{ Subnet: formatIpv4Network(network), Gateway: formatIpv4(network.first + 1) }],
    },
    Options: {
      'com.docker.network.bridge.name': bridgeName(clusterId),
      // Since 28 it drops what comes to a container by any other way than its published ports.
      ...(major >= 28 && { 'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected' }),
    },
  };
}

/** Undefined when none of the 256 candidates is free. `used`: CIDRs of networks and addresses. */
export function freePodCidr(used: readonly string[]): string | undefined {
  // A default route covers everything and clashes with nothing.
  const taken = used
    .map(parseIpv4Network)
    .filter((entry) => entry !== undefined && entry.prefixLength > 0);
  const range = parseIpv4Network('10.244.0.0/16');
  if (range === undefined) return undefined;
  for (const candidate of subnets(range, 24))
    if (!taken.some((entry) => entry !== undefined && overlap(entry, candidate)))
      return formatIpv4Network(candidate);
  return undefined;
}
