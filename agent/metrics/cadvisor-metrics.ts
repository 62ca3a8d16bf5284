// Pure: /metrics/cadvisor, in cAdvisor's names and labels. A row for each container; for each pod
// (`container=""`) what its containers add up to and its network; for the machine (`id="/"`).
// Source: cadvisor metrics/prometheus.go, kubernetes pkg/kubelet/server/server.go.
import type { ContainerSample, Details } from './collector.ts';
import type { ContainerDetail, DeviceUse } from './container-detail.ts';
import type { InterfaceUsage } from './machine-usage.ts';
import { exposition, type Labels, type Metric } from './prometheus.ts';
import { inSeconds, total, workingSet } from './totals.ts';

export interface MachineSize {
  readonly cpuCount: number;
  readonly memoryBytes: number;
}

interface Row {
  readonly labels: Labels;
  readonly use: ContainerSample;
  readonly detail: ContainerDetail | undefined;
}

interface PodRow {
  readonly labels: Labels;
  readonly containers: readonly ContainerSample[];
}

type Value = number | undefined;

interface View {
  readonly rows: readonly Row[];
  readonly podRows: readonly PodRow[];
  readonly details: Details;
  readonly machine: MachineSize;
  readonly atMs: number;
}

export function cadvisorMetrics(details: Details, machine: MachineSize): string {
  const { sample, containers } = details;
  const rows = sample.pods.flatMap(({ namespace, name: pod, containers: all }) =>
    all.map((use) => {
      const detail = containers.get(use.id);
      const { id, image, name: container } = use;
      const labels = { container, id: detail?.cgroup ?? `/${id}`, image, name: id, namespace, pod };
      return { labels, use, detail };
    }),
  );
  const podRows = sample.pods.map(({ namespace, name: pod, uid, containers: all }) => ({
    labels: { container: '', id: `/kubepods/pod${uid}`, image: '', name: '', namespace, pod },
    containers: all,
  }));
  const view = { rows, podRows, details, machine, atMs: Date.parse(sample.time) };
  return exposition([
    ...cpuMetrics(view),
    ...memoryMetrics(view),
    ...diskMetrics(view),
    ...networkMetrics(view),
    ...taskMetrics(view),
    ...specMetrics(view),
    ...pressureMetrics(view),
    ...machineMetrics(view),
  ]);
}

/** The machine's own row. */
const machineLabels = { container: '', id: '/', image: '', name: '', namespace: '', pod: '' };

function cpuMetrics({ rows, podRows, details, atMs }: View): Metric[] {
  const counter = (name: string, help: string, value: (row: Row) => Value) =>
    each({ rows, name, help, type: 'counter', value, atMs });
  const cpu = 'total';
  return [
    {
      name: 'container_cpu_usage_seconds_total',
      help: 'Cumulative cpu time consumed in seconds.',
      type: 'counter',
      atMs,
      samples: [
        [{ ...machineLabels, cpu }, inSeconds(details.sample.node.cpuNanoseconds)],
        ...podRows.map(({ labels, containers }) => {
          const spent = total(containers.map(({ cpuNanoseconds }) => cpuNanoseconds));
          return [{ ...labels, cpu }, inSeconds(spent)] as const;
        }),
        ...rows.map(
          ({ labels, use }) => [{ ...labels, cpu }, inSeconds(use.cpuNanoseconds)] as const,
        ),
      ],
    },
    counter(
      'container_cpu_user_seconds_total',
      'Cumulative user cpu time consumed in seconds.',
      ({ detail }) => inSeconds(detail?.cpu.userNs),
    ),
    counter(
      'container_cpu_system_seconds_total',
      'Cumulative system cpu time consumed in seconds.',
      ({ detail }) => inSeconds(detail?.cpu.systemNs),
    ),
    counter(
      'container_cpu_cfs_periods_total',
      'Number of elapsed enforcement period intervals.',
      ({ detail }) => limitedCpu(detail)?.periods,
    ),
    counter(
      'container_cpu_cfs_throttled_periods_total',
      'Number of throttled period intervals.',
      ({ detail }) => limitedCpu(detail)?.throttledPeriods,
    ),
    counter(
      'container_cpu_cfs_throttled_seconds_total',
      'Total time duration the container has been throttled.',
      ({ detail }) => inSeconds(limitedCpu(detail)?.throttledNs),
    ),
  ];
}

