// The rules of the Raft paper (Ongaro, Ousterhout: In Search of an Understandable Consensus Algorithm,
// figure 2 and §5) and of the thesis, one by one, on a single member that is told what others say.
import { describe, expect, it } from 'vitest';
import { encodeMembership } from './membership.ts';
import { Raft } from './raft.ts';
import type {
  AppendRequest,
  Entry,
  Input,
  Member,
  MemberId,
  MemberRole,
  Message,
  RaftStart,
  Ready,
  VoteRequest,
} from './types.ts';

const electionTicks = 10;
const self = 1;

interface Given {
  readonly voters?: readonly MemberId[];
  readonly learners?: readonly MemberId[];
  readonly term?: number;
  readonly vote?: MemberId;
  /** Terms of the entries from index 1 on. */
  readonly log?: readonly number[];
  readonly commit?: number;
  readonly random?: () => number;
}

const member =
  (role: MemberRole) =>
  (id: MemberId): Member => ({ id, role, name: `m${id}`, addresses: [] });

function members(voters: readonly MemberId[], learners: readonly MemberId[] = []): Member[] {
  const all = [...voters.map(member('voter')), ...learners.map(member('learner'))];
  return all.sort((a, b) => a.id - b.id);
}

const entry = (index: number, term: number): Entry => ({
  index,
  term,
  kind: 'command',
  data: Uint8Array.of(index, term),
});

/** A member whose disk is instant: what it hands out is durable, and all its promises are sent. */
class Subject {
  readonly raft: Raft;
  readonly sent: Message[] = [];
  readonly committed: Entry[] = [];
  readonly written: Entry[] = [];
  last: Ready | undefined;

  constructor(given: Given = {}) {
    const { voters = [1, 2, 3], learners = [], term = 1, vote = 0, log = [], commit = 0 } = given;
    const start: RaftStart = {
      hardState: { term, vote, commit },
      snapshot: { index: 0, term: 0, membership: { members: members(voters, learners) } },
      entries: log.map((entryTerm, at) => entry(at + 1, entryTerm)),
      appliedIndex: 0,
    };
    const random = { next: given.random ?? (() => 0), bytes: (n: number) => new Uint8Array(n) };
    const config = {
      id: self,
      electionTicks,
      heartbeatTicks: 1,
      messageBytesMax: 1e6,
      inflightMessagesMax: 100,
      inflightBytesMax: 1e9,
      uncommittedBytesMax: 1e9,
      random,
    };
    this.raft = new Raft(config, start);
  }

  step(input: Input): this {
    const ready = this.raft.step(input);
    this.last = ready;
    this.sent.push(...ready.messages, ...ready.messagesAfterPersist);
    this.committed.push(...ready.committed);
    const first = ready.entries[0];
    if (first !== undefined) {
      const at = this.written.findIndex(({ index }) => index === first.index);
      if (at >= 0) this.written.length = at;
    }
    this.written.push(...ready.entries);
    if (ready.writeId > 0) this.step({ type: 'persisted', writeId: ready.writeId });
    return this;
  }

  receive(message: Message): this {
    return this.step({ type: 'message', message });
  }

  tick(times = 1): this {
    for (let at = 0; at < times; at += 1) this.step({ type: 'tick' });
    return this;
  }

  propose(kind: 'command' | 'membership' = 'command', data: Uint8Array = Uint8Array.of(7)): this {
    return this.step({ type: 'propose', proposals: [{ id: 1, kind, data }] });
  }

  /** Empties what was sent, and returns it. */
  take(type?: Message['type']): Message[] {
    return this.sent.splice(0).filter((message) => type === undefined || message.type === type);
  }

  /** Elected by 2. */
  lead(): this {
    this.tick(electionTicks);
    this.receive(answer({ from: 2, term: this.raft.status().term + 1, isPreVote: true }));
    this.receive(answer({ from: 2, term: this.raft.status().term }));
    expect(this.raft.status().role).toBe('leader');
    return this;
  }

