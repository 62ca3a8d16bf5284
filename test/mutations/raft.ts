// Mistakes in the protocol.
import type { Mutation, NamedTest, Simulation } from './mutation.ts';

const raft = 'electron/controlplane/raft';

function paper(named: string): NamedTest {
  return { test: `${raft}/raft-paper.test.ts`, named };
}

function script(name: string): NamedTest {
  return { test: 'test/interaction/raft.test.ts', named: `${name}.txt` };
}

function sim(seeds: string, rule: string): Simulation {
  return { seeds, rule };
}

const elections: readonly Mutation[] = [
  {
    name: 'vote twice in a term',
    file: `${raft}/election.ts`,
    find: 'core.vote === from || (core.vote === 0 && core.leader === 0) || (isPreVote && term > core.term);',
    replace: 'true;',
    caughtBy: sim('1-100', 'one vote'),
  },
  {
    name: 'vote for who lacks committed entries',
    file: `${raft}/election.ts`,
    find: 'const isGranted = isFree && core.log.isUpToDate(lastIndex, lastTerm);',
    replace: 'const isGranted = isFree;',
    caughtBy: sim('1-100', 'leader completeness'),
  },
  {
    name: 'ask for votes before the own one is durable',
    file: `${raft}/election.ts`,
    find: "core.sendAfterPersist({ type: 'vote', from",
    replace: "core.send({ type: 'vote', from",
    caughtBy: paper(
      'a candidate votes for itself in the next term, and asks when that vote is durable',
    ),
  },
  {
    name: 'grant a vote before it is durable',
    file: `${raft}/election.ts`,
    find: "core.sendAfterPersist({\n    type: 'vote-response',\n    from: core.id,\n    to: from,",
    replace: "core.send({\n    type: 'vote-response',\n    from: core.id,\n    to: from,",
    caughtBy: sim('1-60', 'promises are durable'),
  },
  {
    name: 'count the own vote before it is durable',
    file: `${raft}/election.ts`,
    find: 'const ballot = { votes: new Map<number, boolean>(), writeId: 0 };',
    replace: 'const ballot = { votes: new Map<number, boolean>([[core.id, true]]), writeId: 0 };',
    caughtBy: paper('a granted vote of others does not count before the own one is durable'),
  },
  {
    name: 'campaign without pre-vote',
    file: `${raft}/election.ts`,
    find: 'else askWhetherElected(core);',
    replace: 'else standForElection(core, false);',
    caughtBy: script('prevote'),
  },
  {
    name: 'listen to campaigns while there is a leader',
    file: `${raft}/raft.ts`,
    find: 'if (core.trustsLeader && !message.isTransfer) return false;',
    replace: '',
    caughtBy: script('removed_node_campaigns'),
  },
  {
    name: 'lead on without a majority',
    file: `${raft}/leadership.ts`,
    find: 'if (!this.countFollowers()) return core.becomeFollower(core.term, 0);',
    replace: 'this.countFollowers();',
    caughtBy: script('checkquorum'),
  },
  {
    name: 'lead on after a sleep',
    file: `${raft}/raft.ts`,
    find: 'else core.becomeFollower(core.term, 0);\n  }\n\n  private compact',
    replace: '}\n\n  private compact',
    caughtBy: script('resumed_after_sleep'),
  },
  {
    name: 'leave an old leader without an answer',
    file: `${raft}/raft.ts`,
    find: 'return refuseOldLeader(this.core, message.from);',
    replace: 'return undefined;',
    caughtBy: script('lower_term_leader'),
  },
  {
    name: 'a majority is half',
    file: `${raft}/quorum.ts`,
    find: 'return Math.floor(voters / 2) + 1;',
    replace: 'return Math.ceil(voters / 2);',
    caughtBy: {
      test: `${raft}/quorum.test.ts`,
      named: 'two majorities of the same voters, or of voters that differ by one, share a voter',
    },
  },
];