/** Without a quota there are no periods to be throttled in. */
function limitedCpu(detail: ContainerDetail | undefined): ContainerDetail['cpu'] | undefined {
  return detail?.cpu.quotaMicros === undefined ? undefined : detail.cpu;
}

function memoryMetrics({ rows, podRows, details, atMs }: View): Metric[] {
  const gauge = (
    name: string,
    help: string,
    value: (row: Row) => Value,
    ofPod?: (row: PodRow) => Value,
  ): Metric => ({
    name,
    help,
    type: 'gauge',
    atMs,
    samples: [
      ...(ofPod === undefined ? [] : podRows.map((row) => [row.labels, ofPod(row)] as const)),
      ...rows.map((row) => [row.labels, value(row)] as const),
    ],
  });
  const workingSets = gauge(
    'container_memory_working_set_bytes',
    'Current working set in bytes.',
    ({ use }) => use.memoryWorkingSetBytes,
    ({ containers }) => workingSet(containers),
  );
  const { memoryWorkingSetBytes } = details.sample.node;
  return [
    gauge(
      'container_memory_usage_bytes',
      'Current memory usage in bytes, including all memory regardless of when it was accessed',
      ({ use }) => use.memoryUsageBytes,
      ({ containers }) => total(containers.map(({ memoryUsageBytes }) => memoryUsageBytes)),
    ),
    {
      ...workingSets,
      samples: [[machineLabels, memoryWorkingSetBytes], ...workingSets.samples],
    },
    gauge(
      'container_memory_rss',
      'Size of RSS in bytes.',
      ({ use }) => use.memoryRssBytes,
      ({ containers }) => total(containers.map(({ memoryRssBytes }) => memoryRssBytes)),
    ),
    gauge(
      'container_memory_cache',
      'Number of bytes of page cache memory.',
      ({ detail }) => detail?.memory.cacheBytes,
    ),
    gauge(
      'container_memory_swap',
      'Container swap usage in bytes.',
      ({ detail }) => detail?.memory.swapBytes,
    ),
    gauge(
      'container_memory_mapped_file',
      'Size of memory mapped files in bytes.',
      ({ detail }) => detail?.memory.mappedFileBytes,
    ),
    gauge(
      'container_memory_kernel_usage',
      'Size of kernel memory allocated in bytes.',
      ({ detail }) => detail?.memory.kernelBytes,
    ),
    gauge(
      'container_memory_total_active_file_bytes',
      'Current total active file in bytes.',
      ({ detail }) => detail?.memory.activeFileBytes,
    ),
    gauge(
      'container_memory_total_inactive_file_bytes',
      'Current total inactive file in bytes.',
      ({ detail }) => detail?.memory.inactiveFileBytes,
    ),
    gauge(
      'container_memory_max_usage_bytes',
      'Maximum memory usage recorded in bytes',
      ({ detail }) => detail?.memory.maxUsageBytes,
    ),
    each({
      rows,
      name: 'container_memory_failcnt',
      help: 'Number of memory usage hits limits',
      type: 'counter',
      value: ({ detail }) => detail?.memory.failures,
      atMs,
    }),
    {
      name: 'container_memory_failures_total',
      help: 'Cumulative count of memory allocation failures.',
      type: 'counter',
      atMs,
      samples: rows.flatMap(({ labels, detail }) => [
        [faultLabels(labels, 'pgfault'), detail?.memory.pageFaults] as const,
        [faultLabels(labels, 'pgmajfault'), detail?.memory.majorPageFaults] as const,
      ]),
    },
    each({
      rows,
      name: 'container_oom_events_total',
      help: 'Count of out of memory events observed for the container',
      type: 'counter',
      value: ({ detail }) => detail?.memory.oomKills,
      atMs,
    }),
  ];
}

