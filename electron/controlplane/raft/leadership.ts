// One term of leading: replication, commit, proposals, reads, membership changes, transfer, and the
// regular count of who is still there. It lives while `core.role` is leader, no longer.
// Rules: entries of earlier terms are never committed by counting (thesis §3.6.2); nothing is read
// and no membership changes before the first commit of the term (§6.4; the amendment of 2015 to
// §4.1); a leader that is not a voter any more steps down when that is committed (§4.2.2).
import type { Core } from './core.ts';
import { entryBytes, noEntries } from './log.ts';
import { decodeMembership, isAllowedChange } from './membership.ts';
import { Inflights, Progress } from './progress.ts';
import { majority, majorityReaches } from './quorum.ts';
import { ReadRounds, type WaitingRead } from './reads.ts';
import type {
  AppendResponse,
  DropReason,
  Entry,
  HeartbeatResponse,
  MemberId,
  Membership,
  ProgressStatus,
  Proposal,
} from './types.ts';

const noData = new Uint8Array(0);

interface Batch {
  readonly from: number;
  /** The log's last index then: the batch is the same while that is. */
  readonly last: number;
  readonly entries: readonly Entry[];
  readonly sizeBytes: number;
}

export class Leadership {
  private readonly core: Core;
  private readonly reads = new ReadRounds();
  private peers: Progress[] = [];
  /** The noop that began this term. */
  private readonly termStart: number;
  private uncommittedBytes: number;
  private heartbeatElapsed = 0;
  /** 0: nobody. */
  transferTo: MemberId = 0;
  /** Several followers are mostly sent the same. */
  private batch: Batch = { from: 0, last: 0, entries: noEntries, sizeBytes: 0 };
  private readonly scratch: number[] = [];

  constructor(core: Core) {
    this.core = core;
    const { commit, lastIndex } = core.log;
    this.termStart = lastIndex + 1;
    this.uncommittedBytes = core.log.dataBytes(commit + 1, lastIndex);
  }

  begin(): void {
    const { core } = this;
    this.syncPeers(this.termStart, false);
    core.append({ index: this.termStart, term: core.term, kind: 'noop', data: noData });
    this.replicate();
  }

  /** Leadership is lost. What was proposed may still happen; reads must be asked for again. */
  resign(): void {
    for (const read of this.reads.abort()) this.answerRead(read, undefined);
  }

  private find(id: MemberId): Progress | undefined {
    for (const peer of this.peers) if (peer.id === id) return peer;
    return undefined;
  }

  status(): readonly ProgressStatus[] {
    return this.peers.map((peer) => peer.status());
  }

  // ---- time ----

  tick(): void {
    const { core } = this;
    this.heartbeatElapsed += 1;
    core.electionElapsed += 1;
    if (core.electionElapsed >= core.config.electionTicks) {
      core.electionElapsed = 0;
      this.transferTo = 0;
      if (!this.countFollowers()) return core.becomeFollower(core.term, 0);
    }
    if (this.heartbeatElapsed < core.config.heartbeatTicks) return;
    this.heartbeatElapsed = 0;
    for (const peer of this.peers) {
      peer.isCheckDue = true;
      this.heartbeat(peer);
    }
  }

  /** Whether a majority was heard of in the last election timeout; a new count begins. */
  private countFollowers(): boolean {
    const { id, memberships } = this.core;
    let active = 0;
    for (const voter of memberships.voters)
      if (voter === id || this.find(voter)?.isActive === true) active += 1;
    for (const peer of this.peers) {
      if (!peer.isActive && peer.state !== 'snapshot') peer.snapshotIndex = 0;
      peer.isActive = false;
    }
    return active >= majority(memberships.voters.length);
  }

  private heartbeat(peer: Progress): void {
    const { core } = this;
    const { id: from, term } = core;
    const commit = Math.min(peer.match, core.log.commit);
    const readRound = this.reads.runningRound;
    core.send({ type: 'heartbeat', from, to: peer.id, term, commit, readRound });
  }

  // ---- replication ----

  /** Sends everybody what he lacks and the window allows. */
  private replicate(): void {
    for (const peer of this.peers) this.sendAll(peer);
  }

  private sendAll(peer: Progress): void {
    while (this.sendAppend(peer, false));
  }

  /** One append. An empty one only tells the commit index, or probes. */
  private sendAppend(peer: Progress, mayBeEmpty: boolean): boolean {
    if (peer.isBlocked) return false;
    const { core } = this;
    const previousIndex = peer.next - 1;
    const previousTerm = core.log.termAt(previousIndex);
    if (previousTerm === undefined) return this.wantSnapshot(peer);
    const batch = peer.mayCarryEntries ? this.batchFrom(peer.next) : undefined;
    const entries = batch?.entries ?? noEntries;
    if (entries.length === 0 && !mayBeEmpty) return false;
    const { id: from, term } = core;
    const { commit } = core.log;
    const to = peer.id;
    core.send({ type: 'append', from, to, term, previousIndex, previousTerm, entries, commit });
    peer.commitSent = Math.min(commit, previousIndex + entries.length);
    peer.sent(entries.length, batch?.sizeBytes ?? 0);
    return true;
  }

