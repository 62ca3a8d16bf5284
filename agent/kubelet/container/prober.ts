// Runs the probes of running containers on their own timers and remembers the verdicts. A verdict
// that changes wakes the pod's worker; what follows from it is decided in pod-actions.ts.
// Source: kubernetes pkg/kubelet/prober/{worker,prober_manager}.go.
import type { Container, Pod, Probe } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { AgentMetrics } from '../../metrics/agent-metrics.ts';
import type { ContainerStatus } from '../../runtime/runtime.ts';
import type { ProbeResults } from '../pod/pod-actions.ts';
import { containerReference } from './event-target.ts';
import type { ProbeRunner, ProbeTarget } from './probe.ts';

export interface ProberDeps {
  readonly runner: ProbeRunner;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly random: Random;
  readonly onChange: (podUid: string) => void;
  readonly metrics?: Pick<AgentMetrics, 'probe' | 'forgetPod'>;
}

type ProbeType = 'startup' | 'liveness' | 'readiness';
const probeTypes: readonly ProbeType[] = ['startup', 'liveness', 'readiness'];
const titles = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' } as const;

interface Worker {
  readonly type: ProbeType;
  readonly probe: Probe;
  readonly pod: Pod;
  readonly target: ProbeTarget;
  readonly startedAtMs: number;
  timer: Timer | undefined;
  isStopped: boolean;
  verdict: boolean | undefined;
  lastOutcome: boolean | undefined;
  sameInRow: number;
}

export class Prober {
  readonly #deps: ProberDeps;
  /** By pod uid, then `<container id> <type>`. */
  readonly #pods = new Map<string, Map<string, Worker>>();

  constructor(deps: ProberDeps) {
    this.#deps = deps;
  }

