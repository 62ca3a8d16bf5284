// Addresses as numbers, for what expressions ask of IPs and CIDRs.
import { isIPv4 } from '#kube/machinery/structural/formats.ts';

/** An IPv6 address in its shortest form; an IPv4 address as it is. */
export function canonicalAddress(text: string): string {
  return isIPv4(text) ? text : new URL(`http://[${text}]/`).hostname.slice(1, -1);
}

/** False when they are of different families. */
export function cidrContains(cidr: string, address: string): boolean {
  const [network = '', bits = '0'] = cidr.split('/');
  if (isIPv4(network) !== isIPv4(address)) return false;
  const width = isIPv4(network) ? 32 : 128;
  const shift = BigInt(width - Number(bits));
  return numberOf(network) >> shift === numberOf(address) >> shift;
}

/** `10.1.2.3/8` → `10.0.0.0/8`. */
export function maskedAddress(cidr: string): string {
  const [network = '', bits = '0'] = cidr.split('/');
  const isV4 = isIPv4(network);
  const shift = BigInt((isV4 ? 32 : 128) - Number(bits));
  return `${textOf((numberOf(network) >> shift) << shift, isV4)}/${bits}`;
}

function numberOf(address: string): bigint {
  if (isIPv4(address))
    return address.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  const [head = '', tail] = canonicalAddress(address).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const middle = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...middle, ...after].reduce(
    (sum, group) => (sum << 16n) + BigInt(`0x${group}`),
    0n,
  );
}

function textOf(value: bigint, isV4: boolean): string {
  if (isV4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  return canonicalAddress(groups.join(':'));
}
