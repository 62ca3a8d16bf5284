// Which Service addresses lead to which endpoints from this node: pure, and without a word about
// nftables or sockets. IPv4 only; headless and ExternalName Services have nothing to proxy.
// Source: kubernetes pkg/proxy/topology.go (CategorizeEndpoints), pkg/proxy/servicechangetracker.go.
import type { Service, ServicePort } from '#kube/api/core.ts';
import type { Endpoint as SliceEndpoint, EndpointSlice } from '#kube/api/discovery.ts';

export type Protocol = 'tcp' | 'udp';

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Where a packet goes: one of the endpoints, or nowhere. */
export interface Target {
  /** Sorted; no repetition. */
  readonly endpoints: readonly Endpoint[];
  /** With no endpoints: refuse at once, or stay silent because other nodes have some. */
  readonly whenEmpty: 'reject' | 'drop';
}

/** One port of one Service as this node serves it. */
export interface ServicePortRule {
  /** `namespace/name/protocol/port`: unique, and stable over time. */
  readonly key: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** ClusterIPs, reached from this node and its pods. */
  readonly clusterIps: readonly string[];
  /** External and load-balancer addresses, reached from anywhere. */
  readonly externalIps: readonly string[];
  /** On every address of this node. */
  readonly nodePort: number | undefined;
  readonly internal: Target;
  readonly external: Target;
  /** externalTrafficPolicy Local: what comes from this node itself may use any endpoint. */
  readonly isExternalLocal: boolean;
  /** A client keeps its endpoint. */
  readonly hasClientAffinity: boolean;
}

export interface RuleSet {
  /** Sorted by key. */
  readonly ports: readonly ServicePortRule[];
}

export interface ProxyState {
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly nodeName: string;
}

export const serviceNameLabel = 'kubernetes.io/service-name';

export function proxyRules(state: ProxyState): RuleSet {
  const slices = slicesByService(state.endpointSlices);
  const ports = state.services.filter(isProxied).flatMap((service) => {
    const own = slices.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [];
    return (service.spec.ports ?? []).flatMap((port) => {
      const rule = portRule({ service, port, slices: own, nodeName: state.nodeName });
      return rule === undefined ? [] : [rule];
    });
  });
  return { ports: ports.toSorted((a, b) => (a.key < b.key ? -1 : 1)) };
}

function isProxied(service: Service): boolean {
  return service.spec.type !== 'ExternalName' && clusterIpsOf(service).length > 0;
}

function clusterIpsOf(service: Service): string[] {
  const { clusterIP, clusterIPs } = service.spec;
  const given = clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP]);
  return given.filter(isIpv4);
}

function externalIpsOf(service: Service): string[] {
  const ingress = service.status?.loadBalancer?.ingress ?? [];
  const balanced = ingress.filter((entry) => (entry.ipMode ?? 'VIP') === 'VIP');
  const given = [...(service.spec.externalIPs ?? []), ...balanced.map((entry) => entry.ip ?? '')];
  return [...new Set(given.filter(isIpv4))].toSorted();
}

/** Also keeps anything that is no plain address out of the rules' text. */
function isIpv4(address: string): boolean {
  const parts = address.split('.');
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256);
}

function slicesByService(slices: readonly EndpointSlice[]): Map<string, EndpointSlice[]> {
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

interface PortSource {
  readonly service: Service;
  readonly port: ServicePort;
  readonly slices: readonly EndpointSlice[];
  readonly nodeName: string;
}

/** Undefined for protocols other than TCP and UDP. */
function portRule(source: PortSource): ServicePortRule | undefined {
  const { service, port } = source;
  const { metadata, spec } = service;
  const protocol = (port.protocol ?? 'TCP').toLowerCase();
  if (protocol !== 'tcp' && protocol !== 'udp') return undefined;
  const usable = usableEndpoints(source);
  const isExternalLocal = spec.externalTrafficPolicy === 'Local';
  return {
    key: `${metadata.namespace}/${metadata.name}/${protocol}/${port.port}`,
    protocol,
    port: port.port,
    clusterIps: clusterIpsOf(service),
    externalIps: externalIpsOf(service),
    nodePort: port.nodePort === undefined || port.nodePort === 0 ? undefined : port.nodePort,
    internal: targetOf(usable, spec.internalTrafficPolicy === 'Local'),
    external: targetOf(usable, isExternalLocal),
    isExternalLocal,
    hasClientAffinity: spec.sessionAffinity === 'ClientIP',
  };
}

interface UsableEndpoint extends Endpoint {
  readonly isLocal: boolean;
  readonly isReady: boolean;
}

/** Ready and terminating-but-serving endpoints of one port, each once. */
function usableEndpoints(source: PortSource): UsableEndpoint[] {
  const { port, slices, nodeName } = source;
  const found = new Map<string, UsableEndpoint>();
  for (const slice of slices)
    for (const slicePort of slice.ports ?? []) {
      if ((slicePort.name ?? '') !== (port.name ?? '') || slicePort.port === undefined) continue;
      for (const endpoint of slice.endpoints ?? []) {
        const isReady = endpoint.conditions?.ready !== false;
        if (!isReady && !isServingToTheEnd(endpoint)) continue;
        const isLocal = endpoint.nodeName === nodeName;
        for (const address of endpoint.addresses.filter(isIpv4)) {
          const key = `${address}:${slicePort.port}`;
          if (found.get(key)?.isReady !== true)
            found.set(key, { address, port: slicePort.port, isLocal, isReady });
        }
      }
    }
  return [...found.values()].toSorted(byAddress);
}

function isServingToTheEnd(endpoint: SliceEndpoint): boolean {
  return endpoint.conditions?.serving === true && endpoint.conditions.terminating === true;
}

/** Terminating endpoints count only where nothing ready is left. */
function targetOf(usable: readonly UsableEndpoint[], isLocalOnly: boolean): Target {
  const near = isLocalOnly ? usable.filter((endpoint) => endpoint.isLocal) : usable;
  const ready = near.filter((endpoint) => endpoint.isReady);
  const chosen = ready.length > 0 ? ready : near;
  return {
    endpoints: chosen.map(({ address, port }) => ({ address, port })),
    whenEmpty: usable.length > 0 ? 'drop' : 'reject',
  };
}

function byAddress(a: Endpoint, b: Endpoint): number {
  return a.address === b.address ? a.port - b.port : numeric(a.address) - numeric(b.address);
}

function numeric(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