  acknowledge(from: MemberId, index: number): this {
    const { term } = this.raft.status();
    return this.receive({
      type: 'append-response',
      from,
      to: self,
      term,
      isRejected: false,
      index,
      hintIndex: 0,
      hintTerm: 0,
    });
  }
}

function answer(given: {
  from: MemberId;
  term: number;
  isPreVote?: boolean;
  isGranted?: boolean;
}): Message {
  const { isPreVote = false, isGranted = true, ...rest } = given;
  return { type: 'vote-response', to: self, isPreVote, isGranted, ...rest };
}

function voteRequest(given: Partial<VoteRequest>): VoteRequest {
  return {
    type: 'vote',
    from: 2,
    to: self,
    term: 2,
    isPreVote: false,
    isTransfer: false,
    lastIndex: 0,
    lastTerm: 0,
    ...given,
  };
}

function append(given: Partial<AppendRequest>): AppendRequest {
  return {
    type: 'append',
    from: 2,
    to: self,
    term: 1,
    previousIndex: 0,
    previousTerm: 0,
    entries: [],
    commit: 0,
    ...given,
  };
}

const heartbeat = (term: number, commit = 0, from = 2): Message => ({
  type: 'heartbeat',
  from,
  to: self,
  term,
  commit,
  readRound: 0,
});

describe('terms (§5.1)', () => {
  const roles = [
    { name: 'follower', make: () => new Subject() },
    { name: 'pre-candidate', make: () => new Subject().tick(electionTicks) },
    { name: 'leader', make: () => new Subject().lead() },
  ];
  it.for(roles)('a $name that sees a higher term becomes a follower of that term', ({ make }) => {
    const subject = make().receive(heartbeat(9));
    expect(subject.raft.status()).toMatchObject({ role: 'follower', term: 9, leader: 2 });
  });

  it('what a lower term says changes nothing', () => {
    const subject = new Subject({ term: 5 });
    subject.receive(append({ term: 4, entries: [entry(1, 4)], commit: 1 }));
    expect(subject.raft.status()).toMatchObject({ term: 5, leader: 0, lastIndex: 0, commit: 0 });
    expect(subject.take()).toMatchObject([{ type: 'append-response', isRejected: true, term: 5 }]);
  });

  it('a lower-term request for a vote is not answered', () => {
    expect(new Subject({ term: 5 }).receive(voteRequest({ term: 4 })).take()).toEqual([]);
  });

  it('a member starts as a follower that knows no leader', () => {
    expect(new Subject().raft.status()).toMatchObject({ role: 'follower', leader: 0, term: 1 });
  });
});

