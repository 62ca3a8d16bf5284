// What the agent tells Prometheus, read back by a strict reader.
import { describe, expect, it } from 'vitest';
import { parsePrometheusText, type TextSample } from '../../test/setup/prometheus-text.ts';
import { AgentMetrics } from './agent-metrics.ts';
import { cadvisorMetrics } from './cadvisor-metrics.ts';
import type { Details } from './collector.ts';
import { exposition, Histogram } from './prometheus.ts';
import { resourceMetrics } from './resource-metrics.ts';
import { summary } from './summary.ts';

const time = '2026-11-28T12:00:00.500000Z';
const counts = { rxPackets: 1, rxDropped: 2, txPackets: 3, txDropped: 4, rxErrors: 5, txErrors: 6 };
const network = { rxBytes: 100, txBytes: 50, rxErrors: 5, txErrors: 6 };
const details: Details = {
  sample: {
    time,
    atMs: 5000,
    windowMs: 1000,
    node: {
      cpuNanoseconds: 7e9,
      cpuNanoCores: 5e8,
      memoryWorkingSetBytes: 4e9,
      memoryAvailableBytes: 1e9,
      swapBytes: 0,
      network,
      fs: { capacityBytes: 100, usedBytes: 60, availableBytes: 30, inodes: 10, inodesFree: 4 },
      load: [0.5, 1, 1.5],
      celsius: { 'cpu-thermal': 61.2 },
      throttled: { now: ['under-voltage'], sinceBoot: ['under-voltage', 'throttled'] },
      pressure: { cpu: { someNs: 1e9 }, memory: {}, io: {} },
    },
    pods: [
      {
        uid: 'u1',
        name: 'web-1',
        namespace: 'home',
        startedAtMs: 1_700_000_000_000,
        network,
        containers: [
          {
            id: 'c1',
            name: 'web',
            image: 'nginx:1',
            startedAtMs: 1_700_000_001_000,
            cpuNanoseconds: 2e9,
            cpuNanoCores: 1e8,
            memoryUsageBytes: 3000,
            memoryWorkingSetBytes: 2000,
            memoryRssBytes: 1000,
            memoryLimitBytes: 5000,
            pidCount: 4,
            fsUsedBytes: 77,
          },
          { id: 'c2', name: 'side', image: 'busybox', startedAtMs: 1_700_000_002_000 },
        ],
      },
    ],
  },
  containers: new Map([
    [
      'c1',
      {
        cgroup: '/docker/c1',
        cpu: {
          userNs: 15e8,
          systemNs: 5e8,
          periods: 10,
          throttledPeriods: 4,
          throttledNs: 25e7,
          shares: 512,
          periodMicros: 100_000,
          quotaMicros: 50_000,
        },
        memory: { cacheBytes: 10, failures: 3, pageFaults: 50, majorPageFaults: 6, oomKills: 2 },
        devices: [{ device: '8:0', readBytes: 4096, writeBytes: 512, reads: 2, writes: 1 }],
        processes: 2,
        pressure: { cpu: { someNs: 11_000, fullNs: 0 }, memory: {}, io: {} },
      },
    ],
  ]),
  interfaces: new Map([['u1', [{ name: 'eth0', rxBytes: 100, txBytes: 50, ...counts }]]]),
  nodeInterfaces: [{ name: 'wlan0', rxBytes: 1000, txBytes: 500, ...counts }],
  devices: new Map([['8:0', '/dev/sda']]),
};
const atMs = Date.parse(time);

type Families = ReadonlyMap<string, readonly TextSample[]>;
const values = (families: Families, name: string) =>
  (families.get(name) ?? []).map(({ labels, value }) => [labels, value]);

