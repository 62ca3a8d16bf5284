// The agent starts without V8's compilers (electron/platform/supervisor.ts), as it computes little. What it
// passes on for others is worth their ten megabytes: a request takes a third of the processor. No way back.
import { setFlagsFromString } from 'node:v8';
import type { Clock } from '#kube/base/clock.ts';

let areUsed = false;

export function useCompilers(): void {
  if (areUsed) return;
  areUsed = true;
  for (const flag of ['--sparkplug', '--maglev', '--turbofan']) setFlagsFromString(flag);
  // What was compiled stays: or each burst of requests after some quiet seconds is interpreted again.
  setFlagsFromString('--no-flush-bytecode');
}

const callsInSight = 1000;

/** Of what is always there and mostly idle: asks for them when it has to do with five hundred calls a second. */
export class Demand {
  readonly #clock: Clock;
  readonly #onHigh: () => void;
  #calls = 0;
  #sinceMs = -Infinity;

  constructor(clock: Clock, onHigh = useCompilers) {
    this.#clock = clock;
    this.#onHigh = onHigh;
  }

  /** One call more. */
  note(): void {
    if (++this.#calls < callsInSight) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#sinceMs < 2 * callsInSight) this.#onHigh();
    this.#calls = 0;
    this.#sinceMs = nowMs;
  }
}
