// Addresses of the home's network that the user leaves to Services of type LoadBalancer: the ConfigMap
// `kube-system/balancer-addresses`, key `addresses`, as `192.168.1.240-192.168.1.250, 192.168.1.200`. Pure.
import { formatIpv4, parseIpv4, parseIpv4Network, type Ipv4Network } from './ipv4.ts';

export const poolConfigMap = {
  namespace: 'kube-system',
  name: 'balancer-addresses',
  key: 'addresses',
} as const;

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Ranges in the order given; never empty. */
export interface AddressPool {
  readonly ranges: readonly Range[];
  /** As the user wrote it, in one line. */
  readonly text: string;
}

/** A home has no more to give away; and each is a row to look at. */
const addressesMax = 4096;
const example = '192.168.1.240-192.168.1.250';

/** A pool, or what is wrong with the text in words. */
export function parseAddressPool(text: string): AddressPool | string {
  const parts = text.split(/[\s,]+/).filter((part) => part !== '');
  if (parts.length === 0) return `must name addresses, as ${example}`;
  const ranges: Range[] = [];
  let count = 0;
  for (const part of parts) {
    const range = rangeOf(part);
    if (typeof range === 'string') return range;
    const clash = ranges.find(({ first, last }) => range.first <= last && first <= range.last);
    if (clash !== undefined) return `${part} overlaps ${rangeText(clash)}`;
    ranges.push(range);
    count += range.last - range.first + 1;
  }
  if (count > addressesMax) return `must be ${addressesMax} addresses at most, and is ${count}`;
  return { ranges, text: parts.join(', ') };
}

/** All, in order. */
export function* poolAddresses({ ranges }: AddressPool): Generator<string> {
  for (const { first, last } of ranges)
    for (let address = first; address <= last; address++) yield formatIpv4(address);
}

export function isInPool({ ranges }: AddressPool, address: string): boolean {
  const number = parseIpv4(address);
  return (
    number !== undefined && ranges.some(({ first, last }) => first <= number && number <= last)
  );
}

export function overlapsPool({ ranges }: AddressPool, network: Ipv4Network): boolean {
  return ranges.some(({ first, last }) => first <= network.last && network.first <= last);
}

function rangeOf(part: string): Range | string {
  const network = part.includes('/') ? parseIpv4Network(part) : undefined;
  const [first, last = first] = part.split('-').map(parseIpv4);
  const range =
    network ?? (first !== undefined && last !== undefined ? { first, last } : undefined);
  if (range === undefined || part.split('-').length > 2)
    return `${JSON.stringify(part)} is no IPv4 address, range (${example}) or network (192.168.1.240/29)`;
  if (range.last < range.first) return `${part} ends before it begins`;
  // Of 0/8, loopback, multicast and what is beyond it no machine of a home is known by.
  const block = (address: number): number => Math.floor(address / 2 ** 24);
  const isHome = [range.first, range.last].every(
    (address) => block(address) > 0 && block(address) !== 127 && block(address) < 224,
  );
  return isHome ? { first: range.first, last: range.last } : `${part}: not addresses of a network`;
}

function rangeText({ first, last }: Range): string {
  return first === last ? formatIpv4(first) : `${formatIpv4(first)}-${formatIpv4(last)}`;
}