describe('elections (§5.2)', () => {
  it('a leader sends heartbeats to everybody, learners too', () => {
    const subject = new Subject({ learners: [4] }).lead();
    subject.take();
    expect(
      subject
        .tick()
        .take('heartbeat')
        .map(({ to }) => to),
    ).toEqual([2, 3, 4]);
  });

  it('a follower that hears nothing campaigns after its timeout, drawn from [T, 2T)', () => {
    const timeouts = [0, 0.35, 0.999].map((draw) => {
      const subject = new Subject({ random: () => draw });
      let ticks = 0;
      while (subject.raft.status().role === 'follower') {
        subject.tick();
        ticks += 1;
      }
      return ticks;
    });
    expect(timeouts).toEqual([10, 13, 19]);
  });

  it('the timeout is drawn anew at each change of state', () => {
    let draws = 0;
    const subject = new Subject({ random: () => ((draws += 1), 0) });
    const atStart = draws;
    subject.tick(electionTicks);
    expect(draws).toBe(atStart + 1);
    subject.receive(heartbeat(7));
    expect(draws).toBe(atStart + 2);
  });

  it('hearing the leader starts the timer anew', () => {
    const subject = new Subject().receive(heartbeat(1)).tick(electionTicks - 1);
    subject.receive(heartbeat(1)).tick(electionTicks - 1);
    expect(subject.raft.status().role).toBe('follower');
    expect(subject.tick().raft.status().role).toBe('pre-candidate');
  });

  it('a candidate votes for itself in the next term, and asks when that vote is durable', () => {
    const subject = new Subject().tick(electionTicks);
    const granted = answer({ from: 2, term: 2, isPreVote: true });
    const ready = subject.raft.step({ type: 'message', message: granted });
    expect(ready.hardState).toMatchObject({ term: 2, vote: self });
    expect(ready).toMatchObject({ mustSync: true, messages: [] });
    expect(ready.messagesAfterPersist.map(({ type, to }) => [type, to])).toEqual([
      ['vote', 2],
      ['vote', 3],
    ]);
  });

  it('a granted vote of others does not count before the own one is durable', () => {
    const subject = new Subject().tick(electionTicks);
    const step = (message: Message): Ready => subject.raft.step({ type: 'message', message });
    const { writeId } = step(answer({ from: 2, term: 2, isPreVote: true }));
    step(answer({ from: 2, term: 2 }));
    expect(subject.raft.status().role).toBe('candidate');
    subject.raft.step({ type: 'persisted', writeId });
    expect(subject.raft.status().role).toBe('leader');
  });

  const counts = [
    { voters: [1], yes: [], no: [], want: 'leader' },
    { voters: [1, 2, 3], yes: [2], no: [], want: 'leader' },
    { voters: [1, 2, 3], yes: [], no: [2, 3], want: 'follower' },
    { voters: [1, 2, 3], yes: [], no: [2], want: 'candidate' },
    { voters: [1, 2, 3, 4, 5], yes: [2, 3], no: [4, 5], want: 'leader' },
    { voters: [1, 2, 3, 4, 5], yes: [2], no: [3, 4], want: 'candidate' },
    { voters: [1, 2, 3, 4, 5], yes: [2], no: [3, 4, 5], want: 'follower' },
    { voters: [1, 2, 3, 4], yes: [2], no: [3], want: 'candidate' },
    { voters: [1, 2, 3], yes: [8, 9], no: [], want: 'candidate' },
  ];
  it.for(counts)('$want of $voters with yes of $yes and no of $no', ({ voters, yes, no, want }) => {
    const subject = new Subject({ voters }).tick(electionTicks);
    for (const from of voters) subject.receive(answer({ from, term: 2, isPreVote: true }));
    for (const from of yes) subject.receive(answer({ from, term: 2 }));
    for (const from of no) subject.receive(answer({ from, term: 2, isGranted: false }));
    expect(subject.raft.status().role).toBe(want);
  });

  it('a member votes once in a term, for whoever comes first', () => {
    const subject = new Subject()
      .receive(voteRequest({ from: 2 }))
      .receive(voteRequest({ from: 3 }));
    subject.receive(voteRequest({ from: 2 }));
    expect(subject.take()).toMatchObject([
      { to: 2, isGranted: true },
      { to: 3, isGranted: false },
      { to: 2, isGranted: true },
    ]);
  });

  it('a vote is durable before it is told', () => {
    const ready = new Subject().raft.step({ type: 'message', message: voteRequest({}) });
    expect(ready).toMatchObject({ mustSync: true, hardState: { term: 2, vote: 2 }, messages: [] });
    expect(ready.messagesAfterPersist).toMatchObject([{ type: 'vote-response', isGranted: true }]);
  });

  it('a vote survives a restart', () => {
    const subject = new Subject({ term: 2, vote: 3 }).receive(voteRequest({ from: 2, term: 2 }));
    expect(subject.take()).toMatchObject([{ to: 2, isGranted: false }]);
  });

  it('a pre-vote changes neither term nor vote', () => {
    const ready = new Subject().raft.step({
      type: 'message',
      message: voteRequest({ isPreVote: true, term: 9 }),
    });
    expect(ready).toMatchObject({ hardState: undefined, writeId: 0 });
    expect(ready.messagesAfterPersist).toMatchObject([
      { isPreVote: true, isGranted: true, term: 9 },
    ]);
  });

  it('who hears from a leader refuses, unless the leader itself asked', () => {
    const subject = new Subject().receive(heartbeat(1));
    subject.take();
    for (const isPreVote of [true, false]) subject.receive(voteRequest({ from: 3, isPreVote }));
    expect(subject.take()).toEqual([]);
    expect(subject.raft.status().term).toBe(1);
    subject.receive(voteRequest({ from: 3, isTransfer: true }));
    expect(subject.take()).toMatchObject([{ to: 3, isGranted: true }]);
  });

  it('a candidate that hears the leader of its term follows it', () => {
    const subject = new Subject().tick(electionTicks);
    subject.receive(answer({ from: 2, term: 2, isPreVote: true }));
    subject.receive(append({ from: 3, term: 2 }));
    expect(subject.raft.status()).toMatchObject({ role: 'follower', leader: 3, term: 2 });
  });

  it('two leaders in one term end the process: the protocol is broken', () => {
    const subject = new Subject().lead();
    expect(() => subject.receive(heartbeat(2))).toThrow('lead term 2');
  });
});

