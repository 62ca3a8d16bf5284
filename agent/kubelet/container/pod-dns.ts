// Pure: pod → its /etc/resolv.conf. A file of our own in each container, since the engine would put a
// resolver of its own in between, which knows containers' names better than the cluster's.
// Source: kubernetes pkg/kubelet/network/dns/dns.go.
import type { Pod } from '#kube/api/core.ts';
import { clusterDomain } from '../../dns/zone.ts';
import type { DnsConfig, MountConfig } from '../../runtime/runtime.ts';

export const resolvConfPath = '/etc/resolv.conf';
/** What libc reads of /etc/resolv.conf. */
const nameServersMax = 3;
const searchesMax = 32;

export interface DnsView {
  /** As /etc/resolv.conf of the machine says. */
  readonly node: DnsConfig;
  /** The address of the cluster's DNS; undefined: it can't be reached here. */
  readonly clusterServer: string | undefined;
}

/** Undefined: as the machine has it, which the engine gives by itself. */
export function podDns(pod: Pod, view: DnsView): DnsConfig | undefined {
  const { dnsPolicy = 'ClusterFirst', hostNetwork = false, dnsConfig } = pod.spec;
  const isCluster =
    view.clusterServer !== undefined &&
    (dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork));
  if (dnsConfig === undefined && !isCluster && dnsPolicy !== 'None') return undefined;
  const given = isCluster ? ofCluster(pod, view) : dnsPolicy === 'None' ? none : view.node;
  const { nameservers = [], searches = [], options = [] } = dnsConfig ?? {};
  const own = options.map(({ name = '', value }) =>
    value === undefined ? name : `${name}:${value}`,
  );
  return {
    servers: [...new Set([...given.servers, ...nameservers])].slice(0, nameServersMax),
    searches: [...new Set([...given.searches, ...searches])].slice(0, searchesMax),
    options: [
      ...new Map([...given.options, ...own].map((text) => [optionName(text), text])).values(),
    ],
  };
}

const none: DnsConfig = { servers: [], searches: [], options: [] };

function ofCluster({ metadata }: Pod, { node, clusterServer = '' }: DnsView): DnsConfig {
  const services = `svc.${clusterDomain}`;
  return {
    servers: [clusterServer],
    searches: [`${metadata.namespace}.${services}`, services, clusterDomain, ...node.searches],
    options: ['ndots:5'],
  };
}

function optionName(option: string): string {
  return option.split(':')[0] ?? option;
}

export function resolvConfText({ servers, searches, options }: DnsConfig): string {
  return [
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
    '',
  ].join('\n');
}

/** None where the container has something of its own there. */
export function resolvConfMounts(
  hostPath: string | undefined,
  mounts: readonly MountConfig[],
  isReadOnly: boolean,
): MountConfig[] {
  const isTaken = mounts.some(({ containerPath }) => containerPath === resolvConfPath);
  if (hostPath === undefined || isTaken) return [];
  return [
    { hostPath, containerPath: resolvConfPath, readOnly: isReadOnly, propagation: 'rprivate' },
  ];
}