const logs: readonly Mutation[] = [
  {
    name: 'count an old-term entry',
    file: `${raft}/leadership.ts`,
    find: 'if (index <= log.commit || log.termAt(index) !== core.term) return;',
    replace: 'if (index <= log.commit) return;',
    caughtBy: paper(
      'figure 8: an entry of an earlier term is not committed by counting, but with a newer one',
    ),
  },
  {
    name: 'no no-op at term start',
    file: `${raft}/leadership.ts`,
    find: "core.append({ index: this.termStart, term: core.term, kind: 'noop', data: noData });",
    replace: '',
    caughtBy: paper(
      'a leader appends a noop of its term, and sends it while its own disk still writes',
    ),
  },
  {
    name: 'the leader counts itself before its disk has it',
    file: `${raft}/leadership.ts`,
    find: 'scratch.push(voter === core.id ? log.durable : (this.find(voter)?.match ?? 0));',
    replace: 'scratch.push(voter === core.id ? log.lastIndex : (this.find(voter)?.match ?? 0));',
    caughtBy: paper('the leader counts itself only for what its own disk has'),
  },
  {
    name: 'acknowledge before it is durable',
    file: `${raft}/following.ts`,
    find: "core.sendAfterPersist({\n    type: 'append-response',\n    from: core.id,\n    to,\n    term: core.term,\n    isRejected: false,",
    replace:
      "core.send({\n    type: 'append-response',\n    from: core.id,\n    to,\n    term: core.term,\n    isRejected: false,",
    caughtBy: sim('1-60', 'promises are durable'),
  },
  {
    name: 'append without looking at the term before',
    file: `${raft}/following.ts`,
    find: 'if (log.termAt(previousIndex) !== previousTerm) return refuse(core, request);',
    replace: 'if (log.termAt(previousIndex) === undefined) return refuse(core, request);',
    caughtBy: paper('a follower answers an append that differs in term'),
  },
  {
    name: 'conflict truncation skipped',
    file: `${raft}/following.ts`,
    find: 'if (first.index <= log.lastIndex) core.truncateFrom(first.index);',
    replace: 'if (first.index <= log.lastIndex) return;',
    caughtBy: script('divergent_tails'),
  },
  {
    name: 'cut off what a late append holds',
    file: `${raft}/following.ts`,
    find: 'if (log.termAt(entry.index) !== entry.term) break;',
    replace: 'break;',
    caughtBy: sim('1-60', 'promises are durable'),
  },
  {
    name: 'commit beyond what the append reaches',
    file: `${raft}/following.ts`,
    find: 'log.commit = Math.max(log.commit, Math.min(request.commit, last));',
    replace: 'log.commit = Math.max(log.commit, Math.min(request.commit, log.lastIndex));',
    caughtBy: paper(
      'a follower commits what the leader says, but not beyond what the append reaches',
    ),
  },
  {
    name: 'commit beyond the match',
    file: `${raft}/leadership.ts`,
    find: 'const commit = Math.min(peer.match, core.log.commit);',
    replace: 'const { commit } = core.log;',
    caughtBy: sim('1-60', 'no member fails'),
  },
  {
    name: 'apply before it is durable',
    file: `${raft}/log.ts`,
    find: 'const to = Math.min(this.commit, this.durable);',
    replace: 'const to = this.commit;',
    caughtBy: script('async_persist'),
  },
  {
    name: 'apply before commit',
    file: `${raft}/log.ts`,
    find: 'const to = Math.min(this.commit, this.durable);',
    replace: 'const to = this.durable;',
    caughtBy: sim('1-30', 'committed by a majority'),
  },
  {
    name: 'take an old write for the new entries of its indexes',
    file: `${raft}/log.ts`,
    find: 'for (const write of this.writes) write.upTo = Math.min(write.upTo, last);',
    replace: '',
    caughtBy: script('async_persist_aba'),
  },
  {
    name: 'believe a commit that is ahead of the log',
    file: `${raft}/log.ts`,
    find: 'this.commit = Math.max(Math.min(commit, this.lastIndex), applied);',
    replace: 'this.commit = Math.max(commit, applied);',
    caughtBy: paper('a commit written ahead of entries that a crash lost is cut to the log'),
  },
  {
    name: 'no limit of what is uncommitted',
    file: `${raft}/leadership.ts`,
    find: 'if (this.uncommittedBytes > 0 && after > this.core.config.uncommittedBytesMax)',
    replace: 'if (after < 0)',
    caughtBy: script('uncommitted_limit'),
  },
  {
    name: 'ignore the inflight limit',
    file: `${raft}/progress.ts`,
    find: "return this.state !== 'replicate' || !this.inflights.isFull;",
    replace: 'return true;',
    caughtBy: sim('1-100', 'inflight window'),
  },
  {
    name: 'ignore the inflight limit in bytes',
    file: `${raft}/progress.ts`,
    find: 'return this.count >= this.maxMessages || this.bytes >= this.maxBytes;',
    replace: 'return this.count >= this.maxMessages;',
    caughtBy: script('replicate_pause_bytes'),
  },
  {
    name: 'compact what a snapshot under way needs next',
    file: `${raft}/leadership.ts`,
    find: 'if (peer.snapshotIndex > 0) limit = Math.min(limit, peer.snapshotIndex);',
    replace: '',
    caughtBy: script('snapshot_succeed_via_app_resp_behind'),
  },
  {
    name: 'send a forwarded proposal twice',
    file: `${raft}/following.ts`,
    find: "core.send({ type: 'propose', from: id, to: leader, term, proposals: commands });",
    replace:
      "for (let i = 0; i < 2; i++) core.send({ type: 'propose', from: id, to: leader, term, proposals: commands });",
    caughtBy: script('forward_proposals'),
  },
];

