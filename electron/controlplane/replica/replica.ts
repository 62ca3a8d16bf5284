// One member of the group: feeds the protocol with time, messages and what clients ask, has its
// duties carried out, applies what is committed and answers who waits. Everything that happens
// within one turn of the event loop is stepped together: one write, few messages. Callbacks inside,
// so that nothing happens between two steps; promises at the edge.
// Invariant: an answer is given only for what this member's own state has applied. After a fatal
// error nothing is answered at all.
// Source: etcd server/etcdserver/raft.go (start loop).
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { LostEntriesError } from '../raft/following.ts';
import { Raft } from '../raft/raft.ts';
import type {
  HardState,
  Input,
  Member,
  MemberId,
  Membership,
  Message,
  RaftConfig,
  RaftStart,
  RaftStatus,
  Ready,
  Standing,
} from '../raft/types.ts';
import type { Acknowledged, Announcement } from './announcements.ts';
import { Applier } from './applier.ts';
import { CatchUp } from './catch-up.ts';
import { Contacts, type PeerContact } from './contacts.ts';
import { Duties } from './duties.ts';
import type { LogFullError } from './log-errors.ts';
import { defaultLogLimits, LogKeeper, type LogLimits } from './log-keeper.ts';
import { MembershipChanges } from './membership-changes.ts';
import { PendingChange, PendingTransfer } from './pending.ts';
import { Outbox } from './outbox.ts';
import { Proposals } from './proposals.ts';
import { Reads } from './reads.ts';
import { Ticker } from './ticker.ts';
import {
  CannotGoOnError,
  ReplicaUnavailableError,
  type LogStorage,
  type PeerTransport,
  type ReceivedSnapshot,
  type StateMachine,
} from './types.ts';

export interface ReplicaTiming {
  readonly tickMs: number;
  /** Of a member that is alone: nobody waits for its heartbeat. */
  readonly idleTickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** A proposal, read or change that takes longer is given up. */
  readonly patienceMs: number;
}

/** A follower campaigns after 600 to 1,200 ms of silence: about a second without writes. */
export const defaultTiming: ReplicaTiming = {
  tickMs: 50,
  idleTickMs: 1_000,
  electionTicks: 12,
  heartbeatTicks: 2,
  patienceMs: 5_000,
};

const mib = 1024 * 1024;
const protocolLimits = {
  messageBytesMax: mib,
  inflightMessagesMax: 256,
  inflightBytesMax: 8 * mib,
  uncommittedBytesMax: 64 * mib,
};

/** Committed and not applied: beyond it, proposals are refused. */
const unappliedEntriesMax = 5_000;
const fullDiskRetryMs = 1_000;
const notRunning = 'This replica is not running';

export interface ReplicaDeps<Result> {
  readonly id: MemberId;
  /** From bootstrap.ts. */
  readonly start: RaftStart;
  readonly log: LogStorage;
  readonly stateMachine: StateMachine<Result>;
  readonly transport: PeerTransport;
  /** What this member says of itself; left out by tests to whom it is all the same. */
  readonly announcement?: Announcement;
  /** Whom to know before the first membership comes: a joiner's hints. */
  readonly knownMembers?: readonly Member[];
  readonly clock: Clock;
  readonly random: Random;
  /** Calls back soon, behind the events that are ready now, never synchronously. */
  readonly schedule: (work: () => void) => void;
  readonly logger: Logger;
  /** A disk failed, or this program is wrong: the process has to end. */
  readonly onFatal: (error: Error) => void;
  readonly timing?: Partial<ReplicaTiming>;
  readonly logLimits?: Partial<LogLimits>;
  readonly protocolLimits?: Partial<Omit<RaftConfig, 'id' | 'random'>>;
}

export interface ReplicaStatus extends RaftStatus {
  readonly appliedIndex: number;
  /** Up to here the state survives without the log. */
  readonly durableIndex: number;
  readonly logBytes: number;
  readonly waitingProposals: number;
  readonly waitingReads: number;
  /** Of the membership, without this member. */
  readonly peers: readonly PeerContact[];
  /** A member said so, or the membership says it. */
  readonly isRemoved: boolean;
  readonly hasRoom: boolean;
}

type Phase = 'new' | 'running' | 'stopping' | 'ended' | 'failed';

