import { expect, it } from 'vitest';
import type { RecoveryReport } from '#kube/api/flotilla.ts';
import { describeRecovery } from './recovery.ts';

const report: RecoveryReport = {
  clusterId: 'c',
  refusal: null,
  unconfirmedEntries: 0,
  isVoter: true,
  others: [
    { name: 'nuc', role: 'voter', heardSecondsAgo: 120 },
    { name: 'pi', role: 'learner', heardSecondsAgo: null },
  ],
};

it('names who is missing, and since when', () => {
  const { others, oath } = describeRecovery(report);
  expect(others).toEqual([
    { name: 'nuc', words: 'votes, last heard of 2 min ago' },
    { name: 'pi', words: 'keeps a copy, not heard of since Flotilla was started here' },
  ]);
  expect(oath).toBe('nuc and pi do not run any more, and will not come back as they were.');
});

it.each([
  { name: 'a voter', given: report, want: 2 },
  {
    name: 'one with changes that nobody confirmed',
    given: { ...report, unconfirmedEntries: 3 },
    want: 3,
  },
])('tells what may be missing: $name', ({ given, want }) => {
  expect(describeRecovery(given).losses).toHaveLength(want);
});

it('says that a copy without a vote may be behind', () => {
  expect(describeRecovery({ ...report, isVoter: false }).losses[0]).toContain('a little behind');
});
