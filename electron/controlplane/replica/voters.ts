// Which members vote: a pure policy that the leader asks now and then. It moves votes, one at a
// time; which machines are members at all is a person's choice.
// One voter, three, or five, never two as a goal: two are less available than one, since both are
// needed. Always-on machines vote first. A single always-on machine votes alone, whatever number of
// laptops there is: with two laptops beside it, closing both would stop the cluster; they are
// learners, live copies without a vote. Beside two always-on machines one laptop makes the third.
// Invariant: no step leaves fewer reachable voters than a majority of the new set.
import type { Member, MemberId, Membership } from '../raft/types.ts';

/** A learner is trusted with a vote when it was reachable for so long, and a new leader waits. */
export const stableMs = 5 * 60_000;
/** A voter that is away for so long gives its vote to another, if there is one. */
export const deadMs = 30 * 60_000;

export interface MemberFacts {
  readonly id: MemberId;
  /** Meant to run day and night, unlike a laptop. */
  readonly isAlwaysOn: boolean;
  /** As the leader sees it, of itself always true. */
  readonly isReachable: boolean;
  /** Since when that is so, on the clock of `nowMs`; at the earliest since the leader leads. */
  readonly sinceMs: number;
  /** Its log has (nearly) all that the leader's has. */
  readonly isCaughtUp: boolean;
}

export interface VoterFacts {
  readonly leader: MemberId;
  /** Members that are missing here are waited for: they get no vote and lose none. */
  readonly members: readonly MemberFacts[];
  /** How long a learner has to be there before it may vote; `stableMs` when left out. */
  readonly stableMs?: number;
}

export type VoterChange =
  | { readonly type: 'promote'; readonly id: MemberId }
  /** To a learner. */
  | { readonly type: 'demote'; readonly id: MemberId }
  /** The leader is to lose its vote: the new leader takes it. */
  | { readonly type: 'transfer'; readonly to: MemberId };

/** What is known of a member, and how it stands for a vote. */
interface Candidate extends MemberFacts {
  readonly isVoter: boolean;
  readonly isLeader: boolean;
  readonly isDead: boolean;
}

/**
 * The next step, undefined when all is as it should be. To be asked on the leader, with the
 * membership that is committed, and not while a change is under way.
 */
export function desiredMembership(
  membership: Membership,
  facts: VoterFacts,
  nowMs: number,
): VoterChange | undefined {
  const candidates = membership.members.map((member) => candidateOf(member, facts, nowMs));
  const voters = candidates.filter(({ isVoter }) => isVoter);
  const fitSinceMs = nowMs - (facts.stableMs ?? stableMs);
  const eligible = candidates.filter((member) => member.isVoter || isFit(member, fitSinceMs));
  const ranked = eligible.toSorted(byRank);
  const goal = ranked.slice(0, voterCount(eligible));
  // First, so that a replacement votes before the replaced one goes. It is reachable, so whatever
  // was a quorum with it is one.
  const promotion = goal.find(({ isVoter }) => !isVoter);
  if (promotion !== undefined) return { type: 'promote', id: promotion.id };
  return demotion(voters, goal);
}

/** Of those who may vote. */
export function voterCount(eligible: readonly { readonly isAlwaysOn: boolean }[]): number {
  const alwaysOn = eligible.filter(({ isAlwaysOn }) => isAlwaysOn).length;
  if (eligible.length < 3 || alwaysOn === 1) return 1;
  return alwaysOn >= 5 ? 5 : 3;
}

function candidateOf(member: Member, { leader, members }: VoterFacts, nowMs: number): Candidate {
  const { id, role } = member;
  const known = members.find((facts) => facts.id === id);
  const isLeader = id === leader;
  return {
    id,
    isAlwaysOn: known?.isAlwaysOn ?? false,
    isReachable: isLeader || known?.isReachable === true,
    sinceMs: known?.sinceMs ?? nowMs,
    isCaughtUp: isLeader || known?.isCaughtUp === true,
    isVoter: role === 'voter',
    isLeader,
    isDead: !isLeader && known?.isReachable === false && nowMs - known.sinceMs >= deadMs,
  };
}

function isFit({ isReachable, isCaughtUp, sinceMs }: Candidate, fitSinceMs: number): boolean {
  return isReachable && isCaughtUp && sinceMs <= fitSinceMs;
}

/** Who should vote first. Who votes already goes before its equals, so that nothing moves idly. */
function byRank(a: Candidate, b: Candidate): number {
  return (
    Number(a.isDead) - Number(b.isDead) ||
    Number(b.isAlwaysOn) - Number(a.isAlwaysOn) ||
    Number(b.isVoter) - Number(a.isVoter) ||
    Number(b.isLeader) - Number(a.isLeader) ||
    a.id - b.id
  );
}

/** The leader loses its vote last, and only when it leads no more. */
function demotion(
  voters: readonly Candidate[],
  goal: readonly Candidate[],
): VoterChange | undefined {
  const loser = mostDispensable(voters, (voter) => !goal.includes(voter));
  if (loser === undefined) return undefined;
  if (!loser.isLeader) return { type: 'demote', id: loser.id };
  const heir = goal.find(({ isVoter, isReachable, isCaughtUp }) => {
    return isVoter && isReachable && isCaughtUp;
  });
  if (heir !== undefined) return { type: 'transfer', to: heir.id };
  // The heir is not ready. The number of voters is even, no state to wait in: it gives way for now.
  const other = mostDispensable(voters, ({ isLeader }) => !isLeader);
  return other === undefined ? undefined : { type: 'demote', id: other.id };
}

/** Of those without whom the others are a quorum. */
function mostDispensable(
  voters: readonly Candidate[],
  mayGo: (voter: Candidate) => boolean,
): Candidate | undefined {
  return voters
    .filter((voter) => mayGo(voter) && keepsQuorum(voters.filter((other) => other !== voter)))
    .toSorted(
      (a, b) =>
        Number(a.isLeader) - Number(b.isLeader) ||
        Number(a.isReachable) - Number(b.isReachable) ||
        byRank(b, a),
    )[0];
}

function keepsQuorum(voters: readonly Candidate[]): boolean {
  const reachable = voters.filter(({ isReachable }) => isReachable).length;
  return reachable > voters.length / 2;
}
