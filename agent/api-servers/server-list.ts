// Pure: the API servers that an agent knows, and the order in which it tries them. Known are the one it was added by, those
// that the Service `kubernetes` leads to, and some that it led to before: whoever was away for weeks finds one of them.
// Who they are their certificates say, never this list.
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { fnv1a } from '#kube/machinery/hash.ts';
import type { ServerList } from './server-choice.ts';

/** `https://host:port` each. */
export interface KnownServers {
  readonly present: readonly string[];
  /** The latest first. */
  readonly former: readonly string[];
}

export const nobodyKnown: KnownServers = { present: [], former: [] };
const max = { present: 16, former: 8 };

/** Of the Service `kubernetes` in the namespace `default`. */
export function isApiSlice({ metadata, addressType }: EndpointSlice): boolean {
  const isOfService = metadata.labels?.[serviceNameLabel] === 'kubernetes';
  return isOfService && metadata.namespace === 'default' && addressType === 'IPv4';
}

export function serversOf(slices: readonly EndpointSlice[]): readonly string[] {
  const servers = slices.filter(isApiSlice).flatMap(({ endpoints, ports }) => {
    const port = (ports ?? []).find(({ name }) => name === 'https')?.port;
    if (port === undefined) return [];
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    return ready.flatMap(({ addresses }) => addresses.map((address) => serverAt(address, port)));
  });
  return [...new Set(servers)].toSorted().slice(0, max.present);
}

export function serverAt(address: string, port: number): string {
  return `https://${address}:${port}`;
}

/** The same object: nothing new. That none is told of says nothing: they listen for their own machines only. */
export function remembered(known: KnownServers, present: readonly string[]): KnownServers {
  if (present.length === 0 || present.join() === known.present.join()) return known;
  const gone = [...known.present, ...known.former].filter((server) => !present.includes(server));
  return { present, former: gone.slice(0, max.former) };
}

export interface Standpoint {
  readonly nodeName: string;
  /** The server that this machine was added by, or its own. */
  readonly given: string;
  readonly ownAddresses: ReadonlySet<string>;
}

/**
 * The one on this machine first; then those that serve now, each node in another order, so that they share the load; then
 * the others.
 */
export function inOrder(
  { present, former }: KnownServers,
  { nodeName, given, ownAddresses }: Standpoint,
): ServerList {
  const isOwn = (server: string): boolean => {
    const { hostname } = new URL(server);
    return hostname.startsWith('127.') || ownAddresses.has(hostname);
  };
  const weight = (server: string): number => fnv1a(`${nodeName} ${server}`);
  const spread = present.toSorted((a, b) => weight(a) - weight(b));
  const isGivenOwn = isOwn(given);
  // Also where it has another address by now: loopback is the same server.
  const isGivenAgain = (server: string): boolean =>
    isGivenOwn && server !== given && isOwn(server) && portOf(server) === portOf(given);
  const all = [...(isGivenOwn ? [given] : []), ...spread, given, ...former];
  const servers = [...new Set(all)].filter((server) => !isGivenAgain(server));
  const own = servers.find(isOwn);
  const first = own === undefined ? [] : [own];
  return { own, servers: [...new Set([...first, ...servers])] };
}

function portOf(server: string): string {
  return new URL(server).port;
}