describe('/metrics/cadvisor', () => {
  const families = parsePrometheusText(cadvisorMetrics(details, { cpuCount: 4, memoryBytes: 8e9 }));
  const place = { namespace: 'home', pod: 'web-1' };
  const web = { container: 'web', id: '/docker/c1', image: 'nginx:1', name: 'c1', ...place };
  const pod = { container: '', id: '/kubepods/podu1', image: '', name: '', ...place };
  const machine = { container: '', id: '/', image: '', name: '', namespace: '', pod: '' };

  it('has a row for the machine, for each pod and for each container', () => {
    expect(values(families, 'container_cpu_usage_seconds_total')).toEqual([
      [{ ...machine, cpu: 'total' }, 7],
      [{ ...pod, cpu: 'total' }, 2],
      [{ ...web, cpu: 'total' }, 2],
    ]);
    expect(values(families, 'container_network_receive_packets_dropped_total')).toEqual([
      [{ ...machine, interface: 'wlan0' }, 2],
      [{ ...pod, interface: 'eth0' }, 2],
    ]);
  });

  const cases: readonly (readonly [string, object, number])[] = [
    ['container_cpu_user_seconds_total', {}, 1.5],
    ['container_cpu_system_seconds_total', {}, 0.5],
    ['container_cpu_cfs_periods_total', {}, 10],
    ['container_cpu_cfs_throttled_periods_total', {}, 4],
    ['container_cpu_cfs_throttled_seconds_total', {}, 0.25],
    ['container_memory_usage_bytes', {}, 3000],
    ['container_memory_working_set_bytes', {}, 2000],
    ['container_memory_rss', {}, 1000],
    ['container_memory_cache', {}, 10],
    ['container_memory_failcnt', {}, 3],
    ['container_memory_failures_total', { failure_type: 'pgmajfault', scope: 'hierarchy' }, 6],
    ['container_oom_events_total', {}, 2],
    ['container_fs_usage_bytes', { device: '' }, 77],
    ['container_fs_reads_bytes_total', { device: '/dev/sda' }, 4096],
    ['container_fs_writes_total', { device: '/dev/sda' }, 1],
    ['container_processes', {}, 2],
    ['container_threads', {}, 4],
    ['container_threads_max', {}, 0],
    ['container_start_time_seconds', {}, 1_700_000_001],
    ['container_spec_memory_limit_bytes', {}, 5000],
    ['container_spec_cpu_quota', {}, 50_000],
    ['container_spec_cpu_shares', {}, 512],
    ['container_pressure_cpu_waiting_seconds_total', {}, 0.000011],
  ];
  it.each(cases)('tells %s', (name, more, want) => {
    const found = values(families, name).find(
      ([labels]) => JSON.stringify(labels) === JSON.stringify({ ...web, ...more }),
    );
    expect(found?.[1]).toBe(want);
  });

  it('says when its values were true', () => {
    const [first] = families.get('container_memory_rss') ?? [];
    expect(first?.atMs).toBe(atMs);
  });

  it('has nothing of a container that nothing is known of but its start and specification', () => {
    const named = [...families].filter(([, samples]) =>
      samples.some(({ labels }) => labels['container'] === 'side'),
    );
    expect(named.map(([name]) => name)).toEqual([
      'container_start_time_seconds',
      'container_last_seen',
      'container_spec_memory_limit_bytes',
    ]);
  });
});

describe('/metrics/resource', () => {
  it('is what metrics-server reads', () => {
    const families = parsePrometheusText(resourceMetrics(details));
    expect([...families.keys()]).toEqual([
      'container_cpu_usage_seconds_total',
      'container_memory_working_set_bytes',
      'container_start_time_seconds',
      'node_cpu_usage_seconds_total',
      'node_memory_working_set_bytes',
      'node_swap_usage_bytes',
      'pod_cpu_usage_seconds_total',
      'pod_memory_working_set_bytes',
      'resource_scrape_error',
    ]);
    expect(families.get('pod_memory_working_set_bytes')).toEqual([
      {
        name: 'pod_memory_working_set_bytes',
        labels: { namespace: 'home', pod: 'web-1' },
        value: 2000,
        atMs,
      },
    ]);
  });
});

describe('/stats/summary', () => {
  it('tells of node, pod and container what is known', () => {
    const told: unknown = JSON.parse(JSON.stringify(summary(details, 'pi')));
    expect(told).toMatchObject({
      node: {
        nodeName: 'pi',
        cpu: {
          time,
          usageNanoCores: 5e8,
          usageCoreNanoSeconds: 7e9,
          psi: { some: { total: 1e9 } },
        },
        memory: { availableBytes: 1e9, workingSetBytes: 4e9 },
        network: { name: 'wlan0', rxBytes: 100, interfaces: [{ name: 'wlan0', rxBytes: 1000 }] },
        fs: { capacityBytes: 100, usedBytes: 60, inodesUsed: 6 },
      },
      pods: [
        {
          podRef: { name: 'web-1', namespace: 'home', uid: 'u1' },
          startTime: '2023-11-14T22:13:20Z',
          memory: { usageBytes: 3000, workingSetBytes: 2000, rssBytes: 1000 },
          network: { name: 'eth0', txBytes: 50 },
          'ephemeral-storage': { usedBytes: 77 },
          process_stats: { process_count: 2 },
          containers: [
            {
              name: 'web',
              memory: { availableBytes: 3000, pageFaults: 50 },
              rootfs: { usedBytes: 77 },
            },
            { name: 'side' },
          ],
        },
      ],
    });
  });
});

