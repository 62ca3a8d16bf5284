import { describe, expect, it } from 'vitest';
import { LogFullError } from './log-errors.ts';
import { bytes, TestGroup, type TestMember } from './replica-testing.ts';
import { ProposalUnknownError, ReplicaUnavailableError } from './types.ts';

async function single(options = {}): Promise<{ group: TestGroup; one: TestMember }> {
  const group = new TestGroup(1, options);
  const one = group.start(1);
  await group.settle();
  one.log.batches.length = 0;
  one.events.length = 0;
  return { group, one };
}

/** What became of it so far. */
function watch(promise: Promise<unknown>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: 'waiting' };
  promise.then(
    (value) => (seen.outcome = value),
    (error: unknown) => (seen.outcome = error),
  );
  return seen;
}

describe('a single replica', () => {
  it('leads at once, without waiting for anybody', async () => {
    const { one } = await single();
    expect(one.replica.standing).toMatchObject({ role: 'leader', leader: 1, term: 2 });
  });

  it('answers a proposal with the result of applying it', async () => {
    const { group, one } = await single();
    const answer = one.replica.propose(bytes('a'));
    await group.settle();
    expect(await answer).toBe('3:a');
  });

  it('makes all proposals of one turn durable in one write', async () => {
    const { group, one } = await single();
    for (let i = 0; i < 100; i++) void one.replica.propose(bytes(`v${i}`));
    await group.settle();
    expect(one.log.batches.map(({ entries }) => entries.length)).toEqual([100]);
    expect(one.machine.values).toHaveLength(100);
  });

  it('makes everything that came during a write durable in exactly one next write', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    void one.replica.propose(bytes('a'));
    for (let i = 0; i < 10; i++) {
      await group.settle();
      void one.replica.propose(bytes(`b${i}`));
    }
    await group.settle();
    expect(one.log.batches).toHaveLength(1);
    one.log.release();
    await group.settle();
    expect(one.log.batches.map(({ entries }) => entries.length)).toEqual([1, 10]);
  });

  it('applies and answers nothing that is not durable', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    const seen = watch(one.replica.propose(bytes('a')));
    await group.settle();
    expect([seen.outcome, one.machine.values]).toEqual(['waiting', []]);
    one.log.release();
    await group.settle();
    expect([seen.outcome, one.machine.values]).toEqual(['3:a', ['a']]);
  });

  it('answers in the order of the log', async () => {
    const { group, one } = await single();
    const order: string[] = [];
    for (const value of ['a', 'b', 'c'])
      void one.replica.propose(bytes(value)).then((result) => order.push(result));
    await group.settle();
    expect(order).toEqual(['3:a', '4:b', '5:c']);
  });

  it('tells a proposal that waits too long that its outcome is unknown', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    const seen = watch(one.replica.propose(bytes('a')));
    await group.advance(7_000);
    expect(seen.outcome).toBeInstanceOf(ProposalUnknownError);
    one.log.release();
    await group.settle();
    expect(one.machine.values).toEqual(['a']);
  });

  it('tells a proposal that no write came to in time that it never happens', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    const begun = watch(one.replica.propose(bytes('a')));
    await group.settle();
    const seen = watch(one.replica.propose(bytes('b')));
    await group.advance(7_000);
    expect(begun.outcome).toBeInstanceOf(ProposalUnknownError);
    expect(seen.outcome).toBeInstanceOf(ReplicaUnavailableError);
    one.log.release();
    await group.settle();
    expect(one.machine.values).toEqual(['a']);
  });

  it('refuses proposals beyond its bounds, of which nothing happens', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    const kept = Array.from({ length: 20_000 }, () => watch(one.replica.propose(bytes('x'))));
    await expect(one.replica.propose(bytes('y'))).rejects.toThrow(ReplicaUnavailableError);
    one.log.release();
    await group.settle();
    expect(kept.filter(({ outcome }) => typeof outcome === 'string')).toHaveLength(20_000);
    expect(one.machine.values).not.toContain('y');
  });

  it('bounds the bytes that wait', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    const large = new Uint8Array(40 * 1024 * 1024);
    const seen = [1, 2, 3, 4].map(() => watch(one.replica.propose(large)));
    await group.settle();
    expect(seen[3]?.outcome).toBeInstanceOf(ReplicaUnavailableError);
  });

  it('applies much in several turns, so that the loop is free in between', async () => {
    const { group, one } = await single();
    for (let i = 0; i < 5_000; i++) void one.replica.propose(bytes('x'));
    await group.settle();
    const sizes = one.machine.batches.map((batch) => batch.length).filter((size) => size > 0);
    expect(sizes).toEqual([2_000, 2_000, 1_000]);
  });

  it('reads linearizably without a write', async () => {
    const { group, one } = await single();
    void one.replica.propose(bytes('a'));
    await group.settle();
    one.log.batches.length = 0;
    const seen = watch(one.replica.readIndex());
    await group.settle();
    expect([seen.outcome, one.log.batches]).toEqual([3, []]);
  });

  it('reads without waiting for its turn, since there is nobody to ask', async () => {
    const { group, one } = await single();
    void one.replica.propose(bytes('a'));
    await group.settle();
    const seen = watch(one.replica.readIndex());
    await Promise.resolve();
    expect(seen.outcome).toBe(3);
  });

  it('reads behind all that is committed while that is applied', async () => {
    const { group, one } = await single();
    const { machine, replica } = one;
    const apply = machine.apply.bind(machine);
    const reads: ReturnType<typeof watch>[] = [];
    machine.apply = (...given) => {
      reads.push(watch(replica.readIndex()));
      return apply(...given);
    };
    for (let i = 0; i < 5_000; i++) void replica.propose(bytes('x'));
    await group.settle();
    expect(reads.slice(0, 3).map(({ outcome }) => outcome)).toEqual([5_002, 5_002, 5_002]);
  });

  it('reads nothing before all that it had committed is applied again', async () => {
    const { group, one } = await single();
    void one.replica.propose(bytes('a'));
    await group.settle();
    group.kill(1);
    const again = group.start(1);
    again.log.isHeld = true;
    await group.settle();
    // Its vote for itself, but not what it writes first as the leader.
    again.log.release();
    again.log.isHeld = true;
    await group.settle();
    const seen = watch(again.replica.readIndex());
    await group.settle();
    expect([again.replica.standing.role, again.machine.values]).toEqual(['leader', []]);
    expect(seen.outcome).toBe('waiting');
    again.log.release();
    await group.settle();
    expect([seen.outcome, again.machine.values]).toEqual([4, ['a']]);
  });

  it('writes nothing while nothing is asked of it, and ticks seldom', async () => {
    const { group, one } = await single();
    await group.advance(1_000);
    let ticks = 0;
    const timer = group.clock.timer.bind(group.clock);
    group.clock.timer = (delayMs, callback) => {
      ticks++;
      return timer(delayMs, callback);
    };
    await group.advance(60_000);
    expect([one.log.batches, ticks]).toEqual([[], 60]);
  });

  it('goes on from its log after a crash at any point', async () => {
    const { group, one } = await single();
    for (const value of ['a', 'b', 'c']) {
      void one.replica.propose(bytes(value));
      await group.settle();
    }
    one.machine.flush();
    void one.replica.propose(bytes('d'));
    await group.settle();
    group.kill(1);
    const again = group.start(1);
    await group.settle();
    expect(again.machine.values).toEqual(['a', 'b', 'c', 'd']);
    expect(again.replica.standing.role).toBe('leader');
  });

  it('numbers its proposals so that those of a run before are not met again', async () => {
    const { group, one } = await single();
    void one.replica.propose(bytes('a'));
    await group.settle();
    group.kill(1);
    const again = group.start(1);
    await group.settle();
    void again.replica.propose(bytes('a'));
    await group.settle();
    const payloads = group
      .disk(1)
      .entries.filter(({ kind }) => kind === 'command')
      .map(({ data }) => Buffer.from(data).toString('hex'));
    expect(new Set(payloads).size).toBe(2);
  });
});

