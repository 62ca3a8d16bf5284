// Columns of ingresses and policies, of ranges and addresses of services.
// Source: kubernetes pkg/printers/internalversion/printers.go.
import type {
  IPAddress,
  Ingress,
  IngressClass,
  IngressRule,
  NetworkPolicy,
  ServiceCIDR,
} from '#kube/api/networking.ts';
import { formatLabelSelector } from '#kube/machinery/selector.ts';
import type { Column } from '../resource.ts';
import { ageColumn, nameColumn, orNone, textColumn } from './cells.ts';

export const ingressColumns: readonly Column<Ingress>[] = [
  nameColumn,
  textColumn('Class', 'Who serves it.', ({ spec }) => spec.ingressClassName ?? '<none>'),
  textColumn('Hosts', 'Hosts it is for.', ({ spec }) => formatHosts(spec.rules ?? [])),
  textColumn('Address', 'Where it is reached.', ({ status }) => {
    const entries = status?.loadBalancer?.ingress ?? [];
    const addresses = entries.map(({ ip = '', hostname = '' }) => ip || hostname);
    return [...new Set(addresses.filter((address) => address !== ''))].sort().join(',');
  }),
  textColumn('Ports', 'Ports it listens on.', ({ spec: { tls = [] } }) =>
    tls.length === 0 ? '80' : '80, 443',
  ),
  ageColumn,
];

const shownHosts = 3;

/** Rules without a host count as more, as in Kubernetes. */
function formatHosts(rules: readonly IngressRule[]): string {
  const hosts = rules.map(({ host = '' }) => host);
  const named = hosts.filter((host) => host !== '');
  if (named.length === 0) return '*';
  const shown = named.slice(0, shownHosts).join(',');
  const third = hosts.indexOf(named[shownHosts - 1] ?? '');
  const isMore = named.length >= shownHosts && third < rules.length - 1;
  return isMore ? `${shown} + ${rules.length - shownHosts} more...` : shown;
}

export const ingressClassColumns: readonly Column<IngressClass>[] = [
  nameColumn,
  textColumn(
    'Controller',
    'Who serves ingresses of the class.',
    ({ spec }) => spec.controller ?? '',
  ),
  textColumn('Parameters', 'Object with more about it.', ({ spec: { parameters } }) => {
    if (parameters === undefined) return '<none>';
    const { kind, apiGroup, name } = parameters;
    return `${apiGroup === undefined ? kind : `${kind}.${apiGroup}`}/${name}`;
  }),
  ageColumn,
];

export const networkPolicyColumns: readonly Column<NetworkPolicy>[] = [
  nameColumn,
  textColumn('Pod-Selector', 'Pods it is for.', ({ spec }) =>
    orNone(formatLabelSelector(spec.podSelector)),
  ),
  ageColumn,
];

export const serviceCidrColumns: readonly Column<ServiceCIDR>[] = [
  nameColumn,
  textColumn('CIDRs', 'Ranges of addresses.', ({ spec }) => (spec.cidrs ?? []).join(',')),
  ageColumn,
];

export const ipAddressColumns: readonly Column<IPAddress>[] = [
  nameColumn,
  textColumn('ParentRef', 'Who has the address.', ({ spec: { parentRef } }) => {
    const { group = '', resource, namespace = '', name } = parentRef;
    const kind = group === '' ? resource : `${resource}.${group}`;
    const parts = [kind.toLowerCase(), namespace, name];
    return parts.filter((part, index) => part !== '' || index !== 1).join('/');
  }),
];
