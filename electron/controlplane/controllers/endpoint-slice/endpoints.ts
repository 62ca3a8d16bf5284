// Which endpoints a Service has: pods to endpoints, grouped by the ports they resolve to. Pure.
// Source: kubernetes staging endpointslice/{reconciler,utils}.go, pkg/controller/util/endpoint.
import type { Node, Pod, Service, ServicePort } from '#kube/api/core.ts';
import type { Endpoint, EndpointHints, EndpointPort } from '#kube/api/discovery.ts';
import { stableStringify } from '#kube/machinery/equality.ts';
import { isPodReady, isPodTerminal, isPodTerminating } from '../pod-state.ts';

export type AddressType = 'IPv4' | 'IPv6';

export interface EndpointGroup {
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

export interface EndpointsView {
  readonly service: Service;
  /** Selected by the Service. */
  readonly pods: readonly Pod[];
  readonly nodes: ReadonlyMap<string, Node>;
}

export function isHeadless(service: Service): boolean {
  return service.spec.clusterIP === 'None';
}

export function addressTypes(service: Service): AddressType[] {
  const families = service.spec.ipFamilies ?? [];
  if (families.length > 0)
    return families.filter((family) => family === 'IPv4' || family === 'IPv6');
  return [service.spec.clusterIP?.includes(':') === true ? 'IPv6' : 'IPv4'];
}

/** Pods whose named ports differ end up in groups of their own. */
export function endpointGroups(view: EndpointsView, addressType: AddressType): EndpointGroup[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>();
  for (const pod of view.pods) {
    const addresses = addressesOf(pod, addressType);
    if (isPodTerminal(pod) || addresses.length === 0) continue;
    const ports = portsFor(view.service, pod);
    if (ports === undefined) continue;
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    group.endpoints.push(endpointOf(view, pod, addresses));
    groups.set(key, group);
  }
  return [...groups.values()];
}

export function portsKey(ports: readonly EndpointPort[] | undefined): string {
  return stableStringify((ports ?? []).map((port) => stableStringify(port)).toSorted());
}

function addressesOf(pod: Pod, addressType: AddressType): string[] {
  const listed = (pod.status?.podIPs ?? []).map(({ ip }) => ip);
  const all = listed.length > 0 ? listed : [pod.status?.podIP ?? ''];
  const isV6 = addressType === 'IPv6';
  const match = all.find((ip) => ip !== undefined && isUsable(ip) && ip.includes(':') === isV6);
  return match === undefined ? [] : [match];
}

/**
 * A node says what its pods' addresses are. One that no EndpointSlice may hold would make the API
 * refuse the whole slice, and with it the endpoints on all other nodes.
 */
function isUsable(ip: string): boolean {
  const isAddress = /^(?:\d{1,3}\.){3}\d{1,3}$/.test(ip) || /^[0-9a-f:]*:[0-9a-f:.]*$/i.test(ip);
  return isAddress && !unusable.test(ip);
}

/** Unspecified, loopback, link-local, link-local multicast. */
const unusable = /^(?:0\.0\.0\.0$|127\.|169\.254\.|224\.0\.0\.|::1?$|fe[89ab]|ff02:)/i;

/** Undefined when the Service has ports but the pod has none of them. */
function portsFor(service: Service, pod: Pod): EndpointPort[] | undefined {
  const wanted = service.spec.ports ?? [];
  const ports = wanted.flatMap((port) => resolvePort(port, pod));
  if (ports.length === 0 && wanted.length > 0) return undefined;
  return ports;
}

function resolvePort(servicePort: ServicePort, pod: Pod): EndpointPort[] {
  const { name = '', protocol = 'TCP', appProtocol } = servicePort;
  const port = targetPort(servicePort, pod);
  if (port === undefined) return [];
  const resolved: EndpointPort = { name, port, protocol };
  if (appProtocol !== undefined) resolved.appProtocol = appProtocol;
  return [resolved];
}

function targetPort(
  { targetPort: target, port, protocol = 'TCP' }: ServicePort,
  pod: Pod,
): number | undefined {
  if (typeof target !== 'string') return target === undefined || target === 0 ? port : target;
  const restartable = (pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  for (const container of [...pod.spec.containers, ...restartable])
    for (const { name, containerPort, protocol: itsProtocol = 'TCP' } of container.ports ?? [])
      if (name === target && itsProtocol === protocol) return containerPort;
  return undefined;
}

function endpointOf({ service, nodes }: EndpointsView, pod: Pod, addresses: string[]): Endpoint {
  const { namespace, name, uid } = pod.metadata;
  const serving = isPodReady(pod);
  const terminating = isPodTerminating(pod);
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const endpoint: Endpoint = {
    addresses,
    conditions: { ready, serving, terminating },
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
  const { nodeName = '', hostname = '', subdomain } = pod.spec;
  if (nodeName !== '') endpoint.nodeName = nodeName;
  const zone = nodes.get(nodeName)?.metadata.labels?.['topology.kubernetes.io/zone'];
  if (zone !== undefined) endpoint.zone = zone;
  if (hostname !== '' && subdomain === service.metadata.name) endpoint.hostname = hostname;
  const hints = hintsFor(service, endpoint);
  if (hints !== undefined) endpoint.hints = hints;
  return endpoint;
}

const staysClose: readonly string[] = ['PreferClose', 'PreferSameZone', 'PreferSameNode'];

/**
 * Whom a ready endpoint is for, where the Service wants its traffic to stay close; proxies fall back
 * from the node to the zone. Source: kubernetes staging endpointslice/trafficdist.
 */
function hintsFor({ spec }: Service, endpoint: Endpoint): EndpointHints | undefined {
  const { trafficDistribution = '' } = spec;
  const { zone, nodeName, conditions } = endpoint;
  if (!staysClose.includes(trafficDistribution) || conditions?.ready !== true) return undefined;
  const isForNode = trafficDistribution === 'PreferSameNode' && nodeName !== undefined;
  if (zone === undefined && !isForNode) return undefined;
  return {
    ...(zone !== undefined && { forZones: [{ name: zone }] }),
    ...(isForNode && { forNodes: [{ name: nodeName }] }),
  };
}