describe('when something fails', () => {
  const cases: readonly { name: string; breakIt: (one: TestMember) => void }[] = [
    { name: 'a write', breakIt: (one) => (one.log.nextError = new Error('EIO')) },
    { name: 'the state', breakIt: (one) => (one.machine.applyError = new Error('wrong checksum')) },
  ];
  for (const { name, breakIt } of cases)
    it(`${name}: the process is ended once, and nothing is answered after`, async () => {
      const { group, one } = await single();
      breakIt(one);
      const seen = watch(one.replica.propose(bytes('a')));
      await group.settle();
      const later = watch(one.replica.propose(bytes('b')));
      const read = watch(one.replica.readIndex());
      await group.advance(20_000);
      expect(one.fatal).toHaveLength(1);
      expect([seen.outcome, one.machine.values]).toEqual(['waiting', []]);
      expect([later.outcome, read.outcome]).toEqual([
        expect.any(ReplicaUnavailableError),
        expect.any(ReplicaUnavailableError),
      ]);
    });

  it('tries the same write again when the disk was full, and says that there is no room', async () => {
    const { group, one } = await single();
    one.log.nextError = new LogFullError('full');
    const seen = watch(one.replica.propose(bytes('a')));
    await group.settle();
    expect([seen.outcome, one.replica.hasRoom(), one.fatal]).toEqual(['waiting', false, []]);
    await group.advance(1_100);
    expect([seen.outcome, one.replica.hasRoom()]).toEqual(['3:a', true]);
    expect(one.log.batches[0]).toEqual(one.log.batches[1]);
  });
});

