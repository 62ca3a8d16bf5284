// Which node tells the home of which name: pure, and the same on each node that knows the same. In each network of
// the home one: where the app runs, else any that serves plain HTTP there; with the app it moves.
import type { Node } from '#kube/api/core.ts';
import { isLanName } from '#kube/machinery/app-names.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { homePageName, homePagePort } from '#kube/machinery/home-page.ts';
import { fnv1a } from '#kube/machinery/hash.ts';
import { ingressNode, servedPorts } from '#kube/machinery/ingress.ts';
import { formatIpv4Network, overlap, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import type { RouteTable } from '../ingress/routes.ts';

export interface ServedName {
  /** `films.local`. */
  readonly host: string;
  /** Names of the nodes that its ready pods are on. */
  readonly runsOn: ReadonlySet<string>;
  /** No other node can pass on what is asked. */
  readonly isThereOnly?: boolean;
}

/** Hosts of Ingresses that the home can be told of. */
export function servedNames({ hosts }: RouteTable): ServedName[] {
  return [...hosts].flatMap(([host, routes]) => {
    if (!isLanName(host)) return [];
    return [{ host, runsOn: new Set(routes.flatMap(({ runsOn }) => runsOn)) }];
  });
}

/** Of Flotilla's own page: one node at most. */
export function pageNames(nodes: readonly Node[]): ServedName[] {
  const [there] = nodes.filter((node) => homePagePort(node) !== undefined);
  if (there === undefined) return [];
  return [{ host: homePageName, runsOn: new Set([there.metadata.name]), isThereOnly: true }];
}

/** The names that `nodeName` has to tell of, by its address in a network (`192.168.1.2/24`), as its Node has it. */
export function namesOf(
  nodeName: string,
  names: readonly ServedName[],
  nodes: readonly Node[],
): ReadonlyMap<string, ReadonlySet<string>> {
  const ready = nodes.filter((node) => isConditionTrue(node.status?.conditions, 'Ready'));
  const all = ready.flatMap(networksOf);
  const own = ready.find(({ metadata }) => metadata.name === nodeName);
  return new Map(
    (own === undefined ? [] : networksOf(own)).map((network) => {
      const segment = segmentOf(network, all);
      const there = ready.filter((node) =>
        networksOf(node).some((one) => segmentOf(one, all) === segment),
      );
      const ours = names.filter((name) => ownerOf(name, there) === nodeName);
      return [network, new Set(ours.map(({ host }) => host))];
    }),
  );
}

/** Addresses by which nodes of this cluster tell of names: what they say is no other device's. */
export function lanAddresses(nodes: readonly Node[]): string[] {
  return nodes.flatMap(networksOf).map((network) => network.split('/')[0] ?? '');
}

function networksOf({ metadata }: Node): string[] {
  const text = metadata.annotations?.[ingressNode.networksAnnotation] ?? '';
  return text.split(',').filter((network) => parseIpv4Network(network) !== undefined);
}

/** The widest that it is in: machines of one network may disagree on how large that is. */
function segmentOf(network: string, all: readonly string[]): string {
  let widest = parseIpv4Network(network);
  for (const text of all) {
    const other = parseIpv4Network(text);
    if (widest === undefined || other === undefined || !overlap(widest, other)) continue;
    if (other.prefixLength < widest.prefixLength) widest = other;
  }
  return widest === undefined ? '' : formatIpv4Network(widest);
}

/** By a hash of both names, so that names are spread, and few move when a node comes or goes. */
function ownerOf(
  { host, runsOn, isThereOnly = false }: ServedName,
  there: readonly Node[],
): string | undefined {
  const serving = there
    .filter((node) => (isThereOnly ? runsOn.has(node.metadata.name) : servedPorts(node).http))
    .map(({ metadata }) => metadata.name);
  const near = serving.filter((name) => runsOn.has(name));
  const weight = (name: string): number => fnv1a(`${host} ${name}`);
  return (near.length > 0 ? near : serving).toSorted((a, b) => weight(b) - weight(a))[0];
}
