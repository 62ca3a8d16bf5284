// The driver's neighbours as narrow interfaces: the log on disk, the peers, the state that entries
// are applied to. The real ones are beside this file; a simulation brings its own.
// Callbacks instead of promises where order matters: between two events nothing else runs.
import type {
  Entry,
  HardState,
  MemberId,
  Membership,
  Message,
  SnapshotMark,
} from '../raft/types.ts';
import type { Acknowledged, Announcement } from './announcements.ts';

/** One directory of files, as little of it as the log and received snapshots need. */
export interface Disk {
  /**
   * Names, in no order. Only at start: it holds things up, because what a killed process left in
   * memory is flushed first. Whoever relies on a name must not lose it with the next power cut.
   */
  list(): readonly string[];
  /** The whole file, flushed first, too. Only at start. Throws when it can't be read. */
  read(name: string): Uint8Array;
  /** Opens for writing; makes it when it does not exist. Every write is durable when it is done (O_DSYNC). */
  open(name: string): DiskFile;
  /**
   * Replaces `to`. When it is done, it is durable, and so are the makings and removals before it.
   * `done` is never called synchronously.
   */
  rename(from: string, to: string, done: (error?: Error) => void): void;
  /** At once; but a crash may bring the file back until the next rename is done. */
  remove(name: string): void;
}

export interface DiskFile {
  /** One at a time. `done` is never called synchronously. */
  write(bytes: Uint8Array, offset: number, done: (error?: Error) => void): void;
  sizeBytes(): number;
  close(): void;
}

export interface LogBatch {
  readonly hardState: HardState | undefined;
  /** Ascending; what the log held from the first one's index on is discarded. */
  readonly entries: readonly Entry[];
  /** The log begins anew behind this snapshot, which the state machine holds durably. */
  readonly snapshot: SnapshotMark | undefined;
  readonly mustSync: boolean;
}

export interface RecoveredLog {
  readonly hardState: HardState;
  /** Where the log begins: index and term of the entry before the first. */
  readonly start: { readonly index: number; readonly term: number };
  readonly entries: readonly Entry[];
}

/**
 * HardState and entries on disk. Any error but one is fatal: the disk's state is unknown, nothing
 * is retried. A LogFullError (log-errors.ts) is the one: the disk is full and the batch, or what
 * is left of it, was not written; the same batch may be written again later.
 */
export interface LogStorage {
  /** One at a time; `done` is never called synchronously. */
  write(batch: LogBatch, done: (error?: Error) => void): void;
  /**
   * False while the disk has no room for the next segment. What is left of this one is for deletes
   * and compaction: whoever may refuse growth should, so that `write` never meets a full disk.
   */
  hasRoom(): boolean;
  /**
   * Entries up to and including `index`, which the log must hold, may be forgotten. Their space is
   * used again once a later write has made that durable.
   */
  compact(index: number): void;
  close(): void;
}

export interface AppliedCommand {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

/** What of the log the state holds. */
export type AppliedMark = SnapshotMark;

/** A consistent copy of the state, to be streamed to a peer or into a file. */
export interface SnapshotSource {
  readonly mark: SnapshotMark;
  readonly sizeBytes: number;
  chunks(): AsyncIterable<Uint8Array>;
  /** Gives the copy up. */
  close(): void;
}

/** A snapshot a peer sent, whole, checked and durable, waiting to be installed. */
export interface ReceivedSnapshot {
  readonly mark: SnapshotMark;
  /** Throws it away. */
  discard(): void;
}

/**
 * What committed entries are applied to. Deterministic: the same entries give the same state and
 * results on every member; no clock, randomness or locale.
 */
export interface StateMachine<Result> {
  /** The newest applied mark; at open: the one that survived. */
  applied(): AppliedMark;
  /** Of a snapshot that was installed, until the state moves on: only such a one may be ahead of the log. */
  readonly installedIndex: number | undefined;
  /**
   * Applies commands in order and moves the mark (which may be ahead of the last command: noops and
   * memberships move it too). Result i is command i's. Does not wait for the disk. Throws only
   * by a programmer's error or a broken disk: the process ends.
   */
  apply(commands: readonly AppliedCommand[], mark: AppliedMark): readonly Result[];
  /** The index up to which the state survives a crash without the log. */
  durableIndex(): number;
  /** Makes the state durable up to what is applied now, soon; durableIndex tells when. */
  flush(): void;
  /** A copy of the state as it is now, durable or not. It must not hold up `apply`. */
  snapshot(): Promise<SnapshotSource>;
  /** Takes in a peer's snapshot: verifies it and makes it durable, beside the state in use. */
  receive(mark: SnapshotMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot>;
  /** Replaces the state by a received one, durably; `done` is never called synchronously. */
  install(received: ReceivedSnapshot, done: (error?: Error) => void): void;
  /** Keeps what is applied, durably unless the disk fails: the log has it then. */
  close(): void;
}

export interface PeerHandlers {
  onMessage(message: Message): void;
  /** Messages to the peer were dropped, or its connection broke. */
  onUnreachable(peer: MemberId): void;
  /** A peer streams a snapshot. Resolves when it is received; a rejection tells the peer. */
  onSnapshot(from: MemberId, mark: SnapshotMark, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /** The cluster does not know this member any more, says a peer. */
  onRemoved(by: MemberId): void;
  /** This member has lost what it promised, says a peer, in a sentence for a person. */
  onLostData(by: MemberId, sentence: string): void;
  /** What the peer has acknowledged to this member; undefined: this one does not lead. */
  acknowledged(peer: MemberId): Acknowledged | undefined;
}

/** Carries messages. Loses them rather than wait; never duplicates or reorders proposals. */
export interface PeerTransport {
  start(handlers: PeerHandlers): void;
  send(message: Message): void;
  /** Resolves when the peer holds it durably. */
  sendSnapshot(to: MemberId, source: SnapshotSource): Promise<void>;
  /**
   * Whom to know, and whom not any more; addresses may change while running. Who is let in goes by
   * `agreed`, which is committed: by a removal that never comes about, the leader that undoes it would
   * be kept out for ever.
   */
  setMembership(membership: Membership, agreed?: Membership): void;
  /** What the peer said of itself; undefined: nothing yet. */
  announced(peer: MemberId): Announcement | undefined;
  close(): void;
}

/** Nothing happened, and nothing will: no leader, too much waiting, closed. */
export class ReplicaUnavailableError extends Error {
  override readonly name = 'ReplicaUnavailableError';
}

/**
 * This member has to stop, and starting it again would end the same way: the message is a sentence
 * that tells a person what to do.
 */
export class CannotGoOnError extends Error {
  override readonly name = 'CannotGoOnError';
}

/** The proposal may or may not happen. */
export class ProposalUnknownError extends Error {
  override readonly name = 'ProposalUnknownError';
}
