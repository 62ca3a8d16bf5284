import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MemberId, MemberRole, Membership } from '../raft/types.ts';
import {
  deadMs,
  desiredMembership,
  stableMs,
  voterCount,
  type MemberFacts,
  type VoterChange,
} from './voters.ts';

const nowMs = 10_000_000;

interface Machine {
  readonly role: MemberRole;
  readonly isAlwaysOn: boolean;
  readonly isReachable: boolean;
  readonly forMs: number;
  readonly isCaughtUp: boolean;
}

interface Group {
  readonly leader: MemberId;
  /** Member i + 1 is machine i. */
  readonly machines: readonly Machine[];
}

function decide({ leader, machines }: Group): VoterChange | undefined {
  const members = machines.map(({ role }, i) => ({ id: i + 1, role, name: '', addresses: [] }));
  const facts = machines.map(({ isAlwaysOn, isReachable, forMs, isCaughtUp }, i): MemberFacts => ({
    id: i + 1,
    isAlwaysOn,
    isReachable,
    sinceMs: nowMs - forMs,
    isCaughtUp,
  }));
  const membership: Membership = { members };
  return desiredMembership(membership, { leader, members: facts }, nowMs);
}

/** What the change leads to. */
function after(group: Group, change: VoterChange): Group {
  if (change.type === 'transfer') return { ...group, leader: change.to };
  const role: MemberRole = change.type === 'promote' ? 'voter' : 'learner';
  const machines = group.machines.map((machine, i) =>
    i + 1 === change.id ? { ...machine, role } : machine,
  );
  return { ...group, machines };
}

/** Steps until nothing changes any more. */
function settle(start: Group): { readonly end: Group; readonly steps: readonly Group[] } {
  const steps: Group[] = [];
  let group = start;
  for (let i = 0; i < 40; i += 1) {
    const change = decide(group);
    if (change === undefined) return { end: group, steps };
    group = after(group, change);
    steps.push(group);
  }
  throw new Error('it never comes to rest');
}

function votersOf({ machines }: Group): number[] {
  return machines.flatMap(({ role }, i) => (role === 'voter' ? [i + 1] : []));
}

const server: Machine = {
  role: 'learner',
  isAlwaysOn: true,
  isReachable: true,
  forMs: stableMs,
  isCaughtUp: true,
};
const laptop: Machine = { ...server, isAlwaysOn: false };
const voter = { role: 'voter' } as const;
const away = { isReachable: false, forMs: deadMs - 1 };
const dead = { isReachable: false, forMs: deadMs };

