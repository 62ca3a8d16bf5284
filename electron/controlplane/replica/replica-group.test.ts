import { describe, expect, it } from 'vitest';
import type { Message } from '../raft/types.ts';
import { MembershipRefusedError } from './membership-changes.ts';
import { bytes, TestGroup, type TestMember } from './replica-testing.ts';
import { ProposalUnknownError, ReplicaUnavailableError } from './types.ts';

/** What became of it so far. */
function watch(promise: Promise<unknown>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: 'waiting' };
  promise.then(
    (value) => (seen.outcome = value),
    (error: unknown) => (seen.outcome = error),
  );
  return seen;
}

const unknown = expect.any(ProposalUnknownError) as unknown;
const unavailable = expect.any(ReplicaUnavailableError) as unknown;

async function three(options = {}): Promise<{ group: TestGroup; leader: TestMember }> {
  const group = new TestGroup(3, options);
  const leader = await group.elect();
  return { group, leader };
}

function idOf(member: TestMember): number {
  return member.replica.status().id;
}

/** Cuts a member off, in both directions. */
function isolate(group: TestGroup, member: TestMember): void {
  const id = idOf(member);
  group.isLost = ({ from, to }) => from === id || to === id;
}

describe('three replicas', () => {
  it('apply the same, wherever it was proposed, and answer from their own state', async () => {
    const { group, leader } = await three();
    const { follower } = group;
    const one = watch(leader.replica.propose(bytes('a')));
    await group.settle();
    const other = watch(follower.replica.propose(bytes('b')));
    await group.advance(200);
    expect([one.outcome, other.outcome]).toEqual([
      expect.stringMatching(/:a$/),
      expect.stringMatching(/:b$/),
    ]);
    for (const { machine } of group.members.values()) expect(machine.values).toEqual(['a', 'b']);
  });

  it('send entries before their own write is done, and acknowledge only after it', async () => {
    const { group, leader } = await three();
    const { follower } = group;
    for (const { events } of group.members.values()) events.length = 0;
    void leader.replica.propose(bytes('a'));
    await group.settle();
    const isOf = (event: string): boolean => /append|written/.test(event);
    expect(leader.events.filter(isOf).slice(0, 2)).toEqual(['sent append', 'sent append']);
    expect(follower.events.filter(isOf).slice(0, 2)).toEqual([
      expect.stringMatching(/^written/),
      'sent append-response',
    ]);
  });

  it('send what came during a write as one batch, to each of the others', async () => {
    const { group, leader } = await three();
    for (const { log } of group.members.values()) log.isHeld = true;
    void leader.replica.propose(bytes('a'));
    for (const value of ['b', 'c', 'd']) {
      await group.settle();
      void leader.replica.propose(bytes(value));
    }
    await group.settle();
    group.sent.length = 0;
    leader.log.release();
    await group.settle();
    const batches = group.sent.flatMap((message) =>
      message.type === 'append' ? [message.entries.length] : [],
    );
    expect(batches).toEqual([3, 3]);
  });

  it('promise nothing that is not durable: no vote, no acknowledgement', async () => {
    const group = new TestGroup(3);
    for (const id of [1, 2, 3]) group.start(id).log.isHeld = true;
    await group.advance(5_000);
    const promises = group.sent.filter(
      (message) =>
        message.type === 'append-response' ||
        (message.type === 'vote-response' && !message.isPreVote) ||
        (message.type === 'vote' && !message.isPreVote),
    );
    expect(promises).toEqual([]);
  });

  it('keep nobody out by a removal that is not committed', async () => {
    const { group, leader } = await three();
    const removed = [...group.members.keys()].find((id) => id !== idOf(leader)) ?? 0;
    isolate(group, leader);
    const removal = watch(leader.replica.members.remove(removed));
    await group.settle();
    expect(removal.outcome).toBe('waiting');
    const { membership } = leader.replica.standing;
    expect(membership.removed).toEqual([removed]);
    expect(leader.agreed.at(-1)?.removed ?? []).toEqual([]);
  });

  it('say that there is no leader instead of waiting, when a write is asked for', async () => {
    const group = new TestGroup(3);
    const alone = group.start(1);
    await group.advance(2_000);
    const seen = watch(alone.replica.propose(bytes('a')));
    await group.settle();
    expect(seen.outcome).toEqual(unavailable);
  });

  it('do not know the outcome of what was lost on the way to the leader', async () => {
    const { group } = await three();
    const { follower } = group;
    group.isLost = ({ type }) => type === 'propose';
    const seen = watch(follower.replica.propose(bytes('a')));
    await group.advance(4_900);
    expect(seen.outcome).toBe('waiting');
    await group.advance(300);
    expect(seen.outcome).toEqual(unknown);
    expect(group.sent.filter(({ type }) => type === 'propose')).toHaveLength(1);
  });

  it('elect another within 1.3 s when the leader is killed, and lose nothing that was answered', async () => {
    const { group, leader } = await three();
    const answered = watch(leader.replica.propose(bytes('a')));
    await group.settle();
    group.kill(idOf(leader));
    let tookMs = 0;
    const { follower } = group;
    let seen = watch(follower.replica.propose(bytes('b')));
    for (; typeof seen.outcome !== 'string' || seen.outcome === 'waiting'; tookMs += 50) {
      if (seen.outcome instanceof Error) seen = watch(follower.replica.propose(bytes('b')));
      await group.advance(50);
      if (tookMs > 5_000) throw new Error('no leader');
    }
    expect(tookMs).toBeLessThanOrEqual(1_300);
    expect(answered.outcome).toMatch(/:a$/);
    expect(follower.machine.values[0]).toBe('a');
  });

  it('tell as soon as a new leader leads that an outcome is unknown', async () => {
    const { group, leader } = await three();
    const { follower } = group;
    group.isLost = ({ type }) => type === 'propose';
    const lost = watch(follower.replica.propose(bytes('a')));
    await group.settle();
    group.kill(idOf(leader));
    for (let i = 0; group.leader === undefined && i < 60; i++) await group.advance(50);
    await group.advance(100);
    expect(lost.outcome).toEqual(unknown);
  });

  it('answer what the leader before had already sent on', async () => {
    const { group, leader } = await three();
    const { follower } = group;
    // The leader hears of no acknowledgement, and can't commit.
    group.isLost = ({ type, to }) => type === 'append-response' && to === idOf(leader);
    const seen = watch(follower.replica.propose(bytes('a')));
    await group.settle();
    expect(seen.outcome).toBe('waiting');
    group.kill(idOf(leader));
    group.isLost = () => false;
    await group.advance(2_500);
    expect(seen.outcome).toMatch(/:a$/);
  });
});

