// Which endpoints of a Service's port this node uses, for the proxy and for Ingresses: ready ones, of this node's zone or this node
// itself where hints say so; what still serves while it ends only where nothing ready is left. Pure.
// Source: kubernetes pkg/proxy/topology.go (CategorizeEndpoints), pkg/proxy/endpointslicecache.go.
import type { Node, Service, ServicePort } from '#kube/api/core.ts';
import type { Endpoint as SliceEndpoint, EndpointSlice } from '#kube/api/discovery.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { parseIpv4 } from '#kube/machinery/ipv4.ts';
import { ipv4 } from './addresses.ts';

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Where this proxy stands. */
export interface Place {
  readonly nodeName: string;
  /** Of the node's label `topology.kubernetes.io/zone`; empty without one. */
  readonly zone: string;
}

const zoneLabel = 'topology.kubernetes.io/zone';

export function placeOf(nodeName: string, node: Node | undefined): Place {
  return { nodeName, zone: node?.metadata.labels?.[zoneLabel] ?? '' };
}

export interface Choice {
  /** Wherever they are. Sorted, each once. */
  readonly cluster: readonly Endpoint[];
  /** On this node. */
  readonly local: readonly Endpoint[];
  /** Names of the nodes that all of those are on from which it was chosen, near or far. */
  readonly nodes: readonly string[];
  /** Whether anybody in the cluster serves the port. */
  readonly isServed: boolean;
  /** Addresses of all that serve: connections to others have no future. */
  readonly serving: readonly string[];
  /** Addresses of what may be on this node, and so reach itself. */
  readonly nearby: readonly string[];
  /** Addresses of what is ready on this node. */
  readonly localReady: readonly string[];
}

interface Candidate extends Endpoint {
  /** The address as a number, to sort by. */
  readonly number: number;
  readonly isReady: boolean;
  readonly isEnding: boolean;
  readonly isServing: boolean;
  readonly nodeName: string | undefined;
  readonly zones: readonly string[];
  readonly nodes: readonly string[];
}

export function chooseEndpoints(
  port: ServicePort,
  slices: readonly EndpointSlice[],
  place: Place,
): Choice {
  const all = candidates(port, slices);
  const isLocal = (one: Candidate): boolean => one.nodeName === place.nodeName;
  const ready = all.filter((one) => one.isReady);
  const ending = all.filter((one) => !one.isReady && one.isEnding);
  const near = byHints(ready, place);
  const localReady = ready.filter(isLocal);
  return {
    cluster: plain(near.length > 0 ? near : ending),
    local: plain(localReady.length > 0 ? localReady : ending.filter(isLocal)),
    nodes: nodesOf(ready.length > 0 ? ready : ending),
    isServed: ready.length + ending.length > 0,
    serving: addresses(all.filter((one) => one.isServing)),
    nearby: addresses(all.filter((one) => one.nodeName === undefined || isLocal(one))),
    localReady: addresses(localReady),
  };
}

/** Hints count only when all that is ready has them, and some mean this node. */
function byHints(ready: readonly Candidate[], { nodeName, zone }: Place): readonly Candidate[] {
  const hinted = (of: 'nodes' | 'zones', name: string): readonly Candidate[] =>
    ready.every((one) => one[of].length > 0) ? ready.filter((one) => one[of].includes(name)) : [];
  const sameNode = hinted('nodes', nodeName);
  if (sameNode.length > 0) return sameNode;
  const sameZone = hinted('zones', zone);
  return sameZone.length > 0 ? sameZone : ready;
}

/** Every endpoint of one port, each once; of two the ready one. */
function candidates(port: ServicePort, slices: readonly EndpointSlice[]): readonly Candidate[] {
  /** By address and port. */
  const found = new Map<number, Candidate>();
  for (const slice of slices)
    for (const slicePort of slice.ports ?? []) {
      if ((slicePort.name ?? '') !== (port.name ?? '') || slicePort.port === undefined) continue;
      for (const endpoint of slice.endpoints ?? [])
        for (const given of endpoint.addresses) {
          const number = parseIpv4(given);
          if (number === undefined) continue;
          const key = number * 65_536 + slicePort.port;
          if (found.get(key)?.isReady === true) continue;
          const address = ipv4(given) ?? given;
          found.set(key, candidate(endpoint, { address, number, port: slicePort.port }));
        }
    }
  return [...found.values()].toSorted((a, b) => a.number - b.number || a.port - b.port);
}

const none: readonly string[] = [];

/** What is not said of a condition is well: ready, serving, not ending. */
function candidate(
  endpoint: SliceEndpoint,
  at: Pick<Candidate, 'address' | 'number' | 'port'>,
): Candidate {
  const { conditions, hints, nodeName } = endpoint;
  const isServing = conditions?.serving !== false;
  return {
    ...at,
    isReady: conditions?.ready !== false,
    isEnding: isServing && conditions?.terminating === true,
    isServing,
    nodeName,
    zones: hints?.forZones?.map(({ name }) => name) ?? none,
    nodes: hints?.forNodes?.map(({ name }) => name) ?? none,
  };
}

/** What a client within the cluster gets. */
export function internalEndpoints({ spec }: Service, choice: Choice): readonly Endpoint[] {
  return spec.internalTrafficPolicy === 'Local' ? choice.local : choice.cluster;
}

/** IPv4 ones, by `namespace/name` of the Service. */
export function slicesByService(slices: readonly EndpointSlice[]): Map<string, EndpointSlice[]> {
  const found = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const name = slice.metadata.labels?.[serviceNameLabel];
    if (name === undefined || slice.addressType !== 'IPv4') continue;
    const key = `${slice.metadata.namespace}/${name}`;
    const list = found.get(key);
    if (list === undefined) found.set(key, [slice]);
    else list.push(slice);
  }
  return found;
}

function nodesOf(chosen: readonly Candidate[]): readonly string[] {
  return [...new Set(chosen.map(({ nodeName }) => nodeName))].filter((name) => name !== undefined);
}

function plain(chosen: readonly Candidate[]): readonly Endpoint[] {
  return chosen.map(({ address, port }) => ({ address, port }));
}

function addresses(chosen: readonly Candidate[]): readonly string[] {
  return [...new Set(chosen.map(({ address }) => address))];
}
