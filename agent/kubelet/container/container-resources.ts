// Pure: what a container, and a pod as a whole, may use, in the kernel's units; and who dies first
// when memory runs out.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container_linux.go, pkg/kubelet/cm/helpers_linux.go
// (ResourceConfigForPod), pkg/kubelet/qos/policy.go.
import type { Container, Pod, PodSpec, ResourceRequirements } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { isSidecar } from '#kube/machinery/pod-resources.ts';
import { toInteger, toMilli } from '#kube/machinery/quantity.ts';
import type { ContainerLimits } from '../../runtime/runtime.ts';

const cpuShares = { min: 2, max: 262_144 };
const minCpuQuotaMicros = 1000;

/**
 * What a container has to itself. A limit that it leaves open is its pod's, where that has one: no
 * more can it get, and so it holds also where pods can have no cgroup.
 */
export function containerLimits(container: Container, spec: PodSpec): ContainerLimits {
  const { limits = {}, requests } = container.resources ?? {};
  const ofPod = spec.resources?.limits ?? {};
  const own = limitsOf({ limits, ...(requests === undefined ? {} : { requests }) });
  const all = limitsOf({ limits: ofPod });
  return {
    cpuShares: own.cpuShares,
    cpuQuotaMicros: limits['cpu'] === undefined ? all.cpuQuotaMicros : own.cpuQuotaMicros,
    memoryBytes: limits['memory'] === undefined ? all.memoryBytes : own.memoryBytes,
  };
}

/** Of all its containers together; undefined: the pod has no resources of its own. */
export function podLevelLimits(spec: PodSpec): ContainerLimits | undefined {
  const { resources } = spec;
  return resources === undefined ? undefined : limitsOf(resources);
}

function limitsOf({ limits = {}, requests = {} }: ResourceRequirements): ContainerLimits {
  const milli = (quantity: Quantity | undefined) =>
    quantity === undefined ? 0 : toMilli(quantity);
  const cpuLimit = milli(limits['cpu']);
  const cpuRequest = requests['cpu'] === undefined ? cpuLimit : milli(requests['cpu']);
  const shares = Math.floor((cpuRequest * 1024) / 1000);
  return {
    cpuShares: Math.min(cpuShares.max, Math.max(cpuShares.min, shares)),
    // Per period of 100 ms: one core is 100 000 µs.
    cpuQuotaMicros: cpuLimit === 0 ? 0 : Math.max(minCpuQuotaMicros, cpuLimit * 100),
    memoryBytes: limits['memory'] === undefined ? 0 : toInteger(limits['memory']),
  };
}

/**
 * Processes and threads of one container. Differs: without `podPidsLimit` Kubernetes sets none, and a fork
 * bomb in one app takes the machine from all others, and from who wants to end it. This is more than any
 * server needs, and leaves a small machine half of its own.
 */
export function containerPidsMax(nodePidsMax: number): number {
  return Math.min(4096, Math.floor(nodePidsMax / 2));
}

export interface OomInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly qosClass: string;
  readonly nodeMemoryBytes: number;
}

/** Who dies first when memory runs out: the less was asked for, the sooner. */
export function oomScoreAdjust({ pod, container, qosClass, nodeMemoryBytes }: OomInput): number {
  const { spec } = pod;
  if (spec.priorityClassName === 'system-node-critical' || qosClass === 'Guaranteed') return -997;
  if (qosClass === 'BestEffort') return 1000;
  const score = (requestBytes: number): number =>
    1000 - Math.floor((1000 * requestBytes) / Math.max(1, nodeMemoryBytes));
  const shared = sharedBytes(spec);
  const own = score(memoryRequest(container) + shared);
  const isBeside = isSidecar(container) && (spec.initContainers ?? []).includes(container);
  // A sidecar outlives the containers it serves.
  const served = Math.min(...spec.containers.map((entry) => memoryRequest(entry) + shared));
  return Math.min(999, Math.max(3, isBeside ? Math.min(own, score(served)) : own));
}

function memoryRequest({ resources = {} }: Container): number {
  const request = resources.requests?.['memory'] ?? resources.limits?.['memory'];
  return request === undefined ? 0 : toInteger(request);
}

/** What the pod asks for beyond its containers, for each of them. */
function sharedBytes({ resources, containers, initContainers = [] }: PodSpec): number {
  const request = resources?.requests?.['memory'] ?? resources?.limits?.['memory'];
  if (request === undefined) return 0;
  const running = [...containers, ...initContainers.filter(isSidecar)];
  const asked = running.reduce((sum, container) => sum + memoryRequest(container), 0);
  return Math.max(0, Math.floor((toInteger(request) - asked) / running.length));
}
