// Columns of services and endpoint slices.
// Source: kubernetes pkg/printers/internalversion/printers.go printService, printEndpointSlice.
import type { Endpoints, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Column } from '../resource.ts';
import { ageColumn, formatLabels, nameColumn, orNone, textColumn } from './cells.ts';

export const serviceColumns: readonly Column<Service>[] = [
  nameColumn,
  {
    name: 'Type',
    type: 'string',
    description: 'How the service is exposed.',
    cell: (service) => service.spec.type ?? '',
  },
  {
    name: 'Cluster-IP',
    type: 'string',
    description: 'Address of the service within the cluster.',
    cell: (service) => orNone(service.spec.clusterIPs?.[0]),
  },
  {
    name: 'External-IP',
    type: 'string',
    description: 'Addresses of the service from outside.',
    cell: externalIP,
  },
  { name: 'Port(s)', type: 'string', description: 'Ports of the service.', cell: servicePorts },
  ageColumn,
  {
    name: 'Selector',
    type: 'string',
    description: 'Labels of the pods behind the service.',
    priority: 1,
    cell: (service) => formatLabels(service.spec.selector),
  },
];

function externalIP(service: Service): string {
  const { type, externalIPs = [], externalName = '' } = service.spec;
  switch (type) {
    case 'ExternalName':
      return externalName;
    case 'LoadBalancer': {
      const ingress = service.status?.loadBalancer?.ingress ?? [];
      const balanced = ingress.map((entry) => entry.ip ?? entry.hostname ?? '');
      const addresses = [...balanced.filter((text) => text !== ''), ...externalIPs];
      return addresses.length === 0 ? '<pending>' : addresses.join(',');
    }
    case 'ClusterIP':
    case 'NodePort':
      return orNone(externalIPs.join(','));
    default:
      return '<unknown>';
  }
}

function servicePorts(service: Service): string {
  const ports = (service.spec.ports ?? []).map(({ port, nodePort = 0, protocol = 'TCP' }) =>
    nodePort === 0 ? `${port}/${protocol}` : `${port}:${nodePort}/${protocol}`,
  );
  return orNone(ports.join(','));
}

export const endpointsColumns: readonly Column<Endpoints>[] = [
  nameColumn,
  textColumn('Endpoints', 'Addresses with their ports.', ({ subsets = [] }) => {
    if (subsets.length === 0) return '<none>';
    const all = subsets.flatMap(({ addresses = [], ports = [] }) =>
      ports.length === 0
        ? addresses.map(({ ip }) => ip)
        : ports.flatMap(({ port }) => addresses.map(({ ip }) => hostPort(ip, port))),
    );
    const shown = all.slice(0, 3).join(',');
    return all.length > 3 ? `${shown} + ${all.length - 3} more...` : shown;
  }),
  ageColumn,
];

function hostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

export const endpointSliceColumns: readonly Column<EndpointSlice>[] = [
  nameColumn,
  {
    name: 'AddressType',
    type: 'string',
    description: 'Kind of addresses in the slice.',
    cell: (slice) => slice.addressType,
  },
  {
    name: 'Ports',
    type: 'string',
    description: 'Ports of every endpoint in the slice.',
    cell: (slice) =>
      firstThree((slice.ports ?? []).map(({ port, name }) => `${port ?? name ?? '*'}`)),
  },
  {
    name: 'Endpoints',
    type: 'string',
    description: 'Addresses in the slice.',
    cell: (slice) => firstThree((slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses)),
  },
  ageColumn,
];

function firstThree(texts: readonly string[]): string {
  if (texts.length === 0) return '<unset>';
  const shown = texts.slice(0, 3).join(',');
  return texts.length > 3 ? `${shown} + ${texts.length - 3} more...` : shown;
}