describe('reads', () => {
  const asked = (group: TestGroup): Message[] =>
    group.sent.filter(({ type }) => type === 'read-index');

  it('of one turn share one question, and those that come meanwhile the next', async () => {
    const { group } = await three();
    const { follower } = group;
    const held: Message[] = [];
    group.isLost = (message) => {
      if (message.type !== 'read-index-response' || held.length > 0) return false;
      held.push(message);
      return true;
    };
    const first = Array.from({ length: 1_000 }, () => watch(follower.replica.readIndex()));
    await group.settle();
    const second = Array.from({ length: 1_000 }, () => watch(follower.replica.readIndex()));
    await group.settle();
    expect(asked(group)).toHaveLength(1);
    follower.handlers?.onMessage(held[0] as Message);
    await group.settle();
    expect(asked(group)).toHaveLength(2);
    for (const { outcome } of [...first, ...second]) expect(outcome).toBeGreaterThan(1);
  });

  it('see everything that was answered before, on every member', async () => {
    const { group, leader } = await three();
    for (let i = 0; i < 5; i++) {
      const { follower } = group;
      void leader.replica.propose(bytes(`v${i}`));
      await group.settle();
      const before = leader.replica.status().appliedIndex;
      const seen = watch(follower.replica.readIndex());
      await group.advance(200);
      expect(seen.outcome).toBeGreaterThanOrEqual(before);
      expect(follower.machine.values).toHaveLength(i + 1);
    }
  });

  it('are not answered by a leader that is cut off, and are given up in time', async () => {
    const { group, leader } = await three();
    isolate(group, leader);
    const seen = watch(leader.replica.readIndex());
    await group.advance(4_900);
    expect(seen.outcome).toBe('waiting');
    await group.advance(300);
    expect(seen.outcome).toEqual(unavailable);
  });

  it('are asked again when the leader changed', async () => {
    const { group, leader } = await three();
    const { follower } = group;
    group.kill(idOf(leader));
    const seen = watch(follower.replica.readIndex());
    await group.advance(2_500);
    expect(seen.outcome).toBeGreaterThan(0);
  });
});

