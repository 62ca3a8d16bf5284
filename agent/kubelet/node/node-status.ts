// Pure: facts of this machine → Node labels and NodeStatus, in Kubernetes' names and wording.
// Source: kubernetes pkg/kubelet/nodestatus/setters.go, kubelet_node_status.go.
import type { NodeCondition, NodeStatus } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { isDeviceName, type Device } from '../devices/devices.ts';
import type { NodeVerdict } from './machine-conditions.ts';
import type { Starved } from '../pressure/eviction.ts';

export const kubeletVersion = 'v1.35.0';
export const maxPods = 110;
const imagesMax = 50;
const mib = 1024 * 1024;

export interface MachineFacts {
  readonly hostname: string;
  /** IPv4, the primary one first. */
  readonly addresses: readonly string[];
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly pidLimit: number;
  /** `amd64`, `arm64`. */
  readonly architecture: string;
  /** `linux`. */
  readonly operatingSystem: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly hasAppArmor: boolean;
}

/** Why no container can run; undefined: they can. */
export interface EngineProblem {
  readonly reason: string;
  readonly message: string;
}

export interface NodeStatusInput {
  readonly facts: MachineFacts;
  readonly previous: NodeStatus | undefined;
  readonly engine: EngineProblem | undefined;
  /** What this machine is short of, or was until a moment ago. */
  readonly short: readonly Starved[];
  /** `docker://20.10.24`; '' while unknown. */
  readonly runtimeVersion: string;
  readonly kubeletPort: number;
  readonly devices: readonly Device[];
  /** What else is the matter with the machine, or is not. */
  readonly verdicts: readonly NodeVerdict[];
  readonly images: readonly { readonly names: readonly string[]; readonly sizeBytes: number }[];
  readonly nowMs: number;
}

export function nodeLabels(nodeName: string, facts: MachineFacts): Record<string, string> {
  return {
    'kubernetes.io/arch': facts.architecture,
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': facts.operatingSystem,
  };
}

export function computeNodeStatus(input: NodeStatusInput): NodeStatus {
  const { facts, previous = {} } = input;
  const devices = Object.fromEntries(
    input.devices.map(({ resource, count }) => [resource, String(count)]),
  );
  const version = input.runtimeVersion || previous.nodeInfo?.containerRuntimeVersion;
  const diskKib = Math.floor(facts.diskBytes / 1024);
  return {
    ...previous,
    addresses: [
      ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: facts.hostname },
    ],
    capacity: {
      ...foreignResources(previous.capacity),
      ...devices,
      cpu: String(facts.cpuCount),
      'ephemeral-storage': `${diskKib}Ki`,
      memory: `${Math.floor(facts.memoryBytes / 1024)}Ki`,
      pods: String(maxPods),
    },
    allocatable: {
      ...foreignResources(previous.allocatable),
      ...devices,
      cpu: String(facts.cpuCount),
      // What Kubernetes keeps free by its default eviction thresholds.
      'ephemeral-storage': String(Math.floor(facts.diskBytes * 0.9)),
      memory: `${Math.max(0, Math.floor((facts.memoryBytes - 100 * mib) / 1024))}Ki`,
      pods: String(maxPods),
    },
    daemonEndpoints: { kubeletEndpoint: { Port: input.kubeletPort } },
    nodeInfo: {
      architecture: facts.architecture,
      bootID: facts.bootId,
      containerRuntimeVersion: version || 'unknown',
      kernelVersion: facts.kernelVersion,
      kubeProxyVersion: '',
      kubeletVersion,
      machineID: facts.machineId,
      operatingSystem: facts.operatingSystem,
      osImage: facts.osImage,
      systemUUID: facts.systemUuid,
    },
    images: input.images
      .filter((image) => image.names.length > 0)
      .sort((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, imagesMax)
      .map(({ names, sizeBytes }) => ({ names: [...names], sizeBytes })),
    conditions: conditions(input),
  };
}

/** What somebody else advertised on the node: `kubectl patch node --subresource status` may. */
function foreignResources(list: NodeStatus['capacity'] = {}): Record<string, Quantity> {
  const foreign = Object.entries(list).filter(
    ([name]) => name.includes('/') && !isDeviceName(name),
  );
  return Object.fromEntries(foreign);
}

function conditions(input: NodeStatusInput): NodeCondition[] {
  const previous = input.previous?.conditions ?? [];
  const now = rfc3339(input.nowMs);
  const own = [...input.verdicts, ...ownVerdicts(input)];
  const foreign = previous.filter(({ type }) => !own.some((entry) => entry.type === type));
  return [
    ...foreign,
    ...own.map((entry) => {
      const before = previous.find(({ type }) => type === entry.type);
      const kept = before?.status === entry.status ? before.lastTransitionTime : undefined;
      return { ...entry, lastHeartbeatTime: now, lastTransitionTime: kept ?? now };
    }),
  ];
}

function ownVerdicts({ engine, short }: NodeStatusInput): NodeVerdict[] {
  return [
    verdict('MemoryPressure', short.includes('memory'), [
      ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
      ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    ]),
    verdict('DiskPressure', short.includes('ephemeral-storage') || short.includes('inodes'), [
      ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
      ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    ]),
    verdict('PIDPressure', short.includes('pids'), [
      ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
      ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    ]),
    engine === undefined
      ? {
          type: 'Ready',
          status: 'True',
          reason: 'KubeletReady',
          message: 'kubelet is posting ready status',
        }
      : { type: 'Ready', status: 'False', ...engine },
  ];
}

function verdict(
  type: string,
  isTrue: boolean,
  [yes, no]: readonly [readonly [string, string], readonly [string, string]],
): NodeVerdict {
  const [reason, message] = isTrue ? yes : no;
  return { type, status: isTrue ? 'True' : 'False', reason, message };
}

/** Without what changes all the time: two statuses that tell the same. */
export function withoutHeartbeats(status: NodeStatus): NodeStatus {
  return {
    ...status,
    conditions: (status.conditions ?? []).map((condition) => {
      const { lastHeartbeatTime: _unused, ...rest } = condition;
      return rest;
    }),
  };
}
