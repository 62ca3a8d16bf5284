import { describe, expect, it } from 'vitest';
import type { RaftStatus } from '../../../electron/controlplane/raft/types.ts';
import { Invariants } from './invariants.ts';

const membership = { members: [] };
const entry = { index: 2, term: 1, kind: 'command', data: new Uint8Array([1]) } as const;
const persisted = { hardState: undefined, entries: [entry], snapshot: undefined, mustSync: true };
const leader = (id: number, term: number, lastIndex: number): RaftStatus => ({
  id,
  role: 'leader',
  term,
  leader: id,
  membership,
  commit: 0,
  firstIndex: 1,
  lastIndex,
  isMembershipCommitted: true,
  transferTo: 0,
  progress: [],
});
const ack = {
  type: 'append-response',
  from: 1,
  to: 2,
  term: 1,
  isRejected: false,
  index: 2,
  hintIndex: 0,
  hintTerm: 0,
} as const;
const vote = {
  type: 'vote-response',
  from: 1,
  to: 2,
  term: 3,
  isPreVote: false,
  isGranted: true,
} as const;
const mark = { index: 2, term: 1, membership };

describe('the invariants', () => {
  it('accept an acknowledgement of what is on disk, and no other', () => {
    const invariants = new Invariants();
    expect(() => invariants.onSend(ack)).toThrow('acknowledged index 2');
    invariants.onPersisted(1, persisted);
    invariants.onSend(ack);
  });

  it('accept a vote that is on disk, and no other', () => {
    const invariants = new Invariants();
    expect(() => invariants.onSend(vote)).toThrow('before it was on disk');
    const hardState = { term: 3, vote: 2, commit: 0 };
    invariants.onPersisted(1, { ...persisted, hardState });
    invariants.onSend(vote);
    expect(() =>
      invariants.onPersisted(1, { ...persisted, hardState: { ...hardState, term: 2 } }),
    ).toThrow('went back');
  });

  it('allow one leader in a term, who has all that is committed', () => {
    const invariants = new Invariants();
    invariants.onStatus(leader(1, 1, 2));
    expect(() => invariants.onStatus(leader(2, 1, 2))).toThrow('two leaders');
    invariants.onApplied(1, [entry], mark, 7);
    expect(() => invariants.onStatus(leader(2, 2, 1))).toThrow('is committed');
  });

  it('demand the same entries and the same state everywhere', () => {
    const invariants = new Invariants();
    invariants.onApplied(1, [entry], mark, 7);
    expect(() =>
      invariants.onApplied(2, [{ ...entry, data: new Uint8Array([2]) }], mark, 7),
    ).toThrow('another entry');
    expect(() => invariants.onApplied(3, [entry], mark, 8)).toThrow('another state');
    expect(() => invariants.onApplied(1, [entry], mark, 7)).toThrow('applied 2 after 2');
  });
});
