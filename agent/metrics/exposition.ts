// Pure: a sample → the kubelet's three ways to tell it: Summary JSON, /metrics/resource and
// /metrics/cadvisor in Prometheus' text format.
// Source: kubernetes kubelet pkg/apis/stats/v1alpha1/types.go, pkg/kubelet/metrics/collectors.
import type { Sample } from './collector.ts';
import { total } from './totals.ts';

type Labels = Readonly<Record<string, string>>;

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly (readonly [Labels, number | undefined])[];
}

export function summary(sample: Sample, nodeName: string): object {
  const { time, node } = sample;
  return {
    node: {
      nodeName,
      cpu: cpu(time, node),
      memory: {
        time,
        availableBytes: node.memoryAvailableBytes,
        workingSetBytes: node.memoryWorkingSetBytes,
      },
      network: node.network && { time, name: 'node', ...node.network },
      fs: node.fs && { time, ...node.fs },
    },
    pods: sample.pods.map((pod) => ({
      podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
      startTime: seconds(pod.startedAtMs),
      containers: pod.containers.map((container) => ({
        name: container.name,
        startTime: seconds(container.startedAtMs),
        cpu: cpu(time, container),
        memory: {
          time,
          usageBytes: container.memoryUsageBytes,
          workingSetBytes: container.memoryWorkingSetBytes,
          rssBytes: container.memoryRssBytes,
        },
        rootfs:
          container.fsUsedBytes === undefined
            ? undefined
            : { time, usedBytes: container.fsUsedBytes },
      })),
      cpu: cpu(time, {
        cpuNanoCores: total(pod.containers.map((container) => container.cpuNanoCores)),
        cpuNanoseconds: total(pod.containers.map((container) => container.cpuNanoseconds)),
      }),
      memory: { time, workingSetBytes: workingSet(pod.containers) },
      network: pod.network && { time, name: 'eth0', ...pod.network },
    })),
  };
}

function seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function cpu(
  time: string,
  usage: {
    readonly cpuNanoCores?: number | undefined;
    readonly cpuNanoseconds?: number | undefined;
  },
): object {
  return { time, usageNanoCores: usage.cpuNanoCores, usageCoreNanoSeconds: usage.cpuNanoseconds };
}

function workingSet(
  containers: readonly { readonly memoryWorkingSetBytes?: number }[],
): number | undefined {
  return total(containers.map((container) => container.memoryWorkingSetBytes));
}

const nanosPerSecond = 1e9;

function inSeconds(nanoseconds: number | undefined): number | undefined {
  return nanoseconds === undefined ? undefined : nanoseconds / nanosPerSecond;
}

export function resourceMetrics(sample: Sample): string {
  const pods = sample.pods.map((pod) => ({
    pod,
    labels: { namespace: pod.namespace, pod: pod.name },
  }));
  const containers = pods.flatMap(({ pod, labels }) =>
    pod.containers.map((container) => ({
      container,
      labels: { container: container.name, ...labels },
    })),
  );
  return exposition([
    {
      name: 'container_cpu_usage_seconds_total',
      help: 'Cumulative cpu time consumed by the container in core-seconds',
      type: 'counter',
      samples: containers.map(({ container, labels }) => [
        labels,
        inSeconds(container.cpuNanoseconds),
      ]),
    },
    {
      name: 'container_memory_working_set_bytes',
      help: 'Current working set of the container in bytes',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.memoryWorkingSetBytes]),
    },
    {
      name: 'container_start_time_seconds',
      help: 'Start time of the container since unix epoch in seconds',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.startedAtMs / 1000]),
    },
    {
      name: 'node_cpu_usage_seconds_total',
      help: 'Cumulative cpu time consumed by the node in core-seconds',
      type: 'counter',
      samples: [[{}, inSeconds(sample.node.cpuNanoseconds)]],
    },
    {
      name: 'node_memory_working_set_bytes',
      help: 'Current working set of the node in bytes',
      type: 'gauge',
      samples: [[{}, sample.node.memoryWorkingSetBytes]],
    },
    {
      name: 'pod_cpu_usage_seconds_total',
      help: 'Cumulative cpu time consumed by the pod in core-seconds',
      type: 'counter',
      samples: pods.map(({ pod, labels }) => [
        labels,
        inSeconds(total(pod.containers.map((container) => container.cpuNanoseconds))),
      ]),
    },
    {
      name: 'pod_memory_working_set_bytes',
      help: 'Current working set of the pod in bytes',
      type: 'gauge',
      samples: pods.map(({ pod, labels }) => [labels, workingSet(pod.containers)]),
    },
    {
      name: 'resource_scrape_error',
      help: '1 if there was an error while getting container metrics, 0 otherwise',
      type: 'gauge',
      samples: [[{}, 0]],
    },
  ]);
}

export function cadvisorMetrics(
  sample: Sample,
  machine: { readonly cpuCount: number; readonly memoryBytes: number },
): string {
  const containers = sample.pods.flatMap((pod) =>
    pod.containers.map((container) => {
      const { id, image, name } = container;
      const place = { namespace: pod.namespace, pod: pod.name };
      return { container, labels: { container: name, id, image, name: id, ...place } };
    }),
  );
  const networks = sample.pods.map((pod) => {
    const labels = { interface: 'eth0', namespace: pod.namespace, pod: pod.name };
    return { network: pod.network, labels };
  });
  return exposition([
    {
      name: 'container_cpu_usage_seconds_total',
      help: 'Cumulative cpu time consumed in seconds.',
      type: 'counter',
      samples: containers.map(({ container, labels }) => [
        { ...labels, cpu: 'total' },
        inSeconds(container.cpuNanoseconds),
      ]),
    },
    {
      name: 'container_memory_usage_bytes',
      help: 'Current memory usage in bytes, including all memory regardless of when it was accessed',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.memoryUsageBytes]),
    },
    {
      name: 'container_memory_working_set_bytes',
      help: 'Current working set in bytes.',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.memoryWorkingSetBytes]),
    },
    {
      name: 'container_spec_memory_limit_bytes',
      help: 'Memory limit for the container.',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.memoryLimitBytes ?? 0]),
    },
    {
      name: 'container_fs_usage_bytes',
      help: 'Number of bytes that are consumed by the container on this filesystem.',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.fsUsedBytes]),
    },
    {
      name: 'container_network_receive_bytes_total',
      help: 'Cumulative count of bytes received',
      type: 'counter',
      samples: networks.map(({ network, labels }) => [labels, network?.rxBytes]),
    },
    {
      name: 'container_network_transmit_bytes_total',
      help: 'Cumulative count of bytes transmitted',
      type: 'counter',
      samples: networks.map(({ network, labels }) => [labels, network?.txBytes]),
    },
    {
      name: 'machine_cpu_cores',
      help: 'Number of logical CPU cores.',
      type: 'gauge',
      samples: [[{}, machine.cpuCount]],
    },
    {
      name: 'machine_memory_bytes',
      help: 'Amount of memory installed on the machine.',
      type: 'gauge',
      samples: [[{}, machine.memoryBytes]],
    },
  ]);
}

/** Metrics without a single known value are left out. */
export function exposition(metrics: readonly Metric[]): string {
  let text = '';
  for (const { name, help, type, samples } of metrics) {
    const known = samples.filter(([, value]) => value !== undefined);
    if (known.length === 0) continue;
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const [labels, value] of known) text += `${name}${labelText(labels)} ${value}\n`;
  }
  return text;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
