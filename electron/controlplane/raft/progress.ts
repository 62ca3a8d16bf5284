// The leader's view of one other member: what it is known to hold, what to send next, and how much
// may be under way. Three states (etcd-io/raft tracker/, design.md):
// probe      its log is not known: one append at a time, the next after an answer;
// replicate  it follows: appends are pipelined up to the inflight window;
// snapshot   what it lacks is compacted: nothing is sent until the snapshot has arrived.
import type { MemberId, ProgressStatus } from './types.ts';

/** Appends under way to one member, bounded in number and in bytes. A ring: no garbage. */
export class Inflights {
  private readonly maxMessages: number;
  private readonly maxBytes: number;
  private readonly lastIndexes: number[] = [];
  private readonly sizes: number[] = [];
  private head = 0;
  private count = 0;
  private bytes = 0;

  constructor(maxMessages: number, maxBytes: number) {
    this.maxMessages = maxMessages;
    this.maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.count >= this.maxMessages || this.bytes >= this.maxBytes;
  }

  add(lastIndex: number, sizeBytes: number): void {
    const at = (this.head + this.count) % this.maxMessages;
    this.lastIndexes[at] = lastIndex;
    this.sizes[at] = sizeBytes;
    this.count += 1;
    this.bytes += sizeBytes;
  }

  /** Appends that end at or before `index` arrived. */
  arrived(index: number): void {
    while (this.count > 0 && (this.lastIndexes[this.head] ?? 0) <= index) {
      this.bytes -= this.sizes[this.head] ?? 0;
      this.head = (this.head + 1) % this.maxMessages;
      this.count -= 1;
    }
  }

  clear(): void {
    this.head = 0;
    this.count = 0;
    this.bytes = 0;
  }
}

export class Progress {
  readonly id: MemberId;
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  /** Known to be durable there, and the same as here. */
  match = 0;
  next: number;
  /** Heard of since the leader last counted its followers. */
  isActive: boolean;
  /** Nothing more until it answers: a probe is under way, or the window is full. */
  isPaused = false;
  /**
   * The log from here on is kept: a snapshot of at least this index is on its way, or has arrived
   * and is not acknowledged yet. 0: none.
   */
  snapshotIndex = 0;
  /** A regular heartbeat went out: its answer is the time to look whether appends were lost. */
  isCheckDue = false;
  /** The commit index it was told last; what is lost is made up for by heartbeats. */
  commitSent = 0;
  /** The newest round of reads it has confirmed. */
  confirmedRound = 0;
  private readonly inflights: Inflights;

  constructor(id: MemberId, next: number, isActive: boolean, inflights: Inflights) {
    this.id = id;
    this.next = next;
    this.isActive = isActive;
    this.inflights = inflights;
  }

  get isBlocked(): boolean {
    return this.state === 'snapshot' || this.isPaused;
  }

  /** In a full window only empty appends go: they find out whether the others were lost. */
  get mayCarryEntries(): boolean {
    return this.state !== 'replicate' || !this.inflights.isFull;
  }

  becomeProbe(): void {
    this.next = Math.max(this.match + 1, this.snapshotIndex + 1);
    this.commitSent = 0;
    this.enter('probe');
  }

  becomeReplicate(): void {
    this.next = this.match + 1;
    this.snapshotIndex = 0;
    this.enter('replicate');
  }

  /** `index`: the snapshot will be at least that new. */
  becomeSnapshot(index: number): void {
    this.snapshotIndex = index;
    this.enter('snapshot');
  }

  private enter(state: Progress['state']): void {
    this.state = state;
    this.isPaused = false;
    this.inflights.clear();
  }

  /** An append went out, with `count` entries. */
  sent(count: number, sizeBytes: number): void {
    if (this.state === 'probe') {
      this.isPaused = true;
      return;
    }
    if (count > 0) {
      this.next += count;
      this.inflights.add(this.next - 1, sizeBytes);
    }
    this.isPaused = this.inflights.isFull;
  }

  /** It holds everything up to `index`. Returns whether that tells anything new. */
  accepted(index: number): boolean {
    const isNews = index > this.match;
    this.match = Math.max(this.match, index);
    this.next = Math.max(this.next, index + 1);
    if (this.match >= this.snapshotIndex) this.snapshotIndex = 0;
    if (this.state === 'replicate') {
      this.inflights.arrived(index);
      this.isPaused = this.inflights.isFull;
    }
    return isNews || this.state === 'probe';
  }

  /**
   * It refused the append behind `rejected`; the logs may agree at `hint`. Returns whether the
   * answer is news: refusals that come late or twice change nothing.
   */
  rejected(rejected: number, hint: number): boolean {
    if (this.state === 'snapshot' || rejected <= this.match) return false;
    if (this.state === 'probe' && rejected !== this.next - 1) return false;
    const next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.snapshotIndex = 0;
    if (this.state === 'replicate') this.enter('probe');
    this.isPaused = false;
    this.next = next;
    return true;
  }

  status(): ProgressStatus {
    const { id, state, match, next, isActive } = this;
    return { id, state, match, next, isActive };
  }
}
