// The pods' network on this machine: one Docker bridge network per cluster with a /24 out of
// 10.244.0.0/16 that clashes with nothing the machine already has. Choosing is pure.
import { createHash } from 'node:crypto';

export interface PodNetwork {
  /** Docker's name of the network. */
  readonly name: string;
  /** The bridge's interface name (at most 15 characters). */
  readonly bridge: string;
  /** Such as `10.244.0.0/24`. */
  readonly cidr: string;
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

/** Undefined when none of the 256 candidates is free. `used`: CIDRs of networks and addresses. */
export function freePodCidr(used: readonly string[]): string | undefined {
  const ranges = used.map(range).filter((entry) => entry !== undefined);
  for (let third = 0; third < 256; third++) {
    const candidate = `10.244.${third}.0/24`;
    const [first, last] = range(candidate) ?? [0, 0];
    if (!ranges.some(([from, to]) => from <= last && to >= first)) return candidate;
  }
  return undefined;
}

/** First and last address of an IPv4 CIDR as numbers; undefined for anything else. */
function range(cidr: string): readonly [number, number] | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\/(\d+))?$/.exec(cidr);
  if (match === null) return undefined;
  const [, a, b, c, d, bits = '32'] = match;
  const address = ((Number(a) * 256 + Number(b)) * 256 + Number(c)) * 256 + Number(d);
  // A default route covers everything and clashes with nothing.
  if (Number(bits) === 0) return undefined;
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(address / size) * size;
  return [first, first + size - 1];
}