export class Replica<Result> {
  /** Who takes part: changes, on the leader. */
  readonly members: MembershipChanges;
  readonly #deps: ReplicaDeps<Result>;
  readonly #timing: ReplicaTiming;
  readonly #raft: Raft;
  readonly #outbox: Outbox;
  readonly #duties: Duties;
  readonly #proposals: Proposals<Result>;
  readonly #reads: Reads;
  readonly #change = new PendingChange();
  readonly #transfer = new PendingTransfer();
  readonly #applier: Applier<Result>;
  readonly #catchUp: CatchUp;
  readonly #contacts: Contacts;
  readonly #keeper: LogKeeper;
  readonly #ticker: Ticker;
  readonly #listeners = new Set<(standing: Standing) => void>();
  #phase: Phase = 'new';
  #inputs: Input[] = [];
  #isTurnDue = false;
  #seen: Standing;
  /** The committed membership that the transport was told. */
  #agreed: Membership | undefined;
  /** Says a peer. */
  #isRemoved = false;
  /** The disk was full at the last write. */
  #isFull = false;

  constructor(deps: ReplicaDeps<Result>) {
    const { id, start, log, stateMachine, transport, clock, random, logger } = deps;
    this.#deps = deps;
    this.#timing = { ...defaultTiming, ...deps.timing };
    const { electionTicks, heartbeatTicks, tickMs } = this.#timing;
    this.#raft = new Raft(
      { ...protocolLimits, electionTicks, heartbeatTicks, ...deps.protocolLimits, id, random },
      start,
    );
    this.#seen = this.#raft.standing;
    this.#outbox = new Outbox((message) => transport.send(message));
    this.#duties = new Duties({
      log,
      send: (message) => this.#outbox.send(message),
      install: (received, done) => this.#install(received, done),
      persisted: (writeId) => this.#onPersisted(writeId),
      onFull: (error, retry) => this.#onFull(error, retry),
      onFatal: (error) => this.#fail(error),
    });
    this.#proposals = new Proposals({ origin: id, random });
    this.#reads = new Reads(random);
    this.#applier = new Applier({
      stateMachine,
      proposals: this.#proposals,
      change: this.#change,
      reads: this.#reads,
    });
    this.#contacts = new Contacts(clock, 2 * electionTicks * tickMs);
    this.#catchUp = new CatchUp({
      stateMachine,
      transport,
      logger,
      leader: () => this.#raft.standing.leader,
      onReceived: (from, snapshot) => {
        const { term } = this.#raft.standing;
        this.#put({ type: 'message', message: { type: 'snapshot', from, to: id, term, snapshot } });
      },
      onSent: (peer, isOk) => this.#put({ type: 'snapshot-sent', peer, isOk }),
    });
    this.#keeper = new LogKeeper(
      { ...defaultLogLimits, ...deps.logLimits },
      {
        index: start.snapshot.index,
        durable: stateMachine.durableIndex(),
        nowMs: clock.monotonicMs(),
      },
    );
    this.#keeper.appended(start.entries);
    this.#ticker = new Ticker({
      clock,
      intervalMs: () => (this.#isAlone ? this.#timing.idleTickMs : tickMs),
      pauseMs: 2 * electionTicks * tickMs,
      onTick: () => this.#onTick('tick'),
      onResumed: () => this.#onTick('resumed'),
    });
    this.members = new MembershipChanges({
      status: () => this.status(),
      change: (encoded) => this.changeMembership(encoded),
      announced: (peer) => (peer === id ? deps.announcement : transport.announced(peer)),
    });
  }

  start(): void {
    assert(this.#phase === 'new', 'a replica is started once');
    this.#phase = 'running';
    const { transport, knownMembers = [] } = this.#deps;
    const inForce = this.#seen.membership;
    this.#agreed = this.#applier.mark.membership;
    const isKnown = inForce.members.length > 0;
    transport.setMembership(isKnown ? inForce : { members: knownMembers }, this.#agreed);
    transport.start({
      onMessage: (message) => this.#onMessage(message),
      onUnreachable: (peer) => this.#put({ type: 'unreachable', peer }),
      onSnapshot: (from, mark, chunks) => this.#catchUp.receive(from, mark, chunks),
      onRemoved: (by) => this.#onRemoved(by),
      onLostData: (_by, sentence) => this.#fail(new CannotGoOnError(sentence)),
      acknowledged: (peer) => this.#acknowledged(peer),
    });
    this.#ticker.start();
    // A single voter leads at once.
    this.#put({ type: 'tick' });
  }

  // ---- what clients ask ----

  /**
   * Resolves with the state machine's result when committed and applied here. Throws
   * ReplicaUnavailableError (it never happens) or ProposalUnknownError (it may or may not).
   */
  propose(data: Uint8Array): Promise<Result> {
    const refusal = this.#refusal ?? this.#proposals.refusal(data);
    if (refusal !== undefined) return Promise.reject(new ReplicaUnavailableError(refusal));
    const promise = this.#proposals.add(data, this.#deadlineMs());
    this.#wantTurn();
    return promise;
  }

  /**
   * Resolves when everything that was committed before the call is applied here, with an index up
   * to which that is so. Throws ReplicaUnavailableError.
   */
  readIndex(): Promise<number> {
    if (this.#phase !== 'running') return Promise.reject(new ReplicaUnavailableError(notRunning));
    if (this.#knowsAll) return Promise.resolve(this.#applier.mark.index);
    if (this.#reads.isFull)
      return Promise.reject(new ReplicaUnavailableError('Too many reads are waiting already'));
    const promise = this.#reads.add(this.#deadlineMs());
    this.#wantTurn();
    return promise;
  }

  /**
   * On the leader, one at a time; `encoded` is the whole next membership (`members` has the usual
   * changes). Resolves when it is committed. Throws as `propose` does.
   */
  changeMembership(encoded: Uint8Array): Promise<void> {
    if (this.#phase !== 'running') return Promise.reject(new ReplicaUnavailableError(notRunning));
    const promise = this.#change.begin(encoded, this.#deadlineMs());
    this.#wantTurn();
    return promise;
  }

  /**
   * On the leader: to the voter that is heard of and nearest, unless `to` says whom. Resolves when
   * another leads. Throws ReplicaUnavailableError when that did not come about.
   */
  transferLeadership(to?: MemberId): Promise<void> {
    if (this.#phase !== 'running') return Promise.reject(new ReplicaUnavailableError(notRunning));
    const status = this.status();
    if (status.role !== 'leader')
      return Promise.reject(new ReplicaUnavailableError('This member does not lead'));
    const target = to ?? successor(status);
    if (target === undefined || !isOtherVoter(status, target))
      return Promise.reject(
        new ReplicaUnavailableError('There is no other voter to hand leadership to'),
      );
    const { electionTicks, tickMs } = this.#timing;
    const promise = this.#transfer.begin(
      this.#deps.clock.monotonicMs() + 2 * electionTicks * tickMs,
    );
    this.#put({ type: 'transfer-leadership', to: target });
    return promise;
  }

  status(): ReplicaStatus {
    const { stateMachine } = this.#deps;
    const status = this.#raft.status();
    return {
      ...status,
      appliedIndex: this.#applier.mark.index,
      durableIndex: stateMachine.durableIndex(),
      logBytes: this.#keeper.sizeBytes,
      waitingProposals: this.#proposals.count,
      waitingReads: this.#reads.count,
      peers: this.#contacts.of(status.membership, status.id),
      isRemoved: this.#isRemoved || this.#agreed?.removed?.includes(status.id) === true,
      hasRoom: this.hasRoom(),
    };
  }

  /** Role, term, leader and membership; cheap. */
  get standing(): Standing {
    return this.#seen;
  }

  /** False while the disk has no room for what is to come: growth should be refused. */
  hasRoom(): boolean {
    return !this.#isFull && this.#deps.log.hasRoom();
  }

  /**
   * Called when role, term, leader or membership changed, and when a peer said that this member is
   * removed (`status().isRemoved`). Returns how to stop it.
   */
  onChange(listener: (standing: Standing) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Ends in order, closing transport, log and state machine: with `transfer`, a leader hands
   * leadership over first. What is under way gets ProposalUnknownError or ReplicaUnavailableError.
   */
  async stop(options: { readonly transfer?: boolean } = {}): Promise<void> {
    if (this.#phase === 'running' && options.transfer === true) await this.#handOver();
    if (this.#phase !== 'running' && this.#phase !== 'stopping' && this.#phase !== 'new') return;
    this.#phase = 'ended';
    this.#ticker.stop();
    const { transport, log, stateMachine, logger } = this.#deps;
    transport.close();
    this.#catchUp.end();
    const why = new ReplicaUnavailableError(notRunning);
    this.#proposals.end(why);
    this.#reads.end(why);
    this.#change.end(why);
    this.#transfer.end(why);
    const hardState = await new Promise<HardState | undefined>((resolve) =>
      this.#duties.end(resolve),
    );
    await new Promise<void>((resolve) => {
      if (hardState === undefined) return resolve();
      log.write({ hardState, entries: [], snapshot: undefined, mustSync: false }, (error) => {
        // It only saves the next start some time.
        if (error !== undefined) logger.warn('Could not note how far was committed', { error });
        resolve();
      });
    });
    stateMachine.close();
    log.close();
  }

  /** Proposals are refused meanwhile, and those under way come to their end. */
  async #handOver(): Promise<void> {
    if (successor(this.status()) === undefined) return;
    const handedOver = this.transferLeadership();
    this.#phase = 'stopping';
    try {
      await handedOver;
    } catch (error) {
      this.#deps.logger.warn('Could not hand leadership over', { error });
    }
  }

  // ---- turns ----

  get #isOpen(): boolean {
    return this.#phase === 'running' || this.#phase === 'stopping';
  }

  get #refusal(): string | undefined {
    if (this.#phase !== 'running') return notRunning;
    if (this.#applier.count > unappliedEntriesMax)
      return 'This member does not keep up with what is committed; try again later';
    if (this.#keeper.isOverfull)
      return 'The log is too long: the state can not be written to disk as fast as it changes';
    return undefined;
  }

  #deadlineMs(): number {
    return this.#deps.clock.monotonicMs() + this.#timing.patienceMs;
  }

  #put(input: Input): void {
    if (!this.#isOpen) return;
    this.#inputs.push(input);
    this.#wantTurn();
  }

  #wantTurn(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#deps.schedule(() => {
      this.#isTurnDue = false;
      if (!this.#isOpen) return;
      try {
        this.#turn();
      } catch (error) {
        this.#fail(error as Error);
      }
    });
  }

  #turn(): void {
    const inputs = this.#inputs;
    this.#inputs = [];
    for (const input of inputs) this.#step(input);
    if (this.#mayPropose) {
      const proposals = this.#proposals.take(this.#raft.standing.term);
      if (proposals.length > 0) this.#step({ type: 'propose', proposals });
    }
    const change = this.#change.take();
    if (change !== undefined)
      this.#change.stepped(this.#step({ type: 'propose', proposals: [change] }));
    const readId = this.#reads.ask();
    if (readId !== undefined) this.#step({ type: 'read-index', id: readId });
    this.#duties.begin();
    if (!this.#catchUp.isInstalling) {
      this.#applier.applySome();
      this.#keepLog();
      if (this.#applier.count > 0) this.#wantTurn();
    }
    if (this.#outbox.endTurn()) this.#wantTurn();
    this.#tellListeners();
  }

  /**
   * What comes during a write is the next batch, for the others as for the own disk: few messages,
   * few flushes. Nobody waits longer for it: an answer waits for this member's own write anyway.
   */
  get #mayPropose(): boolean {
    return this.#raft.standing.role !== 'leader' || !this.#duties.isWriting || this.#isFull;
  }

  #step(input: Input): Ready {
    const isSnapshot = input.type === 'message' && input.message.type === 'snapshot';
    const { leader } = this.#raft.standing;
    const ready = this.#raft.step(input);
    const received = isSnapshot ? this.#catchUp.judged(ready) : undefined;
    if (ready.snapshot !== undefined) {
      this.#applier.drop();
      this.#keeper.replaced(ready.snapshot.index, this.#deps.clock.monotonicMs());
    }
    this.#keeper.appended(ready.entries);
    this.#duties.take(ready, received);
    for (const { id, reason } of ready.dropped)
      if (!this.#change.dropped(id, reason)) this.#proposals.dropped(id, reason);
    this.#applier.add(ready.committed);
    for (const { id, index } of ready.reads)
      this.#reads.answered(id, index, this.#applier.mark.index);
    for (const peer of ready.snapshotsWanted) this.#sendSnapshot(peer);
    if (this.#raft.standing.leader !== leader) this.#reads.retry();
    return ready;
  }

  #onMessage(message: Message): void {
    // It comes with its data, by onSnapshot, or not at all.
    if (message.type === 'snapshot') return;
    this.#contacts.heard(message.from);
    this.#put({ type: 'message', message });
  }

  // ---- the state ----

  #sendSnapshot(peer: MemberId): void {
    if (this.#catchUp.isSendingTo(peer))
      return this.#put({ type: 'snapshot-sent', peer, isOk: false });
    // Raft keeps the log from what it has handed out on: the copy must be that new.
    assert(!this.#catchUp.isInstalling, 'a member that installs a snapshot does not lead');
    this.#applier.applyAll();
    void this.#catchUp.send(peer);
  }

  #install(received: ReceivedSnapshot, done: (error?: Error) => void): void {
    this.#proposals.stateReplaced();
    this.#catchUp.install(received, (error) => {
      if (this.#phase === 'failed') return;
      if (error === undefined) this.#applier.replaced(received.mark);
      done(error);
    });
  }

  #keepLog(): void {
    const { stateMachine, log, clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    const { index } = this.#applier.mark;
    if (this.#keeper.isFlushDue(index, nowMs)) {
      this.#keeper.flushed(index, nowMs);
      stateMachine.flush();
    }
    const target = this.#keeper.compactTo(Math.min(index, stateMachine.durableIndex()));
    if (target === undefined) return;
    this.#step({ type: 'compact', index: target });
    const forgotten = this.#raft.status().firstIndex - 1;
    this.#keeper.compacted(forgotten);
    log.compact(forgotten);
  }

  #onPersisted(writeId: number): void {
    if (this.#isFull) this.#deps.logger.info('There is room on the disk again');
    this.#isFull = false;
    this.#put({ type: 'persisted', writeId });
  }

  #onFull(error: LogFullError, retry: () => void): void {
    const { logger, clock } = this.#deps;
    if (!this.#isFull) logger.error('The disk is full: nothing can be written', { error });
    this.#isFull = true;
    clock.timer(fullDiskRetryMs, () => {
      if (this.#phase !== 'failed') retry();
    });
  }

  // ---- time and others ----

  #onTick(type: 'tick' | 'resumed'): void {
    if (type === 'resumed') this.#deps.logger.info('Time went by without us: a pause or sleep');
    this.#put({ type });
    const nowMs = this.#deps.clock.monotonicMs();
    this.#proposals.expire(nowMs);
    this.#reads.expire(nowMs);
    this.#change.expire(nowMs);
    this.#transfer.expire(nowMs);
    this.#reads.retry();
    if (this.#seen.role === 'leader') this.members.noteAnnouncements();
  }

  #acknowledged(peer: MemberId): Acknowledged | undefined {
    const { role, term, progress } = this.#raft.status();
    const match = progress.find(({ id }) => id === peer)?.match;
    return role === 'leader' && match !== undefined ? { term, index: match } : undefined;
  }

  get #isAlone(): boolean {
    const { role, membership } = this.#raft.standing;
    return role === 'leader' && membership.members.length === 1;
  }

  /** Nobody else commits anything, and all of its term's is applied: there is nobody to ask. */
  get #knowsAll(): boolean {
    const { count, mark } = this.#applier;
    return this.#isAlone && count === 0 && mark.term === this.#raft.standing.term;
  }

  #onRemoved(by: MemberId): void {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    this.#deps.logger.warn('This member is not in the cluster any more', { by });
    for (const listener of this.#listeners) listener(this.#seen);
  }

  #tellListeners(): void {
    const { transport, logger } = this.#deps;
    const { role, term, leader, membership } = this.#raft.standing;
    const seen = this.#seen;
    const isOther = seen.membership !== membership;
    const agreed = this.#applier.mark.membership;
    const isSame = !isOther && agreed === this.#agreed;
    if (seen.role === role && seen.term === term && seen.leader === leader && isSame) return;
    this.#agreed = agreed;
    if (!isSame && membership.members.length > 0) transport.setMembership(membership, agreed);
    this.#seen = { role, term, leader, membership };
    if (isOther && membership.members.length > 0) this.#contacts.keepOnly(membership);
    this.#ticker.start();
    this.#transfer.seen(this.#seen, this.#deps.id);
    logger.info('Consensus', { role, term, leader, members: membership.members.length });
    for (const listener of this.#listeners) listener(this.#seen);
  }

  #fail(cause: Error): void {
    if (this.#phase === 'failed') return;
    const isLoss = cause instanceof LostEntriesError;
    const error = isLoss ? new CannotGoOnError(cause.message, { cause }) : cause;
    const wasOpen = this.#isOpen;
    this.#phase = 'failed';
    this.#ticker.stop();
    this.#deps.logger.error('This member can not go on', { error });
    if (wasOpen) this.#deps.transport.close();
    this.#deps.onFatal(error);
  }
}

/** The best voter to lead next: heard of lately, with the most of the log. */
function successor(status: ReplicaStatus): MemberId | undefined {
  return status.progress
    .filter(({ id }) => isOtherVoter(status, id))
    .filter(({ id }) => status.peers.some((peer) => peer.id === id && peer.isActive))
    .toSorted((a, b) => b.match - a.match)[0]?.id;
}

function isOtherVoter({ id: self, membership }: ReplicaStatus, id: MemberId): boolean {
  return id !== self && membership.members.some((one) => one.id === id && one.role === 'voter');
}
