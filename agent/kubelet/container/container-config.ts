// Pure: pod + container + what was found for it → what the runtime is asked to create.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_{container,container_linux}.go.
import { createHash } from 'node:crypto';
import type { Container, Pod } from '#kube/api/core.ts';
import type {
  ContainerConfig,
  ContainerSecurity,
  DeviceMapping,
  ImageStatus,
  MountConfig,
} from '../../runtime/runtime.ts';
import { containerLimits, oomScoreAdjust, podLevelLimits } from './container-resources.ts';
import { expandReferences } from './expansion.ts';
import { podRef } from './sandbox-config.ts';
import { containerSecurity } from './security.ts';

export const defaultTerminationMessagePath = '/dev/termination-log';

/** Only what may change while the pod lives: a new image means a new container. */
export function containerHash(container: Container): string {
  const text = JSON.stringify([container.name, container.image ?? '']);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

export interface ContainerConfigInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly sandboxId: string;
  readonly attempt: number;
  readonly environment: ReadonlyMap<string, string>;
  readonly mounts: readonly MountConfig[];
  readonly devices: GrantedDevices;
  /** Numbers of those that it gets. */
  readonly gpus?: readonly string[];
  readonly terminationMessageHostPath: string;
  readonly image: ImageStatus;
  readonly qosClass: string;
  readonly targetContainerId?: string;
  readonly nodeMemoryBytes: number;
  /** Processes and threads that it may have. */
  readonly pidsMax: number;
  /** The content of its seccomp profile, if it is one of this machine's. */
  readonly seccompProfile?: string;
  /** Of its pod's RuntimeClass. */
  readonly runtimeHandler?: string;
}

/** What a container gets of this machine's devices, and whose members may use them. */
export interface GrantedDevices {
  readonly mappings: readonly DeviceMapping[];
  readonly groups: readonly number[];
  /** All of the machine's USB, as it changes. */
  readonly usbBus: boolean;
  readonly gpuCount: number;
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
    devices: input.devices.mappings,
    ...(input.devices.usbBus ? { usbBus: true } : {}),
    ...(input.gpus === undefined ? {} : { gpus: input.gpus }),
    resources: {
      ...containerLimits(container, spec),
      oomScoreAdj: oomScoreAdjust(input),
      pidsMax: input.pidsMax,
    },
    inPodCgroup: podLevelLimits(spec) !== undefined,
    security: withGroups(containerSecurity(input), input.devices.groups),
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
    ...(input.runtimeHandler === undefined ? {} : { runtimeHandler: input.runtimeHandler }),
    ...(input.targetContainerId ? { targetContainerId: input.targetContainerId } : {}),
    ...(container.workingDir ? { workingDir: container.workingDir } : {}),
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
  };
}

function withGroups(security: ContainerSecurity, groups: readonly number[]): ContainerSecurity {
  const supplementalGroups = [...new Set([...security.supplementalGroups, ...groups])];
  return { ...security, supplementalGroups };
}
