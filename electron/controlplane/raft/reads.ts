// Linearizable reads without a log entry (thesis §6.4): the leader notes its commit index, hears
// from a majority that it still leads, and only then lets the read go at that index.
// Batching is natural: one round is under way, all reads that come meanwhile share the next one.
// Nothing here trusts a clock; there are no lease reads.
import type { MemberId } from './types.ts';

export interface WaitingRead {
  readonly id: number;
  readonly from: MemberId;
}

const none: readonly WaitingRead[] = [];

/** A leader's reads. Rounds are numbered within one term of one leader. */
export class ReadRounds {
  /** For the next round. */
  private waiting: WaitingRead[] = [];
  private running: readonly WaitingRead[] = none;
  private lastRound = 0;
  /** Commit index when the running round began; every read in it was asked for before. */
  private index = 0;

  add(read: WaitingRead): void {
    this.waiting.push(read);
  }

  /** The round that waits for a majority; 0: none. */
  get runningRound(): number {
    return this.running.length === 0 ? 0 : this.lastRound;
  }

  /** Starts a round for all that wait. False: nobody waits, or one is under way. */
  begin(commit: number): boolean {
    if (this.waiting.length === 0 || this.running.length > 0) return false;
    this.lastRound += 1;
    this.index = commit;
    this.running = this.waiting;
    this.waiting = [];
    return true;
  }

  /** A majority confirmed all rounds up to `round`: who may read, and at which index. */
  confirmed(round: number): { readonly reads: readonly WaitingRead[]; readonly index: number } {
    if (this.running.length === 0 || round < this.lastRound)
      return { reads: none, index: this.index };
    const reads = this.running;
    this.running = none;
    return { reads, index: this.index };
  }

  /** Leadership is lost: everybody must ask again. */
  abort(): readonly WaitingRead[] {
    const reads = [...this.running, ...this.waiting];
    this.running = none;
    this.waiting = [];
    return reads;
  }
}

/** A follower's reads that wait for the leader's answer. It may be lost: they grow old. */
export class ForwardedReads {
  /** Id → ticks since it was sent on; oldest first. */
  private readonly ages = new Map<number, number>();

  add(id: number): void {
    this.ages.set(id, 0);
  }

  /** False: it is not waited for (any more). */
  answered(id: number): boolean {
    return this.ages.delete(id);
  }

  /** One tick later. Returns those that waited `maxAge` ticks and are given up. */
  grow(maxAge: number): readonly number[] {
    const old: number[] = [];
    for (const [id, age] of this.ages) {
      if (age + 1 >= maxAge) old.push(id);
      else this.ages.set(id, age + 1);
    }
    for (const id of old) this.ages.delete(id);
    return old;
  }

  clear(): readonly number[] {
    if (this.ages.size === 0) return [];
    const ids = [...this.ages.keys()];
    this.ages.clear();
    return ids;
  }
}
