// Pure: pod + container + what was found for it → what the runtime is asked to create.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_{container,container_linux,sandbox}.go,
// pkg/kubelet/qos/policy.go.
import { createHash } from 'node:crypto';
import type { Container, Pod } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { toInteger, toMilli } from '#kube/machinery/quantity.ts';
import type {
  ContainerConfig,
  ContainerLimits,
  DnsConfig,
  ImageStatus,
  MountConfig,
  PodRef,
  PortMapping,
  SandboxConfig,
} from '../../runtime/runtime.ts';
import { expandReferences } from './expansion.ts';
import { containerSecurity } from './security.ts';

export const defaultGracePeriodSeconds = 30;
export const defaultTerminationMessagePath = '/dev/termination-log';

export function podRef(pod: Pod): PodRef {
  const { uid = '', name, namespace = '' } = pod.metadata;
  return { uid, name, namespace };
}

/** Only what may change while the pod lives: a new image means a new container. */
export function containerHash(container: Container): string {
  const text = JSON.stringify([container.name, container.image ?? '']);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

export function sandboxConfig(pod: Pod, attempt: number): SandboxConfig {
  const { spec } = pod;
  const dns = dnsConfig(pod);
  const config: SandboxConfig = {
    pod: podRef(pod),
    attempt,
    hostname: hostname(pod),
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
  };
  return dns === undefined ? config : { ...config, dns };
}

/** A host name has at most 63 characters and does not end in a dash or a dot. */
function hostname(pod: Pod): string {
  const name = pod.spec.hostname ?? pod.metadata.name;
  return name.slice(0, 63).replace(/[-.]+$/, '');
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
function dnsConfig(pod: Pod): DnsConfig | undefined {
  const { dnsPolicy, dnsConfig: wanted = {} } = pod.spec;
  const options = (wanted.options ?? []).map(({ name = '', value }) =>
    value === undefined ? name : `${name}:${value}`,
  );
  const { nameservers: servers = [], searches = [] } = wanted;
  const isEmpty = servers.length + searches.length + options.length === 0;
  return isEmpty && dnsPolicy !== 'None' ? undefined : { servers, searches, options };
}

export interface ContainerConfigInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly sandboxId: string;
  readonly attempt: number;
  readonly environment: ReadonlyMap<string, string>;
  readonly mounts: readonly MountConfig[];
  readonly terminationMessageHostPath: string;
  readonly image: ImageStatus;
  readonly qosClass: string;
  readonly targetContainerId?: string;
  readonly nodeMemoryBytes: number;
}

/** Throws ContainerConfigError. */
export function containerConfig(input: ContainerConfigInput): ContainerConfig {
  const { pod, container, environment } = input;
  const { spec } = pod;
  const expand = (text: string) => expandReferences(text, (name) => environment.get(name));
  const message: MountConfig = {
    hostPath: input.terminationMessageHostPath,
    containerPath: container.terminationMessagePath ?? defaultTerminationMessagePath,
    readOnly: false,
    propagation: 'rprivate',
  };
  const config: ContainerConfig = {
    pod: podRef(pod),
    sandboxId: input.sandboxId,
    name: container.name,
    attempt: input.attempt,
    specHash: containerHash(container),
    image: container.image ?? '',
    env: [...environment].map(([name, value]) => `${name}=${value}`),
    mounts: [...input.mounts, message],
    resources: { ...containerLimits(container), oomScoreAdj: oomScoreAdjust(input) },
    security: containerSecurity(pod, container, input.image),
    hostNetwork: spec.hostNetwork ?? false,
    hostPid: spec.hostPID ?? false,
    hostIpc: spec.hostIPC ?? false,
    shareProcessNamespace: spec.shareProcessNamespace ?? false,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    terminationMessageHostPath: input.terminationMessageHostPath,
  };
  return {
    ...config,
    ...(container.command?.length ? { command: container.command.map(expand) } : {}),
    ...(container.args?.length ? { args: container.args.map(expand) } : {}),
    ...(input.targetContainerId ? { targetContainerId: input.targetContainerId } : {}),
    ...(container.workingDir ? { workingDir: container.workingDir } : {}),
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
  };
}

const minCpuShares = 2;
const minCpuQuotaMicros = 1000;

export function containerLimits(container: Container): ContainerLimits {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const milli = (quantity: Quantity | undefined) =>
    quantity === undefined ? 0 : toMilli(quantity);
  const cpuLimit = milli(limits['cpu']);
  const cpuRequest = requests['cpu'] === undefined ? cpuLimit : milli(requests['cpu']);
  const memoryBytes = limits['memory'] === undefined ? 0 : toInteger(limits['memory']);
  return {
    cpuShares: Math.max(minCpuShares, Math.floor((cpuRequest * 1024) / 1000)),
    // Per period of 100 ms: one core is 100 000 µs.
    cpuQuotaMicros: cpuLimit === 0 ? 0 : Math.max(minCpuQuotaMicros, cpuLimit * 100),
    memoryBytes,
  };
}

/** Who dies first when memory runs out: the less was asked for, the sooner. */
function oomScoreAdjust({ container, qosClass, nodeMemoryBytes }: ContainerConfigInput): number {
  if (qosClass === 'Guaranteed') return -997;
  if (qosClass === 'BestEffort') return 1000;
  const request =
    container.resources?.requests?.['memory'] ?? container.resources?.limits?.['memory'];
  const requestBytes = request === undefined ? 0 : toInteger(request);
  const score = 1000 - Math.floor((1000 * requestBytes) / Math.max(1, nodeMemoryBytes));
  return Math.min(999, Math.max(3, score));
}
