// Which membership follows which, how one is written down, and which is in force.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeMembership,
  encodeMembership,
  isAllowedChange,
  MembershipHistory,
  nobody,
  votersOf,
  withMember,
  withoutMember,
} from './membership.ts';
import type { Member, Membership } from './types.ts';

const member: fc.Arbitrary<Member> = fc.record({
  id: fc.integer({ min: 1, max: 9 }),
  role: fc.constantFrom('voter', 'learner'),
  name: fc.string(),
  addresses: fc.array(fc.string(), { maxLength: 2 }),
});
const announcing: fc.Arbitrary<Member> = fc
  .tuple(member, fc.string(), fc.nat())
  .map(([of, incarnation, entryVersion]) => ({ ...of, incarnation, entryVersion }));
const membership: fc.Arbitrary<Membership> = fc
  .array(fc.oneof(member, announcing), { maxLength: 7 })
  .map((list) => list.reduce(withMember, nobody));

const text = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const one = { id: 1, role: 'voter', name: 'a', addresses: [] };

describe('the written form', () => {
  it('gives back what was written', () => {
    fc.assert(
      fc.property(membership, (value) => {
        expect(decodeMembership(encodeMembership(value))).toEqual(value);
      }),
    );
  });

  const cases: readonly { name: string; data: Uint8Array; error: RegExp }[] = [
    {
      name: 'a newer version',
      data: text({ version: 2, members: [] }),
      error: /format 2 .*update/,
    },
    { name: 'no object', data: text([]), error: /object/ },
    { name: 'no members', data: text({ version: 1 }), error: /list its members/ },
    { name: 'twice the same', data: text({ version: 1, members: [one, one] }), error: /once each/ },
    { name: 'id 0', data: text({ version: 1, members: [{ ...one, id: 0 }] }), error: /id/ },
    {
      name: 'a role',
      data: text({ version: 1, members: [{ ...one, role: 'x' }] }),
      error: /voter/,
    },
    { name: 'no name', data: text({ version: 1, members: [{ ...one, name: 1 }] }), error: /name/ },
    {
      name: 'an address',
      data: text({ version: 1, members: [{ ...one, addresses: [1] }] }),
      error: /addresses/,
    },
    { name: 'no text', data: Uint8Array.of(0xff), error: /./ },
  ];
  it.for(cases)('refuses $name', ({ data, error }) => {
    expect(() => decodeMembership(data)).toThrow(error);
  });
});

describe('a change', () => {
  const subsets = (list: readonly number[]): number[][] =>
    list.reduce<number[][]>((sets, id) => [...sets, ...sets.map((set) => [...set, id])], [[]]);
  const majorities = (voters: readonly number[]): number[][] =>
    subsets(voters).filter((set) => set.length * 2 > voters.length);

  it('that is allowed keeps all majorities of old and new in touch', () => {
    fc.assert(
      fc.property(membership, membership, (current, next) => {
        const before = votersOf(current);
        fc.pre(before.length > 0 && isAllowedChange(current, next));
        for (const a of majorities(before))
          for (const b of majorities(votersOf(next)))
            expect(a.some((id) => b.includes(id))).toBe(true);
      }),
    );
  });

  it('of one member is allowed as long as a voter is left', () => {
    fc.assert(
      fc.property(membership, member, (current, added) => {
        const kept = withoutMember(current, added.id);
        const next = withMember(current, added);
        expect(isAllowedChange(current, next)).toBe(votersOf(next).length > 0);
        expect(isAllowedChange(current, kept)).toBe(votersOf(kept).length > 0);
        const left = withoutMember(next, added.id);
        expect(left.members).toEqual(kept.members);
        // Who was removed is never back, whatever else changes.
        expect(decodeMembership(encodeMembership(left)).removed).toContain(added.id);
        expect(isAllowedChange(left, withMember(left, added))).toBe(false);
      }),
    );
  });

  it('remembers the newest 128 who left', () => {
    const many = Array.from({ length: 200 }, (_, i) => ({ ...one, id: i + 1 }) as Member);
    const left = many.reduce(
      (current, next) => withoutMember(withMember(current, next), next.id),
      nobody,
    );
    expect(left.removed).toEqual(many.slice(-128).map(({ id }) => id));
  });
});

describe('the membership in force', () => {
  /** 'append', or cut off the newest `count` entries. */
  const acts = fc.array(fc.oneof(membership, fc.nat(3)), { maxLength: 20 });

  it('is the newest in the log, whatever was appended and cut off', () => {
    fc.assert(
      fc.property(membership, acts, (first, list) => {
        const history = new MembershipHistory(10, first);
        let model: Membership[] = [first];
        for (const act of list) {
          if (typeof act === 'number') {
            model = model.slice(0, Math.max(1, model.length - act));
            history.truncateFrom(10 + model.length);
          } else {
            history.append(10 + model.length, act);
            model.push(act);
          }
          expect(history.current).toEqual(model.at(-1));
          expect(history.index).toBe(9 + model.length);
          expect(history.voters).toEqual(votersOf(history.current));
        }
      }),
    );
  });

  it('stays when its entry is compacted', () => {
    const [a, b, c] = [1, 2, 3].map((id) => withMember(nobody, { ...one, role: 'voter', id }));
    if (a === undefined || b === undefined || c === undefined) throw new Error('three members');
    const history = new MembershipHistory(0, a);
    history.append(5, b);
    history.append(8, c);
    history.compact(6);
    history.truncateFrom(8);
    expect(history.current).toEqual(b);
  });

  it('lets who was removed lead only until that is committed', () => {
    const both = [1, 2].reduce((all, id) => withMember(all, { ...one, role: 'voter', id }), nobody);
    const history = new MembershipHistory(0, both);
    history.append(5, withoutMember(both, 1));
    expect([history.mayLead(1, 4), history.mayLead(1, 5)]).toEqual([true, false]);
    expect([history.mayLead(2, 4), history.mayLead(2, 5)]).toEqual([true, true]);
    expect(history.mayLead(3, 4)).toBe(false);
  });
});
