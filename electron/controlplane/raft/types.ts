// The vocabulary of the protocol: what goes into the state machine (Input), what comes out of it
// (Ready), and what members say to each other (Message). Types only.
// Five counters never share a name: index and term here, revision in the store, resourceVersion
// and generation in the API.
// Source: Raft thesis; etcd-io/raft (Ready, progress states), cowsql/raft (one input, one output).
import type { Random } from '#kube/base/random.ts';

/**
 * A member's number: 1 to 2^53 - 1, for all time one member's own. The driver derives it from the
 * member's public key, so that a wiped machine, which has a new key, is a new member.
 */
export type MemberId = number;

/** Only voters count for elections and commits; a learner is sent the log like any other. */
export type MemberRole = 'voter' | 'learner';

export interface Member {
  readonly id: MemberId;
  readonly role: MemberRole;
  /** For people: the machine's name. */
  readonly name: string;
  /** `host:port`, best first. Hints only: the member is known by its key. */
  readonly addresses: readonly string[];
  /** Of the disk it joined with; absent until it said so. The protocol does not look at it. */
  readonly incarnation?: string;
  /** The newest version of entries that its release knows; absent: the first. The same. */
  readonly entryVersion?: number;
}

/** Who takes part. A membership is in force from the moment its entry is *appended* (thesis §4.1). */
export interface Membership {
  /** By id, ascending. */
  readonly members: readonly Member[];
  /** Who was a member, the last to leave at the end: never one again. */
  readonly removed?: readonly MemberId[];
}

/** `membership`: data is an encoded Membership (membership.ts), whole, not a difference. */
export type EntryKind = 'command' | 'membership' | 'noop';

export interface Entry {
  /** From 1, without gaps. */
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  /** Empty for a noop. Never changed after it was handed over. */
  readonly data: Uint8Array;
}

/** What must survive a crash besides the entries. */
export interface HardState {
  readonly term: number;
  /** Whom this member voted for in `term`; 0: nobody. */
  readonly vote: MemberId;
  /** A lower bound: a commit that moves alone needs no write. It may be ahead of the last entry. */
  readonly commit: number;
}

/** The state up to and including `index`, whose entries are no longer in the log. */
export interface SnapshotMark {
  readonly index: number;
  readonly term: number;
  /** In force at `index`. */
  readonly membership: Membership;
}

interface Envelope {
  readonly from: MemberId;
  readonly to: MemberId;
  /** Of the sender; for a pre-vote request the term it would campaign in. */
  readonly term: number;
}

export interface VoteRequest extends Envelope {
  readonly type: 'vote';
  /** Asks only whether it would be elected: nobody's term or vote changes. */
  readonly isPreVote: boolean;
  /** The leader asked for this campaign: vote stickiness does not apply. */
  readonly isTransfer: boolean;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface VoteResponse extends Envelope {
  readonly type: 'vote-response';
  readonly isPreVote: boolean;
  readonly isGranted: boolean;
}

export interface AppendRequest extends Envelope {
  readonly type: 'append';
  /** The entry before the first of `entries`. */
  readonly previousIndex: number;
  readonly previousTerm: number;
  readonly entries: readonly Entry[];
  readonly commit: number;
}

export interface AppendResponse extends Envelope {
  readonly type: 'append-response';
  readonly isRejected: boolean;
  /** Accepted: the last index known to match, durable at the sender. Rejected: the request's previousIndex. */
  readonly index: number;
  /** Rejected: where the logs may agree: the sender's last entry with a term ≤ previousTerm. */
  readonly hintIndex: number;
  readonly hintTerm: number;
}

export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat';
  /** At most what the receiver is known to match. */
  readonly commit: number;
  /** The newest round of reads that waits for a majority; 0: none. */
  readonly readRound: number;
}

export interface HeartbeatResponse extends Envelope {
  readonly type: 'heartbeat-response';
  readonly readRound: number;
}

/**
 * Handed to the state machine when the driver holds the whole snapshot, checked and durable. When
 * the Ready that follows has no `snapshot`, it was not needed (the log holds as much): discard it.
 */
export interface SnapshotMessage extends Envelope {
  readonly type: 'snapshot';
  readonly snapshot: SnapshotMark;
}

/** Leadership transfer: campaign now (thesis §3.10). */
export interface TimeoutNow extends Envelope {
  readonly type: 'timeout-now';
}

/** A follower's proposals, sent on to the leader once and never again. */
export interface ProposeRequest extends Envelope {
  readonly type: 'propose';
  readonly proposals: readonly Proposal[];
}

/** The leader did not append them: they certainly never happen. */
export interface ProposeDropped extends Envelope {
  readonly type: 'propose-dropped';
  readonly ids: readonly number[];
  readonly reason: DropReason;
}

/** A follower's question for a linearizable read. */
export interface ReadIndexRequest extends Envelope {
  readonly type: 'read-index';
  readonly id: number;
}

export interface ReadIndexResponse extends Envelope {
  readonly type: 'read-index-response';
  readonly id: number;
  /** What must be applied before the read; undefined: not the leader any more, ask again. */
  readonly index: number | undefined;
}

export type Message =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | SnapshotMessage
  | TimeoutNow
  | ProposeRequest
  | ProposeDropped
  | ReadIndexRequest
  | ReadIndexResponse;

