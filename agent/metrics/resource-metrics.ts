// Pure: /metrics/resource, what metrics-server scrapes.
// Source: kubernetes pkg/kubelet/metrics/collectors/resource_metrics.go.
import type { Details } from './collector.ts';
import { exposition, type Metric } from './prometheus.ts';
import { inSeconds, total, workingSet } from './totals.ts';

export function resourceMetrics({ sample, containers: details }: Details): string {
  const atMs = Date.parse(sample.time);
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
  const swapOf = (id: string): number | undefined => details.get(id)?.memory.swapBytes;
  const metric = (
    name: string,
    help: string,
    type: Metric['type'],
    samples: Metric['samples'],
  ): Metric => ({ name, help, type, samples, atMs });
  const { node } = sample;
  return exposition([
    metric(
      'container_cpu_usage_seconds_total',
      'Cumulative cpu time consumed by the container in core-seconds',
      'counter',
      containers.map(({ container, labels }) => [labels, inSeconds(container.cpuNanoseconds)]),
    ),
    metric(
      'container_memory_working_set_bytes',
      'Current working set of the container in bytes',
      'gauge',
      containers.map(({ container, labels }) => [labels, container.memoryWorkingSetBytes]),
    ),
    metric(
      'container_swap_usage_bytes',
      'Current amount of the container swap usage in bytes',
      'gauge',
      containers.map(({ container, labels }) => [labels, swapOf(container.id)]),
    ),
    {
      name: 'container_start_time_seconds',
      help: 'Start time of the container since unix epoch in seconds',
      type: 'gauge',
      samples: containers.map(({ container, labels }) => [labels, container.startedAtMs / 1000]),
    },
    metric(
      'node_cpu_usage_seconds_total',
      'Cumulative cpu time consumed by the node in core-seconds',
      'counter',
      [[{}, inSeconds(node.cpuNanoseconds)]],
    ),
    metric('node_memory_working_set_bytes', 'Current working set of the node in bytes', 'gauge', [
      [{}, node.memoryWorkingSetBytes],
    ]),
    metric('node_swap_usage_bytes', 'Current swap usage of the node in bytes', 'gauge', [
      [{}, node.swapBytes],
    ]),
    metric(
      'pod_cpu_usage_seconds_total',
      'Cumulative cpu time consumed by the pod in core-seconds',
      'counter',
      pods.map(({ pod, labels }) => [
        labels,
        inSeconds(total(pod.containers.map((container) => container.cpuNanoseconds))),
      ]),
    ),
    metric(
      'pod_memory_working_set_bytes',
      'Current working set of the pod in bytes',
      'gauge',
      pods.map(({ pod, labels }) => [labels, workingSet(pod.containers)]),
    ),
    metric(
      'pod_swap_usage_bytes',
      'Current amount of the pod swap usage in bytes',
      'gauge',
      pods.map(({ pod, labels }) => [labels, total(pod.containers.map(({ id }) => swapOf(id)))]),
    ),
    {
      name: 'resource_scrape_error',
      help: '1 if there was an error while getting container metrics, 0 otherwise',
      type: 'gauge',
      samples: [[{}, 0]],
    },
  ]);
}