describe('where votes end up, member 1 leading', () => {
  const cases: { name: string; machines: Machine[]; voters: number[]; leader?: number }[] = [
    { name: 'one machine', machines: [{ ...server, ...voter }], voters: [1] },
    { name: 'two machines: one', machines: [{ ...server, ...voter }, server], voters: [1] },
    {
      name: 'two voters that are left of three: one',
      machines: [
        { ...server, ...voter },
        { ...server, ...voter },
      ],
      voters: [1],
    },
    {
      name: 'a laptop and an always-on machine: the latter, and it leads',
      machines: [{ ...laptop, ...voter }, server],
      voters: [2],
      leader: 2,
    },
    {
      name: 'three machines: three',
      machines: [{ ...server, ...voter }, server, server],
      voters: [1, 2, 3],
    },
    {
      name: 'four machines: three',
      machines: [{ ...server, ...voter }, server, server, server],
      voters: [1, 2, 3],
    },
    {
      name: 'five always-on machines: five',
      machines: [{ ...server, ...voter }, server, server, server, server],
      voters: [1, 2, 3, 4, 5],
    },
    {
      name: 'seven always-on machines: five',
      machines: [{ ...server, ...voter }, ...Array.from({ length: 6 }, () => server)],
      voters: [1, 2, 3, 4, 5],
    },
    {
      name: 'four always-on machines and laptops: three',
      machines: [{ ...laptop, ...voter }, laptop, server, server, server, server],
      voters: [3, 4, 5],
      leader: 3,
    },
    {
      name: 'two always-on machines and two laptops: one laptop is the third',
      machines: [{ ...server, ...voter }, server, laptop, laptop],
      voters: [1, 2, 3],
    },
    {
      name: 'one always-on machine and laptops: it alone',
      machines: [{ ...server, ...voter }, laptop, laptop, laptop],
      voters: [1],
    },
    {
      name: 'only laptops: three',
      machines: [{ ...laptop, ...voter }, laptop, laptop, laptop],
      voters: [1, 2, 3],
    },
    {
      name: 'a laptop votes until a third always-on machine is there',
      machines: [{ ...server, ...voter }, { ...server, ...voter }, { ...laptop, ...voter }, server],
      voters: [1, 2, 4],
    },
    {
      name: 'a learner that lags gets no vote, nor does the other alone',
      machines: [{ ...server, ...voter }, server, { ...server, isCaughtUp: false }],
      voters: [1],
    },
    {
      name: 'a learner that came a moment ago gets no vote',
      machines: [{ ...server, ...voter }, server, { ...server, forMs: stableMs - 1 }],
      voters: [1],
    },
    {
      name: 'a voter that is away for a while keeps its vote',
      machines: [
        { ...server, ...voter },
        { ...server, ...voter },
        { ...server, ...voter, ...away },
        server,
      ],
      voters: [1, 2, 3],
    },
    {
      name: 'a voter that is away for long is replaced',
      machines: [
        { ...server, ...voter },
        { ...server, ...voter },
        { ...server, ...voter, ...dead },
        server,
      ],
      voters: [1, 2, 4],
    },
    {
      name: 'a laptop takes the place of an always-on machine that is away for long',
      machines: [
        { ...server, ...voter },
        { ...server, ...voter },
        { ...server, ...voter, ...dead },
        laptop,
      ],
      voters: [1, 2, 4],
    },
    {
      name: 'a voter that is away for long stays one when nobody can replace it',
      machines: [
        { ...server, ...voter },
        { ...server, ...voter },
        { ...server, ...voter, ...dead },
      ],
      voters: [1, 2, 3],
    },
    {
      name: 'two voters of five that are away for long are replaced, one after the other',
      machines: [
        ...Array.from({ length: 3 }, () => ({ ...server, ...voter })),
        { ...server, ...voter, ...dead },
        { ...server, ...voter, ...dead },
        server,
        server,
      ],
      voters: [1, 2, 3, 6, 7],
    },
  ];
  for (const { name, machines, voters, leader = 1 } of cases)
    it(name, () => {
      const { end } = settle({ leader: 1, machines });
      expect(votersOf(end)).toEqual(voters);
      expect(end.leader).toBe(leader);
    });
});

describe('a step', () => {
  it('adds the replacement before it takes the vote away', () => {
    const machines = [
      { ...server, ...voter },
      { ...server, ...voter },
      { ...server, ...voter, ...dead },
      server,
    ];
    const { steps } = settle({ leader: 1, machines });
    expect(steps.map(votersOf)).toEqual([
      [1, 2, 3, 4],
      [1, 2, 4],
    ]);
  });

  it('hands leadership over before the leader loses its vote', () => {
    const machines = [{ ...laptop, ...voter }, server];
    expect(decide({ leader: 1, machines })).toEqual({ type: 'promote', id: 2 });
    const both = [
      { ...laptop, ...voter },
      { ...server, ...voter },
    ];
    expect(decide({ leader: 1, machines: both })).toEqual({ type: 'transfer', to: 2 });
    expect(decide({ leader: 2, machines: both })).toEqual({ type: 'demote', id: 1 });
  });

  it('is none between equals: who votes goes on voting', () => {
    const machines = [server, ...Array.from({ length: 3 }, () => ({ ...server, ...voter }))];
    expect(decide({ leader: 3, machines })).toBeUndefined();
  });

  it('takes the vote first from who is away, last from the leader', () => {
    const laptops = [{}, {}, away, {}].map((change) => ({ ...laptop, ...voter, ...change }));
    const tooMany = [{ ...server, ...voter }, ...laptops];
    expect(decide({ leader: 1, machines: tooMany })).toEqual({ type: 'demote', id: 4 });
    const servers = Array.from({ length: 4 }, () => ({ ...server, ...voter }));
    const machines = [{ ...laptop, ...voter }, ...servers];
    expect(decide({ leader: 1, machines })).toEqual({ type: 'demote', id: 5 });
  });

  it('is not taken towards an heir that lags or is away', () => {
    for (const trouble of [{ isCaughtUp: false }, away]) {
      const machines = [
        { ...laptop, ...voter },
        { ...laptop, ...voter },
        { ...server, ...voter, ...trouble },
      ];
      const { steps } = settle({ leader: 1, machines });
      for (const { leader } of steps) expect(leader).toBe(1);
    }
  });

  it('takes the vote back from an heir that lags, rather than leave two voters', () => {
    const machines = [
      { ...laptop, ...voter },
      { ...server, ...voter, isCaughtUp: false },
    ];
    expect(decide({ leader: 1, machines })).toEqual({ type: 'demote', id: 2 });
  });

  it('leaves members alone of whom nothing is known', () => {
    const ids = [1, 2, 3];
    const members = ids.map((id) => ({ id, role: 'voter' as const, name: '', addresses: [] }));
    expect(desiredMembership({ members }, { leader: 1, members: [] }, nowMs)).toBeUndefined();
  });
});

