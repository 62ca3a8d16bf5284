// IPv4 addresses and ranges as text, in the one form that rules are written in. Pure. What is no plain
// address has no form here, which also keeps anything else out of the rules' text.

/** Undefined for anything but an IPv4 address; leading zeros are no octal numbers. */
export function ipv4(text: string): string | undefined {
  const parts = text.split('.');
  const isAddress = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part));
  if (!isAddress || parts.some((part) => Number(part) > 255)) return undefined;
  return parts.map(Number).join('.');
}

export function ipv4Number(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
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
  return outer.map(({ first, bits }) => `${addressText(first)}/${bits}`).toSorted();
}

export function isWithin(address: string, cidr: string): boolean {
  const range = rangeOf(cidr);
  const number = ipv4Number(address);
  return range !== undefined && firstOf(number, range.bits) === range.first;
}

function rangeOf(cidr: string): Range | undefined {
  const [address = '', length = ''] = cidr.trim().split('/');
  const text = ipv4(address);
  const bits = /^\d{1,2}$/.test(length) ? Number(length) : 33;
  if (text === undefined || bits > 32) return undefined;
  return { first: firstOf(ipv4Number(text), bits), bits };
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

function addressText(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}
