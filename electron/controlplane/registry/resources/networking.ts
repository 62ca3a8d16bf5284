// Services and what is behind them in the resource table.
import type { Endpoints, Service } from '#kube/api/core.ts';
import type {
  IPAddress,
  Ingress,
  IngressClass,
  NetworkPolicy,
  ServiceCIDR,
} from '#kube/api/networking.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import {
  ingressClassColumns,
  ingressColumns,
  ipAddressColumns,
  networkPolicyColumns,
  serviceCidrColumns,
} from '../columns/networking.ts';
import { endpointsColumns, endpointSliceColumns, serviceColumns } from '../columns/services.ts';
import type { ResourceDefinition } from '../resource.ts';
import {
  ingressClassStrategy,
  ingressStatus,
  ingressStrategy,
} from '../strategies/networking/ingress.ts';
import {
  ipAddressStrategy,
  networkPolicyStrategy,
  serviceCidrStatus,
  serviceCidrStrategy,
} from '../strategies/networking/network-policy.ts';
import { endpointsStrategy } from '../strategies/networking/endpoints.ts';
import { endpointSliceStrategy } from '../strategies/core/observation.ts';
import { serviceStatus, serviceStrategy } from '../strategies/networking/service.ts';
import { core, generic, named, proxyVerbs } from './define.ts';

const services: ResourceDefinition<Service> = {
  ...core('Service', 'services'),
  shortNames: ['svc'],
  categories: ['all'],
  strategy: serviceStrategy,
  columns: serviceColumns,
  fieldSelectors: {
    'spec.clusterIP': ({ spec }) => spec.clusterIP ?? '',
    'spec.type': ({ spec }) => spec.type ?? '',
  },
  subresources: {
    status: serviceStatus,
    proxy: {
      type: 'connect',
      handler: 'service-proxy',
      kind: 'ServiceProxyOptions',
      verbs: proxyVerbs,
    },
  },
};

const endpointSlices: ResourceDefinition<EndpointSlice> = {
  ...named('discovery.k8s.io', 'discovery/v1', 'EndpointSlice', 'endpointslices'),
  strategy: endpointSliceStrategy,
  columns: endpointSliceColumns,
};

const endpoints: ResourceDefinition<Endpoints> = {
  ...core('Endpoints', 'endpoints'),
  shortNames: ['ep'],
  deprecation: 'v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice',
  strategy: endpointsStrategy,
  columns: endpointsColumns,
};

function networking(kind: string, plural: string, { namespaced = true } = {}) {
  return { ...named('networking.k8s.io', 'networking/v1', kind, plural), namespaced };
}

const ingresses: ResourceDefinition<Ingress> = {
  ...networking('Ingress', 'ingresses'),
  shortNames: ['ing'],
  strategy: ingressStrategy,
  columns: ingressColumns,
  subresources: { status: ingressStatus },
};

const ingressClasses: ResourceDefinition<IngressClass> = {
  ...networking('IngressClass', 'ingressclasses', { namespaced: false }),
  strategy: ingressClassStrategy,
  columns: ingressClassColumns,
  awaitsCache: true,
};

const networkPolicies: ResourceDefinition<NetworkPolicy> = {
  ...networking('NetworkPolicy', 'networkpolicies'),
  shortNames: ['netpol'],
  strategy: networkPolicyStrategy,
  columns: networkPolicyColumns,
};

const serviceCidrs: ResourceDefinition<ServiceCIDR> = {
  ...networking('ServiceCIDR', 'servicecidrs', { namespaced: false }),
  strategy: serviceCidrStrategy,
  columns: serviceCidrColumns,
  subresources: { status: serviceCidrStatus },
};

const ipAddresses: ResourceDefinition<IPAddress> = {
  ...networking('IPAddress', 'ipaddresses', { namespaced: false }),
  shortNames: ['ip'],
  strategy: ipAddressStrategy,
  columns: ipAddressColumns,
  fieldSelectors: {
    'spec.parentRef.resource': ({ spec }) => spec.parentRef.resource,
    'spec.parentRef.namespace': ({ spec }) => spec.parentRef.namespace ?? '',
    'spec.parentRef.name': ({ spec }) => spec.parentRef.name,
  },
};

export const networkingResources: readonly ResourceDefinition[] = [
  generic(services),
  generic(endpoints),
  generic(endpointSlices),
  generic(ingresses),
  generic(ingressClasses),
  generic(networkPolicies),
  generic(serviceCidrs),
  generic(ipAddresses),
];
