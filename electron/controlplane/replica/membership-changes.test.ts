import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import type { Member, MemberId, MemberRole, Membership } from '../raft/types.ts';
import {
  MembershipRefusedError,
  withAdded,
  withDemoted,
  withPromoted,
  withRemoved,
} from './membership-changes.ts';
import type { ReplicaStatus } from './replica.ts';

interface Seen {
  readonly id: MemberId;
  readonly role: MemberRole;
  readonly match: number;
  readonly isActive: boolean;
}

/** As member 1, which leads with 100 entries, sees it. */
function status(seen: readonly Seen[], self: MemberRole = 'voter'): ReplicaStatus {
  const members = [{ id: 1, role: self }, ...seen].map(({ id, role }): Member => ({
    id,
    role,
    name: `m${id}`,
    addresses: [],
  }));
  return {
    id: 1,
    role: 'leader',
    term: 1,
    leader: 1,
    commit: 100,
    firstIndex: 1,
    lastIndex: 100,
    membership: { members },
    isMembershipCommitted: true,
    transferTo: 0,
    progress: seen.map(({ id, match }) => ({
      id,
      match,
      next: match + 1,
      state: 'replicate',
      isActive: false,
    })),
    appliedIndex: 100,
    durableIndex: 100,
    logBytes: 0,
    waitingProposals: 0,
    waitingReads: 0,
    peers: seen.map(({ id, isActive }) => ({ id, heardMsAgo: isActive ? 1 : 60_000, isActive })),
    isRemoved: false,
    hasRoom: true,
  };
}

const healthy = (id: MemberId, role: MemberRole): Seen => ({
  id,
  role,
  match: 100,
  isActive: true,
});
const dead = (id: MemberId, role: MemberRole): Seen => ({ id, role, match: 50, isActive: false });

const cases: readonly {
  readonly name: string;
  readonly given: ReplicaStatus;
  readonly change: (status: ReplicaStatus) => Membership;
  /** Roles by id, or what the refusal says. */
  readonly want: string | RegExp;
}[] = [
  {
    name: 'a newcomer is a learner',
    given: status([]),
    change: (s) => withAdded(s, { id: 2, name: 'two', addresses: ['two:1'] }),
    want: '1 voter, 2 learner',
  },
  {
    name: 'an id is not used twice',
    given: status([dead(2, 'voter')]),
    change: (s) => withAdded(s, { id: 2, name: 'again', addresses: [] }),
    want: /m2 \(member 2\) is a member already/,
  },
  {
    name: 'a learner that holds nine tenths of the log may vote',
    given: status([{ ...healthy(2, 'learner'), match: 90 }, healthy(3, 'voter')]),
    change: (s) => withPromoted(s, 2),
    want: '1 voter, 2 voter, 3 voter',
  },
  {
    name: 'one that holds less may not',
    given: status([{ ...healthy(2, 'learner'), match: 89 }]),
    change: (s) => withPromoted(s, 2),
    want: /holds 89 of 100 entries/,
  },
  {
    name: 'nor one that was not heard of lately',
    given: status([{ ...healthy(2, 'learner'), isActive: false }]),
    change: (s) => withPromoted(s, 2),
    want: /not heard of lately/,
  },
  {
    name: 'nor one when too few voters run',
    given: status([healthy(2, 'learner'), dead(3, 'voter'), dead(4, 'voter')]),
    change: (s) => withPromoted(s, 2),
    want: /of the 4 voters .* 3 must be running, and only 2/,
  },
  {
    name: 'a voter is not promoted again',
    given: status([healthy(2, 'voter')]),
    change: (s) => withPromoted(s, 2),
    want: /is a voter already/,
  },
  {
    name: 'a dead voter is removed when the others are a majority',
    given: status([healthy(2, 'voter'), dead(3, 'voter')]),
    change: (s) => withRemoved(s, 3),
    want: '1 voter, 2 voter',
  },
  {
    name: 'a healthy voter is not removed when then too few run',
    given: status([healthy(2, 'voter'), dead(3, 'voter')]),
    change: (s) => withRemoved(s, 2),
    want: /of the 2 voters .* 2 must be running, and only 1/,
  },
  {
    name: 'nor does it lose its vote',
    given: status([healthy(2, 'voter'), dead(3, 'voter')]),
    change: (s) => withDemoted(s, 2),
    want: /can't lose its vote/,
  },
  {
    name: 'a voter becomes a learner',
    given: status([healthy(2, 'voter'), healthy(3, 'voter')]),
    change: (s) => withDemoted(s, 3),
    want: '1 voter, 2 voter, 3 learner',
  },
  {
    name: 'a learner goes without further questions',
    given: status([dead(2, 'learner')]),
    change: (s) => withRemoved(s, 2),
    want: '1 voter',
  },
  {
    name: 'the leader does not remove itself',
    given: status([healthy(2, 'voter')]),
    change: (s) => withRemoved(s, 1),
    want: /while it leads: hand leadership over first/,
  },
  {
    name: 'the only voter stays',
    given: status([healthy(2, 'learner')]),
    change: (s) => withDemoted(s, 1),
    want: /it is the only voter/,
  },
  {
    name: 'a stranger is named',
    given: status([]),
    change: (s) => withRemoved(s, 9),
    want: /Member 9 is not \(or no longer\) in this cluster/,
  },
];

describe('a change of the membership', () => {
  for (const { name, given, change, want } of cases)
    it(name, () => {
      if (want instanceof RegExp) {
        expect(() => change(given)).toThrow(want);
        expect(() => change(given)).toThrow(MembershipRefusedError);
      } else
        expect(
          change(given)
            .members.map(({ id, role }) => `${id} ${role}`)
            .join(', '),
        ).toBe(want);
    });

  it('never leaves fewer running voters than a majority', () => {
    const seen = fc.record({
      role: fc.constantFrom<MemberRole>('voter', 'learner'),
      match: fc.integer({ min: 0, max: 100 }),
      isActive: fc.boolean(),
    });
    const changes = fc.constantFrom(withPromoted, withDemoted, withRemoved);
    fc.assert(
      fc.property(fc.array(seen, { maxLength: 6 }), changes, fc.nat(7), (others, change, id) => {
        const given = status(others.map((one, i) => ({ ...one, id: i + 2 })));
        const before = given.membership.members;
        let next: Membership;
        try {
          next = change(given, id);
        } catch (error) {
          expect(error).toBeInstanceOf(MembershipRefusedError);
          return;
        }
        const voters = next.members.filter(({ role }) => role === 'voter');
        const running = voters.filter(
          (one) =>
            one.id === 1 || given.peers.find((peer) => peer.id === one.id)?.isActive === true,
        );
        const isVoterChange =
          voters.map((one) => one.id).join() !==
          before.flatMap((one) => (one.role === 'voter' ? [one.id] : [])).join();
        if (isVoterChange) expect(running.length).toBeGreaterThan(voters.length / 2);
        expect(voters.some((one) => one.id === 1)).toBe(true);
      }),
    );
  });
});