describe('/metrics and /metrics/probes', () => {
  const own = new AgentMetrics();
  const probe = { pod: 'web-1', namespace: 'home', container: 'web', podUid: 'u1' };
  own.request('GET', 'stats', 0.02);
  own.request('GET', 'exec', undefined);
  own.operation('start_container', 0.3, false);
  own.operation('start_container', 900, true);
  own.probe({ ...probe, type: 'Liveness' }, 'successful', 0.004);
  own.probe({ ...probe, type: 'Liveness' }, 'failed', 1);

  it('count requests, calls of the engine and how long they took', () => {
    const process = { cpuSeconds: 1.5, residentBytes: 5e7, startedAtMs: 1000 };
    const state = { nodeName: 'pi', sample: details.sample, process, certificateSeconds: 60 };
    const families = parsePrometheusText(own.text(state));
    const labels = { operation_type: 'start_container' };
    expect(values(families, 'kubelet_runtime_operations_total')).toEqual([[labels, 2]]);
    expect(values(families, 'kubelet_runtime_operations_errors_total')).toEqual([[labels, 1]]);
    expect(values(families, 'kubelet_running_containers')).toEqual([
      [{ container_state: 'running' }, 2],
    ]);
    expect(values(families, 'node_thermal_zone_temp')).toEqual([[{ type: 'cpu-thermal' }, 61.2]]);
    const throttled = values(families, 'flotilla_node_throttled').filter(
      ([, value]) => value === 1,
    );
    expect(throttled.map(([given]) => given)).toEqual([
      { reason: 'under-voltage', when: 'now' },
      { reason: 'under-voltage', when: 'since-boot' },
      { reason: 'throttled', when: 'since-boot' },
    ]);
  });

  it('count the verdicts of probes while their pod is here', () => {
    const families = parsePrometheusText(own.probesText());
    const found = values(families, 'prober_probe_total').map(([labels, value]) => [
      (labels as Record<string, string>)['result'],
      value,
    ]);
    expect(found).toEqual([
      ['successful', 1],
      ['failed', 1],
    ]);
    own.forgetPod('u1');
    expect(own.probesText()).toBe('');
  });
});

describe('the text format', () => {
  it('escapes what labels and help texts may hold', () => {
    const hostile = 'a"b\\c\nd,e="f"}';
    const metric = { name: 'm', help: 'h\\ \n', type: 'gauge' as const };
    const text = exposition([{ ...metric, samples: [[{ x: hostile, y: '' }, 1]] }]);
    expect(values(parsePrometheusText(text), 'm')).toEqual([[{ x: hostile, y: '' }, 1]]);
  });

  it('puts each value of a histogram under its bound, the largest under none', () => {
    const histogram = new Histogram([1, 2]);
    for (const value of [0.5, 1, 1.5, 99]) histogram.observe({ a: 'b' }, value);
    const text = exposition([histogram.metric('h', 'help')]);
    const found = parsePrometheusText(text).get('h') ?? [];
    expect(found.map(({ value }) => value)).toEqual([2, 3, 4, 102, 4]);
  });

  const broken = [
    'm 1',
    '# HELP m h\n# TYPE m gauge\nm 1',
    '# HELP m h\n# TYPE m gauge\nm{x="1",x="2"} 1\n',
    '# HELP m h\n# TYPE m gauge\nm{x="\\t"} 1\n',
    '# HELP m h\n# TYPE m gauge\nm 1\nm 2\n',
    '# HELP m h\n# TYPE m gauge\n',
    '# HELP m h\n# TYPE m gauge\nother 1\n',
    '# HELP m h\n# TYPE m gauge\nm undefined\n',
    '# HELP m h\n# TYPE m histogram\nm_bucket{le="1"} 2\nm_bucket{le="+Inf"} 1\nm_sum 1\nm_count 1\n',
  ];
  it.each(broken)('is refused by the reader: %j', (text) => {
    expect(() => parsePrometheusText(text)).toThrow();
  });
});