  /** Probes exactly these running containers of the pod from now on. */
  sync(pod: Pod, running: readonly ContainerStatus[], podIp: string): void {
    const uid = pod.metadata.uid ?? '';
    const before = this.#pods.get(uid) ?? new Map<string, Worker>();
    const after = new Map<string, Worker>();
    const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
    for (const status of running) {
      const container = containers.find((entry) => entry.name === status.name);
      if (container === undefined) continue;
      for (const type of probeTypes) {
        const probe = probeOf(container, type);
        if (probe === undefined) continue;
        const key = `${status.id} ${type}`;
        const target = { container, containerId: status.id, podIp };
        after.set(key, before.get(key) ?? this.#start(pod, { type, probe, target, status }));
      }
    }
    for (const [key, worker] of before) if (!after.has(key)) stop(worker);
    if (after.size > 0) this.#pods.set(uid, after);
    else this.#pods.delete(uid);
  }

  forget(podUid: string): void {
    for (const worker of this.#pods.get(podUid)?.values() ?? []) stop(worker);
    this.#pods.delete(podUid);
    this.#deps.metrics?.forgetPod(podUid);
  }

  stop(): void {
    for (const uid of this.#pods.keys()) this.forget(uid);
  }

  results(podUid: string, containerName: string): ProbeResults {
    const result: { -readonly [type in ProbeType]?: boolean } = {};
    for (const worker of this.#pods.get(podUid)?.values() ?? [])
      if (worker.target.container.name === containerName && worker.verdict !== undefined)
        result[worker.type] = worker.verdict;
    return result;
  }

  #start(
    pod: Pod,
    given: { type: ProbeType; probe: Probe; target: ProbeTarget; status: ContainerStatus },
  ): Worker {
    const { type, probe, target, status } = given;
    const { clock, random } = this.#deps;
    const startedAtMs = status.startedAtMs;
    const worker: Worker = {
      type,
      probe,
      pod,
      target,
      startedAtMs,
      timer: undefined,
      isStopped: false,
      verdict: undefined,
      lastOutcome: undefined,
      sameInRow: 0,
    };
    const dueMs = startedAtMs + (probe.initialDelaySeconds ?? 0) * 1000 - clock.now();
    // An agent that restarts finds many containers at once: their probes are spread out.
    const wasRunning = clock.now() - startedAtMs > periodMs(probe);
    const firstMs = wasRunning ? random.next() * periodMs(probe) : 0;
    this.#schedule(worker, Math.max(dueMs, firstMs));
    return worker;
  }

  #schedule(worker: Worker, delayMs: number): void {
    worker.timer = this.#deps.clock.timer(delayMs, () => void this.#probe(worker));
  }

  async #probe(worker: Worker): Promise<void> {
    const { runner } = this.#deps;
    if (!this.#mayRun(worker)) return this.#schedule(worker, periodMs(worker.probe));
    const timeoutMs = (worker.probe.timeoutSeconds ?? 1) * 1000;
    const startMs = this.#deps.clock.monotonicMs();
    const outcome = await runner.run(worker.probe, worker.target, timeoutMs);
    if (worker.isStopped) return;
    this.#count(worker, outcome.isSuccess, this.#deps.clock.monotonicMs() - startMs);
    worker.sameInRow = outcome.isSuccess === worker.lastOutcome ? worker.sameInRow + 1 : 1;
    worker.lastOutcome = outcome.isSuccess;
    if (!outcome.isSuccess) this.#report(worker, 'Unhealthy', `failed: ${outcome.output}`);
    else if (outcome.warning !== undefined)
      this.#report(worker, 'ProbeWarning', `warning: ${outcome.warning}`);
    const threshold = outcome.isSuccess
      ? (worker.probe.successThreshold ?? 1)
      : (worker.probe.failureThreshold ?? 3);
    if (worker.sameInRow >= threshold) this.#decide(worker, outcome.isSuccess);
    if (!isSettled(worker)) this.#schedule(worker, periodMs(worker.probe));
  }

  /** Liveness and readiness wait for the startup probe. */
  #mayRun(worker: Worker): boolean {
    if (worker.type === 'startup' || worker.target.container.startupProbe === undefined)
      return true;
    const { name } = worker.target.container;
    return this.results(worker.pod.metadata.uid ?? '', name).startup === true;
  }

  #decide(worker: Worker, verdict: boolean): void {
    if (worker.verdict === verdict) return;
    worker.verdict = verdict;
    const uid = worker.pod.metadata.uid ?? '';
    // What waited for the startup probe goes ahead at once.
    if (worker.type === 'startup' && verdict)
      for (const other of this.#pods.get(uid)?.values() ?? [])
        if (other.target.containerId === worker.target.containerId && other.type !== 'startup') {
          other.timer?.cancel();
          this.#schedule(other, 0);
        }
    this.#deps.onChange(uid);
  }

  #count({ pod, type, target }: Worker, isSuccess: boolean, tookMs: number): void {
    const { name, namespace = '', uid = '' } = pod.metadata;
    const container = target.container.name;
    const labels = { pod: name, namespace, podUid: uid, container, type: titles[type] };
    this.#deps.metrics?.probe(labels, isSuccess ? 'successful' : 'failed', tookMs / 1000);
  }

  #report({ type, pod, target }: Worker, reason: string, what: string): void {
    const about = containerReference(pod, target.container.name);
    this.#deps.events.event(about, 'Warning', reason, `${titles[type]} probe ${what}`);
  }
}

/** A container that started, or is about to be restarted, needs no more of this probe. */
function isSettled({ type, verdict }: Worker): boolean {
  if (type === 'startup') return verdict !== undefined;
  return type === 'liveness' && verdict === false;
}

function stop(worker: Worker): void {
  worker.isStopped = true;
  worker.timer?.cancel();
}

function probeOf(container: Container, type: ProbeType): Probe | undefined {
  if (type === 'startup') return container.startupProbe;
  return type === 'liveness' ? container.livenessProbe : container.readinessProbe;
}

function periodMs(probe: Probe): number {
  return (probe.periodSeconds ?? 10) * 1000;
}
