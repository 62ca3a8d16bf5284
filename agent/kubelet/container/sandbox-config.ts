// Pure: pod → what its sandbox is to be: names, name servers, ports, kernel settings, and what all its
// containers together may use.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_sandbox.go, pkg/kubelet/network/dns/dns.go,
// pkg/kubelet/kubelet_pods.go (GeneratePodHostNameAndDomain).
import type { Container, Pod } from '#kube/api/core.ts';
import type { DnsConfig, PodRef, PortMapping, SandboxConfig } from '../../runtime/runtime.ts';
import { podMemo } from '../pod/pod-memo.ts';
import { podLevelLimits } from './container-resources.ts';

export const defaultGracePeriodSeconds = 30;
const clusterDomain = 'cluster.local';
/** What libc reads of /etc/resolv.conf. */
const nameServersMax = 3;
const hostnameMax = 63;
const fqdnMax = 64;

export function podRef(pod: Pod): PodRef {
  const { uid = '', name, namespace = '' } = pod.metadata;
  return { uid, name, namespace };
}

/**
 * `nodeDns` is what /etc/resolv.conf of the machine says. Throws Error for what no sandbox of this
 * engine can be.
 */
export function sandboxConfig(pod: Pod, attempt: number, nodeDns: DnsConfig): SandboxConfig {
  const { spec } = pod;
  if (spec.hostUsers === false)
    throw new Error(
      'hostUsers: false asks for a user namespace of its own, which Docker has for no single pod',
    );
  if ((spec.resourceClaims ?? []).length > 0)
    throw new Error(
      'resourceClaims ask for devices by dynamic resource allocation, which this cluster does not have',
    );
  const dns = dnsConfig(pod, nodeDns);
  const limits = podLevelLimits(spec);
  const { hostname, domain } = hostNames(pod);
  return {
    pod: podRef(pod),
    attempt,
    hostname,
    domain,
    hostNetwork: spec.hostNetwork ?? false,
    hostPid: spec.hostPID ?? false,
    hostIpc: spec.hostIPC ?? false,
    ports: [...spec.containers, ...(spec.initContainers ?? [])].flatMap(hostPorts),
    extraHosts: (spec.hostAliases ?? []).flatMap(({ ip, hostnames = [] }) =>
      hostnames.map((name) => `${name}:${ip}`),
    ),
    sysctls: Object.fromEntries(
      (spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name, value]),
    ),
    gracePeriodSeconds: spec.terminationGracePeriodSeconds ?? defaultGracePeriodSeconds,
    memo: podMemo(pod),
    ...(dns === undefined ? {} : { dns }),
    ...(limits === undefined ? {} : { limits }),
  };
}

/** A host name has at most 63 characters and does not end in a dash or a dot. */
function hostNames({ metadata, spec }: Pod): { hostname: string; domain: string } {
  if (spec.hostnameOverride !== undefined) return { hostname: spec.hostnameOverride, domain: '' };
  const name = spec.hostname ?? metadata.name;
  const hostname = name.slice(0, hostnameMax).replace(/[-.]+$/, '');
  if ((spec.subdomain ?? '') === '') return { hostname, domain: '' };
  const domain = `${spec.subdomain}.${metadata.namespace}.svc.${clusterDomain}`;
  if (spec.setHostnameAsFQDN !== true) return { hostname, domain };
  const fqdn = `${hostname}.${domain}`;
  if (fqdn.length > fqdnMax)
    throw new Error(
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (${fqdnMax} characters is the max, ${fqdn.length} characters requested)`,
    );
  return { hostname: fqdn, domain: '' };
}

function hostPorts(container: Container): PortMapping[] {
  return (container.ports ?? [])
    .filter((port) => (port.hostPort ?? 0) > 0)
    .map((port) => {
      const protocol = (port.protocol ?? 'TCP').toLowerCase() as PortMapping['protocol'];
      const { containerPort, hostPort = 0, hostIP } = port;
      const mapping = { containerPort, hostPort, protocol };
      return hostIP === undefined ? mapping : { ...mapping, hostIp: hostIP };
    });
}

// Differs: ClusterFirst has no cluster DNS to point to yet, so names resolve as on the node.
function dnsConfig(pod: Pod, nodeDns: DnsConfig): DnsConfig | undefined {
  const { dnsPolicy, dnsConfig: wanted } = pod.spec;
  const isOwn = dnsPolicy === 'None';
  // Left alone, the engine gives what the machine has, and follows its changes.
  if (wanted === undefined && !isOwn) return undefined;
  const { nameservers = [], searches = [], options = [] } = wanted ?? {};
  const own = options.map(({ name = '', value }) =>
    value === undefined ? name : `${name}:${value}`,
  );
  const base = isOwn ? { servers: [], searches: [], options: [] } : nodeDns;
  return {
    servers: [...new Set([...base.servers, ...nameservers])].slice(0, nameServersMax),
    searches: [...new Set([...base.searches, ...searches])],
    options: [
      ...new Map([...base.options, ...own].map((text) => [optionName(text), text])).values(),
    ],
  };
}

function optionName(option: string): string {
  return option.split(':')[0] ?? option;
}

/** Of a resolv.conf: the last `search` or `domain` counts. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  const options: string[] = [];
  let searches: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && words[0] !== undefined) servers.push(words[0]);
    else if (keyword === 'search' || keyword === 'domain') searches = words;
    else if (keyword === 'options') options.push(...words);
  }
  return { servers, searches, options };
}
