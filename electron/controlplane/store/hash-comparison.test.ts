// Three states behind one log of a few lines. A bit flips in what one of them applies, as memory
// that is not to be trusted does: the rest of the cluster must find out which one it is.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { Membership } from '../raft/types.ts';
import { bytes } from '../../../test/conformance/store.ts';
import { encodeCommand } from './command-codec.ts';
import type { Command, CommandResult } from './commands.ts';
import { HashClaims } from './hash-claims.ts';
import { MemoryRows } from './memory-rows.ts';
import { ReplicatedKv } from './replicated-kv.ts';
import { KvStateMachine } from './state-machine.ts';
import { UnavailableError } from './store.ts';

const membership: Membership = {
  members: [1, 2, 3].map((id) => ({ id, role: 'voter', name: `m${id}`, addresses: [] })),
};

class Group {
  readonly clock = new ManualClock();
  readonly #log: Uint8Array[] = [];
  readonly members = [1, 2, 3].map((id) => this.#member(id));

  #member(id: number) {
    const fatal: string[] = [];
    const common = { clock: this.clock, logger: silentLogger };
    const storage = new MemoryRows({ schedule: queueMicrotask });
    const onFatal = (error: unknown): void => void fatal.push((error as Error).message);
    const state = new KvStateMachine({ ...common, storage, schedule: queueMicrotask, onFatal });
    const consensus = {
      propose: (data: Uint8Array) => this.#propose(id, data),
      readIndex: () => Promise.resolve(),
      leaderTerm: () => (id === 1 ? 1 : undefined),
      onLeadership: () => undefined,
      entryVersion: () => 9,
      hasRoom: () => true,
      stop: () => Promise.resolve(),
    };
    const kv = new ReplicatedKv({ ...common, state, consensus, memberId: id });
    return { id, state, kv, storage, fatal, isDown: false };
  }

  async #propose(id: number, data: Uint8Array): Promise<CommandResult> {
    await Promise.resolve();
    this.#log.push(data);
    const results = this.members.map((member) => this.catchUp(member));
    const result = results[id - 1]?.at(-1);
    if (result === undefined) throw new UnavailableError('the proposer is down');
    return result;
  }

  /** Applies what the member lacks; `flip`: with another bit in it. */
  catchUp({ state, isDown }: Group['members'][number], flip = false): readonly CommandResult[] {
    if (isDown || state.ended !== undefined) return [];
    const { index } = state.applied();
    const commands = this.#log.slice(index).map((data, i) => {
      const end = data.length - 1;
      const applied = flip ? data.with(end, (data[end] ?? 0) ^ 1) : data;
      return { index: index + i + 1, term: 1, data: applied };
    });
    return state.apply(commands, { index: this.#log.length, term: 1, membership });
  }

  get(id: number): Group['members'][number] {
    const member = this.members[id - 1];
    if (member === undefined) throw new Error(`no member ${id}`);
    return member;
  }

  async put(key: string): Promise<void> {
    await this.get(1).kv.write(put(key));
  }

  /** As `put`, but in one member's state a bit of the value is another. */
  async putFlipped(key: string, victim: number): Promise<void> {
    this.#log.push(encodeCommand(put(key)));
    for (const member of this.members) this.catchUp(member, member.id === victim);
    await settled();
  }

  /** What stopped each. */
  get stopped(): readonly (readonly string[])[] {
    return this.members.map(({ fatal }) => fatal);
  }
}

function put(key: string): Command {
  return { type: 'put-if', key, value: bytes('value'), expectedRevision: 0 };
}

/** All that needs no clock has happened. */
async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

const differs =
  'The state in memory differs from that of the other members at revision 2, and is not served any ' +
  'more: take this member out of the cluster, and let it join again with an empty data directory.';

