// The protocol's time: a tick each interval. Missed ticks are dropped, never made up for: after a
// stall, messages that wait must be read before anybody campaigns. After a long gap (a laptop slept)
// nothing is as it was, which is another input.
// A sleep stops the monotonic clock on most systems, so the wall clock is asked, too.
import type { Clock, Timer } from '#kube/base/clock.ts';

export interface TickerDeps {
  readonly clock: Clock;
  /** Asked before each tick. */
  readonly intervalMs: () => number;
  /** A tick that comes this much too late tells of a pause. */
  readonly pauseMs: number;
  readonly onTick: () => void;
  readonly onResumed: () => void;
}

export class Ticker {
  readonly #deps: TickerDeps;
  #timer: Timer | undefined;

  constructor(deps: TickerDeps) {
    this.#deps = deps;
  }

  /** From now on, or anew with another interval. */
  start(): void {
    const { clock, intervalMs } = this.#deps;
    this.#timer?.cancel();
    const expectedMs = intervalMs();
    const [monotonicMs, wallMs] = [clock.monotonicMs(), clock.now()];
    this.#timer = clock.timer(expectedMs, () => {
      const tookMs = Math.max(clock.monotonicMs() - monotonicMs, clock.now() - wallMs);
      this.start();
      if (tookMs > expectedMs + this.#deps.pauseMs) this.#deps.onResumed();
      else this.#deps.onTick();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }
}