/** What is counted covers all below the container's cgroup. */
function faultLabels(labels: Labels, failureType: string): Labels {
  return { ...labels, failure_type: failureType, scope: 'hierarchy' };
}

function diskMetrics({ rows, details, atMs }: View): Metric[] {
  const ofDevices = (name: string, help: string, value: (device: DeviceUse) => Value): Metric => ({
    name,
    help,
    type: 'counter',
    atMs,
    samples: rows.flatMap(({ labels, detail }) =>
      (detail?.devices ?? []).map((device) => {
        const named = { ...labels, device: details.devices.get(device.device) ?? device.device };
        return [named, value(device)] as const;
      }),
    ),
  });
  const { fs } = details.sample.node;
  return [
    {
      name: 'container_fs_usage_bytes',
      help: 'Number of bytes that are consumed by the container on this filesystem.',
      type: 'gauge',
      atMs,
      samples: [
        [{ ...machineLabels, device: '' }, fs?.usedBytes],
        ...rows.map(({ labels, use }) => [{ ...labels, device: '' }, use.fsUsedBytes] as const),
      ],
    },
    {
      name: 'container_fs_limit_bytes',
      help: 'Number of bytes that can be consumed by the container on this filesystem.',
      type: 'gauge',
      atMs,
      samples: [[{ ...machineLabels, device: '' }, fs?.capacityBytes]],
    },
    ofDevices(
      'container_fs_reads_bytes_total',
      'Cumulative count of bytes read',
      ({ readBytes }) => readBytes,
    ),
    ofDevices(
      'container_fs_writes_bytes_total',
      'Cumulative count of bytes written',
      ({ writeBytes }) => writeBytes,
    ),
    ofDevices(
      'container_fs_reads_total',
      'Cumulative count of reads completed',
      ({ reads }) => reads,
    ),
    ofDevices(
      'container_fs_writes_total',
      'Cumulative count of writes completed',
      ({ writes }) => writes,
    ),
  ];
}

const networkCounts = [
  ['receive_bytes', 'Cumulative count of bytes received', 'rxBytes'],
  ['receive_packets', 'Cumulative count of packets received', 'rxPackets'],
  ['receive_packets_dropped', 'Cumulative count of packets dropped while receiving', 'rxDropped'],
  ['receive_errors', 'Cumulative count of errors encountered while receiving', 'rxErrors'],
  ['transmit_bytes', 'Cumulative count of bytes transmitted', 'txBytes'],
  ['transmit_packets', 'Cumulative count of packets transmitted', 'txPackets'],
  [
    'transmit_packets_dropped',
    'Cumulative count of packets dropped while transmitting',
    'txDropped',
  ],
  ['transmit_errors', 'Cumulative count of errors encountered while transmitting', 'txErrors'],
] as const satisfies readonly (readonly [string, string, keyof InterfaceUsage])[];

function networkMetrics({ podRows, details, atMs }: View): Metric[] {
  const { sample, interfaces, nodeInterfaces } = details;
  const all = [
    { labels: machineLabels as Labels, found: nodeInterfaces },
    ...sample.pods.map(({ uid }, i) => ({
      labels: podRows[i]?.labels ?? {},
      found: interfaces.get(uid) ?? [],
    })),
  ];
  return networkCounts.map(([name, help, count]) => ({
    name: `container_network_${name}_total`,
    help,
    type: 'counter',
    atMs,
    samples: all.flatMap(({ labels, found }) =>
      found.map((one) => [{ ...labels, interface: one.name }, one[count]] as const),
    ),
  }));
}

