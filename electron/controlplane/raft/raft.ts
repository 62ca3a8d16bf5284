// Raft as a pure, synchronous state machine: one input in, a Ready out. No I/O, no clock, no
// promise, no random source of its own: the same inputs give the same outputs.
// This file only says which duty an input is; core.ts holds the state, election.ts, following.ts
// and leadership.ts the rules.
// Source: Raft thesis; etcd-io/raft raft.go Step.
import { unreachable } from '#kube/base/assert.ts';
import { Core } from './core.ts';
import {
  campaign,
  onOutdatedVoteRequest,
  onOwnVotePersisted,
  onVoteRequest,
  onVoteResponse,
} from './election.ts';
import {
  forward,
  forwardRead,
  hearLeader,
  onAppend,
  onHeartbeat,
  onSnapshot,
  refuseOldLeader,
} from './following.ts';
import type {
  Input,
  Message,
  Proposal,
  ProposeRequest,
  RaftConfig,
  RaftStart,
  RaftStatus,
  ReadIndexRequest,
  Ready,
  Standing,
} from './types.ts';

export class Raft {
  private readonly core: Core;

  constructor(config: RaftConfig, start: RaftStart) {
    this.core = new Core(config, start);
  }

  step(input: Input): Ready {
    this.take(input);
    return this.core.takeReady();
  }

  /** Cheap enough for every step. */
  get standing(): Standing {
    const { role, term, leader, memberships } = this.core;
    return { role: role.kind, term, leader, membership: memberships.current };
  }

  status(): RaftStatus {
    const { core } = this;
    const { log, memberships, leadership } = core;
    return {
      ...this.standing,
      id: core.id,
      commit: log.commit,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      isMembershipCommitted: memberships.index <= log.commit,
      transferTo: leadership?.transferTo ?? 0,
      progress: leadership?.status() ?? [],
    };
  }

  private take(input: Input): void {
    const { core } = this;
    switch (input.type) {
      case 'tick':
        return this.tick();
      case 'resumed':
        return this.resume();
      case 'message':
        return this.receive(input.message);
      case 'propose':
        return this.propose(input.proposals);
      case 'read-index':
        return this.read(input.id);
      case 'transfer-leadership':
        return core.leadership?.transfer(input.to);
      case 'persisted':
        core.persisted(input.writeId);
        onOwnVotePersisted(core, input.writeId);
        return core.leadership?.onPersisted();
      case 'unreachable':
        return core.leadership?.onUnreachable(input.peer);
      case 'snapshot-sent':
        return core.leadership?.onSnapshotSent(input.peer, input.isOk);
      case 'compact':
        return this.compact(input.index);
      default:
        return unreachable(input);
    }
  }

  // ---- time ----

  private tick(): void {
    const { core } = this;
    if (core.leadership !== undefined) return core.leadership.tick();
    for (const id of core.forwardedReads.grow(core.config.electionTicks))
      core.answerRead(id, undefined);
    core.electionElapsed += 1;
    const isDue = core.electionElapsed >= core.electionTimeout;
    // A single voter has nobody to wait for, except its own disk.
    const isAlone = core.isOnlyVoter && core.role.kind === 'follower';
    if (core.mayCampaign) {
      if (isDue || isAlone) campaign(core, 'timeout');
    } else if (isDue) {
      core.follow(0);
      core.armElectionTimer();
    }
  }

  /**
   * What was true before the pause says nothing now: neither that we lead nor who does. Only the
   * single voter need not ask: nobody could have been elected without it.
   */
  private resume(): void {
    const { core } = this;
    if (core.leadership !== undefined && core.isOnlyVoter) core.armElectionTimer();
    else core.becomeFollower(core.term, 0);
  }

  private compact(index: number): void {
    const { log, memberships, leadership } = this.core;
    const last = Math.min(index, leadership?.compactionLimit() ?? log.handedOut);
    log.compact(last);
    memberships.compact(last);
  }

  // ---- clients ----

  private propose(proposals: readonly Proposal[]): void {
    const { core } = this;
    if (core.leadership === undefined) forward(core, proposals);
    else core.leadership.propose(core.id, proposals);
  }

  private read(id: number): void {
    const { core } = this;
    if (core.leadership === undefined) forwardRead(core, id);
    else core.leadership.read(core.id, id);
  }

  // ---- peers ----

  private receive(message: Message): void {
    switch (message.type) {
      // What clients ask through us has nothing to do with terms.
      case 'propose':
        return this.onPropose(message);
      case 'propose-dropped':
        for (const id of message.ids) this.core.drop(id, message.reason);
        return undefined;
      case 'read-index':
        return this.onReadIndex(message);
      case 'read-index-response':
        if (this.core.forwardedReads.answered(message.id))
          this.core.answerRead(message.id, message.index);
        return undefined;
      default:
        if (this.entersTerm(message)) this.receiveInTerm(message);
        return undefined;
    }
  }

  private onPropose({ from, proposals }: ProposeRequest): void {
    const { core } = this;
    if (core.leadership !== undefined) return core.leadership.propose(from, proposals);
    const ids = proposals.map(({ id }) => id);
    const { id, term } = core;
    core.send({ type: 'propose-dropped', from: id, to: from, term, ids, reason: 'no-leader' });
  }

  private onReadIndex({ from, id }: ReadIndexRequest): void {
    const { core } = this;
    if (core.leadership !== undefined) return core.leadership.read(from, id);
    core.send({
      type: 'read-index-response',
      from: core.id,
      to: from,
      term: core.term,
      id,
      index: undefined,
    });
  }

  /** Settles whose term counts. False: the message is of the past, or not welcome. */
  private entersTerm(message: Message): boolean {
    const { core } = this;
    if (message.term < core.term) {
      this.answerOutdated(message);
      return false;
    }
    if (message.term === core.term) return true;
    switch (message.type) {
      case 'vote':
        if (core.trustsLeader && !message.isTransfer) return false;
        if (!message.isPreVote) core.becomeFollower(message.term, 0);
        return true;
      case 'vote-response':
        // A granted pre-vote carries the term we would campaign in.
        if (message.isPreVote && message.isGranted) return true;
        core.becomeFollower(message.term, 0);
        return true;
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        core.becomeFollower(message.term, message.from);
        return true;
      default:
        core.becomeFollower(message.term, 0);
        return true;
    }
  }

  private answerOutdated(message: Message): void {
    switch (message.type) {
      case 'vote':
        return onOutdatedVoteRequest(this.core, message);
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        return refuseOldLeader(this.core, message.from);
      default:
        return undefined;
    }
  }

  private receiveInTerm(message: Message): void {
    const { core } = this;
    switch (message.type) {
      case 'vote':
        return onVoteRequest(core, message);
      case 'vote-response':
        return onVoteResponse(core, message);
      case 'append':
        hearLeader(core, message.from);
        return onAppend(core, message);
      case 'heartbeat':
        hearLeader(core, message.from);
        return onHeartbeat(core, message);
      case 'snapshot':
        hearLeader(core, message.from);
        return onSnapshot(core, message);
      case 'append-response':
        return core.leadership?.onAppendResponse(message);
      case 'heartbeat-response':
        return core.leadership?.onHeartbeatResponse(message);
      case 'timeout-now':
        if (core.leadership === undefined && core.mayCampaign) campaign(core, 'transfer');
        return undefined;
      case 'propose':
      case 'propose-dropped':
      case 'read-index':
      case 'read-index-response':
        return undefined;
      default:
        return unreachable(message);
    }
  }
}
