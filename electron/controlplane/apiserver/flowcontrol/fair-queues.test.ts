import { array, assert, constantFrom, integer, nat, property, record, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';
import { bootstrapLevels } from './bootstrap.ts';
import { FairQueues, type Ticket } from './fair-queues.ts';
import { divideSeats } from './seats.ts';
import { dealHand } from './shuffle-shard.ts';

interface LevelOptions {
  readonly shares: number;
  readonly lendablePercent?: number;
  readonly borrowingLimitPercent?: number;
  /** None: refused at once. */
  readonly queues?: readonly [queues: number, handSize: number, queueLengthLimit: number];
}

function level(name: string, options: LevelOptions): PriorityLevelConfiguration {
  const { shares, queues, ...limits } = options;
  const [count, handSize, queueLengthLimit] = queues ?? [];
  const limitResponse =
    queues === undefined
      ? { type: 'Reject' }
      : {
          type: 'Queue',
          queuing: { queues: count!, handSize: handSize!, queueLengthLimit: queueLengthLimit! },
        };
  return {
    metadata: { name },
    spec: {
      type: 'Limited',
      limited: { nominalConcurrencyShares: shares, limitResponse, ...limits },
    },
  } as PriorityLevelConfiguration;
}

const ticket = (of: string, flow = 'f', width = 1): Ticket => ({ level: of, flow, width });

function queuesOf(total: number, ...levels: readonly PriorityLevelConfiguration[]): FairQueues {
  const queues = new FairQueues();
  queues.configure(levels, total, 0);
  return queues;
}

describe('seats', () => {
  it("are divided by shares, as Kubernetes' defaults divide 600", () => {
    const seats = divideSeats(bootstrapLevels, 600);
    const shown = [...seats].map(([name, { nominal, guaranteed }]) => [name, nominal, guaranteed]);
    expect(shown).toEqual([
      ['exempt', 0, 0],
      ['catch-all', 13, 13],
      ['system', 74, 50],
      ['node-high', 98, 73],
      ['leader-election', 25, 25],
      ['workload-high', 98, 49],
      ['workload-low', 245, 24],
      ['global-default', 49, 24],
    ]);
  });

  it('that are free are lent, but for the guaranteed ones', () => {
    const queues = queuesOf(
      10,
      level('a', { shares: 5 }),
      level('b', { shares: 5, lendablePercent: 40 }),
    );
    const taken = Array.from({ length: 9 }, () => queues.arrive(ticket('a'), 0));
    expect(taken).toEqual([
      ...Array.from({ length: 7 }, () => 'runs'),
      'concurrency-limit',
      'concurrency-limit',
    ]);
    const own = Array.from({ length: 4 }, () => queues.arrive(ticket('b'), 0));
    expect(own).toEqual(['runs', 'runs', 'runs', 'concurrency-limit']);
  });

  it('are borrowed up to the limit', () => {
    const queues = queuesOf(
      10,
      level('a', { shares: 5, borrowingLimitPercent: 20 }),
      level('b', { shares: 5, lendablePercent: 100 }),
    );
    const taken = Array.from({ length: 7 }, () => queues.arrive(ticket('a'), 0));
    expect(taken.filter((one) => one === 'runs')).toHaveLength(6);
  });

  it('go back to whom they belong before anybody borrows them', () => {
    const common = { lendablePercent: 100, queues: [4, 2, 50] as const };
    const queues = queuesOf(
      2,
      level('a', { shares: 1, ...common }),
      level('b', { shares: 1, ...common }),
    );
    const [first, second] = [ticket('a'), ticket('a')];
    for (const one of [first, second]) expect(queues.arrive(one, 0)).toBe('runs');
    const third = ticket('a');
    const owner = ticket('b');
    expect([queues.arrive(third, 0), queues.arrive(owner, 0)]).toEqual(['waits', 'waits']);
    expect(queues.finish(first, 1)).toEqual([owner]);
  });

  it('a request wider than its level runs alone', () => {
    const queues = queuesOf(4, level('a', { shares: 1, queues: [1, 1, 10] }));
    const wide = ticket('a', 'f', 10);
    expect(queues.arrive(wide, 0)).toBe('runs');
    expect(queues.arrive(ticket('a'), 0)).toBe('waits');
    expect(queues.finish(wide, 1)).toHaveLength(1);
  });

  it('are never missing for the exempt', () => {
    const queues = queuesOf(1, ...bootstrapLevels);
    for (let i = 0; i < 1000; i++) expect(queues.arrive(ticket('exempt'), 0)).toBe('runs');
  });
});

describe('flows', () => {
  it("take turns: a single request does not wait for another flow's hundred", () => {
    const queues = queuesOf(1, level('a', { shares: 1, queues: [64, 6, 50] }));
    const running = ticket('a', 'noisy');
    queues.arrive(running, 0);
    for (let i = 0; i < 100; i++) queues.arrive(ticket('a', 'noisy'), 0);
    const quiet = ticket('a', 'quiet');
    expect(queues.arrive(quiet, 0)).toBe('waits');
    let current = running;
    let turns = 0;
    for (; current !== quiet && turns < 20; turns++) {
      const [next] = queues.finish(current, turns * 10);
      current = next ?? quiet;
    }
    // The noisy one has six queues of its own.
    expect(turns).toBeLessThanOrEqual(7);
  });

  it('that were at rest have saved up nothing', () => {
    const queues = queuesOf(1, level('a', { shares: 1, queues: [2, 1, 50] }));
    const busy = 's';
    const rested =
      ['a', 'b', 'c', 'd'].find((one) => dealHand(one, 2, 1)[0] !== dealHand(busy, 2, 1)[0]) ?? '';
    let current = ticket('a', busy);
    queues.arrive(current, 0);
    for (let i = 0; i < 24; i++) queues.arrive(ticket('a', busy), 0);
    let nowMs = 0;
    const next = (): string => {
      nowMs += 1000;
      const [started] = queues.finish(current, nowMs);
      current = started ?? current;
      return current.flow;
    };
    for (let i = 0; i < 10; i++) next();
    for (let i = 0; i < 12; i++) queues.arrive(ticket('a', rested), nowMs);
    const ofTheRested = Array.from({ length: 10 }, next).filter((flow) => flow === rested).length;
    // Turn about, give or take the request that was running: not all ten at once.
    expect(ofTheRested).toBeGreaterThanOrEqual(4);
    expect(ofTheRested).toBeLessThanOrEqual(6);
  });

  it('whose requests last longer come less often', () => {
    const queues = queuesOf(1, level('a', { shares: 1, queues: [2, 1, 50] }));
    // Names whose hands are different queues.
    const slow = 's';
    const quick = ['a', 'b', 'c', 'd'].find(
      (one) => dealHand(one, 2, 1)[0] !== dealHand(slow, 2, 1)[0],
    );
    let current = ticket('a', slow);
    queues.arrive(current, 0);
    for (let i = 0; i < 40; i++) {
      queues.arrive(ticket('a', slow), 0);
      queues.arrive(ticket('a', quick), 0);
    }
    let nowMs = 0;
    const ran: string[] = [];
    for (let i = 0; i < 22; i++) {
      nowMs += current.flow === slow ? 100 : 10;
      const [next] = queues.finish(current, nowMs);
      if (next === undefined) break;
      ran.push(next.flow);
      current = next;
    }
    expect(ran.filter((flow) => flow === slow).length).toBeLessThanOrEqual(3);
  });

  it('whose queues are full are refused, while others are let in', () => {
    const queues = queuesOf(1, level('a', { shares: 1, queues: [64, 2, 3] }));
    const arrivals = Array.from({ length: 8 }, () => queues.arrive(ticket('a', 'noisy'), 0));
    expect(arrivals).toEqual(['runs', ...Array.from({ length: 6 }, () => 'waits'), 'queue-full']);
    expect(queues.arrive(ticket('a', 'quiet'), 0)).toBe('waits');
  });

  it('are dealt hands of different queues, the same each time', () => {
    assert(
      property(
        string(),
        integer({ min: 1, max: 128 }),
        integer({ min: 1, max: 8 }),
        (flow, count, size) => {
          const hand = dealHand(flow, count, size);
          expect(new Set(hand).size).toBe(Math.min(size, count));
          expect(hand.every((card) => card >= 0 && card < count)).toBe(true);
          expect(dealHand(flow, count, size)).toEqual(hand);
        },
      ),
    );
  });

  it('share all their queues with few others', () => {
    const noisy = new Set(dealHand('noisy', 128, 6));
    const covered = Array.from({ length: 2000 }, (_, i) => dealHand(`user-${i}`, 128, 6)).filter(
      (hand) => hand.every((card) => noisy.has(card)),
    );
    expect(covered).toEqual([]);
  });
});

describe('a change of configuration', () => {
  it('lets those who wait run at once where there is room now', () => {
    const queues = queuesOf(1, level('a', { shares: 1, queues: [4, 2, 50] }));
    queues.arrive(ticket('a'), 0);
    const waiting = ticket('a');
    queues.arrive(waiting, 0);
    expect(queues.configure([level('a', { shares: 1, queues: [8, 2, 50] })], 2, 0)).toEqual([
      waiting,
    ]);
  });

  it('that takes a level away lets its requests end', () => {
    const queues = queuesOf(
      2,
      level('a', { shares: 1, queues: [4, 2, 50] }),
      level('b', { shares: 1 }),
    );
    const [running, waiting] = [ticket('a'), ticket('a')];
    queues.arrive(running, 0);
    queues.arrive(waiting, 0);
    expect(queues.configure([level('b', { shares: 1 })], 2, 0)).toEqual([]);
    expect(queues.finish(running, 1)).toEqual([waiting]);
    expect(queues.finish(waiting, 2)).toEqual([]);
    expect(queues.counts().map(({ name }) => name)).toEqual(['b']);
  });
});

it('whatever comes: nobody is lost, nobody uses what is guaranteed to others, nobody waits beside a free seat', () => {
  const names = ['a', 'b', 'c'];
  const levels = [
    level('a', { shares: 5, lendablePercent: 50, queues: [4, 2, 3] }),
    level('b', { shares: 3, lendablePercent: 0, queues: [2, 1, 3] }),
    level('c', { shares: 2, lendablePercent: 100, borrowingLimitPercent: 50 }),
  ];
  const step = record({
    level: constantFrom(...names),
    flow: constantFrom('x', 'y', 'z'),
    width: integer({ min: 1, max: 4 }),
    what: constantFrom('arrive', 'arrive', 'finish', 'leave'),
    which: nat(),
  });
  assert(
    property(array(step, { maxLength: 80 }), (steps) => {
      const queues = queuesOf(10, ...levels);
      const running = new Set<Ticket>();
      const waiting = new Set<Ticket>();
      const start = (tickets: readonly Ticket[]): void => {
        for (const started of tickets) {
          expect(waiting.delete(started)).toBe(true);
          running.add(started);
        }
      };
      for (const [nowMs, { what, which, ...parts }] of steps.entries()) {
        const [from] = what === 'finish' ? [running] : [waiting];
        const chosen = [...from][which % Math.max(1, from.size)];
        if (what === 'arrive') {
          const made: Ticket = parts;
          const arrival = queues.arrive(made, nowMs);
          if (arrival === 'runs') running.add(made);
          if (arrival === 'waits') waiting.add(made);
        } else if (chosen !== undefined && what === 'finish') {
          running.delete(chosen);
          start(queues.finish(chosen, nowMs));
        } else if (chosen !== undefined) {
          waiting.delete(chosen);
          queues.leave(chosen);
        }
        const counts = queues.counts();
        expect(counts.reduce((sum, one) => sum + one.waiting, 0)).toBe(waiting.size);
        const seats = divideSeats(levels, 10);
        const load = counts.reduce(
          (sum, { name, inUse }) => sum + Math.max(inUse, seats.get(name)?.guaranteed ?? 0),
          0,
        );
        expect(load).toBeLessThanOrEqual(10);
      }
      for (let nowMs = 100; running.size > 0; nowMs++) {
        const [one] = running;
        running.delete(one!);
        start(queues.finish(one!, nowMs));
      }
      expect(waiting.size).toBe(0);
    }),
  );
});