function taskMetrics({ rows, atMs }: View): Metric[] {
  const gauge = (name: string, help: string, value: (row: Row) => Value) =>
    each({ rows, name, help, type: 'gauge', value, atMs });
  return [
    gauge(
      'container_processes',
      'Number of processes running inside the container.',
      ({ detail }) => detail?.processes,
    ),
    gauge(
      'container_threads',
      'Number of threads running inside the container',
      ({ use }) => use.pidCount,
    ),
    gauge(
      'container_threads_max',
      'Maximum number of threads allowed inside the container, infinity if value is zero',
      ({ detail }) => (detail === undefined ? undefined : (detail.threadsMax ?? 0)),
    ),
    gauge(
      'container_start_time_seconds',
      'Start time of the container since unix epoch in seconds.',
      ({ use }) => use.startedAtMs / 1000,
    ),
    gauge('container_last_seen', 'Last time a container was seen by the exporter', () =>
      Math.floor(atMs / 1000),
    ),
  ];
}

/** A limit that is not set is zero, as cAdvisor says it. */
function specMetrics({ rows }: View): Metric[] {
  const gauge = (name: string, help: string, value: (row: Row) => Value) =>
    each({ rows, name: `container_spec_${name}`, help, type: 'gauge', value });
  const orZero = (detail: ContainerDetail | undefined, value: Value) =>
    detail === undefined ? undefined : (value ?? 0);
  return [
    gauge('cpu_period', 'CPU period of the container.', ({ detail }) => detail?.cpu.periodMicros),
    gauge('cpu_quota', 'CPU quota of the container.', ({ detail }) => detail?.cpu.quotaMicros),
    gauge('cpu_shares', 'CPU share of the container.', ({ detail }) => detail?.cpu.shares),
    gauge(
      'memory_limit_bytes',
      'Memory limit for the container.',
      ({ use }) => use.memoryLimitBytes ?? 0,
    ),
    gauge('memory_reservation_limit_bytes', 'Memory reservation limit for the container.', (row) =>
      orZero(row.detail, row.detail?.memory.reservationBytes),
    ),
    gauge('memory_swap_limit_bytes', 'Memory swap limit for the container.', (row) =>
      orZero(row.detail, row.detail?.memory.swapLimitBytes),
    ),
  ];
}

function pressureMetrics({ rows, details, atMs }: View): Metric[] {
  const node = details.sample.node.pressure;
  return (['cpu', 'memory', 'io'] as const).flatMap((resource) => {
    const counter = (name: string, help: string, of: 'someNs' | 'fullNs'): Metric => ({
      name: `container_pressure_${resource}_${name}_seconds_total`,
      help,
      type: 'counter',
      atMs,
      samples: [
        [machineLabels, inSeconds(node?.[resource][of])],
        ...rows.map(
          ({ labels, detail }) => [labels, inSeconds(detail?.pressure[resource][of])] as const,
        ),
      ],
    });
    const what = resource === 'io' ? 'I/O' : resource === 'cpu' ? 'CPU' : resource;
    return [
      counter(
        'waiting',
        `Total time duration tasks in the container have waited due to ${what} congestion.`,
        'someNs',
      ),
      counter(
        'stalled',
        `Total time duration no tasks in the container could make progress due to ${what} congestion.`,
        'fullNs',
      ),
    ];
  });
}

function machineMetrics({ machine }: View): Metric[] {
  return [
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
    {
      name: 'container_scrape_error',
      help: '1 if there was an error while getting container metrics, 0 otherwise',
      type: 'gauge',
      samples: [[{}, 0]],
    },
  ];
}

function each({
  rows,
  value,
  ...metric
}: Omit<Metric, 'samples'> & {
  readonly rows: readonly Row[];
  readonly value: (row: Row) => Value;
}): Metric {
  return { ...metric, samples: rows.map((row) => [row.labels, value(row)] as const) };
}
