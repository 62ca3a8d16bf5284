// Pure: what `ip` says of this machine's interfaces and routes, as far as the pods' network has to know it.
import { formatIpv4Network, parseIpv4Network } from '#kube/machinery/ipv4.ts';

export interface MachineAddress {
  readonly device: string;
  readonly address: string;
  readonly prefixLength: number;
  readonly mtu: number;
}

export interface MachineRoute {
  /** `10.244.1.0/24`; `default`. */
  readonly destination: string;
  readonly device: string;
  readonly via: string | undefined;
  /** Who made it: a number, or a name that this machine knows for it. */
  readonly protocol: string;
  readonly metric: number;
}

export interface MachineNetwork {
  readonly addresses: readonly MachineAddress[];
  readonly routes: readonly MachineRoute[];
}

interface JsonAddress {
  readonly family?: string;
  readonly local?: string;
  readonly prefixlen?: number;
  readonly scope?: string;
}

interface JsonLink {
  readonly ifname?: string;
  readonly mtu?: number;
  readonly addr_info?: readonly JsonAddress[];
}

interface JsonRoute {
  readonly type?: string;
  readonly dst?: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly protocol?: string;
  readonly metric?: number;
}

/** `ip -json -4 address show`; '' where nothing is said. */
export function parseAddresses(json: string): readonly MachineAddress[] {
  const links = parseList(json) as readonly JsonLink[];
  return links.flatMap(({ ifname: device = '', mtu = 1500, addr_info = [] }) =>
    addr_info.flatMap(({ family, local, prefixlen = 32, scope }) =>
      // Of scope `host`: what is only answered for (balancer/lan-link.ts).
      family === 'inet' && local !== undefined && (scope !== 'host' || device === 'lo')
        ? [{ device, address: local, prefixLength: prefixlen, mtu }]
        : [],
    ),
  );
}

/** `ip -json -4 route show table all`: those that lead to other machines. */
export function parseRoutes(json: string): readonly MachineRoute[] {
  const routes = parseList(json) as readonly JsonRoute[];
  return routes.flatMap(
    ({ type = 'unicast', dst = '', dev = '', gateway, protocol = '', metric = 0 }) =>
      type === 'unicast' && dev !== ''
        ? [{ destination: dst, device: dev, via: gateway, protocol, metric }]
        : [],
  );
}

/** `ip` prints nothing at all where there is nothing. */
export function parseList(json: string): readonly unknown[] {
  return json.trim() === '' ? [] : (JSON.parse(json) as readonly unknown[]);
}

/** A VPN that takes all traffic does so by two halves, or a few more: nothing would be left to choose. */
const shortestPrefix = 4;

/**
 * What no network of pods may overlap: the networks this machine is in and those it has routes to. `isOurs`
 * names devices and routes of this cluster's own.
 */
export function networksOf(
  { addresses, routes }: MachineNetwork,
  isOurs: (entry: MachineAddress | MachineRoute) => boolean,
): readonly string[] {
  const texts = [
    ...addresses.filter((entry) => !isOurs(entry)).map((entry) => networkOf(entry)),
    ...routes.filter((entry) => !isOurs(entry)).map(({ destination }) => destination),
  ];
  const found = texts.flatMap((text) => {
    const network = parseIpv4Network(text);
    const isLoopback = network !== undefined && Math.floor(network.first / 2 ** 24) === 127;
    const counts = network !== undefined && network.prefixLength >= shortestPrefix && !isLoopback;
    return counts ? [formatIpv4Network(network)] : [];
  });
  return [...new Set(found)].toSorted();
}

export function networkOf({ address, prefixLength }: MachineAddress): string {
  return `${address}/${prefixLength}`;
}