describe('leadership', () => {
  it('is handed to another when asked, without waiting for a timeout', async () => {
    const { group, leader } = await three();
    const to = idOf(group.follower);
    const seen = watch(leader.replica.transferLeadership(to));
    await group.advance(100);
    expect(seen.outcome).toBeUndefined();
    expect(group.leader?.replica.status().id).toBe(to);
  });

  it('stays when the other does not take it, which is told', async () => {
    const { group, leader } = await three();
    group.isLost = ({ type }) => type === 'timeout-now';
    const seen = watch(leader.replica.transferLeadership());
    await group.advance(2_000);
    expect(seen.outcome).toEqual(unavailable);
    expect(group.leader).toBe(leader);
    const after = watch(leader.replica.propose(bytes('a')));
    await group.advance(100);
    expect(after.outcome).toMatch(/:a$/);
  });

  it('is not handed to a learner, a stranger, or by a follower', async () => {
    const { group, leader } = await three();
    await expect(leader.replica.transferLeadership(99)).rejects.toThrow('no other voter');
    await expect(group.follower.replica.transferLeadership()).rejects.toThrow('does not lead');
  });

  it('is handed over before a leader stops: the others hardly notice', async () => {
    const { group, leader } = await three();
    const stopped = watch(leader.replica.stop({ transfer: true }));
    await group.advance(100);
    expect(stopped.outcome).toBeUndefined();
    group.kill(idOf(leader));
    const seen = watch(group.follower.replica.propose(bytes('a')));
    await group.advance(100);
    expect(seen.outcome).toMatch(/:a$/);
  });

  it('is given up after a pause, which the wall clock tells when the other clock stood still', async () => {
    const group = new TestGroup(3);
    let sleptMs = 0;
    const now = group.clock.now.bind(group.clock);
    group.clock.now = () => now() + sleptMs;
    const leader = await group.elect();
    const terms = [...group.members.values()].map(({ replica }) => replica.standing.term);
    const roles: string[] = [];
    leader.replica.onChange(({ role }) => roles.push(role));
    sleptMs = 3_600_000;
    await group.advance(60);
    expect(roles[0]).toBe('follower');
    await group.advance(3_000);
    expect(group.leader?.replica.standing.term).toBe(Math.max(...terms) + 1);
  });

  it('is told to listeners, once each time', async () => {
    const group = new TestGroup(3);
    const seen: string[] = [];
    group.start(1).replica.onChange(({ role, term, leader }) => {
      seen.push(`${role} ${term} ${leader}`);
    });
    await group.elect();
    expect(new Set(seen).size).toBe(seen.length);
    await group.advance(5_000);
    expect(seen.length).toBeLessThan(6);
  });
});