export interface Proposal {
  /** Chosen by the driver, unique among its own also across restarts; comes back when dropped. */
  readonly id: number;
  readonly kind: 'command' | 'membership';
  readonly data: Uint8Array;
}

export type DropReason =
  | 'no-leader'
  | 'transferring'
  | 'too-much-uncommitted'
  /** A membership change while another is not committed, or before the term's first commit. */
  | 'change-in-progress'
  /** A membership that differs from the one in force by more than one voter, or has no voter. */
  | 'invalid-change'
  /** Membership changes are proposed on the leader. */
  | 'not-leader';

export type Input =
  | { readonly type: 'tick' }
  /** Time went by without ticks (a laptop slept): they are dropped, a leader steps down. */
  | { readonly type: 'resumed' }
  | { readonly type: 'message'; readonly message: Message }
  | { readonly type: 'propose'; readonly proposals: readonly Proposal[] }
  /** `id`: unique among this member's reads, also across restarts. */
  | { readonly type: 'read-index'; readonly id: number }
  | { readonly type: 'transfer-leadership'; readonly to: MemberId }
  /** Everything handed out up to this write is durable. Only for writeIds that are not 0. */
  | { readonly type: 'persisted'; readonly writeId: number }
  /** A peer's queue overflowed or its connection broke: probe it. */
  | { readonly type: 'unreachable'; readonly peer: MemberId }
  | { readonly type: 'snapshot-sent'; readonly peer: MemberId; readonly isOk: boolean }
  /**
   * Entries up to and including `index` may be forgotten; the state up to there is durable. Raft
   * forgets less while a peer needs them behind its snapshot: see status().firstIndex.
   */
  | { readonly type: 'compact'; readonly index: number };

export interface ReadState {
  readonly id: number;
  /** The read may be served once this is applied; undefined: leadership was lost, ask again. */
  readonly index: number | undefined;
}

/**
 * What one input led to. The driver's duties, in order: (1) send `messages`; (2) make `snapshot`,
 * then `hardState` and `entries` durable as one write, flushed when `mustSync`; (3) then send
 * `messagesAfterPersist` and step `persisted`; (4) apply `committed`. Later Readys may be merged
 * into a write that has not begun: the newest hardState, all entries, all messages, in order.
 * A snapshot makes void all entries handed out before it.
 */
export interface Ready {
  /** 0: nothing that must be durable. Otherwise ascending. */
  readonly writeId: number;
  /** With writeId 0 only the commit moved: keep it for the next write, or write it at close. */
  readonly hardState: HardState | undefined;
  /** To be appended. Everything the log holds from the first one's index on is discarded. */
  readonly entries: readonly Entry[];
  /** To be installed in place of the whole state and log. */
  readonly snapshot: SnapshotMark | undefined;
  /** True exactly when writeId is not 0. */
  readonly mustSync: boolean;
  readonly messages: readonly Message[];
  /**
   * Promises: votes and acknowledgements. They wait for this write and all before it; with writeId 0
   * for the writes still under way, and when there are none they leave at once.
   */
  readonly messagesAfterPersist: readonly Message[];
  /** In order, each once; committed by a majority and durable here. */
  readonly committed: readonly Entry[];
  readonly reads: readonly ReadState[];
  readonly dropped: readonly { readonly id: number; readonly reason: DropReason }[];
  /** Peers that need a snapshot: the log they lack is compacted. */
  readonly snapshotsWanted: readonly MemberId[];
}

export type RaftRole = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

export interface ProgressStatus {
  readonly id: MemberId;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  readonly match: number;
  readonly next: number;
  /** Heard of within the last election timeout. */
  readonly isActive: boolean;
}

/** What seldom changes. `membership` is another object only when it is another membership. */
export interface Standing {
  readonly role: RaftRole;
  readonly term: number;
  /** 0: unknown. */
  readonly leader: MemberId;
  /** In force: the newest in the log, committed or not. */
  readonly membership: Membership;
}

export interface RaftStatus extends Standing {
  readonly id: MemberId;
  readonly commit: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly isMembershipCommitted: boolean;
  /** The member leadership is being handed to; 0: none. */
  readonly transferTo: MemberId;
  /** The leader's view of the others; empty elsewhere. */
  readonly progress: readonly ProgressStatus[];
}

export interface RaftConfig {
  readonly id: MemberId;
  /** A follower that hears nothing for [electionTicks, 2 × electionTicks) campaigns. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Bytes of entries in one append; one entry may be larger. */
  readonly messageBytesMax: number;
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Bytes a leader holds uncommitted before it drops proposals. */
  readonly uncommittedBytesMax: number;
  /** For election timeouts. */
  readonly random: Random;
}

/** What a member starts from: its state's mark, and the log after it. */
export interface RaftStart {
  readonly hardState: HardState;
  /**
   * The log begins behind it. Index 0 for a member that has nothing yet. The membership may be
   * newer, up to that in force at appliedIndex.
   */
  readonly snapshot: SnapshotMark;
  readonly entries: readonly Entry[];
  /** Applied already: entries up to here are not handed out again. At least snapshot.index. */
  readonly appliedIndex: number;
}
