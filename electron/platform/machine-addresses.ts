// The addresses by which others reach this machine: IPv4, of interfaces to the outside, the one of the default route first.
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

type Interfaces = ReturnType<typeof networkInterfaces>;

/** Of containers and virtual machines. */
const inner = /^(docker|br-|flt-|flv-|veth|virbr)/;

export function machineAddresses(
  interfaces: Interfaces = networkInterfaces(),
  primary = defaultInterface(kernelRoutes()) ?? '',
): readonly string[] {
  return Object.entries(interfaces)
    .filter(([name]) => !inner.test(name))
    .flatMap(([name, entries = []]) => entries.map((entry) => ({ ...entry, name })))
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map((entry) => ({ ...entry, rank: rankOf(entry, primary) }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ address }) => address);
}

/** One of a pool, which is only answered for, is a network by itself; a machine may have nothing else, too. */
function rankOf(
  { cidr, name }: { readonly cidr: string | null; readonly name: string },
  primary: string,
): number {
  return (name === primary ? 0 : 2) + (cidr?.endsWith('/32') === true ? 1 : 0);
}

/** Of `/proc/net/route`: destination 0 is the default, and of several the one of the lowest metric counts. */
export function defaultInterface(routes: string): string | undefined {
  const rows = routes.split('\n').map((line) => line.split('\t'));
  const defaults = rows.filter(
    ([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000',
  );
  return defaults.toSorted((a, b) => Number(a[6]) - Number(b[6]))[0]?.[0];
}

function kernelRoutes(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8');
  } catch {
    return '';
  }
}
