// Elections: who campaigns, who votes for whom, and who counts as elected. A campaign begins with
// the question whether it would succeed (pre-vote, thesis §9.6), so that a member that was away
// disturbs nobody; whoever hears from a leader refuses (thesis §4.2.3), unless the leader itself
// asked for the campaign. Vote requests leave when our own vote is durable: after a crash the same
// term must not be campaigned for with another log.
import type { Core } from './core.ts';
import { Leadership } from './leadership.ts';
import { tally } from './quorum.ts';
import type { VoteRequest, VoteResponse } from './types.ts';

export function campaign(core: Core, why: 'timeout' | 'transfer'): void {
  if (why === 'transfer') standForElection(core, true);
  else askWhetherElected(core);
}

function askWhetherElected(core: Core): void {
  const votes = new Map([[core.id, true]]);
  core.changeRole({ kind: 'pre-candidate', ballot: { votes, writeId: 0 } }, core.term, 0);
  requestVotes(core, { isPreVote: true, isTransfer: false });
  count(core);
}

function standForElection(core: Core, isTransfer: boolean): void {
  const ballot = { votes: new Map<number, boolean>(), writeId: 0 };
  core.changeRole({ kind: 'candidate', ballot }, core.term + 1, 0);
  core.vote = core.id;
  requestVotes(core, { isPreVote: false, isTransfer });
}

function requestVotes(core: Core, kind: { isPreVote: boolean; isTransfer: boolean }): void {
  const { lastIndex, lastTerm } = core.log;
  const term = kind.isPreVote ? core.term + 1 : core.term;
  for (const to of core.memberships.voters) {
    if (to === core.id) continue;
    core.sendAfterPersist({ type: 'vote', from: core.id, to, term, ...kind, lastIndex, lastTerm });
  }
}

/** Our own vote counts like any other: when it is durable. */
export function onOwnVotePersisted(core: Core, writeId: number): void {
  if (core.role.kind !== 'candidate') return;
  const { votes, writeId: needed } = core.role.ballot;
  if (needed === 0 || needed > writeId || votes.has(core.id)) return;
  votes.set(core.id, true);
  count(core);
}

/** The request's term is ours by now, unless it is a pre-vote's. */
export function onVoteRequest(core: Core, request: VoteRequest): void {
  const { from, isPreVote, term, lastIndex, lastTerm } = request;
  const isFree =
    core.vote === from || (core.vote === 0 && core.leader === 0) || (isPreVote && term > core.term);
  const isGranted = isFree && core.log.isUpToDate(lastIndex, lastTerm);
  if (isGranted && !isPreVote) {
    core.vote = from;
    core.armElectionTimer();
  }
  core.sendAfterPersist({
    type: 'vote-response',
    from: core.id,
    to: from,
    term: isPreVote && isGranted ? term : core.term,
    isPreVote,
    isGranted,
  });
}

/** A member that campaigns for a term gone by learns the present one; a vote that old is ignored. */
export function onOutdatedVoteRequest(core: Core, request: VoteRequest): void {
  if (!request.isPreVote) return;
  core.sendAfterPersist({
    type: 'vote-response',
    from: core.id,
    to: request.from,
    term: core.term,
    isPreVote: true,
    isGranted: false,
  });
}

export function onVoteResponse(core: Core, response: VoteResponse): void {
  const { role } = core;
  if (role.kind !== (response.isPreVote ? 'pre-candidate' : 'candidate')) return;
  const askedTerm = response.isPreVote && response.isGranted ? core.term + 1 : core.term;
  if (response.term !== askedTerm || role.ballot.votes.has(response.from)) return;
  role.ballot.votes.set(response.from, response.isGranted);
  count(core);
}

function count(core: Core): void {
  const { role } = core;
  if (role.kind !== 'pre-candidate' && role.kind !== 'candidate') return;
  const result = tally(core.memberships.voters, role.ballot.votes);
  if (result === 'lost') core.becomeFollower(core.term, 0);
  if (result !== 'won') return;
  if (role.kind === 'pre-candidate') standForElection(core, false);
  else becomeLeader(core);
}

function becomeLeader(core: Core): void {
  const leadership = new Leadership(core);
  core.changeRole({ kind: 'leader', leadership }, core.term, core.id);
  leadership.begin();
}