  private batchFrom(from: number): Batch {
    const { log, config } = this.core;
    const last = log.lastIndex;
    if (this.batch.from !== from || this.batch.last !== last) {
      const entries = log.sliceBytes(from, config.messageBytesMax);
      let sizeBytes = 0;
      for (const entry of entries) sizeBytes += entryBytes(entry);
      this.batch = { from, last, entries, sizeBytes };
    }
    return this.batch;
  }

  /** Asked for once: the peer waits in state snapshot. Nobody sends one to the dead. */
  private wantSnapshot(peer: Progress): false {
    if (!peer.isActive) return false;
    peer.becomeSnapshot(this.core.log.handedOut);
    this.core.wantSnapshot(peer.id);
    return false;
  }

  onAppendResponse(response: AppendResponse): void {
    const peer = this.find(response.from);
    if (peer === undefined) return;
    peer.isActive = true;
    if (response.isRejected) this.onRejection(peer, response);
    else this.onAcknowledgement(peer, response.index);
  }

  private onRejection(peer: Progress, { index, hintIndex, hintTerm }: AppendResponse): void {
    const agreed = this.core.log.lastUpTo(hintIndex, hintTerm).index;
    if (peer.rejected(index, Math.min(agreed, hintIndex))) this.sendAppend(peer, true);
  }

  private onAcknowledgement(peer: Progress, index: number): void {
    const { core } = this;
    const { log } = core;
    if (!peer.accepted(index)) return;
    const isCaughtUp = peer.state === 'snapshot' && peer.match + 1 >= log.firstIndex;
    if (peer.state === 'probe' || isCaughtUp) peer.becomeReplicate();
    this.advanceCommit();
    if (core.leadership !== this) return;
    this.sendAll(peer);
    if (peer.commitSent < Math.min(log.commit, peer.next - 1)) this.sendAppend(peer, true);
    this.continueTransfer(peer);
  }

  onHeartbeatResponse({ from, readRound }: HeartbeatResponse): void {
    const peer = this.find(from);
    if (peer === undefined) return;
    peer.isActive = true;
    if (peer.isCheckDue) this.lookForLosses(peer);
    if (readRound <= peer.confirmedRound) return;
    peer.confirmedRound = readRound;
    this.advanceReads();
  }

  /**
   * When something should have arrived, an append shows whether it has: also if the window is full,
   * or a probe under way. Once for each regular heartbeat: those of reads come much more often.
   */
  private lookForLosses(peer: Progress): void {
    peer.isCheckDue = false;
    peer.isPaused = false;
    if (peer.match < this.core.log.lastIndex || peer.state === 'probe') this.sendAppend(peer, true);
  }

  onUnreachable(id: MemberId): void {
    const peer = this.find(id);
    if (peer?.state === 'replicate') peer.becomeProbe();
  }

  onSnapshotSent(id: MemberId, isOk: boolean): void {
    const peer = this.find(id);
    if (peer?.state !== 'snapshot') return;
    if (!isOk) peer.snapshotIndex = 0;
    peer.becomeProbe();
    peer.isPaused = true;
  }

  // ---- commit ----

  onPersisted(): void {
    this.advanceCommit();
  }

  /** Everybody who is not blocked is told. */
  private advanceCommit(): void {
    const { core, scratch } = this;
    const { log, memberships } = core;
    scratch.length = 0;
    for (const voter of memberships.voters)
      scratch.push(voter === core.id ? log.durable : (this.find(voter)?.match ?? 0));
    const index = majorityReaches(scratch);
    if (index <= log.commit || log.termAt(index) !== core.term) return;
    this.uncommittedBytes -= log.dataBytes(log.commit + 1, index);
    log.commit = index;
    for (const peer of this.peers) this.sendAppend(peer, true);
    if (!core.isVoter && memberships.index <= index) core.becomeFollower(core.term, 0);
    else this.advanceReads();
  }

  /** Compaction spares what a peer that is being sent a snapshot needs next. */
  compactionLimit(): number {
    let limit = this.core.log.handedOut;
    for (const peer of this.peers)
      if (peer.snapshotIndex > 0) limit = Math.min(limit, peer.snapshotIndex);
    return limit;
  }

  // ---- proposals ----

