// Pure: whether this machine runs out of memory, disk or processes, and which pod has to give way. Names,
// order and sentences are Kubernetes'. Source: kubernetes pkg/kubelet/eviction/helpers.go.
import type { Container, Pod } from '#kube/api/core.ts';
import { podRequests } from '#kube/machinery/pod-resources.ts';
import { toInteger } from '#kube/machinery/quantity.ts';
import { isStatic } from '../static/static-pod.ts';
import { inodesThreshold, type DiskSpace, type Stock } from './image-garbage.ts';

/** In this order: memory ends in seconds what a disk ends in minutes. */
export const starvable = ['memory', 'pids', 'ephemeral-storage', 'inodes'] as const;
export type Starved = (typeof starvable)[number];

export interface NodeSupply {
  readonly memoryAvailableBytes: number;
  /** The one with fewer bytes left. */
  readonly disk: DiskSpace;
  /** Of the disk with fewer left; undefined where none counts them. */
  readonly inodes: Stock | undefined;
  /** Processes and threads. */
  readonly pids: Stock;
}

export interface ContainerUsage {
  readonly name: string;
  /** Of what is short: bytes, files, processes. */
  readonly amount: number;
}

export interface PodUsage {
  readonly pod: Pod;
  readonly containers: readonly ContainerUsage[];
  /** Of what is short, in volumes that live and end with the pod. */
  readonly inVolumes: number;
}

const mib = 1024 ** 2;
export const memoryThresholdBytes = 100 * mib;
/** A pod that has less of it frees nothing by its end. */
const worthwhile = { memory: mib, pids: 10, 'ephemeral-storage': mib, inodes: 100 };
/** `system-cluster-critical`: such pods stay, whatever is short. */
const criticalPriority = 2_000_000_000;

/** Differs: Kubernetes says 10 %; on a home machine's big disk that is plenty. */
export function diskThresholdBytes({ sizeBytes }: DiskSpace): number {
  return Math.min(sizeBytes * 0.1, 1024 * mib);
}

/** Below 1 it is short of them. */
export function inodesLeft({ inodes }: DiskSpace): number {
  return inodes === undefined ? Infinity : inodes.available / inodesThreshold(inodes);
}

/** Differs: Kubernetes has no threshold by itself. What a machine needs to start a shell and look is enough. */
function pidsThreshold({ total }: Stock): number {
  return Math.min(Math.floor(total * 0.1), 1000);
}

interface Level {
  readonly threshold: number;
  readonly available: number;
}

function levels({ memoryAvailableBytes, disk, inodes, pids }: NodeSupply): Record<Starved, Level> {
  return {
    memory: { threshold: memoryThresholdBytes, available: memoryAvailableBytes },
    pids: { threshold: pidsThreshold(pids), available: pids.available },
    'ephemeral-storage': { threshold: diskThresholdBytes(disk), available: disk.availableBytes },
    inodes:
      inodes === undefined
        ? { threshold: 0, available: 0 }
        : { threshold: inodesThreshold(inodes), available: inodes.available },
  };
}

export function starved(now: NodeSupply): readonly Starved[] {
  const all = levels(now);
  return starvable.filter((what) => all[what].available < all[what].threshold);
}

/**
 * Who goes first: whoever uses more than it asked for (of files and processes nobody can ask for any), then by
 * priority, then by how much more. Differs: Kubernetes also ends pods whose end would free nothing.
 */
export function evictionOrder(pods: readonly PodUsage[], what: Starved): readonly PodUsage[] {
  const over = (usage: PodUsage): number =>
    amountOf(usage) - (podRequests(usage.pod.spec)[what] ?? 0);
  return pods
    .filter((usage) => !isCritical(usage.pod) && amountOf(usage) >= worthwhile[what])
    .sort(
      (a, b) =>
        Number(over(b) > 0) - Number(over(a) > 0) ||
        (a.pod.spec.priority ?? 0) - (b.pod.spec.priority ?? 0) ||
        over(b) - over(a),
    );
}

export function evictionMessage(usage: PodUsage, what: Starved, supply: NodeSupply): string {
  const { threshold, available } = levels(supply)[what];
  const areBytes = what === 'memory' || what === 'ephemeral-storage';
  const told = areBytes ? kib : String;
  const larger = usage.containers.flatMap(({ name, amount }) => {
    const container = usage.pod.spec.containers.find((entry) => entry.name === name);
    const requestBytes = container === undefined ? 0 : requestOf(container, what);
    if (!areBytes || amount <= requestBytes) return [];
    return `Container ${name} was using ${kib(amount)}, request is ${requestBytes === 0 ? 0 : kib(requestBytes)}, has larger consumption of ${what}. `;
  });
  return `The node was low on resource: ${what}. Threshold quantity: ${told(threshold)}, available: ${told(available)}. ${larger.join('')}`;
}

export function isCritical(pod: Pod): boolean {
  return isStatic(pod) || (pod.spec.priority ?? 0) >= criticalPriority;
}

function amountOf({ containers, inVolumes }: PodUsage): number {
  return containers.reduce((sum, { amount }) => sum + amount, inVolumes);
}

function requestOf({ resources }: Container, what: Starved): number {
  const request = resources?.requests?.[what];
  return request === undefined ? 0 : toInteger(request);
}

function kib(bytes: number): string {
  return `${Math.floor(bytes / 1024)}Ki`;
}
