// Takes one pod's steps one after another: whatever happens only wakes it, and it goes on until nothing
// is left to look at. An error is tried again later and later.
// Source: kubernetes pkg/kubelet/pod_workers.go (podWorkerLoop, completeWork).
import type { Clock, Timer } from '#kube/base/clock.ts';

export interface PodWorkerLoopDeps {
  readonly clock: Pick<Clock, 'timer'>;
  /** Milliseconds until the next one; undefined: when something happens. */
  readonly step: () => Promise<number | undefined>;
  /** What follows: another step at once, after a while, or when somebody wakes it. */
  readonly onError: (error: unknown) => 'again' | 'backOff' | 'wait';
}

const errorRetryMs = { first: 500, max: 10_000 };

export class PodWorkerLoop {
  readonly #deps: PodWorkerLoopDeps;
  #isDirty = false;
  #isRunning = false;
  #isStopped = false;
  #errorsInRow = 0;
  #timer: Timer | undefined;

  constructor(deps: PodWorkerLoopDeps) {
    this.#deps = deps;
  }

  /** Something may have changed. Never waits. */
  wake(): void {
    this.#isDirty = true;
    if (this.#isRunning || this.#isStopped) return;
    this.#isRunning = true;
    void this.#run();
  }

  /** The step under way is the last. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    while (this.#isDirty && !this.#isStopped) {
      this.#isDirty = false;
      this.#timer?.cancel();
      try {
        const retryAfterMs = await this.#deps.step();
        this.#errorsInRow = 0;
        if (retryAfterMs !== undefined) this.#wakeAfter(retryAfterMs);
      } catch (error) {
        if (!this.#isStopped) this.#onError(error);
      }
    }
    this.#isRunning = false;
  }

  #onError(error: unknown): void {
    const next = this.#deps.onError(error);
    if (next === 'wait') return;
    if (next === 'again') return this.#wakeAfter(0);
    this.#wakeAfter(Math.min(errorRetryMs.first * 2 ** this.#errorsInRow++, errorRetryMs.max));
  }

  #wakeAfter(delayMs: number): void {
    if (this.#isStopped) return;
    if (delayMs <= 0) this.#isDirty = true;
    else this.#timer = this.#deps.clock.timer(delayMs, () => this.wake());
  }
}
