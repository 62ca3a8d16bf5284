// When leases are over. Every member counts, only the leader acts: it proposes to revoke what is
// due. A new leader gives every lease its whole time again, since only the old one was told of the
// last keep-alives: a lease may live longer than promised, never shorter. So a revocation counts only
// in the term it was decided in, and not when the log kept the lease before it; while one is under
// way, or what became of it is unknown, a lease is kept through the log alone, which knows their order.
// Source: etcd server/lease/lessor.go (Promote, primary).
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { LeaseDue } from './commands.ts';

export interface LeaseExpiryDeps {
  readonly state: {
    leases(): readonly number[];
    lease(id: number): { readonly ttlSeconds: number; readonly keptAt: number } | undefined;
  };
  readonly clock: Clock;
  readonly logger: Logger;
  /** In which this member leads. */
  readonly term: () => number | undefined;
  /** Proposes; rejects when it may not have happened. */
  readonly revoke: (id: number, due: LeaseDue) => Promise<unknown>;
}

const retryMs = 1000;

export class LeaseExpiry {
  readonly #deps: LeaseExpiryDeps;
  /** By lease: when it is over, on the monotonic clock. */
  readonly #dueMs = new Map<number, number>();
  /** Their end was proposed, and may come. */
  readonly #ending = new Set<number>();
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
    if (isLeader) for (const id of this.#deps.state.leases()) this.kept(id);
    this.#schedule();
  }

  /** Begins its time anew, on the leader. False: only the log can tell whether it still may. */
  keepNow(id: number): boolean {
    if (this.#deps.term() === undefined || this.#ending.has(id)) return false;
    this.kept(id);
    return true;
  }

  /** A lease's time begins (anew): no end that was decided before counts. */
  kept(id: number): void {
    this.#ending.delete(id);
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
    const { state, clock } = this.#deps;
    this.#timer = undefined;
    this.#isRevoking = true;
    for (const [id, dueMs] of Array.from(this.#dueMs)) {
      if (state.lease(id) === undefined) this.#dueMs.delete(id);
      else if (this.#isLeader && dueMs <= clock.monotonicMs() && this.#dueMs.get(id) === dueMs)
        await this.#end(id);
    }
    this.#isRevoking = false;
    this.#schedule();
  }

  async #end(id: number): Promise<void> {
    const { state, clock, logger, term, revoke } = this.#deps;
    const decidedIn = term();
    const lease = state.lease(id);
    if (decidedIn === undefined || lease === undefined) return;
    this.#ending.add(id);
    try {
      await revoke(id, { term: decidedIn, keptAt: lease.keptAt });
    } catch (error) {
      logger.warn('Could not revoke a lease that is over; tries again', { lease: id, error });
    }
    if (state.lease(id) === undefined) {
      this.#dueMs.delete(id);
      this.#ending.delete(id);
    } else if (this.#ending.has(id)) this.#dueMs.set(id, clock.monotonicMs() + retryMs);
  }
}
