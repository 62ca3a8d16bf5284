// Which Service addresses lead to which endpoints from this node: pure, and without a word about
// nftables or sockets. IPv4 only; headless and ExternalName Services have nothing to proxy.
// Source: kubernetes pkg/proxy/serviceport.go, servicechangetracker.go; nftables/proxier.go.
import type { Service, ServicePort } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { disjointRanges, ipv4, isWithin } from './addresses.ts';
import {
  chooseEndpoints,
  internalEndpoints,
  slicesByService,
  type Choice,
  type Endpoint,
  type Place,
} from './endpoints.ts';

export type { Endpoint } from './endpoints.ts';
export type Protocol = 'tcp' | 'udp' | 'sctp';

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
  /** External addresses, reached from anywhere. */
  readonly externalIps: readonly string[];
  /** Load-balancer addresses, reached from `sources`. */
  readonly balancerIps: readonly string[];
  /** Ranges, none within another; undefined: anywhere. */
  readonly sources: readonly string[] | undefined;
  /** On every address of this node. */
  readonly nodePort: number | undefined;
  readonly internal: Target;
  readonly external: Target;
  /**
   * externalTrafficPolicy Local: what this node itself and its pods reach by external addresses, as
   * if they had gone out and come back by a balancer. Undefined: the same as everybody.
   */
  readonly shortCut: readonly Endpoint[] | undefined;
  /** A client keeps its endpoint for this long after its last connection. */
  readonly affinitySeconds: number | undefined;
  /** Addresses of all endpoints that serve, in whatever state: others have no future. */
  readonly serving: readonly string[];
  /** Addresses of endpoints that may be on this node, and so reach themselves. */
  readonly nearby: readonly string[];
}

/** Tells balancers outside whether this node has endpoints of a Service. */
export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly localEndpoints: number;
}

export interface RuleSet {
  /** Of the eldest Service first, then by key. */
  readonly ports: readonly ServicePortRule[];
  readonly healthChecks: readonly HealthCheck[];
  /** Balancers' addresses that are no node's own: who answers for one does so for its Services only. Sorted. */
  readonly loneIps: readonly string[];
  /** Of this machine, and without node ports. Sorted. */
  readonly innerIps: readonly string[];
  /** What of the Services is not served here, as sentences. */
  readonly problems: readonly string[];
}

export interface ProxyState extends Place {
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  /** Of this node. */
  readonly nodeAddresses: readonly string[];
  /** On its bridges: known to what runs on this machine, and to nobody else. */
  readonly bridgeAddresses?: readonly string[];
}

/** Services that have it are somebody else's to serve. */
const otherProxyLabel = 'service.kubernetes.io/service-proxy-name';
const headlessLabel = 'service.kubernetes.io/headless';
const defaultAffinitySeconds = 10_800;

/** What came of a Service, while it and its slices are the same objects. */
interface Known {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
  readonly rules: ServiceRules;
}

interface ServiceRules {
  readonly ports: readonly ServicePortRule[];
  readonly healthCheck: HealthCheck | undefined;
}

/** Remembers what did not change: the same rule is the same object then. */
export class RuleMaker {
  #known = new Map<string, Known>();
  #place = '';

  make(state: ProxyState): RuleSet {
    const place = JSON.stringify([state.nodeName, state.zone, state.nodeAddresses]);
    if (place !== this.#place) this.#known.clear();
    this.#place = place;
    const slices = slicesByService(state.endpointSlices);
    const next = new Map<string, Known>();
    for (const service of state.services) {
      if (!isProxied(service)) continue;
      const key = `${service.metadata.namespace}/${service.metadata.name}`;
      const own = slices.get(key) ?? [];
      const known = this.#known.get(key);
      const isSame = known?.service === service && areSame(known.slices, own);
      next.set(
        key,
        isSame ? known : { service, slices: own, rules: serviceRules(service, own, state) },
      );
    }
    this.#known = next;
    const all = [...next].toSorted(elderFirst).map(([, { rules }]) => rules);
    const ports = all.flatMap((one) => one.ports.toSorted((a, b) => (a.key < b.key ? -1 : 1)));
    const { nodeAddresses, bridgeAddresses = [] } = state;
    const isOthers = (address: string): boolean => !nodeAddresses.includes(address);
    const balanced = new Set(ports.flatMap(({ balancerIps }) => balancerIps));
    return {
      ports,
      loneIps: [...balanced].filter(isOthers).toSorted(),
      innerIps: ipv4Only(bridgeAddresses.filter(isOthers)),
      healthChecks: all.flatMap(({ healthCheck }) => healthCheck ?? []),
      problems: onlyIpv6(state.services),
    };
  }
}

export function proxyRules(state: ProxyState): RuleSet {
  return new RuleMaker().make(state);
}

/** What two Services claim is the elder's: a new one takes nothing away from anybody. */
function elderFirst([a, one]: [string, Known], [b, other]: [string, Known]): number {
  const [since, later] = [one, other].map(
    ({ service }) => service.metadata.creationTimestamp ?? '',
  ) as [string, string];
  if (since !== later) return since < later ? -1 : 1;
  return a < b ? -1 : 1;
}

function areSame<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}