describe('who may be elected (§5.4.1)', () => {
  const cases = [
    { log: [1], lastIndex: 1, lastTerm: 1, isGranted: true },
    { log: [1], lastIndex: 2, lastTerm: 1, isGranted: true },
    { log: [1, 1], lastIndex: 1, lastTerm: 1, isGranted: false },
    { log: [1, 1, 1], lastIndex: 1, lastTerm: 2, isGranted: true },
    { log: [1, 2], lastIndex: 9, lastTerm: 1, isGranted: false },
    { log: [], lastIndex: 0, lastTerm: 0, isGranted: true },
  ];
  it.for(cases)(
    'log of terms $log, asked by one ending at $lastIndex of term $lastTerm: $isGranted',
    ({ log, lastIndex, lastTerm, isGranted }) => {
      for (const isPreVote of [false, true]) {
        const subject = new Subject({ log, term: 2 });
        subject.receive(voteRequest({ term: 3, lastIndex, lastTerm, isPreVote }));
        expect(subject.take()).toMatchObject([{ isGranted, isPreVote }]);
      }
    },
  );
});

describe('replication (§5.3)', () => {
  it('a leader appends a noop of its term, and sends it while its own disk still writes', () => {
    const subject = new Subject({ log: [1] }).lead();
    expect(subject.written).toMatchObject([{ index: 2, term: 2, kind: 'noop' }]);
    expect(subject.take('append')).toMatchObject([
      { to: 2, previousIndex: 1, previousTerm: 1, entries: [{ index: 2 }] },
      { to: 3, previousIndex: 1, previousTerm: 1, entries: [{ index: 2 }] },
    ]);
  });

  it('a leader only ever appends to its log', () => {
    const subject = new Subject({ log: [1, 1] }).lead().propose().propose();
    expect(subject.written.map(({ index }) => index)).toEqual([3, 4, 5]);
  });

  const answers = [
    { name: 'fits', log: [1, 2], previous: [2, 2], isRejected: false, hint: [0, 0] },
    { name: 'is beyond the end', log: [1, 2], previous: [5, 2], isRejected: true, hint: [2, 2] },
    {
      name: 'differs in term',
      log: [1, 3, 3, 3],
      previous: [4, 4],
      isRejected: true,
      hint: [4, 3],
    },
    { name: 'is older here', log: [1, 2, 3, 3], previous: [4, 2], isRejected: true, hint: [2, 2] },
  ];
  it.for(answers)('a follower answers an append that $name', (given) => {
    const [previousIndex = 0, previousTerm = 0] = given.previous;
    const subject = new Subject({ log: given.log, term: 5 });
    subject.receive(append({ term: 5, previousIndex, previousTerm }));
    expect(subject.take()).toMatchObject([
      { isRejected: given.isRejected, hintIndex: given.hint[0], hintTerm: given.hint[1] },
    ]);
  });

  const overwrites = [
    { log: [1, 1], previous: [2, 1], entries: [[3, 3]], want: [1, 1, 3], written: [3] },
    { log: [1, 1], previous: [1, 1], entries: [[2, 3]], want: [1, 3], written: [2] },
    { log: [1, 1, 1], previous: [0, 0], entries: [[1, 1]], want: [1, 1, 1], written: [] },
    {
      log: [1, 2, 2],
      previous: [0, 0],
      entries: [
        [1, 1],
        [2, 3],
      ],
      want: [1, 3],
      written: [2],
    },
    {
      log: [1],
      previous: [0, 0],
      entries: [
        [1, 1],
        [2, 3],
      ],
      want: [1, 3],
      written: [2],
    },
  ];
  it.for(overwrites)('log $log, append behind $previous of $entries: $want', (given) => {
    const [previousIndex = 0, previousTerm = 0] = given.previous;
    const entries = given.entries.map(([index = 0, term = 0]) => entry(index, term));
    const subject = new Subject({ log: given.log, term: 3 });
    subject.receive(append({ term: 3, previousIndex, previousTerm, entries }));
    expect(subject.written.map(({ index }) => index)).toEqual(given.written);
    expect(subject.raft.status().lastIndex).toBe(given.want.length);
    const last = previousIndex + entries.length;
    expect(subject.take()).toMatchObject([{ isRejected: false, index: last }]);
  });

  it('what is appended is durable before it is acknowledged', () => {
    const message = append({ entries: [entry(1, 1)] });
    const ready = new Subject().raft.step({ type: 'message', message });
    expect(ready).toMatchObject({ mustSync: true, messages: [], entries: [{ index: 1 }] });
    expect(ready.messagesAfterPersist).toMatchObject([{ type: 'append-response', index: 1 }]);
  });

  it('a committed entry is never cut off', () => {
    const subject = new Subject({ log: [1, 1], commit: 2 });
    subject.receive(append({ term: 2, previousIndex: 0, entries: [entry(1, 2)], commit: 0 }));
    expect(subject.written).toEqual([]);
    expect(subject.take()).toMatchObject([{ isRejected: false, index: 2 }]);
    const impossible = append({
      term: 2,
      previousIndex: 2,
      previousTerm: 1,
      entries: [entry(2, 2)],
    });
    expect(() => subject.receive(impossible)).toThrow('committed entry 2');
  });

  it('a follower commits what the leader says, but not beyond what the append reaches', () => {
    const subject = new Subject({ log: [1, 1, 1] });
    subject.receive(append({ previousIndex: 1, previousTerm: 1, commit: 3 }));
    expect(subject.raft.status().commit).toBe(1);
    subject.receive(
      append({ previousIndex: 1, previousTerm: 1, entries: [entry(2, 1)], commit: 3 }),
    );
    expect(subject.raft.status().commit).toBe(2);
    expect(subject.committed.map(({ index }) => index)).toEqual([1, 2]);
  });

  it('a disk that lost what it had acknowledged ends the process', () => {
    expect(() => new Subject({ log: [1] }).receive(heartbeat(1, 5))).toThrow('this disk lost data');
  });

  it('each committed entry is handed out once, in order', () => {
    const subject = new Subject().lead().propose().propose();
    subject.acknowledge(2, 2).acknowledge(3, 3).acknowledge(2, 3).acknowledge(2, 1);
    expect(subject.committed.map(({ index }) => index)).toEqual([1, 2, 3]);
  });
});

