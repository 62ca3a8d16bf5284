// What one member is, whatever its role: term, vote, log, membership, timers; and what one step
// hands out. Elections, following and leading are functions and classes over it.
// Invariant: everything that is only a leader's, or only a candidate's, lives in `role` and dies
// with it.
// Source: Raft thesis §3; etcd-io/raft raft.go.
import type { Leadership } from './leadership.ts';
import { noEntries, RaftLog } from './log.ts';
import { decodeMembership, MembershipHistory } from './membership.ts';
import { ForwardedReads } from './reads.ts';
import type {
  DropReason,
  Entry,
  HardState,
  MemberId,
  Message,
  RaftConfig,
  RaftStart,
  ReadState,
  Ready,
  SnapshotMark,
} from './types.ts';

export interface Ballot {
  /** Voter → its answer. */
  readonly votes: Map<MemberId, boolean>;
  /** Our own vote counts when this write is durable. 0: it is not handed out yet. */
  writeId: number;
}

export type Role =
  | { readonly kind: 'follower' }
  | { readonly kind: 'pre-candidate' | 'candidate'; readonly ballot: Ballot }
  | { readonly kind: 'leader'; readonly leadership: Leadership };

const follower: Role = { kind: 'follower' };
const none: readonly never[] = [];
const nothing: Ready = {
  writeId: 0,
  hardState: undefined,
  entries: none,
  snapshot: undefined,
  mustSync: false,
  messages: none,
  messagesAfterPersist: none,
  committed: none,
  reads: none,
  dropped: none,
  snapshotsWanted: none,
};

/** What is handed out never changes: the empty list is one and the same. */
function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list;
}

interface Dropped {
  readonly id: number;
  readonly reason: DropReason;
}

export class Core {
  readonly config: RaftConfig;
  readonly log: RaftLog;
  readonly memberships: MembershipHistory;
  readonly forwardedReads = new ForwardedReads();
  role: Role = follower;
  term: number;
  vote: MemberId;
  /** 0: unknown. */
  leader: MemberId = 0;
  /** Ticks since a leader was heard of, or the timer was armed; a leader's since its last count. */
  electionElapsed = 0;
  /** Drawn anew whenever the timer is armed. */
  electionTimeout = 0;

  private written: HardState;
  private lastWriteId = 0;
  /** The write that holds a snapshot; 0: none is under way. */
  private snapshotWriteId = 0;

  private messages: Message[] = [];
  private messagesAfterPersist: Message[] = [];
  private reads: ReadState[] = [];
  private dropped: Dropped[] = [];
  private snapshotsWanted: MemberId[] = [];
  private snapshot: SnapshotMark | undefined;

  constructor(config: RaftConfig, start: RaftStart) {
    this.config = config;
    this.log = new RaftLog(start.snapshot, start.entries);
    this.memberships = new MembershipHistory(start.snapshot.index, start.snapshot.membership);
    for (const entry of start.entries) this.activate(entry);
    this.term = start.hardState.term;
    this.vote = start.hardState.vote;
    this.written = start.hardState;
    this.log.startAt(start.hardState.commit, start.appliedIndex);
    this.armElectionTimer();
  }

  get id(): MemberId {
    return this.config.id;
  }

  get isVoter(): boolean {
    return this.memberships.voters.includes(this.id);
  }

  get isOnlyVoter(): boolean {
    return this.memberships.voters.length === 1 && this.isVoter;
  }

  /** A learner, a stranger and one whose snapshot is not installed yet never campaign. */
  get mayCampaign(): boolean {
    const isReady = this.snapshotWriteId === 0 && this.snapshot === undefined;
    return isReady && this.memberships.mayLead(this.id, this.log.commit);
  }

  get leadership(): Leadership | undefined {
    return this.role.kind === 'leader' ? this.role.leadership : undefined;
  }

  /** A leader was heard of less than the shortest election timeout ago: no campaign is welcome. */
  get trustsLeader(): boolean {
    return this.leader !== 0 && this.electionElapsed < this.config.electionTicks;
  }

  armElectionTimer(): void {
    const { electionTicks, random } = this.config;
    this.electionElapsed = 0;
    this.electionTimeout = electionTicks + Math.floor(random.next() * electionTicks);
  }

  becomeFollower(term: number, leader: MemberId): void {
    this.changeRole(follower, term, leader);
  }

