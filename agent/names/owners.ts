// Which node tells the home of which name: pure, and the same on each node that knows the same. The one
// where the app runs, else any that serves Ingresses; with the app it moves.
import type { Node } from '#kube/api/core.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { fnv1a } from '#kube/machinery/hash.ts';
import { servedPorts } from '#kube/machinery/ingress.ts';
import type { RouteTable } from '../ingress/routes.ts';

export interface ServedName {
  /** `films.local`. */
  readonly host: string;
  /** Names of the nodes that its ready pods are on. */
  readonly runsOn: ReadonlySet<string>;
}

/** Hosts of Ingresses that the home can be told of. */
export function servedNames({ hosts }: RouteTable): ServedName[] {
  return [...hosts].flatMap(([host, routes]) => {
    if (!isLanName(host)) return [];
    return [{ host, runsOn: new Set(routes.flatMap(({ runsOn }) => runsOn)) }];
  });
}

/** What mDNS can carry: one label and `.local`; more are not asked for everywhere. */
export function isLanName(host: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,57}[a-z0-9])?\.local$/.test(host);
}

/** The names that `nodeName` has to tell of. */
export function namesOf(
  nodeName: string,
  names: readonly ServedName[],
  nodes: readonly Node[],
): ReadonlySet<string> {
  const serving = nodes
    .filter(
      (node) =>
        servedPorts(node).http !== undefined && isConditionTrue(node.status?.conditions, 'Ready'),
    )
    .map(({ metadata }) => metadata.name);
  return new Set(
    names
      .filter(({ host, runsOn }) => ownerOf(host, runsOn, serving) === nodeName)
      .map(({ host }) => host),
  );
}

/** By a hash of both names, so that names are spread, and few move when a node comes or goes. */
function ownerOf(
  host: string,
  runsOn: ReadonlySet<string>,
  serving: readonly string[],
): string | undefined {
  const near = serving.filter((name) => runsOn.has(name));
  const weight = (name: string): number => fnv1a(`${host} ${name}`);
  return (near.length > 0 ? near : serving).toSorted((a, b) => weight(b) - weight(a))[0];
}