describe('commitment (§5.4.2)', () => {
  it('a majority, the leader among it, commits', () => {
    const subject = new Subject({ voters: [1, 2, 3, 4, 5] }).tick(electionTicks);
    for (const from of [2, 3]) subject.receive(answer({ from, term: 2, isPreVote: true }));
    for (const from of [2, 3]) subject.receive(answer({ from, term: 2 }));
    expect(subject.acknowledge(2, 1).raft.status().commit).toBe(0);
    expect(subject.acknowledge(3, 1).raft.status().commit).toBe(1);
  });

  it('a learner does not count', () => {
    const subject = new Subject({ learners: [4] }).lead().acknowledge(4, 1);
    expect(subject.raft.status().commit).toBe(0);
  });

  it('figure 8: an entry of an earlier term is not committed by counting, but with a newer one', () => {
    const subject = new Subject({ log: [1, 2], term: 3, commit: 1 }).lead();
    expect(subject.acknowledge(2, 2).raft.status().commit).toBe(1);
    expect(subject.acknowledge(2, 3).raft.status().commit).toBe(3);
    expect(subject.committed.map(({ index }) => index)).toEqual([1, 2, 3]);
  });

  it('the leader counts itself only for what its own disk has', () => {
    const subject = new Subject({ voters: [1] });
    const { writeId } = subject.raft.step({ type: 'tick' });
    const ready = subject.raft.step({ type: 'persisted', writeId });
    expect(ready).toMatchObject({ entries: [{ kind: 'noop' }], committed: [] });
    expect(subject.raft.status().commit).toBe(0);
    const done = subject.raft.step({ type: 'persisted', writeId: ready.writeId });
    expect(done.committed).toMatchObject([{ kind: 'noop' }]);
  });

  it('a commit that moves alone needs no write', () => {
    const subject = new Subject({ log: [1] });
    const ready = subject.raft.step({ type: 'message', message: heartbeat(1, 1) });
    expect(ready).toMatchObject({ writeId: 0, mustSync: false, hardState: { commit: 1 } });
  });

  it('a commit written ahead of entries that a crash lost is cut to the log', () => {
    expect(new Subject({ log: [1, 1], commit: 5 }).raft.status().commit).toBe(2);
  });
});

