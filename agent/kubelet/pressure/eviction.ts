// Pure: whether this machine runs out of memory or disk, and which pod has to give way. Names,
// order and sentences are Kubernetes'. Source: kubernetes pkg/kubelet/eviction/helpers.go.
import type { Container, Pod } from '#kube/api/core.ts';
import { podRequests } from '#kube/machinery/pod-resources.ts';
import { toInteger } from '#kube/machinery/quantity.ts';
import { isStatic } from '../static/static-pod.ts';
import type { DiskSpace } from './image-garbage.ts';

export type Starved = 'memory' | 'ephemeral-storage';

export interface NodeSupply {
  readonly memoryAvailableBytes: number;
  readonly disk: DiskSpace;
}

export interface ContainerUsage {
  readonly name: string;
  readonly bytes: number;
}

export interface PodUsage {
  readonly pod: Pod;
  /** Of what is short. */
  readonly containers: readonly ContainerUsage[];
  /** Volumes that live and end with the pod. */
  readonly volumeBytes: number;
}

const mib = 1024 ** 2;
export const memoryThresholdBytes = 100 * mib;
const worthwhileBytes = mib;
/** `system-cluster-critical`: such pods stay, whatever is short. */
const criticalPriority = 2_000_000_000;

/** Differs: Kubernetes says 10 %; on a home machine's big disk that is plenty. */
export function diskThresholdBytes({ sizeBytes }: DiskSpace): number {
  return Math.min(sizeBytes * 0.1, 1024 * mib);
}

/** What is short, memory first: it ends in seconds what a disk ends in minutes. */
export function starved({ memoryAvailableBytes, disk }: NodeSupply): readonly Starved[] {
  const memory = memoryAvailableBytes < memoryThresholdBytes;
  const storage = disk.availableBytes < diskThresholdBytes(disk);
  return [
    ...(memory ? ['memory' as const] : []),
    ...(storage ? ['ephemeral-storage' as const] : []),
  ];
}

/**
 * Who goes first: whoever uses more than it asked for, then by priority, then by how much more.
 * Differs: Kubernetes also ends pods whose end would free nothing.
 */
export function evictionOrder(pods: readonly PodUsage[], what: Starved): readonly PodUsage[] {
  const over = (usage: PodUsage): number =>
    usedBytes(usage) - (podRequests(usage.pod.spec)[what] ?? 0);
  return pods
    .filter((usage) => !isCritical(usage.pod) && usedBytes(usage) >= worthwhileBytes)
    .sort(
      (a, b) =>
        Number(over(b) > 0) - Number(over(a) > 0) ||
        (a.pod.spec.priority ?? 0) - (b.pod.spec.priority ?? 0) ||
        over(b) - over(a),
    );
}

export function evictionMessage(usage: PodUsage, what: Starved, supply: NodeSupply): string {
  const [threshold, available] =
    what === 'memory'
      ? [memoryThresholdBytes, supply.memoryAvailableBytes]
      : [diskThresholdBytes(supply.disk), supply.disk.availableBytes];
  const larger = usage.containers.flatMap(({ name, bytes }) => {
    const container = usage.pod.spec.containers.find((entry) => entry.name === name);
    const requestBytes = container === undefined ? 0 : requestOf(container, what);
    if (bytes <= requestBytes) return [];
    return `Container ${name} was using ${kib(bytes)}, request is ${requestBytes === 0 ? 0 : kib(requestBytes)}, has larger consumption of ${what}. `;
  });
  return `The node was low on resource: ${what}. Threshold quantity: ${kib(threshold)}, available: ${kib(available)}. ${larger.join('')}`;
}

export function isCritical(pod: Pod): boolean {
  return isStatic(pod) || (pod.spec.priority ?? 0) >= criticalPriority;
}

function usedBytes({ containers, volumeBytes }: PodUsage): number {
  return containers.reduce((sum, { bytes }) => sum + bytes, volumeBytes);
}

function requestOf({ resources }: Container, what: Starved): number {
  const request = resources?.requests?.[what];
  return request === undefined ? 0 : toInteger(request);
}

function kib(bytes: number): string {
  return `${Math.floor(bytes / 1024)}Ki`;
}