const machine: fc.Arbitrary<Machine> = fc.record({
  role: fc.constantFrom<MemberRole>('voter', 'learner'),
  isAlwaysOn: fc.boolean(),
  isReachable: fc.boolean(),
  forMs: fc.constantFrom(0, stableMs - 1, stableMs, deadMs - 1, deadMs),
  isCaughtUp: fc.boolean(),
});

/** Its leader has a majority behind it: nobody else is asked. */
const group: fc.Arbitrary<Group> = fc
  .array(machine, { maxLength: 8 })
  .map((others) => ({ leader: 1, machines: [{ ...server, ...voter }, ...others] }))
  .chain(({ leader, machines }) =>
    fc.boolean().map((isAlwaysOn) => ({
      leader,
      machines: machines.map((m, i) => (i === 0 ? { ...m, isAlwaysOn } : m)),
    })),
  )
  .filter(hasQuorum);

function hasQuorum({ leader, machines }: Group): boolean {
  const voters = machines.filter(({ role }) => role === 'voter');
  const reachable = machines.filter(
    ({ role, isReachable }, i) => role === 'voter' && (isReachable || i + 1 === leader),
  );
  return reachable.length > voters.length / 2;
}

describe('whatever the state', () => {
  it('it comes to rest, on an odd number of voters, and no step loses the quorum', () => {
    fc.assert(
      fc.property(group, (start) => {
        const { end, steps } = settle(start);
        for (const step of steps) {
          expect(hasQuorum(step)).toBe(true);
          // Whoever leads votes.
          expect(step.machines[step.leader - 1]?.role).toBe('voter');
        }
        expect(votersOf(end).length % 2).toBe(1);
      }),
      { numRuns: 2000 },
    );
  });

  it('each step moves one vote, and gives it only to who is there, stable and caught up', () => {
    fc.assert(
      fc.property(group, (start) => {
        const change = decide(start);
        if (change === undefined) return;
        if (change.type === 'demote') {
          expect(change.id).not.toBe(start.leader);
          return;
        }
        const id = change.type === 'promote' ? change.id : change.to;
        const chosen = start.machines[id - 1];
        expect(chosen).toMatchObject({ isReachable: true, isCaughtUp: true });
        if (change.type === 'promote') expect(chosen?.forMs).toBeGreaterThanOrEqual(stableMs);
        expect(chosen?.role).toBe(change.type === 'promote' ? 'learner' : 'voter');
      }),
      { numRuns: 2000 },
    );
  });

  it('with everybody there the number of voters is that of the table', () => {
    const present = machine.map((any) => ({
      ...server,
      role: any.role,
      isAlwaysOn: any.isAlwaysOn,
    }));
    fc.assert(
      fc.property(fc.array(present, { maxLength: 8 }), (others) => {
        const machines = [{ ...server, ...voter }, ...others];
        const { end } = settle({ leader: 1, machines });
        expect(votersOf(end)).toHaveLength(voterCount(machines));
      }),
    );
  });

  it('once at rest, nothing moves because somebody is away for some minutes', () => {
    const blip = fc.record({ at: fc.nat(), forMs: fc.integer({ min: 0, max: deadMs - 1 }) });
    fc.assert(
      fc.property(group, fc.array(blip, { maxLength: 3 }), (start, blips) => {
        const { end } = settle(start);
        const machines = [...end.machines];
        for (const { at, forMs } of blips) {
          const i = at % machines.length;
          const was = machines[i];
          // Neither is the leader away from itself, nor is this a blip of the dead.
          if (was === undefined || i + 1 === end.leader || !was.isReachable) continue;
          machines[i] = { ...was, isReachable: false, forMs };
        }
        const blinking = { ...end, machines };
        if (hasQuorum(blinking)) expect(decide(blinking)).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });
});
