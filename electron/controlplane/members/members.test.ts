// What a watcher of the members is told, and when.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import type { ClusterPki } from '#platform/pki.ts';
import type { ReplicaStatus } from '../replica/replica.ts';
import type { MemberStore } from './member-store.ts';
import { Members } from './members.ts';

const member = (id: number, name: string) => ({ id, name, role: 'voter', addresses: [] });

/** nuc leads; pi and desk are heard of. */
function statusOf(more: Partial<ReplicaStatus> = {}): ReplicaStatus {
  return {
    id: 1,
    role: 'leader',
    leader: 1,
    term: 1,
    commit: 10,
    lastIndex: 10,
    appliedIndex: 10,
    membership: { members: [member(1, 'nuc'), member(2, 'pi'), member(3, 'desk')] },
    peers: [
      { id: 2, isActive: true },
      { id: 3, isActive: true },
    ],
    progress: [
      { id: 2, match: 10 },
      { id: 3, match: 10 },
    ],
    isRemoved: false,
    ...more,
  } as unknown as ReplicaStatus;
}

function watched() {
  const clock = new ManualClock();
  const world = { status: statusOf(), revision: 1 };
  const opened = {
    replica: { status: () => world.status },
    kv: { currentRevision: () => world.revision },
    clusterId: 'c',
  } as unknown as MemberStore;
  const members = new Members({
    opened,
    pki: undefined as unknown as ClusterPki,
    clock,
    random: seededRandom(1),
    restart: () => undefined,
  });
  const stopping = new AbortController();
  const told: string[] = [];
  const ended = (async () => {
    for await (const { members: all, problem } of members.watch(stopping.signal))
      told.push(
        problem ?? all.map(({ name, health, lag }) => `${name} ${health} ${lag}`).join(', '),
      );
  })();
  const pass = async (ms: number): Promise<string[]> => {
    clock.advance(ms);
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    return told.splice(0);
  };
  return { world, pass, stopping, ended, clock };
}

describe('a watch of the members', () => {
  it('begins with what is, and is still while nothing changes that a person sees', async () => {
    const { world, pass } = watched();
    expect(await pass(0)).toEqual(['nuc running 0, pi running 0, desk running 0']);
    world.revision = 2;
    world.status = statusOf({ commit: 400, lastIndex: 400, appliedIndex: 400, term: 2 });
    expect(await pass(1_000)).toEqual([]);
  });

  it('tells of a member that is away, and of one that is far behind', async () => {
    const { world, pass } = watched();
    await pass(0);
    world.status = statusOf({ peers: [{ id: 2, isActive: true, heardMsAgo: 1 }] });
    expect(await pass(999)).toEqual([]);
    expect(await pass(1)).toEqual(['nuc running 0, pi running 0, desk unreachable 0']);
    world.status = statusOf({ commit: 2000, lastIndex: 2000, appliedIndex: 2000 });
    expect(await pass(1_000)).toEqual(['nuc running 0, pi running 1990, desk running 1990']);
  });

  it('goes on without a majority, and says why nothing is answered', async () => {
    const { world, pass } = watched();
    await pass(0);
    world.status = statusOf({ role: 'follower', leader: 0, peers: [] });
    expect(await pass(1_000)).toEqual([
      'No member leads: 2 of the voters nuc, pi, desk have to run and reach each other, and nothing is heard of pi, desk.',
    ]);
    world.status = statusOf();
    expect(await pass(1_000)).toHaveLength(1);
  });

  it('ends when nobody listens any more, and leaves no timer', async () => {
    const { pass, stopping, ended, clock } = watched();
    await pass(0);
    stopping.abort();
    await ended;
    expect(clock.nextTimerMs()).toBeUndefined();
  });
});
