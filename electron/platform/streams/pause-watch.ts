// A socket that is not read tells nothing of a peer that has gone: while it is paused for a slow
// reader, something small is sent now and then, which a dead connection answers with an error.
import type { Clock } from '#kube/base/clock.ts';

export const pauseWatchMs = 2_000;

export class PauseWatch {
  readonly #clock: Clock;
  readonly #ping: () => void;
  #timer: ReturnType<Clock['timer']> | undefined;

  constructor(clock: Clock, ping: () => void) {
    this.#clock = clock;
    this.#ping = ping;
  }

  /** Idempotent. */
  start(): void {
    this.#timer ??= this.#clock.timer(pauseWatchMs, () => {
      this.#timer = undefined;
      this.#ping();
      this.start();
    });
  }

  /** Idempotent. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
