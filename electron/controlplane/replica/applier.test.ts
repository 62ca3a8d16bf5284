import { describe, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import { encodeMembership } from '../raft/membership.ts';
import type { Entry } from '../raft/types.ts';
import { Applier } from './applier.ts';
import { PendingChange } from './pending.ts';
import { Proposals } from './proposals.ts';
import { Reads } from './reads.ts';
import { bytes, voter } from './replica-testing.ts';
import type { AppliedMark } from './types.ts';

const members = [voter(1), voter(2)];

function given(): {
  applier: Applier<number>;
  applied: [commands: number, mark: AppliedMark][];
  command: (index: number, text?: string) => Entry;
} {
  const proposals = new Proposals<number>({ origin: 1, random: seededRandom(1) });
  const applied: [number, AppliedMark][] = [];
  const applier = new Applier<number>({
    stateMachine: {
      applied: () => ({ index: 3, term: 1, membership: { members: [] } }),
      apply: (commands, mark) => {
        applied.push([commands.length, mark]);
        return commands.map(({ index }) => index);
      },
    },
    proposals,
    change: new PendingChange(),
    reads: new Reads(seededRandom(1)),
  });
  const command = (index: number, text = 'x'): Entry => {
    proposals.add(bytes(text), Infinity).catch(() => {});
    const [proposal] = proposals.take(1);
    return { index, term: 1, kind: 'command', data: proposal?.data ?? new Uint8Array() };
  };
  return { applier, applied, command };
}

describe('the applier', () => {
  it('moves the mark by noops and memberships, too', () => {
    const { applier, applied, command } = given();
    const data = encodeMembership({ members });
    applier.add([
      command(4),
      { index: 5, term: 1, kind: 'membership', data },
      { index: 6, term: 2, kind: 'noop', data: new Uint8Array() },
    ]);
    applier.applySome();
    expect(applied).toEqual([[1, { index: 6, term: 2, membership: { members } }]]);
    expect(applier.mark).toEqual({ index: 6, term: 2, membership: { members } });
  });

  it('takes a bounded share in bytes', () => {
    const { applier, applied, command } = given();
    applier.add([4, 5, 6].map((index) => command(index, 'x'.repeat(3 * 1024 * 1024))));
    applier.applySome();
    expect([applied.map(([count]) => count), applier.count]).toEqual([[2], 1]);
    applier.applyAll();
    expect([applied.map(([count]) => count), applier.count]).toEqual([[2, 1], 0]);
  });

  it('goes on behind a snapshot, without what waited', () => {
    const { applier, applied, command } = given();
    applier.add([command(4)]);
    applier.drop();
    applier.replaced({ index: 9, term: 2, membership: { members } });
    applier.add([command(10)]);
    applier.applySome();
    expect(applied.map(([, { index }]) => index)).toEqual([10]);
  });

  it('ends rather than leave an entry out', () => {
    const { applier, command } = given();
    applier.add([command(5)]);
    expect(() => applier.applySome()).toThrow('entry 5 cannot be applied after 3');
  });

  it('ends at a command that a newer release wrote', () => {
    const { applier } = given();
    applier.add([{ index: 4, term: 1, kind: 'command', data: Uint8Array.of(2, ...Array(20)) }]);
    expect(() => applier.applySome()).toThrow(/format 2, which this release does not know: update/);
  });
});