describe('a member that lacks more than the log still holds', () => {
  const logLimits = { tailEntries: 5, stepEntries: 5 };

  async function behind(): Promise<{ group: TestGroup; leader: TestMember; id: number }> {
    const { group, leader } = await three({ logLimits });
    const id = idOf(group.follower);
    group.kill(id);
    for (let i = 0; i < 40; i++) {
      void leader.replica.propose(bytes(`v${i}`));
      await group.advance(20);
    }
    return { group, leader, id };
  }

  it('gets a snapshot: into the state, then into the log, then acknowledged', async () => {
    const { group, leader, id } = await behind();
    const late = group.start(id);
    await group.advance(500);
    expect(late.machine.values).toEqual(leader.machine.values);
    const at = (pattern: RegExp): number => late.events.findIndex((event) => pattern.test(event));
    const installed = at(/^installed/);
    expect(installed).toBeGreaterThan(-1);
    const after = late.events.slice(installed).filter((e) => /written|append-response/.test(e));
    expect(after.slice(0, 2)).toEqual(['written', 'sent append-response']);
    expect(leader.events).toContain('copy closed');
  });

  it('applies nothing while a snapshot is being installed', async () => {
    const { group, leader, id } = await behind();
    const late = group.start(id);
    late.machine.holdsInstall = true;
    await group.advance(200);
    const before = late.machine.batches.length;
    void leader.replica.propose(bytes('more'));
    await group.advance(200);
    expect(late.machine.batches).toHaveLength(before);
    late.machine.releaseInstall();
    await group.advance(500);
    expect(late.machine.values.at(-1)).toBe('more');
  });

  it('goes on when it is killed between the state and the log', async () => {
    const { group, leader, id } = await behind();
    const late = group.start(id);
    late.log.isHeld = true;
    for (let i = 0; !late.events.some((e) => e.startsWith('installed')) && i < 100; i++) {
      if (late.log.isWriting && !late.events.some((e) => e.startsWith('installed')))
        late.log.release();
      await group.advance(10);
      late.log.isHeld = true;
    }
    expect(group.disk(id).start.index).toBe(1);
    group.kill(id);
    const again = group.start(id);
    await group.advance(500);
    expect(group.disk(id).start.index).toBeGreaterThan(1);
    expect(again.machine.values).toEqual(leader.machine.values);
    expect(again.fatal).toEqual([]);
  });

  it('does not know the outcome of what it had proposed before', async () => {
    const { group, leader } = await three({ logLimits });
    const { follower } = group;
    const id = idOf(follower);
    group.isLost = ({ type, to }) => type === 'append' && to === id;
    const seen = watch(follower.replica.propose(bytes('mine')));
    for (let i = 0; i < 40; i++) {
      void leader.replica.propose(bytes(`v${i}`));
      await group.advance(20);
    }
    group.isLost = () => false;
    await group.advance(1_000);
    expect(follower.events.some((event) => event.startsWith('installed'))).toBe(true);
    expect([seen.outcome, follower.machine.values.includes('mine')]).toEqual([unknown, true]);
  });

  it('is sent another one when the first broke off', async () => {
    const { group, leader, id } = await behind();
    const late = group.start(id);
    const receive = late.machine.receive.bind(late.machine);
    late.machine.receive = () => {
      late.machine.receive = receive;
      return Promise.reject(new Error('the connection broke'));
    };
    await group.advance(2_000);
    expect(late.machine.values).toEqual(leader.machine.values);
  });

  it('throws away what comes from somebody who does not lead', async () => {
    const { group, id } = await behind();
    const late = group.start(id);
    await group.advance(500);
    const { replica, machine } = group.follower;
    const source = await machine.snapshot();
    const other = [1, 2, 3].find((one) => one !== id && one !== replica.standing.leader) ?? 0;
    const offered = late.handlers?.onSnapshot(other, source.mark, source.chunks());
    await expect(offered).rejects.toThrow(ReplicaUnavailableError);
    expect(late.events.at(-1)).toMatch(/^discarded/);
  });
});

