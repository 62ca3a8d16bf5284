// Pure: what this machine has of our routes and our overlay, and what it should have → the commands that make
// the one of the other. None when they are the same. What is not ours is not touched.
import type { MachineRoute } from './machine-network.ts';
import { overlayPort, routeProtocol, type NetworkNames } from './names.ts';
import type { Overlay, WantedNetwork } from './wanted.ts';

export interface FoundOverlay {
  readonly id: number;
  readonly local: string;
  readonly port: number;
  readonly mac: string;
  readonly mtu: number;
  readonly isUp: boolean;
  readonly addresses: readonly string[];
  /** `ADDRESS MAC` of each end known by a permanent entry. */
  readonly neighbours: readonly string[];
  /** `MAC ADDRESS`: which machine has which end. */
  readonly forwarding: readonly string[];
}

export interface FoundNetwork {
  /** Ours only. */
  readonly routes: readonly MachineRoute[];
  readonly overlay: FoundOverlay | undefined;
}

export interface NetworkChanges {
  readonly overlay: readonly (readonly string[])[];
  readonly direct: readonly (readonly string[])[];
  /** Need the overlay to be there. */
  readonly far: readonly (readonly string[])[];
}

type Wanted = Pick<WantedNetwork, 'direct' | 'overlay'>;

export function isOurRoute({ protocol, metric }: MachineRoute, names: NetworkNames): boolean {
  return protocol === routeProtocol && metric === names.metric;
}

export function networkChanges(
  wanted: Wanted,
  found: FoundNetwork,
  names: NetworkNames,
): NetworkChanges {
  const { overlay } = names;
  const isKept = isSameOverlay(wanted.overlay, found.overlay, names);
  // The kernel takes the routes of a device along.
  const routes = isKept ? found.routes : found.routes.filter(({ device }) => device !== overlay);
  const ends = wanted.overlay?.peers ?? [];
  const cidrs = new Set([...wanted.direct, ...ends].map(({ cidr }) => cidr));
  const stale = routes
    .filter(({ destination }) => !cidrs.has(destination))
    .map(({ destination }) => ['ip', 'route', 'del', destination, ...routeMark(names)]);
  const has = (cidr: string, via: string, device: string): boolean =>
    routes.some(
      (route) => route.destination === cidr && route.via === via && route.device === device,
    );
  const direct = wanted.direct
    .filter(({ cidr, via, device }) => !has(cidr, via, device))
    .map(({ cidr, via, device }) => replaceRoute(cidr, via, device, names));
  const far = ends
    .filter(({ cidr, address }) => !has(cidr, address, overlay))
    .map(({ cidr, address }) => [...replaceRoute(cidr, address, overlay, names), 'onlink']);
  return {
    overlay: [
      ...(isKept ? [] : replaceOverlay(wanted.overlay, found.overlay, names)),
      ...(wanted.overlay === undefined
        ? []
        : endsOf(wanted.overlay, isKept ? found.overlay : undefined, names)),
    ],
    direct: [...stale, ...direct],
    far,
  };
}

function routeMark({ metric }: NetworkNames): string[] {
  return ['proto', routeProtocol, 'metric', String(metric)];
}

function replaceRoute(cidr: string, via: string, device: string, names: NetworkNames): string[] {
  return ['ip', 'route', 'replace', cidr, 'via', via, 'dev', device, ...routeMark(names)];
}

function isSameOverlay(
  wanted: Overlay | undefined,
  found: FoundOverlay | undefined,
  { overlayId }: NetworkNames,
): boolean {
  if (wanted === undefined || found === undefined) return wanted === found;
  return (
    found.id === overlayId &&
    found.port === overlayPort &&
    found.local === wanted.local &&
    found.mac === wanted.mac
  );
}

function replaceOverlay(
  wanted: Overlay | undefined,
  found: FoundOverlay | undefined,
  { overlay, overlayId }: NetworkNames,
): string[][] {
  const remove = found === undefined ? [] : [['ip', 'link', 'del', overlay]];
  if (wanted === undefined) return remove;
  const kind = ['type', 'vxlan', 'id', String(overlayId), 'dstport', String(overlayPort)];
  const add = ['ip', 'link', 'add', overlay, 'address', wanted.mac, ...kind];
  return [...remove, [...add, 'local', wanted.local, 'nolearning']];
}

/** `found`: undefined when the device is a new one. */
function endsOf(
  { address, mtu, peers }: Overlay,
  found: FoundOverlay | undefined,
  { overlay }: NetworkNames,
): string[][] {
  const neighbours = peers.map((peer) => `${peer.address} ${peer.mac}`);
  const forwarding = peers.map(({ mac, via }) => `${mac} ${via}`);
  const changes: string[][] = [];
  if (found?.addresses.includes(address) !== true)
    changes.push(['ip', 'address', 'replace', `${address}/32`, 'dev', overlay]);
  if (found?.mtu !== mtu || !found.isUp)
    changes.push(['ip', 'link', 'set', overlay, 'mtu', String(mtu), 'up']);
  for (const entry of missing(found?.neighbours ?? [], neighbours)) {
    const [end = ''] = entry.split(' ');
    // Another MAC is an entry to be replaced.
    if (peers.some((peer) => peer.address === end)) continue;
    changes.push(['ip', 'neigh', 'del', end, 'dev', overlay]);
  }
  for (const entry of missing(found?.forwarding ?? [], forwarding)) {
    const [mac = '', via = ''] = entry.split(' ');
    if (peers.some((peer) => peer.mac === mac)) continue;
    changes.push(['bridge', 'fdb', 'del', mac, 'dev', overlay, 'dst', via]);
  }
  for (const entry of missing(neighbours, found?.neighbours ?? [])) {
    const [end = '', mac = ''] = entry.split(' ');
    const to = ['lladdr', mac, 'dev', overlay, 'nud', 'permanent'];
    changes.push(['ip', 'neigh', 'replace', end, ...to]);
  }
  for (const entry of missing(forwarding, found?.forwarding ?? [])) {
    const [mac = '', via = ''] = entry.split(' ');
    changes.push(['bridge', 'fdb', 'replace', mac, 'dev', overlay, 'dst', via]);
  }
  return changes;
}

/** Of the first, what the second has not. */
function missing(all: readonly string[], known: readonly string[]): readonly string[] {
  return all.filter((entry) => !known.includes(entry));
}