describe('membership (thesis §4)', () => {
  const change = (voters: readonly MemberId[]) => encodeMembership({ members: members(voters) });

  it('is in force when appended: the new majority decides on its own entry', () => {
    const subject = new Subject({ voters: [1, 2] }).lead().acknowledge(2, 1);
    subject.propose('membership', change([1, 2, 3]));
    expect(subject.raft.status()).toMatchObject({ isMembershipCommitted: false });
    expect(subject.acknowledge(3, 2).raft.status()).toMatchObject({ commit: 2 });
  });

  const refusals = [
    { name: 'two voters at once', voters: [1, 2, 3, 4, 5], reason: 'invalid-change' },
    { name: 'one replaced', voters: [1, 2, 4], reason: 'invalid-change' },
    { name: 'nobody', voters: [], reason: 'invalid-change' },
  ];
  it.for(refusals)('refuses $name', ({ voters, reason }) => {
    const subject = new Subject().lead().acknowledge(2, 1);
    subject.propose('membership', change(voters));
    expect(subject.last?.dropped).toEqual([{ id: 1, reason }]);
  });

  it('refuses what it cannot read, and keeps leading', () => {
    const subject = new Subject().lead().acknowledge(2, 1).propose('membership', Uint8Array.of(1));
    expect(subject.last?.dropped).toEqual([{ id: 1, reason: 'invalid-change' }]);
    expect(subject.raft.status().role).toBe('leader');
  });

  it('does not change before the first commit of the term', () => {
    const subject = new Subject().lead().propose('membership', change([1, 2, 3, 4]));
    expect(subject.last?.dropped).toEqual([{ id: 1, reason: 'change-in-progress' }]);
  });
});

describe('determinism', () => {
  it('the same inputs give the same outputs, and a step that does nothing makes no garbage', () => {
    const [a, b] = [new Subject(), new Subject()];
    for (const subject of [a, b]) subject.lead().propose().acknowledge(2, 2).tick(3);
    expect(a.sent).toEqual(b.sent);
    const quiet = [a, b].map((subject) => subject.raft.step({ type: 'unreachable', peer: 9 }));
    expect(quiet[0]).toBe(quiet[1]);
  });
});