describe('the membership', () => {
  it('grows by a learner that is sent everything, and votes when it has caught up', async () => {
    const group = new TestGroup(1, { logLimits: { tailEntries: 2, stepEntries: 2 } });
    const one = await group.elect();
    for (const value of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
      void one.replica.propose(bytes(value));
      await group.settle();
    }
    const two = group.start(2);
    await group.advance(3_000);
    expect([two.replica.standing.role, two.replica.standing.term]).toEqual(['follower', 0]);
    group.isLost = () => true;
    const added = watch(one.replica.members.addMember({ id: 2, name: 'two', addresses: [] }));
    await group.settle();
    expect(added.outcome).toBeUndefined();
    await expect(one.replica.members.promote(2)).rejects.toThrow(MembershipRefusedError);
    group.isLost = () => false;
    await group.advance(1_000);
    expect(two.machine.values).toEqual(one.machine.values);
    const promoted = watch(one.replica.members.promote(2));
    await group.advance(200);
    expect(promoted.outcome).toBeUndefined();
    expect(two.replica.standing.membership.members.map(({ role }) => role)).toEqual([
      'voter',
      'voter',
    ]);
    expect(one.knownTo.at(-1)?.map(({ id }) => id)).toEqual([1, 2]);
  });

  it('keeps what members say of themselves, and of each disk only the first', async () => {
    const own = { incarnation: 'own', entryVersion: 2 };
    const { group, leader } = await three({ announcement: own });
    const others = [1, 2, 3].filter((id) => id !== idOf(leader));
    for (const id of others) group.announced.set(id, { incarnation: `d${id}`, entryVersion: 1 });
    await group.advance(300);
    const [first = 0, second = 0] = others;
    const known = (): unknown =>
      group.follower.replica.standing.membership.members.map(
        ({ id, incarnation, entryVersion }) => [id, incarnation, entryVersion],
      );
    const want = (version: number): unknown =>
      expect.arrayContaining([
        [idOf(leader), 'own', 2],
        [first, `d${first}`, version],
        [second, `d${second}`, 1],
      ]);
    expect(known()).toEqual(want(1));
    const { lastIndex } = leader.replica.status();
    group.announced.set(first, { incarnation: 'another', entryVersion: 2 });
    await group.advance(300);
    expect(known()).toEqual(want(2));
    await group.advance(1_000);
    // Nothing new is said: nothing is written.
    expect(leader.replica.status().lastIndex).toBe(lastIndex + 1);
  });

  it('adds nobody who was removed', async () => {
    const { group, leader } = await three();
    const { members } = leader.replica;
    const id = idOf(group.follower);
    const removed = watch(members.remove(id));
    await group.advance(200);
    expect(removed.outcome).toBeUndefined();
    await expect(members.addMember({ id, name: 'back', addresses: [] })).rejects.toThrow(
      'was removed: a machine that shall come back joins with a new key',
    );
    // Also where nobody has told it.
    expect(leader.replica.status().isRemoved).toBe(false);
    group.member(id).handlers?.onRemoved(1);
    expect(group.member(id).replica.status().isRemoved).toBe(true);
  });

  it('ends a member that has lost what it promised, with what to do', async () => {
    const { group, leader } = await three();
    void leader.replica.propose(bytes('a'));
    await group.advance(300);
    const [one, other] = [1, 2, 3].filter((id) => id !== idOf(leader));
    const ended = { name: 'CannotGoOnError', message: expect.stringMatching(/invite it anew/) };
    // Its log is put back from an older copy, and the leader counts on what it acknowledged.
    group.kill(one ?? 0);
    group.disk(one ?? 0).entries.length = 0;
    group.disk(one ?? 0).hardState = { term: 1, vote: 0, commit: 1 };
    const again = group.start(one ?? 0);
    await group.advance(300);
    expect(again.fatal).toEqual([expect.objectContaining(ended)]);
    const told = group.member(other ?? 0);
    told.handlers?.onLostData(idOf(leader), 'Member m2: invite it anew.');
    expect(told.fatal).toEqual([expect.objectContaining(ended)]);
  });

  it('does not shrink below what runs, nor by the leader', async () => {
    const { group, leader } = await three();
    const [self, first, second] = [leader, ...group.members.values()].map(idOf);
    const others = [first, second, 3, 2, 1].filter((id) => id !== self);
    const [healthy, dead] = [others[0] ?? 0, others.find((id) => id !== others[0]) ?? 0];
    group.kill(dead);
    await group.advance(3_000);
    await expect(leader.replica.members.remove(healthy)).rejects.toThrow('only 1 were heard of');
    await expect(leader.replica.members.remove(self ?? 0)).rejects.toThrow('hand leadership over');
    const removed = watch(leader.replica.members.remove(dead));
    await group.advance(200);
    expect(removed.outcome).toBeUndefined();
  });

  it('changes one at a time, on the leader only', async () => {
    const { group, leader } = await three();
    const first = watch(leader.replica.members.updateAddresses(1, ['a:1']));
    const second = watch(leader.replica.members.updateAddresses(2, ['b:1']));
    const other = watch(group.follower.replica.members.updateAddresses(2, ['b:1']));
    await group.advance(100);
    expect([first.outcome, second.outcome, other.outcome]).toEqual([
      undefined,
      unavailable,
      unavailable,
    ]);
  });

  it('without us is told to listeners, once', async () => {
    const { group } = await three();
    const { follower } = group;
    const seen: unknown[] = [];
    follower.replica.onChange(() => seen.push(follower.replica.status().isRemoved));
    follower.handlers?.onRemoved(2);
    follower.handlers?.onRemoved(3);
    expect(seen).toEqual([true]);
  });

  it('may or may not have changed when the leader is lost meanwhile', async () => {
    const { group, leader } = await three();
    isolate(group, leader);
    const seen = watch(leader.replica.members.updateAddresses(1, ['a:1']));
    await group.advance(1_500);
    expect(seen.outcome).toBe('waiting');
    group.isLost = () => false;
    await group.advance(1_500);
    expect(seen.outcome).toEqual(unknown);
    expect(leader.replica.standing.membership.members[0]?.addresses).toEqual(['m1:1']);
  });
});
