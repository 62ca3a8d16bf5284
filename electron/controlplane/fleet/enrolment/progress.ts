// Tells in `Machine.status.enrolment` how far it is: a few times a second at most, and now and then although nothing is new,
// so that one whose teller is gone is known by its age.
import type { EnrolmentStatus, Machine } from '#kube/api/fleet.ts';
import { delay, rfc3339, type Clock } from '#kube/base/clock.ts';
import { machines } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';

const gapMs = 300;
const heartbeatMs = 15_000;
const abandonedMs = 60_000;
const mostConflicts = 10;
/** For an API that finds itself a new leader. */
const retry = { ms: 1000, times: 30 };

export function isUnderWay({ phase }: EnrolmentStatus): boolean {
  return phase === 'Running' || phase === 'Rebooting';
}

/** Nobody tells of it any more: the process that did it has ended. */
export function isAbandoned(status: EnrolmentStatus, nowMs: number): boolean {
  return isUnderWay(status) && nowMs >= abandonedAt(status);
}

export function abandonedAt({ lastUpdateTime = '' }: EnrolmentStatus): number {
  const ms = Date.parse(lastUpdateTime);
  return Number.isNaN(ms) ? 0 : ms + abandonedMs;
}

export interface ProgressDeps {
  readonly client: RestClient;
  readonly machine: Machine;
  readonly clock: Clock;
  /** The object is gone, or another one has its name. */
  readonly onGone: () => void;
  /** It can't be told; what is done goes on. */
  readonly onError: (error: unknown) => void;
}

export class Progress {
  readonly #deps: ProgressDeps;
  readonly #ended = new AbortController();
  #latest: EnrolmentStatus | undefined;
  #written: EnrolmentStatus | undefined;
  #writing: Promise<void> | undefined;

  constructor(deps: ProgressDeps) {
    this.#deps = deps;
  }

  /** Resolves when it is written. */
  async begin(status: EnrolmentStatus): Promise<void> {
    this.#latest = this.#written = status;
    await this.#put(status);
    void this.#keepTelling();
  }

  tell(status: EnrolmentStatus): void {
    this.#latest = status;
    this.#writing ??= this.#write();
  }

  /** Until `end`. */
  async #keepTelling(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await delay(clock, heartbeatMs, signal);
      if (!signal.aborted && this.#latest !== undefined) this.tell({ ...this.#latest });
    }
  }

  /** Resolves when the last word is written. */
  async end(status: EnrolmentStatus): Promise<void> {
    this.#ended.abort();
    this.tell(status);
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { clock, onError } = this.#deps;
    let failures = 0;
    while (this.#latest !== undefined && this.#latest !== this.#written) {
      const status = this.#latest;
      try {
        await this.#put(status);
      } catch (error) {
        if (failures === 0) onError(error);
        failures += 1;
        if (failures < retry.times) {
          await delay(clock, retry.ms);
          continue;
        }
      }
      failures = 0;
      this.#written = status;
      // The last word does not wait, and nobody waits after it.
      await delay(clock, gapMs, this.#ended.signal);
    }
    this.#writing = undefined;
  }

  async #put(status: EnrolmentStatus): Promise<void> {
    const { client, machine, clock, onGone } = this.#deps;
    const { name, uid } = machine.metadata;
    for (let attempt = 0; ; attempt++) {
      try {
        const found = await client.get(machines, { name });
        if (found.metadata.uid !== uid) return onGone();
        await client.updateStatus(machines, withEnrolment(found, status, clock.now()));
        return;
      } catch (error) {
        if (hasReason(error, 'NotFound')) return onGone();
        if (!hasReason(error, 'Conflict') || attempt >= mostConflicts) throw error;
      }
    }
  }
}

export function withEnrolment(machine: Machine, status: EnrolmentStatus, nowMs: number): Machine {
  const enrolment = { ...status, lastUpdateTime: rfc3339(nowMs) };
  const { nodeName } = status;
  const became = status.phase === 'Done' && nodeName !== undefined ? { nodeName } : {};
  return { ...machine, status: { ...machine.status, enrolment, ...became } };
}
