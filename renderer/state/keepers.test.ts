import { describe, expect, it } from 'vitest';
import type { MemberReport, MembersReport } from '#kube/api/flotilla.ts';
import { describeKeepers } from './keepers.ts';

function member(name: string, more: Partial<MemberReport> = {}): MemberReport {
  const facts = { id: 1, name, role: 'voter', addresses: [], isLeader: false, isSelf: false };
  return { ...facts, health: 'running', lag: 0, ...more } as MemberReport;
}
function report(members: readonly MemberReport[], problem: string | null = null): MembersReport {
  return { clusterId: 'c', term: 1, revision: 1, members, problem };
}
const leader = { isLeader: true, isSelf: true };
const learner = { role: 'learner' } as const;
const away = { health: 'unreachable', lag: null } as const;

const cases: {
  name: string;
  members: readonly MemberReport[];
  headline: string;
  detail: string;
  words: readonly string[];
}[] = [
  {
    name: 'one',
    members: [member('pi', leader)],
    headline: 'pi alone keeps the state of this home',
    detail:
      'If it is lost, so is what runs where. With two more, the home survives the loss of any one.',
    words: ['pi leads'],
  },
  {
    name: 'two',
    members: [member('pi', learner), member('laptop', leader)],
    headline: 'laptop keeps the state of this home, and pi keeps a copy',
    detail: 'It takes a third machine before the home survives the loss of one.',
    words: ['laptop leads', 'pi keeps a copy, has no vote'],
  },
  {
    name: 'three',
    members: [member('pi'), member('nuc', leader), member('desk')],
    headline: '3 machines keep the state of this home; nuc leads',
    detail: 'The home survives the loss of any one of them.',
    words: ['nuc leads', 'desk votes', 'pi votes'],
  },
  {
    name: 'three, one of them away',
    members: [member('pi', away), member('nuc', leader), member('desk')],
    headline: '3 machines keep the state of this home; nuc leads',
    detail: 'pi is away. If one more that votes is lost, nothing can be changed until it is back.',
    words: ['nuc leads', 'desk votes', 'pi votes, but is away'],
  },
  {
    name: 'three, of which one has no vote yet and is behind',
    members: [member('pi', { ...learner, lag: 3200 }), member('nuc', leader), member('desk')],
    headline: '3 machines keep the state of this home; nuc leads',
    detail: 'If one more that votes is lost, nothing can be changed until it is back.',
    words: ['nuc leads', 'desk votes', 'pi keeps a copy, has no vote, and is 3200 changes behind'],
  },
  {
    name: 'five',
    members: [member('a', leader), member('b'), member('c'), member('d'), member('e')],
    headline: '5 machines keep the state of this home; a leads',
    detail: 'The home survives the loss of any 2 of them.',
    words: ['a leads', 'b votes', 'c votes', 'd votes', 'e votes'],
  },
];

describe('describeKeepers', () => {
  it.each(cases)('of $name', ({ members, headline, detail, words }) => {
    const told = describeKeepers(report(members));
    expect([told.headline, told.detail]).toEqual([headline, detail]);
    expect(told.keepers.map(({ name, words: say }) => `${name} ${say}`)).toEqual(words);
  });

  it('without a majority gives the reason, and promises nothing', () => {
    const sentence = 'No member leads: 2 of the voters desk, nuc, pi have to run.';
    const told = describeKeepers(report([member('pi', { isSelf: true })], sentence));
    expect([told.problem, told.detail]).toEqual([sentence, '']);
    expect(told.headline).toBe('No majority of the machines that decide can be reached');
  });

  it('tells experts role, addresses and how far each is', () => {
    const given = member('pi', { ...learner, addresses: ['10.0.0.5:7444'], lag: 12 });
    expect(describeKeepers(report([given])).keepers[0]?.details).toBe(
      'learner · 10.0.0.5:7444 · 12 entries behind',
    );
  });
});
