// Pure translation: sandbox and container configurations → Docker's create bodies and labels, and
// labels → what they say. Labels are the agent's only memory of a pod.
// Source: kubernetes v1.23 pkg/kubelet/dockershim (names, labels, namespace modes), kubelet
// pkg/kubelet/types/labels.go.
import path from 'node:path';
import type { ContainerCreate, ContainerDetails } from './docker-client.ts';
import type {
  ContainerChange,
  ContainerConfig,
  ContainerLimits,
  MountConfig,
  PodRef,
  PortMapping,
  SandboxConfig,
} from './runtime.ts';
import { sandboxImageName } from './sandbox-image.ts';

export const label = {
  cluster: 'flotilla.dev/cluster-id',
  node: 'flotilla.dev/node-name',
  type: 'io.kubernetes.docker.type',
  podUid: 'io.kubernetes.pod.uid',
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  gracePeriod: 'io.kubernetes.pod.terminationGracePeriod',
  container: 'io.kubernetes.container.name',
  sandbox: 'io.kubernetes.sandbox.id',
  memo: 'flotilla.dev/pod',
  attempt: 'io.kubernetes.container.restartCount',
  specHash: 'io.kubernetes.container.hash',
  limits: 'flotilla.dev/limits',
  gpus: 'flotilla.dev/gpus',
  image: 'flotilla.dev/image',
  terminationMessage: 'io.kubernetes.container.terminationMessagePath',
} as const;

export interface NodeIdentity {
  readonly clusterId: string;
  readonly nodeName: string;
}

type Labels = Readonly<Record<string, string>>;

export function identityFilters(identity: NodeIdentity): readonly string[] {
  return [`${label.cluster}=${identity.clusterId}`, `${label.node}=${identity.nodeName}`];
}

export function podOfLabels(labels: Labels): PodRef {
  return {
    uid: labels[label.podUid] ?? '',
    name: labels[label.podName] ?? '',
    namespace: labels[label.podNamespace] ?? '',
  };
}

export function isSandbox(labels: Labels): boolean {
  return labels[label.type] === 'podsandbox';
}

export function labelNumber(labels: Labels, name: string): number | undefined {
  const value = Number(labels[name] ?? 'x');
  return Number.isFinite(value) ? value : undefined;
}

function podLabels(identity: NodeIdentity, pod: PodRef): Record<string, string> {
  return {
    [label.cluster]: identity.clusterId,
    [label.node]: identity.nodeName,
    [label.podUid]: pod.uid,
    [label.podName]: pod.name,
    [label.podNamespace]: pod.namespace,
  };
}

function containerName(pod: PodRef, name: string, attempt: number): string {
  return ['k8s', name, pod.name, pod.namespace, pod.uid, String(attempt)].join('_');
}

export interface SandboxPlace {
  readonly identity: NodeIdentity;
  readonly networkName: string;
  /** False where the kernel forbids negative scores (no CAP_SYS_RESOURCE). */
  readonly mayLowerOomScore: boolean;
  /** Where the engine keeps its own files. */
  readonly engineDirectory: string;
  /** Of the pod's own cgroup; left out: it has none. */
  readonly cgroupParent?: string;
}

export function sandboxBody(config: SandboxConfig, place: SandboxPlace): ContainerCreate {
  const ports = config.hostNetwork ? [] : config.ports;
  const body: ContainerCreate = {
    name: containerName(config.pod, 'POD', config.attempt),
    Image: sandboxImageName,
    Labels: {
      ...podLabels(place.identity, config.pod),
      [label.type]: 'podsandbox',
      [label.container]: 'POD',
      [label.attempt]: String(config.attempt),
      [label.gracePeriod]: String(config.gracePeriodSeconds),
      ...(config.memo === undefined ? {} : { [label.memo]: config.memo }),
    },
    ExposedPorts: Object.fromEntries(ports.map((port) => [portKey(port), {}])),
    HostConfig: {
      NetworkMode: config.hostNetwork ? 'host' : place.networkName,
      IpcMode: config.hostIpc ? 'host' : 'shareable',
      PidMode: config.hostPid ? 'host' : '',
      UTSMode: config.hostNetwork ? 'host' : '',
      PortBindings: portBindings(ports),
      ExtraHosts: [...config.extraHosts],
      CpuShares: 2,
      OomScoreAdj: place.mayLowerOomScore ? -998 : 0,
      ReadonlyRootfs: true,
      LogConfig: { Type: 'none', Config: {} },
      SecurityOpt: ['no-new-privileges'],
    },
  };
  if (place.cgroupParent !== undefined)
    Object.assign(body.HostConfig ?? {}, { CgroupParent: place.cgroupParent });
  if (config.runtimeHandler !== undefined)
    Object.assign(body.HostConfig ?? {}, { Runtime: config.runtimeHandler });
  if (!config.hostNetwork)
    Object.assign(body, { Hostname: config.hostname, Domainname: config.domain });
  if (Object.keys(config.sysctls).length > 0)
    Object.assign(body.HostConfig ?? {}, { Sysctls: { ...config.sysctls } });
  return body;
}

