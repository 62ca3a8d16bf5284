// Services and EndpointSlices for tests of the proxy: small, and complete where rules look.
import type { Service, ServicePort, ServiceSpec } from '#kube/api/core.ts';
import type { Endpoint, EndpointSlice } from '#kube/api/discovery.ts';
import { proxyRules, type ProxyState, type RuleSet, type ServicePortRule } from '../rules.ts';

export function makeService(name: string, spec: Partial<ServiceSpec>, balancer?: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: { clusterIP: '10.96.0.10', ...spec },
    ...(balancer !== undefined && { status: { loadBalancer: { ingress: [{ ip: balancer }] } } }),
  };
}

export function makeSlice(
  name: string,
  endpoints: Endpoint[],
  ports: EndpointSlice['ports'],
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: {
      namespace: 'default',
      name: `${name}-1`,
      labels: { 'kubernetes.io/service-name': name },
    },
    endpoints,
    ports,
  };
}

export const http: ServicePort = { name: 'http', port: 80, protocol: 'TCP' };
export const httpTarget = [{ name: 'http', port: 8080, protocol: 'TCP' }];
export const place = { nodeName: 'here', zone: 'attic', nodeAddresses: ['192.168.1.5'] };

export function rulesFor(
  services: readonly Service[],
  endpointSlices: readonly EndpointSlice[],
  more: Partial<ProxyState> = {},
): RuleSet {
  return proxyRules({ services, endpointSlices, ...place, ...more });
}

/** A rule as a forwarder gets it; every part may be given. */
export function makeRule(more: Partial<ServicePortRule>): ServicePortRule {
  const none = { endpoints: [], whenEmpty: 'reject' } as const;
  return {
    key: 'default/web/tcp/80',
    protocol: 'tcp',
    port: 80,
    clusterIps: ['10.96.0.10'],
    externalIps: [],
    balancerIps: [],
    sources: undefined,
    nodePort: undefined,
    internal: none,
    external: none,
    shortCut: undefined,
    affinitySeconds: undefined,
    serving: [],
    nearby: [],
    ...more,
  };
}

export function ruleSet(...ports: readonly ServicePortRule[]): RuleSet {
  return { ports, healthChecks: [], loneIps: [], innerIps: [], problems: [] };
}