function isOurs({ metadata, spec }: Service): boolean {
  const { labels } = metadata;
  const isElse = labels?.[otherProxyLabel] !== undefined || labels?.[headlessLabel] !== undefined;
  return !isElse && spec.type !== 'ExternalName';
}

function isProxied(service: Service): boolean {
  return isOurs(service) && clusterIpsOf(service).length > 0;
}

function givenClusterIps({ spec }: Service): readonly string[] {
  return spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
}

function clusterIpsOf(service: Service): readonly string[] {
  return ipv4Only(givenClusterIps(service));
}

function onlyIpv6(services: readonly Service[]): readonly string[] {
  const names = services
    .filter((service) => isOurs(service) && !isProxied(service))
    .filter((service) => givenClusterIps(service).some((address) => address.includes(':')))
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
    .toSorted();
  if (names.length === 0) return [];
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return [
    `Services with IPv6 addresses only are not served, as the pods' network is IPv4: ${names.slice(0, 3).join(', ')}${rest}.`,
  ];
}

function ipv4Only(addresses: readonly string[]): readonly string[] {
  if (addresses.length === 0) return addresses;
  return [...new Set(addresses.map(ipv4))].filter((address) => address !== undefined).toSorted();
}

/** Balancers that pass connections on themselves (`ipMode: Proxy`) have to be gone through. */
function balancerIpsOf(service: Service): readonly string[] {
  const ingress = service.status?.loadBalancer?.ingress;
  if (ingress === undefined) return [];
  return ipv4Only(
    ingress.filter(({ ipMode = 'VIP' }) => ipMode === 'VIP').map(({ ip = '' }) => ip),
  );
}

type Here = Omit<ProxyState, 'services' | 'endpointSlices'>;

function serviceRules(
  service: Service,
  slices: readonly EndpointSlice[],
  here: Here,
): ServiceRules {
  const served = (service.spec.ports ?? []).map((port) => ({
    port,
    choice: chooseEndpoints(port, slices, here),
  }));
  const rules = served.map(({ port, choice }) => portRule({ service, port, choice, here }));
  const choices = served.map(({ choice }) => choice);
  return {
    ports: rules.filter((rule) => rule !== undefined),
    healthCheck: healthCheckOf(service, choices),
  };
}

function healthCheckOf(service: Service, choices: readonly Choice[]): HealthCheck | undefined {
  const { metadata, spec } = service;
  const { healthCheckNodePort: port = 0 } = spec;
  const isNeeded = spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';
  if (!isNeeded || port === 0) return undefined;
  const localEndpoints = new Set(choices.flatMap(({ localReady }) => localReady)).size;
  return { namespace: metadata.namespace ?? '', name: metadata.name ?? '', port, localEndpoints };
}

interface PortSource {
  readonly service: Service;
  readonly port: ServicePort;
  readonly choice: Choice;
  readonly here: Here;
}

/** Undefined for a protocol that there is not. */
function portRule({ service, port, choice, here }: PortSource): ServicePortRule | undefined {
  const { metadata, spec } = service;
  const protocol = (port.protocol ?? 'TCP').toLowerCase();
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') return undefined;
  const isExternalLocal = spec.externalTrafficPolicy === 'Local';
  const hasAffinity = spec.sessionAffinity === 'ClientIP';
  const { timeoutSeconds = defaultAffinitySeconds } = spec.sessionAffinityConfig?.clientIP ?? {};
  const balancerIps = balancerIpsOf(service);
  return {
    key: `${metadata.namespace}/${metadata.name}/${protocol}/${port.port}`,
    protocol,
    port: port.port,
    clusterIps: clusterIpsOf(service),
    externalIps: ipv4Only(spec.externalIPs ?? []),
    balancerIps,
    sources: sourcesOf(spec.loadBalancerSourceRanges ?? [], balancerIps, here.nodeAddresses),
    nodePort: port.nodePort === undefined || port.nodePort === 0 ? undefined : port.nodePort,
    internal: targetOf(choice, internalEndpoints(service, choice)),
    external: targetOf(choice, isExternalLocal ? choice.local : choice.cluster),
    shortCut: isExternalLocal ? choice.cluster : undefined,
    affinitySeconds: hasAffinity ? timeoutSeconds : undefined,
    serving: choice.serving,
    nearby: choice.nearby,
  };
}

function targetOf({ isServed }: Choice, endpoints: readonly Endpoint[]): Target {
  return { endpoints, whenEmpty: isServed ? 'drop' : 'reject' };
}

/**
 * A node that may itself reach a balancer's address has that address for its own, perhaps, and calls
 * from it.
 */
function sourcesOf(
  given: readonly string[],
  balancerIps: readonly string[],
  nodeAddresses: readonly string[],
): readonly string[] | undefined {
  const ranges = disjointRanges(given);
  const isNodeIn = ranges?.some((range) => nodeAddresses.some((one) => isWithin(one, range)));
  if (ranges === undefined || isNodeIn !== true) return ranges;
  return disjointRanges([...ranges, ...balancerIps.map((address) => `${address}/32`)]);
}
