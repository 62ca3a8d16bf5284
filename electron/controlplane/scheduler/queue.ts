// Which pod is next. Active pods wait by priority, then age; one that failed waits for an event
// that may help it, and at least its backoff. Holds each pod once, so its bound is the number of pods.
// Source: kubernetes pkg/scheduler/backend/queue/scheduling_queue.go.
import type { Pod } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { ClusterEvent, Plugin } from './framework.ts';
import { uidOf } from './node-info.ts';

export const backoffMs = { initial: 1_000, max: 10_000 };
/** Longest wait for an event: a hint may be wrong. */
export const unschedulableMsMax = 5 * 60_000;

export interface QueuedPod {
  readonly uid: string;
  pod: Pod;
  /** How often it was tried. */
  attempts: number;
  /** Place among pods of the same priority. */
  readonly order: number;
  /** Monotonic time of the last failure. */
  failedMs: number;
  /** Plugins that refused it: their hints decide which events bring it back. */
  refusedBy: ReadonlySet<string>;
}

export interface QueueDeps {
  readonly clock: Clock;
  /** Those whose hints are asked. */
  readonly plugins: readonly Plugin[];
  /** Called when a pod becomes active. */
  readonly onActive: () => void;
}

export class SchedulingQueue {
  readonly #deps: QueueDeps;
  readonly #plugins: ReadonlyMap<string, Plugin>;
  readonly #active = new Map<string, QueuedPod>();
  readonly #backoff = new Map<string, QueuedPod>();
  readonly #unschedulable = new Map<string, QueuedPod>();
  /** Handed out by `pop`, neither placed nor failed yet. */
  readonly #inFlight = new Map<string, QueuedPod>();
  #order = 0;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
    this.#plugins = new Map(deps.plugins.map((plugin) => [plugin.name, plugin]));
  }

  /** Pods by where they wait, for logs and metrics. */
  get sizes(): {
    readonly active: number;
    readonly backoff: number;
    readonly unschedulable: number;
  } {
    return {
      active: this.#active.size,
      backoff: this.#backoff.size,
      unschedulable: this.#unschedulable.size,
    };
  }

  /** A new pod, or a new version of one that waits. */
  put(pod: Pod, isSpecChanged: boolean): void {
    const uid = uidOf(pod);
    const known = this.#find(uid);
    if (known === undefined) {
      const fresh = { uid, pod, attempts: 0, order: this.#order++, failedMs: 0 };
      return this.#activate({ ...fresh, refusedBy: new Set() });
    }
    known.pod = pod;
    // Only its status changed, most often by our own hand: no reason to try again.
    if (isSpecChanged && this.#unschedulable.delete(uid)) this.#retry(known);
  }

  delete(uid: string): void {
    for (const part of this.#parts()) part.delete(uid);
    this.#arm();
  }

  /** The next pod; end it with `done`, `addUnschedulable` or `addBackoff`. */
  pop(): QueuedPod | undefined {
    let next: QueuedPod | undefined;
    for (const queued of this.#active.values())
      if (next === undefined || isBefore(queued, next)) next = queued;
    if (next === undefined) return undefined;
    this.#active.delete(next.uid);
    this.#inFlight.set(next.uid, next);
    next.attempts++;
    return next;
  }

  /** Placed. */
  done(uid: string): void {
    this.#inFlight.delete(uid);
  }

  /** Fits nowhere: waits for an event. Ignored when the pod was deleted meanwhile. */
  addUnschedulable(uid: string, refusedBy: ReadonlySet<string>): void {
    const queued = this.#fail(uid, refusedBy);
    if (queued !== undefined) this.#unschedulable.set(uid, queued);
    this.#arm();
  }

  /** Something went wrong: tried again after its backoff. */
  addBackoff(uid: string): void {
    const queued = this.#fail(uid, new Set());
    if (queued !== undefined) this.#retry(queued);
  }

  /** Tries again the pods that the event may help. */
  move(event: ClusterEvent): void {
    for (const [uid, queued] of this.#unschedulable)
      if (this.#mayHelp(queued, event)) {
        this.#unschedulable.delete(uid);
        this.#retry(queued);
      }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const part of this.#parts()) part.clear();
  }

  #mayHelp({ pod, refusedBy }: QueuedPod, event: ClusterEvent): boolean {
    if (refusedBy.size === 0) return true;
    for (const name of refusedBy) {
      const plugin = this.#plugins.get(name);
      if (plugin?.queueingHint === undefined || plugin.queueingHint(pod, event)) return true;
    }
    return false;
  }

  #fail(uid: string, refusedBy: ReadonlySet<string>): QueuedPod | undefined {
    const queued = this.#inFlight.get(uid);
    if (queued === undefined) return undefined;
    this.#inFlight.delete(uid);
    queued.failedMs = this.#deps.clock.monotonicMs();
    queued.refusedBy = refusedBy;
    return queued;
  }

  /** To the active pods, by way of the backoff it has left. */
  #retry(queued: QueuedPod): void {
    if (readyMs(queued) <= this.#deps.clock.monotonicMs()) return this.#activate(queued);
    this.#backoff.set(queued.uid, queued);
    this.#arm();
  }

  #activate(queued: QueuedPod): void {
    if (this.#isClosed) return;
    this.#active.set(queued.uid, queued);
    this.#deps.onActive();
  }

  /** One timer, for the earliest end of a backoff or of a wait for events. */
  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    let dueMs = Number.POSITIVE_INFINITY;
    for (const queued of this.#backoff.values()) dueMs = Math.min(dueMs, readyMs(queued));
    for (const queued of this.#unschedulable.values())
      dueMs = Math.min(dueMs, queued.failedMs + unschedulableMsMax);
    if (this.#isClosed || dueMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#deps;
    this.#timer = clock.timer(dueMs - clock.monotonicMs(), () => this.#wake());
  }

  #wake(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [uid, queued] of this.#backoff)
      if (readyMs(queued) <= nowMs && this.#backoff.delete(uid)) this.#activate(queued);
    for (const [uid, queued] of this.#unschedulable)
      if (queued.failedMs + unschedulableMsMax <= nowMs && this.#unschedulable.delete(uid))
        this.#activate(queued);
    this.#arm();
  }

  #find(uid: string): QueuedPod | undefined {
    for (const part of this.#parts()) {
      const found = part.get(uid);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #parts(): readonly Map<string, QueuedPod>[] {
    return [this.#active, this.#backoff, this.#unschedulable, this.#inFlight];
  }
}

function readyMs({ attempts, failedMs }: QueuedPod): number {
  const { initial, max } = backoffMs;
  return failedMs + Math.min(max, initial * 2 ** Math.min(attempts - 1, 20));
}

function isBefore(a: QueuedPod, b: QueuedPod): boolean {
  const [left, right] = [a.pod.spec?.priority ?? 0, b.pod.spec?.priority ?? 0];
  return left === right ? a.order < b.order : left > right;
}