  /** Ends the old role, with everything that was asked of it. */
  changeRole(role: Role, term: number, leader: MemberId): void {
    const { leadership } = this;
    this.role = role;
    if (term !== this.term) {
      this.term = term;
      this.vote = 0;
    }
    this.follow(leader);
    this.armElectionTimer();
    leadership?.resign();
  }

  /** Reads forwarded to another leader are answered: ask again. */
  follow(leader: MemberId): void {
    if (leader === this.leader) return;
    this.leader = leader;
    for (const id of this.forwardedReads.clear()) this.answerRead(id, undefined);
  }

  /** Adds an entry to the log; a membership is in force from here on. */
  append(entry: Entry): void {
    this.log.append(entry);
    this.activate(entry);
  }

  private activate(entry: Entry): void {
    if (entry.kind === 'membership')
      this.memberships.append(entry.index, decodeMembership(entry.data));
  }

  truncateFrom(index: number): void {
    this.log.truncateFrom(index);
    this.memberships.truncateFrom(index);
  }

  restore(snapshot: SnapshotMark): void {
    this.log.restore(snapshot.index, snapshot.term);
    this.memberships.restore(snapshot.index, snapshot.membership);
    this.snapshot = snapshot;
  }

  send(message: Message): void {
    this.messages.push(message);
  }

  /** For promises that hold only when everything handed out so far is durable. */
  sendAfterPersist(message: Message): void {
    this.messagesAfterPersist.push(message);
  }

  answerRead(id: number, index: number | undefined): void {
    this.reads.push({ id, index });
  }

  drop(id: number, reason: DropReason): void {
    this.dropped.push({ id, reason });
  }

  wantSnapshot(peer: MemberId): void {
    this.snapshotsWanted.push(peer);
  }

  persisted(writeId: number): void {
    this.log.persisted(writeId);
    if (this.snapshotWriteId <= writeId) this.snapshotWriteId = 0;
  }

  /** Everything since the last time. */
  takeReady(): Ready {
    const entries = this.log.takeUnsaved();
    const hardState = this.takeHardState();
    const { snapshot } = this;
    const isTermOrVoteNew =
      hardState !== undefined &&
      (hardState.term !== this.written.term || hardState.vote !== this.written.vote);
    if (hardState !== undefined) this.written = hardState;
    const mustSync = entries.length > 0 || snapshot !== undefined || isTermOrVoteNew;
    if (mustSync) this.beginWrite(snapshot);
    const committed = this.log.takeCommitted();
    if (hardState === undefined && !mustSync && committed === noEntries && this.isSilent)
      return nothing;
    const ready: Ready = {
      writeId: mustSync ? this.lastWriteId : 0,
      hardState,
      entries,
      snapshot,
      mustSync,
      messages: orNone(this.messages),
      messagesAfterPersist: orNone(this.messagesAfterPersist),
      committed,
      reads: orNone(this.reads),
      dropped: orNone(this.dropped),
      snapshotsWanted: orNone(this.snapshotsWanted),
    };
    this.startAnew();
    return ready;
  }

  private takeHardState(): HardState | undefined {
    const { term, vote, written } = this;
    const { commit } = this.log;
    if (term === written.term && vote === written.vote && commit === written.commit)
      return undefined;
    return { term, vote, commit };
  }

  private beginWrite(snapshot: SnapshotMark | undefined): void {
    this.lastWriteId += 1;
    this.log.writeBegan(this.lastWriteId);
    if (snapshot !== undefined) this.snapshotWriteId = this.lastWriteId;
    if (this.role.kind === 'candidate' && this.role.ballot.writeId === 0)
      this.role.ballot.writeId = this.lastWriteId;
  }

  private get isSilent(): boolean {
    return (
      this.messages.length === 0 &&
      this.messagesAfterPersist.length === 0 &&
      this.reads.length === 0 &&
      this.dropped.length === 0 &&
      this.snapshotsWanted.length === 0
    );
  }

  /** Arrays that were handed out are never touched again. */
  private startAnew(): void {
    if (this.messages.length > 0) this.messages = [];
    if (this.messagesAfterPersist.length > 0) this.messagesAfterPersist = [];
    if (this.reads.length > 0) this.reads = [];
    if (this.dropped.length > 0) this.dropped = [];
    if (this.snapshotsWanted.length > 0) this.snapshotsWanted = [];
    this.snapshot = undefined;
  }
}
