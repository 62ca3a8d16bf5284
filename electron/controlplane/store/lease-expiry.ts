// When leases are over. Every member counts, only the leader acts: it proposes to revoke what is
// due. A new leader gives every lease its whole time again, since only the old one was told of the
// last keep-alives: a lease may live longer than promised, never shorter.
// Source: etcd server/lease/lessor.go (Promote, primary).
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';

export interface LeaseExpiryDeps {
  readonly state: {
    leases(): readonly number[];
    lease(id: number): { readonly ttlSeconds: number } | undefined;
  };
  readonly clock: Clock;
  readonly logger: Logger;
  /** Proposes; rejects when it may not have happened. */
  readonly revoke: (id: number) => Promise<unknown>;
}

const retryMs = 1000;

export class LeaseExpiry {
  readonly #deps: LeaseExpiryDeps;
  /** By lease: when it is over, on the monotonic clock. */
  readonly #dueMs = new Map<number, number>();
  #isLeader = false;
  #isRevoking = false;
  #timer: Timer | undefined;
  #timerDueMs = 0;

  constructor(deps: LeaseExpiryDeps) {
    this.#deps = deps;
  }

  setLeader(isLeader: boolean): void {
    if (isLeader === this.#isLeader) return;
    this.#isLeader = isLeader;
    if (isLeader) for (const id of this.#deps.state.leases()) this.keep(id);
    this.#schedule();
  }

  /** A lease's time begins (anew). */
  keep(id: number): void {
    const lease = this.#deps.state.lease(id);
    if (lease === undefined) return;
    const dueMs = this.#deps.clock.monotonicMs() + lease.ttlSeconds * 1000;
    this.#dueMs.set(id, dueMs);
    // A timer that fires too early looks again.
    if (this.#timer === undefined || dueMs < this.#timerDueMs) this.#schedule();
  }

  remainingSeconds(id: number): number {
    const ttlSeconds = this.#deps.state.lease(id)?.ttlSeconds ?? 0;
    const dueMs = this.#dueMs.get(id);
    if (dueMs === undefined) return ttlSeconds;
    return Math.max(0, Math.ceil((dueMs - this.#deps.clock.monotonicMs()) / 1000));
  }

  stop(): void {
    this.#isLeader = false;
    this.#schedule();
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (!this.#isLeader || this.#isRevoking || this.#dueMs.size === 0) return;
    this.#timerDueMs = Infinity;
    for (const dueMs of this.#dueMs.values()) this.#timerDueMs = Math.min(this.#timerDueMs, dueMs);
    const delayMs = Math.max(0, this.#timerDueMs - this.#deps.clock.monotonicMs());
    this.#timer = this.#deps.clock.timer(delayMs, () => void this.#revokeDue());
  }

  async #revokeDue(): Promise<void> {
    const { state, clock, logger, revoke } = this.#deps;
    this.#timer = undefined;
    this.#isRevoking = true;
    for (const [id, dueMs] of Array.from(this.#dueMs)) {
      if (state.lease(id) === undefined) this.#dueMs.delete(id);
      else if (this.#isLeader && dueMs <= clock.monotonicMs() && this.#dueMs.get(id) === dueMs)
        try {
          await revoke(id);
          this.#dueMs.delete(id);
        } catch (error) {
          logger.warn('Could not revoke a lease that is over; tries again', { lease: id, error });
          this.#dueMs.set(id, clock.monotonicMs() + retryMs);
        }
    }
    this.#isRevoking = false;
    this.#schedule();
  }
}