function portKey(port: PortMapping): string {
  return `${port.containerPort}/${port.protocol}`;
}

function portBindings(ports: readonly PortMapping[]): Record<string, object[]> {
  const bindings: Record<string, object[]> = {};
  for (const port of ports)
    (bindings[portKey(port)] ??= []).push({
      HostIp: port.hostIp ?? '',
      HostPort: String(port.hostPort),
    });
  return bindings;
}

export function containerBody(config: ContainerConfig, place: SandboxPlace): ContainerCreate {
  const { security, resources } = config;
  const sandbox = `container:${config.sandboxId}`;
  const { oomScoreAdj } = resources;
  const body: ContainerCreate = {
    name: containerName(config.pod, config.name, config.attempt),
    Image: config.image,
    Env: [...config.env],
    User: security.user,
    OpenStdin: config.stdin,
    StdinOnce: config.stdinOnce,
    Tty: config.tty,
    Labels: {
      ...podLabels(place.identity, config.pod),
      [label.type]: 'container',
      [label.container]: config.name,
      [label.sandbox]: config.sandboxId,
      [label.attempt]: String(config.attempt),
      [label.specHash]: config.specHash,
      [label.limits]: limitsText(config.resources),
      ...(config.gpus === undefined ? {} : { [label.gpus]: config.gpus.join(',') }),
      [label.image]: config.image,
      [label.terminationMessage]: config.terminationMessageHostPath,
    },
    // Health is the kubelet's to judge: an image's own check would only cost.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      NetworkMode: sandbox,
      IpcMode: config.hostIpc ? 'host' : sandbox,
      PidMode: pidMode(config, sandbox),
      UTSMode: config.hostNetwork ? 'host' : '',
      Mounts: config.mounts.map((mount) => ({
        Type: 'bind',
        Source: mount.hostPath,
        Target: mount.containerPath,
        ReadOnly: mount.readOnly,
        ...bindOptions(mount, place.engineDirectory),
      })),
      Devices: config.devices.map(({ hostPath, containerPath }) => ({
        PathOnHost: hostPath,
        PathInContainer: containerPath,
        CgroupPermissions: 'rwm',
      })),
      ...limitsBody(resources),
      OomScoreAdj: place.mayLowerOomScore ? oomScoreAdj : Math.max(0, oomScoreAdj),
      PidsLimit: resources.pidsMax,
      Privileged: security.privileged,
      ReadonlyRootfs: security.readOnlyRootFilesystem,
      CapAdd: [...security.addCapabilities],
      CapDrop: [...security.dropCapabilities],
      GroupAdd: security.supplementalGroups.map(String),
      SecurityOpt: securityOptions(config),
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '5' } },
    },
  };
  if (place.cgroupParent !== undefined)
    Object.assign(body.HostConfig ?? {}, { CgroupParent: place.cgroupParent });
  if (config.runtimeHandler !== undefined)
    Object.assign(body.HostConfig ?? {}, { Runtime: config.runtimeHandler });
  if (config.usbBus === true) addUsbBus(body.HostConfig ?? {});
  if (config.gpus !== undefined)
    Object.assign(body.HostConfig ?? {}, {
      DeviceRequests: [{ Driver: 'nvidia', DeviceIDs: [...config.gpus], Capabilities: [['gpu']] }],
    });
  if (security.unmaskedProc)
    Object.assign(body.HostConfig ?? {}, { MaskedPaths: [], ReadonlyPaths: [] });
  if (config.command !== undefined) body.Entrypoint = [...config.command];
  if (config.args !== undefined) body.Cmd = [...config.args];
  if (config.workingDir !== undefined) body.WorkingDir = config.workingDir;
  if (config.stopSignal !== undefined) body.StopSignal = config.stopSignal;
  return body;
}

const usbDirectory = '/dev/bus/usb';

