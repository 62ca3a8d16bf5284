// IPv4 networks as ranges of numbers: parse, compare, count. Pure.

export interface Ipv4Network {
  readonly first: number;
  readonly last: number;
  readonly prefixLength: number;
}

/** Of `10.1.2.3/24` or one address; undefined: it is neither. Bits beyond the prefix don't count. */
export function parseIpv4Network(text: string): Ipv4Network | undefined {
  const [address = '', length = '32', ...rest] = text.split('/');
  const prefixLength = /^\d{1,2}$/.test(length) ? Number(length) : 33;
  const number = parseIpv4(address);
  if (number === undefined || prefixLength > 32 || rest.length > 0) return undefined;
  const size = 2 ** (32 - prefixLength);
  const first = Math.floor(number / size) * size;
  return { first, last: first + size - 1, prefixLength };
}

const [dot, zero, nine] = [46, 48, 57];

/** Undefined for anything but an IPv4 address; leading zeros are no octal numbers. Thousands in a moment. */
export function parseIpv4(text: string): number | undefined {
  let [number, part, digits, parts] = [0, 0, 0, 1];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === dot && digits > 0) {
      number = number * 256 + part;
      [part, digits] = [0, 0];
      parts++;
    } else if (code >= zero && code <= nine && digits < 3) {
      part = part * 10 + code - zero;
      digits++;
      if (part > 255) return undefined;
    } else return undefined;
  }
  return parts === 4 && digits > 0 ? number * 256 + part : undefined;
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((bits) => Math.floor(address / 2 ** bits) % 256).join('.');
}

export function formatIpv4Network({ first, prefixLength }: Ipv4Network): string {
  return `${formatIpv4(first)}/${prefixLength}`;
}

export function overlap(a: Ipv4Network, b: Ipv4Network): boolean {
  return a.first <= b.last && a.last >= b.first;
}

export function holds(network: Ipv4Network, address: string): boolean {
  const number = parseIpv4(address);
  return number !== undefined && network.first <= number && number <= network.last;
}

/** All networks of this size in it, in order. */
export function* subnets(network: Ipv4Network, prefixLength: number): Generator<Ipv4Network> {
  const size = 2 ** (32 - prefixLength);
  for (let first = network.first; first <= network.last; first += size)
    yield { first, last: first + size - 1, prefixLength };
}
