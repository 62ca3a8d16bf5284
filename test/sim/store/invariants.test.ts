import { describe, expect, it } from 'vitest';
import { encodeMembership } from '../../../electron/controlplane/raft/membership.ts';
import type { Entry, HardState, MemberRole } from '../../../electron/controlplane/raft/types.ts';
import { Invariants, type Rule } from './invariants.ts';

const membership = { members: [] };
const entry = (index: number, term: number, byte = 1): Entry => ({
  index,
  term,
  kind: 'command',
  data: new Uint8Array([byte]),
});
const voters = (index: number, term: number, ...ids: readonly number[]): Entry => {
  const role: MemberRole = 'voter';
  const members = ids.map((id) => ({ id, role, name: '', addresses: [] }));
  return { index, term, kind: 'membership', data: encodeMembership({ members }) };
};
const batch = (entries: readonly Entry[], hardState?: HardState) => ({
  hardState,
  entries,
  snapshot: undefined,
  mustSync: true,
});
const ack = (from: number, index: number) =>
  ({
    type: 'append-response',
    from,
    to: 2,
    term: 1,
    isRejected: false,
    index,
    hintIndex: 0,
    hintTerm: 0,
  }) as const;
const vote = (to: number, term: number) =>
  ({ type: 'vote-response', from: 1, to, term, isPreVote: false, isGranted: true }) as const;
const append = (from: number, term: number, previousIndex: number) =>
  ({
    type: 'append',
    from,
    to: 2,
    term,
    previousIndex,
    previousTerm: 1,
    entries: [entry(previousIndex + 1, 1)],
    commit: 0,
  }) as const;
const mark = (index: number, term: number) => ({ index, term, membership });

function watched(inflightMessagesMax = Infinity): { invariants: Invariants; broken: Rule[] } {
  const broken: Rule[] = [];
  const limits = { inflightMessagesMax, inflightBytesMax: Infinity };
  return { invariants: new Invariants((rule) => broken.push(rule), limits), broken };
}

/** Members 1 to 3, who all hold the first entry. */
function three(): ReturnType<typeof watched> {
  const world = watched();
  for (const id of [1, 2, 3]) world.invariants.onPersisted(id, batch([voters(1, 1, 1, 2, 3)]));
  return world;
}

describe('the invariants', () => {
  it('accept an acknowledgement of what is on disk, and no other', () => {
    const { invariants, broken } = watched();
    invariants.onPersisted(1, batch([entry(1, 1)]));
    invariants.onSend(ack(1, 1));
    expect(broken).toEqual([]);
    invariants.onSend(ack(1, 2));
    expect(broken).toEqual(['promises are durable']);
  });

  it('accept a vote that is on disk, and one in a term', () => {
    const { invariants, broken } = watched();
    invariants.onPersisted(1, batch([], { term: 3, vote: 2, commit: 0 }));
    invariants.onSend(vote(2, 3));
    expect(broken).toEqual([]);
    invariants.onSend(vote(2, 4));
    invariants.onSend(vote(3, 3));
    expect(broken).toEqual(['promises are durable', 'promises are durable', 'one vote']);
  });

  it('allow one leader in a term, who has all that is committed', () => {
    const { invariants, broken } = three();
    invariants.onElected(1, 1, 1);
    invariants.onSend(append(1, 1, 0));
    expect(broken).toEqual([]);
    invariants.onSend(append(2, 1, 0));
    invariants.onPersisted(1, batch([entry(2, 1)]));
    invariants.onPersisted(2, batch([entry(2, 1)]));
    invariants.onApplied(1, [entry(2, 1)], mark(2, 1), 7);
    invariants.onElected(3, 2, 1);
    expect(broken).toEqual(['one leader', 'leader completeness']);
  });

  it('demand that equal entries have equal logs before them', () => {
    const { invariants, broken } = three();
    invariants.onPersisted(1, batch([entry(2, 1, 1), entry(3, 2, 1)]));
    invariants.onPersisted(2, batch([entry(2, 1, 1), entry(3, 2, 1)]));
    expect(broken).toEqual([]);
    invariants.onPersisted(3, batch([entry(2, 1, 2)]));
    expect(broken).toEqual(['log matching']);
  });

  it('demand a majority for what is applied, and the same state everywhere', () => {
    const { invariants, broken } = three();
    invariants.onPersisted(1, batch([entry(2, 1)]));
    invariants.onApplied(1, [entry(2, 1)], mark(2, 1), 7);
    expect(broken).toEqual(['committed by a majority']);
    invariants.onApplied(2, [entry(2, 1)], mark(2, 1), 8);
    invariants.onApplied(3, [entry(2, 2)], mark(2, 2), 7);
    invariants.onApplied(1, [entry(2, 1)], mark(2, 1), 7);
    expect(broken.slice(1)).toEqual([
      'equal state',
      'applied in order',
      'applied in order',
      'applied in order',
    ]);
  });

  it('demand that one voter changes at a time, and the change before is committed', () => {
    const { invariants, broken } = three();
    invariants.onPersisted(1, batch([voters(2, 1, 1, 2)]));
    expect(broken).toEqual([]);
    invariants.onPersisted(1, batch([voters(3, 1, 1)]));
    expect(broken).toEqual([]);
    const other = three();
    other.invariants.onPersisted(1, batch([voters(2, 1, 1, 2, 3, 4), voters(3, 1, 2)]));
    expect(other.broken).toEqual(['one change at a time', 'one change at a time']);
  });

  it('demand that a disk gives back what was written, and at most what was being written', () => {
    const { invariants, broken } = three();
    const hardState = { term: 2, vote: 1, commit: 0 };
    const start = { index: 0, term: 0 };
    const first = voters(1, 1, 1, 2, 3);
    invariants.onPersisted(1, batch([entry(2, 1)], hardState));
    invariants.onWriting(1, batch([entry(2, 2)]));
    invariants.onFound(1, { hardState, start, entries: [first, entry(2, 2)] }, mark(0, 0));
    expect(broken).toEqual([]);
    invariants.onFound(1, { hardState, start, entries: [first] }, mark(0, 0));
    invariants.onFound(
      1,
      { hardState: { ...hardState, vote: 3 }, start, entries: [first] },
      mark(0, 0),
    );
    expect(broken).toEqual(['the disk keeps its word', 'the disk keeps its word']);
  });

  it('bound what is under way to a peer', () => {
    const { invariants, broken } = watched(2);
    invariants.onSend(append(1, 1, 0));
    invariants.onSend(append(1, 1, 1));
    invariants.onDeliver({ ...ack(2, 1), to: 1 });
    invariants.onSend(append(1, 1, 2));
    expect(broken).toEqual([]);
    invariants.onSend(append(1, 1, 3));
    expect(broken).toEqual(['inflight window']);
  });
});
