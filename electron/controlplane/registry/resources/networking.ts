// Services and what is behind them in the resource table.
import type { Endpoints, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { endpointsColumns, endpointSliceColumns, serviceColumns } from '../columns/services.ts';
import type { ResourceDefinition } from '../resource.ts';
import { endpointsStrategy } from '../strategies/networking/endpoints.ts';
import { endpointSliceStrategy } from '../strategies/core/observation.ts';
import { serviceStatus, serviceStrategy } from '../strategies/networking/service.ts';
import { core, generic, named } from './define.ts';

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
  subresources: { status: serviceStatus },
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

export const networkingResources: readonly ResourceDefinition[] = [
  generic(services),
  generic(endpoints),
  generic(endpointSlices),
];
