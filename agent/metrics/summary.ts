// Pure: a sample with its details → the kubelet's Summary.
// Source: kubernetes kubelet pkg/apis/stats/v1alpha1/types.go, pkg/kubelet/stats.
import type { ContainerSample, Details, PodSample, Sample } from './collector.ts';
import type { ContainerDetail, Stall } from './container-detail.ts';
import type { InterfaceUsage, MachineUsage } from './machine-usage.ts';
import { total, workingSet } from './totals.ts';

export function summary(details: Details, nodeName: string): object {
  const { sample, nodeInterfaces } = details;
  const { time, node } = sample;
  return {
    node: {
      nodeName,
      cpu: { ...cpu(time, node), psi: psi(node.pressure?.cpu) },
      memory: {
        time,
        availableBytes: node.memoryAvailableBytes,
        workingSetBytes: node.memoryWorkingSetBytes,
        psi: psi(node.pressure?.memory),
      },
      swap: node.swapBytes === undefined ? undefined : { time, swapUsageBytes: node.swapBytes },
      io: node.pressure && { time, psi: psi(node.pressure.io) },
      network: node.network && { ...network(time, nodeInterfaces), ...node.network },
      fs: nodeDisk(sample),
      runtime: node.fs && { imageFs: nodeDisk(sample) },
    },
    pods: sample.pods.map((pod) => podStats(pod, details)),
  };
}

function podStats(pod: PodSample, details: Details): object {
  const { time } = details.sample;
  const { containers } = pod;
  const of = (id: string) => details.containers.get(id);
  const swaps = containers.map(({ id }) => of(id)?.memory.swapBytes);
  const processes = total(containers.map(({ id }) => of(id)?.processes));
  const usedBytes = total(containers.map(({ fsUsedBytes }) => fsUsedBytes));
  const swapUsageBytes = total(swaps);
  return {
    podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
    startTime: seconds(pod.startedAtMs),
    containers: containers.map((one) => containerStats(time, one, of(one.id))),
    cpu: cpu(time, {
      cpuNanoCores: total(containers.map(({ cpuNanoCores }) => cpuNanoCores)),
      cpuNanoseconds: total(containers.map(({ cpuNanoseconds }) => cpuNanoseconds)),
    }),
    memory: {
      time,
      usageBytes: total(containers.map(({ memoryUsageBytes }) => memoryUsageBytes)),
      workingSetBytes: workingSet(containers),
      rssBytes: total(containers.map(({ memoryRssBytes }) => memoryRssBytes)),
    },
    swap: swapUsageBytes === undefined ? undefined : { time, swapUsageBytes },
    network: pod.network && {
      ...network(time, details.interfaces.get(pod.uid) ?? []),
      ...pod.network,
    },
    'ephemeral-storage': usedBytes === undefined ? undefined : { time, usedBytes },
    process_stats: processes === undefined ? undefined : { process_count: processes },
  };
}

function containerStats(
  time: string,
  container: ContainerSample,
  detail: ContainerDetail | undefined,
): object {
  const { fsUsedBytes, memoryLimitBytes, memoryWorkingSetBytes } = container;
  const swap = detail?.memory.swapBytes;
  return {
    name: container.name,
    startTime: seconds(container.startedAtMs),
    cpu: { ...cpu(time, container), psi: psi(detail?.pressure.cpu) },
    memory: {
      time,
      // Of its limit: without one there is nothing to be left of.
      availableBytes:
        memoryLimitBytes === undefined || memoryWorkingSetBytes === undefined
          ? undefined
          : Math.max(0, memoryLimitBytes - memoryWorkingSetBytes),
      usageBytes: container.memoryUsageBytes,
      workingSetBytes: memoryWorkingSetBytes,
      rssBytes: container.memoryRssBytes,
      pageFaults: detail?.memory.pageFaults,
      majorPageFaults: detail?.memory.majorPageFaults,
      psi: psi(detail?.pressure.memory),
    },
    swap: swap === undefined ? undefined : { time, swapUsageBytes: swap },
    rootfs: fsUsedBytes === undefined ? undefined : { time, usedBytes: fsUsedBytes },
  };
}

function nodeDisk({ time, node: { fs } }: Sample): object | undefined {
  if (fs === undefined) return undefined;
  return { time, ...fs, inodesUsed: fs.inodes - fs.inodesFree };
}

function network(time: string, interfaces: readonly InterfaceUsage[]): object {
  const all = interfaces.map(({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
    name,
    rxBytes,
    rxErrors,
    txBytes,
    txErrors,
  }));
  const [busiest] = interfaces.toSorted((a, b) => b.rxBytes + b.txBytes - a.rxBytes - a.txBytes);
  return { time, name: busiest?.name ?? '', interfaces: all };
}

function psi(stall: Stall | undefined): object | undefined {
  if (stall?.someNs === undefined) return undefined;
  const full = stall.fullNs === undefined ? undefined : { total: stall.fullNs };
  return { some: { total: stall.someNs }, full };
}

/** Without fractions, as metav1.Time. */
function seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function cpu(
  time: string,
  usage: Pick<MachineUsage, 'cpuNanoseconds'> & { readonly cpuNanoCores?: number | undefined } & {
    readonly cpuNanoseconds?: number | undefined;
  },
): object {
  return { time, usageNanoCores: usage.cpuNanoCores, usageCoreNanoSeconds: usage.cpuNanoseconds };
}