const readsAndMembers: readonly Mutation[] = [
  {
    name: 'serve a read without confirming leadership',
    file: `${raft}/reads.ts`,
    find: 'if (this.running.length === 0 || round < this.lastRound)',
    replace: 'if (this.running.length === 0)',
    caughtBy: {
      test: 'electron/controlplane/replica/replica-group.test.ts',
      named: 'are not answered by a leader that is cut off, and are given up in time',
    },
  },
  {
    name: 'read before the first commit of the term',
    file: `${raft}/leadership.ts`,
    find: 'if (!this.hasCommittedInTerm || !this.reads.begin(this.core.log.commit)) return;',
    replace: 'if (!this.reads.begin(this.core.log.commit)) return;',
    caughtBy: script('read_after_election'),
  },
  {
    name: 'let a read join the running round',
    file: `${raft}/reads.ts`,
    find: 'this.waiting.push(read);',
    replace:
      'if (this.running.length > 0) this.running = [...this.running, read]; else this.waiting.push(read);',
    caughtBy: script('read_batches'),
  },
  {
    name: 'keep the reads of a lost leadership',
    file: `${raft}/leadership.ts`,
    find: 'for (const read of this.reads.abort()) this.answerRead(read, undefined);',
    replace: '',
    caughtBy: script('read_leader_lost'),
  },
  {
    name: 'change two voters at once',
    file: `${raft}/membership.ts`,
    find: 'before.length + after.length - 2 * kept <= 1;',
    replace: 'before.length + after.length - 2 * kept <= 2;',
    caughtBy: sim('1-300', 'one change at a time'),
  },
  {
    name: 'change members while a change is not committed',
    file: `${raft}/leadership.ts`,
    find: 'if (!this.hasCommittedInTerm || memberships.index > log.commit)',
    replace: 'if (!this.hasCommittedInTerm)',
    caughtBy: script('confchange_refused'),
  },
  {
    name: 'change members before the first commit of the term',
    file: `${raft}/leadership.ts`,
    find: 'if (!this.hasCommittedInTerm || memberships.index > log.commit)',
    replace: 'if (memberships.index > log.commit)',
    caughtBy: paper('does not change before the first commit of the term'),
  },
  {
    name: 'a learner counts',
    file: `${raft}/membership.ts`,
    find: "return membership.members.filter(({ role }) => role === 'voter').map(({ id }) => id);",
    replace: 'return membership.members.map(({ id }) => id);',
    caughtBy: paper('a learner does not count'),
  },
  {
    name: 'a removed leader leads on',
    file: `${raft}/leadership.ts`,
    find: 'if (!core.isVoter && memberships.index <= index) core.becomeFollower(core.term, 0);\n    else this.advanceReads();',
    replace: 'this.advanceReads();',
    caughtBy: script('confchange_remove_leader_stepdown'),
  },
  {
    name: 'keep a membership whose entry was cut off',
    file: `${raft}/core.ts`,
    find: 'this.memberships.truncateFrom(index);',
    replace: '',
    caughtBy: script('confchange_cut_off'),
  },
  {
    name: 'take proposals while leadership is handed over',
    file: `${raft}/leadership.ts`,
    find: "if (this.transferTo !== 0) return 'transferring';",
    replace: '',
    caughtBy: script('transfer_abort'),
  },
  {
    name: 'hand over to who lacks entries',
    file: `${raft}/leadership.ts`,
    find: 'if (peer.id !== this.transferTo || peer.match !== core.log.lastIndex) return false;',
    replace: 'if (peer.id !== this.transferTo) return false;',
    caughtBy: script('transfer_lagging'),
  },
];

export const raftMutations: readonly Mutation[] = [...elections, ...logs, ...readsAndMembers];
