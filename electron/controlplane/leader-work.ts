// What only one control plane of the cluster does at a time: scheduler, controllers, compaction. It
// begins when this process' member leads and ends when it does not any more. Two may overlap for a
// moment, since the old leader learns it last: harmless, because every write names the revision it
// rests on. So there is no Lease to renew, and an idle cluster writes nothing.
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';

export interface LeaderWorkDeps {
  /** Resolves when all that earlier leaders wrote is known here. May reject while there is no majority. */
  readonly catchUp: () => Promise<unknown>;
  /** Runs until `signal` aborts. A rejection is a programmer's error. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

const retryMs = 200;

export class LeaderWork {
  readonly #deps: LeaderWorkDeps;
  #current: AbortController | undefined;
  /** Until the last run has ended: the next one waits for it. */
  #ended: Promise<void> = Promise.resolve();

  constructor(deps: LeaderWorkDeps) {
    this.#deps = deps;
  }

  setLeader(isLeader: boolean): void {
    if (isLeader === (this.#current !== undefined)) return;
    this.#current?.abort();
    this.#current = undefined;
    if (!isLeader) return;
    const abort = new AbortController();
    this.#current = abort;
    this.#ended = this.#ended
      .then(() => this.#lead(abort.signal))
      .catch((error: unknown) => this.#deps.onFatal(error));
  }

  async stop(): Promise<void> {
    this.setLeader(false);
    await this.#ended;
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { catchUp, run, clock, logger } = this.#deps;
    while (!signal.aborted) {
      try {
        await catchUp();
        break;
      } catch (error) {
        logger.debug('The leader has to wait for a majority', { error });
        await delay(clock, retryMs, signal);
      }
    }
    if (signal.aborted) return;
    logger.info('Scheduler and controllers run here');
    await run(signal);
  }
}
