// Pure: pod → what its sandbox is to be: names, ports, kernel settings, and what all its containers together
// may use.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_sandbox.go, pkg/kubelet/kubelet_pods.go (GeneratePodHostNameAndDomain).
import type { Container, Pod } from '#kube/api/core.ts';
import type { PodRef, PortMapping, SandboxConfig } from '../../runtime/runtime.ts';
import { clusterDomain } from '../../dns/zone.ts';
import { podMemo } from '../pod/pod-memo.ts';
import { podLevelLimits } from './container-resources.ts';

export const defaultGracePeriodSeconds = 30;
const hostnameMax = 63;
const fqdnMax = 64;

export function podRef(pod: Pod): PodRef {
  const { uid = '', name, namespace = '' } = pod.metadata;
  return { uid, name, namespace };
}

/** Throws Error for what no sandbox of this engine can be. */
export function sandboxConfig(pod: Pod, attempt: number): SandboxConfig {
  const { spec } = pod;
  if (spec.hostUsers === false)
    throw new Error(
      'hostUsers: false asks for a user namespace of its own, which Docker has for no single pod',
    );
  if ((spec.resourceClaims ?? []).length > 0)
    throw new Error(
      'resourceClaims ask for devices by dynamic resource allocation, which this cluster does not have',
    );
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