/** As a directory, in which files come and go, and the right to all of USB's numbers (189). */
function addUsbBus(host: NonNullable<ContainerCreate['HostConfig']>): void {
  const usb = {
    Type: 'bind',
    Source: usbDirectory,
    Target: usbDirectory,
    ReadOnly: false,
  } as const;
  host.Mounts = [...(host.Mounts ?? []), usb];
  host.DeviceCgroupRules = ['c 189:* rwm'];
}

/** The body of a container like another, as the engine tells of that. */
export function recreatedBody(
  { Config: config, HostConfig: host }: ContainerDetails,
  change: ContainerChange,
): ContainerCreate {
  const { [label.sandbox]: oldSandbox = '', [label.terminationMessage]: oldMessage } =
    config.Labels;
  const inSandbox = (mode: string | undefined): string =>
    mode === `container:${oldSandbox}` ? `container:${change.sandboxId}` : (mode ?? '');
  const { Image, Env, Cmd, Entrypoint, User, WorkingDir, OpenStdin, StdinOnce, Tty } = config;
  const { StopSignal } = config as { StopSignal?: string };
  return {
    name: containerName(
      podOfLabels(config.Labels),
      config.Labels[label.container] ?? '',
      change.attempt,
    ),
    Image,
    Env,
    Cmd,
    User,
    WorkingDir,
    OpenStdin,
    StdinOnce,
    Tty,
    ...(Entrypoint == null ? {} : { Entrypoint }),
    ...(StopSignal === undefined ? {} : { StopSignal }),
    Labels: {
      ...config.Labels,
      [label.sandbox]: change.sandboxId,
      [label.attempt]: String(change.attempt),
      [label.terminationMessage]: change.terminationMessageHostPath,
    },
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...host,
      NetworkMode: inSandbox(host.NetworkMode),
      IpcMode: inSandbox(host.IpcMode),
      PidMode: inSandbox(host.PidMode),
      Mounts: (host.Mounts ?? []).map((mount) =>
        mount.Source === oldMessage
          ? { ...mount, Source: change.terminationMessageHostPath }
          : mount,
      ),
    },
  };
}

/**
 * Docker takes no private mount that contains its own directory (`hostPath: /`): it would keep what is
 * mounted there later. Told nothing, it makes it a slave where it can, and private elsewhere.
 */
function bindOptions(
  { hostPath, propagation }: MountConfig,
  engineDirectory: string,
): { BindOptions?: { Propagation: MountConfig['propagation'] } } {
  const source = path.join(hostPath, '/');
  const engine = path.join(engineDirectory, '/');
  const meets = source.startsWith(engine) || engine.startsWith(source);
  return meets && propagation === 'rprivate' ? {} : { BindOptions: { Propagation: propagation } };
}

function limitsText({ cpuShares, cpuQuotaMicros, memoryBytes }: ContainerLimits): string {
  return [cpuShares, cpuQuotaMicros, memoryBytes].join('/');
}

/** Undefined: it was created by an agent that did not write them down. */
export function limitsOfLabels(labels: Labels): ContainerLimits | undefined {
  const [cpuShares, cpuQuotaMicros, memoryBytes] = (labels[label.limits] ?? '')
    .split('/')
    .map(Number);
  if (cpuShares === undefined || cpuQuotaMicros === undefined || memoryBytes === undefined)
    return undefined;
  return { cpuShares, cpuQuotaMicros, memoryBytes };
}

export function limitsBody({ cpuShares, cpuQuotaMicros, memoryBytes }: ContainerLimits) {
  return {
    CpuShares: cpuShares,
    CpuPeriod: cpuQuotaMicros > 0 ? 100_000 : 0,
    CpuQuota: cpuQuotaMicros,
    Memory: memoryBytes,
    // The same as Memory: no swap.
    MemorySwap: memoryBytes,
  };
}

function pidMode(config: ContainerConfig, sandbox: string): string {
  if (config.targetContainerId !== undefined) return `container:${config.targetContainerId}`;
  if (config.hostPid) return 'host';
  return config.shareProcessNamespace ? sandbox : '';
}

// Differs: without a seccompProfile Kubernetes runs unconfined; we keep the engine's own profile,
// which is what RuntimeDefault asks for.
function securityOptions({ security }: ContainerConfig): string[] {
  const { seccompProfile, appArmorProfile } = security;
  const options = security.seLinuxLabels.map((text) => `label=${text}`);
  if (seccompProfile !== undefined) options.push(`seccomp=${seccompProfile}`);
  if (appArmorProfile !== undefined) options.push(`apparmor=${appArmorProfile}`);
  if (!security.allowPrivilegeEscalation) options.push('no-new-privileges');
  return options;
}
