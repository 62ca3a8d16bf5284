// Majorities, against the plain definition.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { majority, majorityReaches, tally } from './quorum.ts';

const values = fc.array(fc.nat(50), { maxLength: 9 });

describe('majorityReaches', () => {
  it('is the greatest number that more than half of the values reach', () => {
    fc.assert(
      fc.property(values, (list) => {
        const reached = majorityReaches([...list]);
        const atLeast = (index: number): number => list.filter((value) => value >= index).length;
        if (list.length === 0) return reached === 0;
        return atLeast(reached) * 2 > list.length && atLeast(reached + 1) * 2 <= list.length;
      }),
    );
  });

  it('does not depend on who says what', () => {
    fc.assert(
      fc.property(values, (list) => {
        expect(majorityReaches(list.toReversed())).toBe(majorityReaches([...list]));
      }),
    );
  });
});

describe('majority', () => {
  it('two majorities of the same voters, or of voters that differ by one, share a voter', () => {
    for (let count = 1; count < 20; count += 1) {
      expect(2 * majority(count)).toBeGreaterThan(count);
      expect(majority(count) + majority(count + 1)).toBeGreaterThan(count + 1);
    }
  });
});

describe('tally', () => {
  const ballots = fc.record({
    voters: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 7 }),
    votes: fc.array(fc.tuple(fc.integer({ min: 1, max: 12 }), fc.boolean()), { maxLength: 12 }),
  });

  it('is decided exactly when no further answer can change it', () => {
    fc.assert(
      fc.property(ballots, ({ voters, votes }) => {
        const given = new Map(votes);
        const missing = voters.filter((voter) => !given.has(voter));
        const all = (answer: boolean) =>
          new Map([...given, ...missing.map((voter): [number, boolean] => [voter, answer])]);
        const [best, worst] = [tally(voters, all(true)), tally(voters, all(false))];
        expect(tally(voters, given)).toBe(best === worst ? best : 'pending');
      }),
    );
  });

  it('nobody wins without voters, and strangers do not count', () => {
    expect(tally([], new Map([[1, true]]))).not.toBe('won');
    expect(
      tally(
        [1, 2, 3],
        new Map([
          [8, true],
          [9, true],
        ]),
      ),
    ).toBe('pending');
  });
});
