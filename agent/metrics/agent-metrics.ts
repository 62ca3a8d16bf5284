// What the agent counts of its own work, under the kubelet's names: /metrics and /metrics/probes.
// Labels are of pods that are here or from short lists, never what a client wrote, so their number
// is bounded.
// Source: kubernetes pkg/kubelet/metrics/metrics.go, pkg/kubelet/prober/prober_manager.go.
import type { Sample } from './collector.ts';
import { throttleReasons, type MachineHealth } from './machine-health.ts';
import { Counter, exposition, Histogram, type Metric } from './prometheus.ts';

/** Seconds. */
const requestBounds = [0.005, 0.025, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 45, 60];
const operationBounds = [0.005, 0.0125, 0.03, 0.08, 0.2, 0.5, 1.2, 3, 8, 20, 50, 120, 300, 750];
const probeBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface ProbeLabels {
  readonly pod: string;
  readonly namespace: string;
  readonly container: string;
  readonly podUid: string;
  /** `Liveness`, `Readiness`, `Startup`. */
  readonly type: string;
}

/** What is asked of others when the page is. */
export interface AgentState {
  readonly nodeName: string;
  readonly sample: Sample;
  readonly process: {
    readonly cpuSeconds: number;
    readonly residentBytes: number;
    readonly startedAtMs: number;
  };
  /** Until the server's certificate is over. */
  readonly certificateSeconds: number;
}

export class AgentMetrics {
  readonly #requests = new Counter();
  readonly #requestSeconds = new Histogram(requestBounds);
  readonly #operations = new Counter();
  readonly #operationErrors = new Counter();
  readonly #operationSeconds = new Histogram(operationBounds);
  readonly #probes = new Counter();
  readonly #probeSeconds = new Histogram(probeBounds);

  /** `path`: the route, not what was asked for. `seconds` is left out for what streams. */
  request(method: string, path: string, seconds: number | undefined): void {
    const labels = {
      long_running: String(seconds === undefined),
      method,
      path,
      server_type: 'readwrite',
    };
    this.#requests.add(labels);
    if (seconds !== undefined) this.#requestSeconds.observe(labels, seconds);
  }

  operation(type: string, seconds: number, isError: boolean): void {
    const labels = { operation_type: type };
    this.#operations.add(labels);
    if (isError) this.#operationErrors.add(labels);
    this.#operationSeconds.observe(labels, seconds);
  }

  probe(
    { pod, namespace, container, podUid, type }: ProbeLabels,
    result: 'successful' | 'failed',
    seconds: number,
  ): void {
    const labels = { container, namespace, pod, pod_uid: podUid, probe_type: type };
    this.#probes.add({ ...labels, result });
    this.#probeSeconds.observe(labels, seconds);
  }

  /** Its series end with it. */
  forgetPod(uid: string): void {
    this.#probes.forget(({ pod_uid }) => pod_uid === uid);
    this.#probeSeconds.forget(({ pod_uid }) => pod_uid === uid);
  }

  probesText(): string {
    return exposition([
      this.#probes.metric(
        'prober_probe_total',
        'Cumulative number of a liveness, readiness or startup probe for a container by result.',
      ),
      this.#probeSeconds.metric(
        'prober_probe_duration_seconds',
        'Duration in seconds for a probe response.',
      ),
    ]);
  }

  text(state: AgentState): string {
    return exposition([
      ...stateMetrics(state),
      ...healthMetrics(state.sample.node),
      this.#requests.metric(
        'kubelet_http_requests_total',
        'Number of the http requests received since the server started',
      ),
      this.#requestSeconds.metric(
        'kubelet_http_requests_duration_seconds',
        'Duration in seconds to serve http requests',
      ),
      this.#operations.metric(
        'kubelet_runtime_operations_total',
        'Cumulative number of runtime operations by operation type.',
      ),
      this.#operationErrors.metric(
        'kubelet_runtime_operations_errors_total',
        'Cumulative number of runtime operation errors by operation type.',
      ),
      this.#operationSeconds.metric(
        'kubelet_runtime_operations_duration_seconds',
        'Duration in seconds of runtime operations. Broken down by operation type.',
      ),
    ]);
  }
}

function gauge(name: string, help: string, samples: Metric['samples']): Metric {
  return { name, help, type: 'gauge', samples };
}

function stateMetrics({ nodeName, sample, process, certificateSeconds }: AgentState): Metric[] {
  const { pods } = sample;
  const containers = pods.reduce((sum, pod) => sum + pod.containers.length, 0);
  return [
    gauge('kubelet_node_name', "The node's name. The count is always 1.", [
      [{ node: nodeName }, 1],
    ]),
    gauge('kubelet_running_pods', 'Number of pods that have a running pod sandbox', [
      [{}, pods.length],
    ]),
    gauge('kubelet_running_containers', 'Number of containers currently running', [
      [{ container_state: 'running' }, containers],
    ]),
    gauge(
      'kubelet_certificate_manager_server_ttl_seconds',
      "Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate.",
      [[{}, certificateSeconds]],
    ),
    {
      name: 'process_cpu_seconds_total',
      help: 'Total user and system CPU time spent in seconds.',
      type: 'counter',
      samples: [[{}, process.cpuSeconds]],
    },
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', [
      [{}, process.residentBytes],
    ]),
    gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.', [
      [{}, process.startedAtMs / 1000],
    ]),
  ];
}

/** Of the machine, under node_exporter's names where it has them. */
function healthMetrics({ load, celsius = {}, throttled }: MachineHealth): Metric[] {
  const [one, five, fifteen] = load ?? [];
  return [
    gauge('node_load1', '1m load average.', [[{}, one]]),
    gauge('node_load5', '5m load average.', [[{}, five]]),
    gauge('node_load15', '15m load average.', [[{}, fifteen]]),
    gauge(
      'node_thermal_zone_temp',
      'Zone temperature in Celsius',
      Object.entries(celsius).map(([type, value]) => [{ type }, value] as const),
    ),
    gauge(
      'flotilla_node_throttled',
      'Whether a Raspberry Pi holds itself back, by reason: now, or ever since it booted.',
      throttled === undefined
        ? []
        : throttleReasons.flatMap((reason) => [
            [{ reason, when: 'now' }, Number(throttled.now.includes(reason))] as const,
            [{ reason, when: 'since-boot' }, Number(throttled.sinceBoot.includes(reason))] as const,
          ]),
    ),
  ];
}
