// IPv4 addresses and ranges as text, in the one form that rules are written in. Pure. What is no plain
// address has no form here, which also keeps anything else out of the rules' text.
import { formatIpv4, parseIpv4 } from '#kube/machinery/ipv4.ts';

/** Undefined for anything but an IPv4 address; leading zeros are no octal numbers. */
export function ipv4(text: string): string | undefined {
  const number = parseIpv4(text);
  if (number === undefined) return undefined;
  // Nearly all are written as they should be, and there are thousands.
  return /(?:^|\.)0\d/.test(text) ? formatIpv4(number) : text;
}

interface Range {
  readonly first: number;
  readonly bits: number;
}

/**
 * The IPv4 ranges among `cidrs`, none within another: the kernel refuses those that overlap.
 * Undefined when they hold every address, or when there is none.
 */
export function disjointRanges(cidrs: readonly string[]): readonly string[] | undefined {
  const ranges = cidrs.map(rangeOf).filter((range) => range !== undefined);
  if (ranges.length === 0 || ranges.some(({ bits }) => bits === 0)) return undefined;
  const outer = ranges.filter(
    (range, i) => !ranges.some((other, j) => i !== j && holds(other, range, j < i)),
  );
  return outer.map(({ first, bits }) => `${formatIpv4(first)}/${bits}`).toSorted();
}

export function isWithin(address: string, cidr: string): boolean {
  const range = rangeOf(cidr);
  const number = parseIpv4(address);
  if (range === undefined || number === undefined) return false;
  return firstOf(number, range.bits) === range.first;
}

function rangeOf(cidr: string): Range | undefined {
  const [address = '', length = ''] = cidr.trim().split('/');
  const number = parseIpv4(address);
  const bits = /^\d{1,2}$/.test(length) ? Number(length) : 33;
  if (number === undefined || bits > 32) return undefined;
  return { first: firstOf(number, bits), bits };
}

function firstOf(address: number, bits: number): number {
  const size = 2 ** (32 - bits);
  return Math.floor(address / size) * size;
}

/** Of two that are the same, the earlier holds the later. */
function holds(outer: Range, inner: Range, isEarlier: boolean): boolean {
  if (outer.bits > inner.bits || firstOf(inner.first, outer.bits) !== outer.first) return false;
  return outer.bits < inner.bits || isEarlier;
}