describe('stop', () => {
  it('makes the state durable, writes how far was committed, and closes everything', async () => {
    const { group, one } = await single();
    void one.replica.propose(bytes('a'));
    await group.settle();
    const stopped = watch(one.replica.stop());
    await group.settle();
    expect(stopped.outcome).toBeUndefined();
    expect(group.disk(1).hardState.commit).toBe(3);
    expect(group.disk(1).state.values).toEqual(['a']);
    expect([one.log.isClosed, one.events.at(-1)]).toEqual([true, 'state closed']);
  });

  it('tells who waits that the outcome is unknown, and waits for the write under way', async () => {
    const { group, one } = await single();
    one.log.isHeld = true;
    const written = watch(one.replica.propose(bytes('a')));
    await group.settle();
    const unsent = watch(one.replica.propose(bytes('b')));
    const stopped = watch(one.replica.stop());
    await group.settle();
    expect([written.outcome, unsent.outcome, stopped.outcome]).toEqual([
      expect.any(ProposalUnknownError),
      expect.any(ReplicaUnavailableError),
      'waiting',
    ]);
    one.log.release();
    await group.settle();
    expect(stopped.outcome).toBeUndefined();
  });

  it('refuses everything afterwards', async () => {
    const { group, one } = await single();
    void one.replica.stop();
    await group.settle();
    for (const asked of [one.replica.propose(bytes('a')), one.replica.readIndex()])
      await expect(asked).rejects.toThrow(ReplicaUnavailableError);
  });
});

describe('the log', () => {
  const logLimits = { tailEntries: 10, stepEntries: 5 };

  it('is forgotten only behind what the state holds durably, and a tail is kept', async () => {
    const { group, one } = await single({ logLimits });
    for (let i = 0; i < 100; i++) {
      void one.replica.propose(bytes(`v${i}`));
      await group.settle();
      const { firstIndex, durableIndex, lastIndex } = one.replica.status();
      expect(firstIndex - 1).toBeLessThanOrEqual(durableIndex);
      expect(lastIndex - firstIndex + 1).toBeLessThanOrEqual(10 + 2 * 5 + 1);
    }
    expect(one.log.compactions.length).toBeGreaterThan(5);
    expect(one.machine.flushes).toBeGreaterThan(10);
  });

  it('is bounded in bytes, too', async () => {
    const { group, one } = await single({ logLimits: { tailBytes: 10_000, stepBytes: 2_000 } });
    for (let i = 0; i < 50; i++) {
      void one.replica.propose(new Uint8Array(1_000));
      await group.settle();
    }
    expect(one.replica.status().logBytes).toBeLessThan(10_000 + 3 * 2_000);
  });

  it('takes no proposals while it can not be shortened', async () => {
    const { group, one } = await single({ logLimits: { ...logLimits, logBytesMax: 5_000 } });
    one.machine.flush = () => {};
    for (let i = 0; i < 5; i++) {
      void one.replica.propose(new Uint8Array(1_000));
      await group.settle();
    }
    await expect(one.replica.propose(bytes('x'))).rejects.toThrow('log is too long');
  });

  it('has the state made durable after a while, however little came', async () => {
    const { group, one } = await single({ logLimits: { flushMs: 60_000 } });
    void one.replica.propose(bytes('a'));
    await group.advance(10_000);
    expect(one.machine.flushes).toBe(0);
    await group.advance(60_000);
    expect([one.machine.flushes, group.disk(1).state.values]).toEqual([1, ['a']]);
    await group.advance(600_000);
    expect(one.machine.flushes).toBe(1);
  });
});
