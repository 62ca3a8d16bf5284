// Ranges of addresses within each other, of both families. Texts have to be legal (text-rules.ts).
import { isIPv4 } from '../text-rules.ts';

interface Range {
  readonly bits: string;
  readonly length: number;
}

/** Whether `inner` lies in `outer` and is smaller. */
export function isStrictSubset(inner: string, outer: string): boolean {
  const [small, large] = [parse(inner), parse(outer)];
  return (
    small.bits.length === large.bits.length &&
    small.length > large.length &&
    small.bits.slice(0, large.length) === large.bits.slice(0, large.length)
  );
}

function parse(cidr: string): Range {
  const [address = '', length = ''] = cidr.split('/');
  return { bits: bitsOf(address), length: Number(length) };
}

function bitsOf(address: string): string {
  if (isIPv4(address)) return toBits(address.split('.').map(Number), 8);
  const [head = '', tail] = withoutIPv4(address).split('::');
  const groups = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail ?? '')];
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0);
  return toBits([...left, ...zeros, ...right], 16);
}

/** `::ffff:10.0.0.1` → `::ffff:a00:1`. */
function withoutIPv4(address: string): string {
  const last = address.split(':').at(-1) ?? '';
  if (!isIPv4(last)) return address;
  const [a = 0, b = 0, c = 0, d = 0] = last.split('.').map(Number);
  const hex = [a * 256 + b, c * 256 + d].map((group) => group.toString(16)).join(':');
  return `${address.slice(0, -last.length)}${hex}`;
}

function toBits(groups: readonly number[], width: number): string {
  return groups.map((group) => group.toString(2).padStart(width, '0')).join('');
}