describe('states that are compared', () => {
  it('go on when they are the same', async () => {
    const group = new Group();
    await group.put('a');
    await group.put('b');
    for (const { kv } of group.members) await kv.compareStates();
    await group.get(2).kv.write({ type: 'compact', revision: 1 });
    group.clock.advance(60_000);
    await settled();
    expect(group.stopped).toEqual([[], [], []]);
  });

  it("stop the follower with a flipped bit, at the leader's compaction", async () => {
    const group = new Group();
    await group.put('a');
    await group.putFlipped('b', 2);
    await group.get(1).kv.write({ type: 'compact', revision: 2 });
    await settled();
    expect(group.stopped).toEqual([[], [differs], []]);
    await expect(group.get(2).kv.confirm()).rejects.toThrow(UnavailableError);
    await group.put('c');
    expect(group.get(3).kv.currentRevision()).toBe(3);
    // The next start refuses, too.
    expect(group.get(2).storage.load(() => undefined).damage).toBe(differs);
  });

  it('stop the follower, and not the leader, when too few are there to tell', async () => {
    const group = new Group();
    await group.put('a');
    await group.putFlipped('b', 1);
    group.get(3).isDown = true;
    await group.get(1).kv.compareStates();
    await settled();
    // Until it is known who is wrong, nobody says what may be wrong.
    for (const id of [1, 2])
      await expect(group.get(id).kv.confirm()).rejects.toThrow('the others are asked who is right');
    group.clock.advance(5_000);
    expect(group.stopped).toEqual([[], [differs], []]);
    await group.put('c');
  });

  it('stop the leader when it is the one with a flipped bit', async () => {
    const group = new Group();
    await group.put('a');
    await group.putFlipped('b', 1);
    await group
      .get(1)
      .kv.write({ type: 'compact', revision: 2 })
      .catch(() => undefined);
    await settled();
    expect(group.stopped).toEqual([[differs], [], []]);
    group.clock.advance(60_000);
    await group.get(2).kv.write(put('c'));
    expect(group.stopped).toEqual([[differs], [], []]);
    expect(group.get(3).kv.currentRevision()).toBe(3);
  });

  it('stop a member that asks at its start', async () => {
    const group = new Group();
    await group.put('a');
    await group.putFlipped('b', 3);
    await group
      .get(3)
      .kv.compareStates()
      .catch(() => undefined);
    await settled();
    expect(group.stopped).toEqual([[], [], [differs]]);
  });

  it('stop a member that lacks revisions others have', async () => {
    const group = new Group();
    await group.put('a');
    group.get(3).isDown = true;
    await group.put('b');
    group.get(3).isDown = false;
    // It takes another entry for the one it missed.
    group.get(3).state.apply([{ index: 2, term: 1, data: encodeCommand(put('a')) }], {
      index: 2,
      term: 1,
      membership,
    });
    await group.get(1).kv.compareStates();
    group.clock.advance(5_000);
    await settled();
    expect(group.stopped).toEqual([[], [], [differs]]);
  });
});

describe('what follows from claims', () => {
  const learner = { id: 4, role: 'learner', name: 'm4', addresses: [] } as const;
  const cases = [
    { name: 'the same hash', claims: [[1, 7]], want: ['same'] },
    { name: 'another hash', claims: [[1, 8]], want: ['doubt'] },
    {
      name: 'most have another',
      claims: [
        [1, 8],
        [2, 8],
      ],
      want: ['doubt', 'wrong'],
    },
    {
      name: 'most have ours',
      claims: [
        [1, 8],
        [2, 7],
        [3, 7],
      ],
      want: ['doubt', 'same', 'right'],
    },
    {
      name: 'one says it twice',
      claims: [
        [1, 8],
        [1, 8],
      ],
      want: ['doubt', 'doubt'],
    },
    {
      name: 'who compacted counts as nobody',
      claims: [
        [0, 8],
        [1, 8],
      ],
      want: ['doubt', 'doubt'],
    },
    {
      name: 'learners have no say',
      claims: [
        [1, 8],
        [4, 8],
      ],
      want: ['doubt', 'doubt'],
    },
  ] as const;
  for (const { name, claims, want } of cases)
    it(name, () => {
      const known = new HashClaims();
      const members = [...membership.members, learner];
      const verdicts = claims.map(([id, hash]) =>
        known.add({ member: id === 0 ? undefined : id, revision: 5, hash }, 7, { members }),
      );
      expect(verdicts).toEqual(want);
    });
});
