// One member as scripts see it: a Raft with a disk that loses what was not made durable, and with
// the driver's duties done in the order that Ready states.
import { decodeMembership } from '../../electron/controlplane/raft/membership.ts';
import { Raft } from '../../electron/controlplane/raft/raft.ts';
import type {
  Entry,
  HardState,
  Input,
  MemberId,
  Membership,
  Message,
  RaftConfig,
  RaftStatus,
  Ready,
  SnapshotMark,
} from '../../electron/controlplane/raft/types.ts';
import { formatEntries, formatMembership, formatReadIndex } from './raft-format.ts';

export type Disk = 'fast' | 'slow';

export class ScriptMember {
  readonly id: MemberId;
  readonly config: RaftConfig;
  disk: Disk = 'fast';
  isUp = true;
  private raft: Raft;
  private hardState: HardState;
  /** Handed out last, durable or not. */
  private told: HardState;
  private start: SnapshotMark;
  private entries: Entry[] = [];
  private pending: Ready[] = [];
  private applied: SnapshotMark;
  private readonly trace: (line: string) => void;
  private readonly network: (message: Message) => void;

  constructor(
    config: RaftConfig,
    start: SnapshotMark,
    trace: (line: string) => void,
    network: (message: Message) => void,
  ) {
    this.id = config.id;
    this.config = config;
    this.start = start;
    this.applied = start;
    this.hardState = { term: start.term, vote: 0, commit: start.index };
    this.told = this.hardState;
    this.trace = trace;
    this.network = network;
    this.raft = this.boot();
  }

  private boot(): Raft {
    const { hardState, start: snapshot, entries } = this;
    return new Raft(this.config, {
      hardState,
      snapshot,
      entries: [...entries],
      appliedIndex: this.applied.index,
    });
  }

  get status(): RaftStatus {
    return this.raft.status();
  }

  /** What a copy of the state would hold now. */
  get mark(): SnapshotMark {
    return this.applied;
  }

  log(): string {
    return formatEntries(this.entries) || 'empty';
  }

  step(input: Input): void {
    const before = this.raft.status();
    const ready = this.raft.step(input);
    this.traceRole(before, this.raft.status());
    for (const message of ready.messages) this.network(message);
    this.traceReady(ready);
    for (const entry of ready.committed) this.apply(entry);
    this.pending.push(ready);
    if (this.disk === 'fast' || this.pending.every(({ writeId }) => writeId === 0)) this.persist();
  }

  /** What waits becomes durable: all, or the first `count` writes. */
  persist(count = Infinity): void {
    let kept = 0;
    const isMeant = this.pending.map(({ writeId }) => (kept += writeId > 0 ? 1 : 0) <= count);
    const ready = this.pending.filter((_, at) => isMeant[at]);
    this.pending = this.pending.filter((_, at) => isMeant[at] !== true);
    let writeId = 0;
    for (const part of ready) {
      this.write(part);
      if (part.writeId > 0) ({ writeId } = part);
    }
    for (const part of ready)
      for (const message of part.messagesAfterPersist) this.network(message);
    if (writeId > 0) this.step({ type: 'persisted', writeId });
  }

  private write({ snapshot, hardState, entries }: Ready): void {
    if (snapshot !== undefined) {
      this.start = snapshot;
      this.applied = snapshot;
      this.entries = [];
    }
    if (hardState !== undefined) this.hardState = hardState;
    const first = entries[0];
    if (first !== undefined) this.entries.length = first.index - this.start.index - 1;
    this.entries.push(...entries);
  }

  private apply(entry: Entry): void {
    const membership: Membership =
      entry.kind === 'membership' ? decodeMembership(entry.data) : this.applied.membership;
    this.applied = { index: entry.index, term: entry.term, membership };
  }

  compact(index: number): void {
    this.step({ type: 'compact', index });
    const last = this.status.firstIndex - 1;
    const at = this.entries.findIndex((entry) => entry.index === last);
    const entry = this.entries[at];
    if (entry === undefined) return;
    this.start = { index: last, term: entry.term, membership: this.applied.membership };
    this.entries.splice(0, at + 1);
  }

  /** What is not durable is gone. */
  crash(): void {
    const lost = this.pending.flatMap(({ entries }) => entries);
    this.trace(lost.length === 0 ? 'nothing lost' : `lost: ${formatEntries(lost)}`);
    this.pending = [];
    this.isUp = false;
  }

  restart(): void {
    this.isUp = true;
    this.told = this.hardState;
    this.raft = this.boot();
  }

  private traceRole(before: RaftStatus, after: RaftStatus): void {
    const isSame =
      before.role === after.role && before.term === after.term && before.leader === after.leader;
    if (!isSame) {
      const follows =
        after.role === 'follower' ? ` of ${after.leader === 0 ? '?' : after.leader}` : '';
      this.trace(`${this.id} is ${after.role}${follows}, term ${after.term}`);
    }
    const [was, is] = [formatMembership(before.membership), formatMembership(after.membership)];
    if (was !== is) this.trace(`${this.id} in force: ${is}`);
  }

  private traceReady(ready: Ready): void {
    const { id } = this;
    const written: string[] = [];
    if (ready.snapshot !== undefined)
      written.push(`snapshot ${ready.snapshot.index}@${ready.snapshot.term}`);
    const { term, vote } = ready.hardState ?? this.told;
    if (term !== this.told.term || vote !== this.told.vote)
      written.push(`term ${term} vote ${vote}`);
    this.told = ready.hardState ?? this.told;
    if (ready.entries.length > 0) written.push(formatEntries(ready.entries));
    if (ready.writeId > 0) this.trace(`${id} writes #${ready.writeId}: ${written.join('; ')}`);
    if (ready.committed.length > 0) this.trace(`${id} applies ${formatEntries(ready.committed)}`);
    this.traceReads(ready);
    for (const dropped of ready.dropped)
      this.trace(`${id} dropped p${dropped.id}: ${dropped.reason}`);
    for (const peer of ready.snapshotsWanted) this.trace(`${id} wants a snapshot sent to ${peer}`);
  }

  private traceReads({ reads }: Ready): void {
    const [first] = reads;
    if (first === undefined) return;
    const last = reads.at(-1) ?? first;
    const ids =
      reads.length > 3
        ? `r${first.id} … r${last.id}`
        : reads.map((read) => `r${read.id}`).join(' ');
    this.trace(`${this.id} read ${ids} ${formatReadIndex(first.index)}`);
  }
}