  /** Appends what may be; what may not certainly never happens, and `from` is told so. */
  propose(from: MemberId, proposals: readonly Proposal[]): void {
    const { core } = this;
    const { log } = core;
    const end = log.lastIndex;
    const membershipBefore = core.memberships.index;
    const refused = new Map<DropReason, number[]>();
    for (const { id, kind, data } of proposals) {
      const reason = this.refusal(kind, data);
      if (reason !== undefined) refused.set(reason, [...(refused.get(reason) ?? []), id]);
      else {
        core.append({ index: log.lastIndex + 1, term: core.term, kind, data });
        this.uncommittedBytes += data.length;
      }
    }
    this.tellRefused(from, refused);
    if (core.memberships.index !== membershipBefore) this.syncPeers(core.memberships.index, true);
    if (log.lastIndex > end) this.replicate();
  }

  private refusal(kind: Proposal['kind'], data: Uint8Array): DropReason | undefined {
    if (this.transferTo !== 0) return 'transferring';
    const after = this.uncommittedBytes + data.length;
    if (this.uncommittedBytes > 0 && after > this.core.config.uncommittedBytesMax)
      return 'too-much-uncommitted';
    return kind === 'membership' ? this.changeRefusal(data) : undefined;
  }

  private changeRefusal(data: Uint8Array): DropReason | undefined {
    const { log, memberships } = this.core;
    if (!this.hasCommittedInTerm || memberships.index > log.commit) return 'change-in-progress';
    const next = decodeOrUndefined(data);
    if (next === undefined || !isAllowedChange(memberships.current, next)) return 'invalid-change';
    return undefined;
  }

  private tellRefused(to: MemberId, refused: ReadonlyMap<DropReason, readonly number[]>): void {
    const { core } = this;
    for (const [reason, ids] of refused) {
      if (to === core.id) for (const id of ids) core.drop(id, reason);
      else core.send({ type: 'propose-dropped', from: core.id, to, term: core.term, ids, reason });
    }
  }

  /** Follows the membership in force: newcomers are probed from `next` on, who left is forgotten. */
  private syncPeers(next: number, isActive: boolean): void {
    const { id, config, memberships } = this.core;
    this.peers = memberships.current.members
      .filter((member) => member.id !== id)
      .map(
        (member) =>
          this.find(member.id) ??
          new Progress(
            member.id,
            next,
            isActive,
            new Inflights(config.inflightMessagesMax, config.inflightBytesMax),
          ),
      );
    if (!this.peers.some((peer) => peer.id === this.transferTo)) this.transferTo = 0;
  }

  // ---- reads ----

  get hasCommittedInTerm(): boolean {
    return this.core.log.commit >= this.termStart;
  }

  read(from: MemberId, id: number): void {
    this.reads.add({ from, id });
    this.advanceReads();
  }

  /** Ends the round that a majority confirmed, and begins the next. */
  private advanceReads(): void {
    this.finishRound();
    if (!this.hasCommittedInTerm || !this.reads.begin(this.core.log.commit)) return;
    this.finishRound();
    if (this.reads.runningRound === 0) return;
    for (const peer of this.peers)
      if (this.core.memberships.voters.includes(peer.id)) this.heartbeat(peer);
  }

  private finishRound(): void {
    const { core, scratch } = this;
    if (this.reads.runningRound === 0) return;
    scratch.length = 0;
    for (const voter of core.memberships.voters)
      scratch.push(
        voter === core.id ? this.reads.runningRound : (this.find(voter)?.confirmedRound ?? 0),
      );
    const { reads, index } = this.reads.confirmed(majorityReaches(scratch));
    for (const read of reads) this.answerRead(read, index);
  }

  private answerRead({ from, id }: WaitingRead, index: number | undefined): void {
    const { core } = this;
    if (from === core.id) core.answerRead(id, index);
    else
      core.send({
        type: 'read-index-response',
        from: core.id,
        to: from,
        term: core.term,
        id,
        index,
      });
  }

  // ---- transfer (thesis §3.10) ----

  /** To a voter only. Proposals are dropped until it leads, or an election timeout has passed. */
  transfer(to: MemberId): void {
    const { core } = this;
    const peer = this.find(to);
    if (peer === undefined || to === this.transferTo || !core.memberships.voters.includes(to))
      return;
    this.transferTo = to;
    core.electionElapsed = 0;
    if (!this.continueTransfer(peer)) this.sendAppend(peer, true);
  }

  private continueTransfer(peer: Progress): boolean {
    const { core } = this;
    if (peer.id !== this.transferTo || peer.match !== core.log.lastIndex) return false;
    core.send({ type: 'timeout-now', from: core.id, to: peer.id, term: core.term });
    return true;
  }
}

function decodeOrUndefined(data: Uint8Array): Membership | undefined {
  try {
    return decodeMembership(data);
  } catch {
    return undefined;
  }
}
