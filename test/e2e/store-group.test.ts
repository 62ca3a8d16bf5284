// The suites of the store on three members: asked on one that follows, and on one that leads because
// the first handed over (leading from the beginning is what one alone does, beside its code); and
// what goes on while leaders change.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  OutcomeUnknownError,
  UnavailableError,
  type StoreEvent,
} from '../../electron/controlplane/store/store.ts';
import { kvConformance } from '../conformance/kv.ts';
import { bytes, storeConformance, text } from '../conformance/store.ts';
import { eventually } from '../setup/cluster.ts';
import { StoreGroup, type GroupMember } from '../setup/store-group.ts';

type Choose = (group: StoreGroup) => GroupMember | Promise<GroupMember>;

const places: readonly { readonly name: string; readonly choose: Choose }[] = [
  { name: 'a follower of three', choose: (group) => group.follower },
  {
    name: 'the second leader of three',
    async choose(group) {
      await group.moveLeader();
      return group.leader;
    },
  },
];

for (const { name, choose } of places)
  storeConformance(name, async (options) => {
    const group = await StoreGroup.open(options);
    const { store } = await choose(group);
    return { store, dispose: () => group.close() };
  });

// What it shows beyond Store is decided where commands are applied: on each member alike.
kvConformance('a follower of three', async (options) => {
  const group = await StoreGroup.open(options);
  return { kv: group.follower.kv, dispose: () => group.close() };
});

describe('three members whose leader changes', () => {
  let group: StoreGroup;
  beforeEach(async () => {
    group = await StoreGroup.open();
  });
  afterEach(() => group.close());

  it('keep every acknowledged write, and tell all watchers the same', async () => {
    const outcomes = new Map<string, number | 'unknown'>();
    const writing = new AbortController();
    const writers = group.members.map(async (member, i) => {
      for (let n = 0; !writing.signal.aborted; n++) {
        const key = `${i}/${n}`;
        const outcome = await put(member, key);
        if (outcome === 'closed') return;
        if (outcome !== 'refused') outcomes.set(key, outcome);
      }
    });
    const enough = async (count: number): Promise<void> => {
      const before = outcomes.size;
      await eventually(() => outcomes.size >= before + count, `${count} more writes`);
    };
    await enough(20);
    await group.moveLeader();
    await enough(20);
    await group.moveLeader();
    await enough(20);
    await group.stopLeader();
    await enough(20);
    writing.abort();
    await Promise.all(writers);

    const [one, two] = group.members;
    if (one === undefined || two === undefined) throw new Error('two are left');
    const last = await one.store.currentRevision({ linearizable: true });
    const [first, second] = [await historyOf(one, last), await historyOf(two, last)];
    expect(first).toEqual(second);
    expect(first.map(({ kv }) => kv.modRevision)).toEqual(first.map((_, i) => i + 1));
    expect(one.kv.hash(last)).toEqual(two.kv.hash(last));

    const written = new Map(first.map(({ kv }) => [kv.key, kv.modRevision]));
    expect(written.size).toBe(first.length);
    for (const [key, outcome] of outcomes)
      if (outcome !== 'unknown') expect([key, written.get(key)]).toEqual([key, outcome]);
    // Nothing that was refused, or never asked for, is there.
    for (const key of written.keys()) expect(outcomes.has(key)).toBe(true);
  });

  it('end the lease that nobody keeps, whoever leads by then, and only that', async () => {
    const asked = group.follower;
    await asked.kv.write({ type: 'lease-grant', id: 1, ttlSeconds: 1 });
    await asked.kv.write({ type: 'lease-grant', id: 2, ttlSeconds: 2 });
    const success = [1, 2].map(
      (lease) => ({ type: 'put', key: `${lease}`, value: bytes('x'), lease }) as const,
    );
    await asked.kv.write({ type: 'txn', compares: [], success, failure: [] });
    await group.moveLeader();
    await eventually(async () => {
      expect(await asked.kv.keepLease(2)).toEqual({ ttlSeconds: 2 });
      return (await asked.kv.leases()).length === 1;
    }, 'the first lease ends');
    for (const { store } of group.members) {
      expect(await store.currentRevision({ linearizable: true })).toBe(2);
      expect((await store.list('')).items.map(({ key }) => key)).toEqual(['2']);
    }
    await eventually(async () => (await asked.store.count('')) === 0, 'the second one ends');
  });
});

/** The revision of a write that happened. */
async function put(
  { store, replica }: GroupMember,
  key: string,
): Promise<number | 'unknown' | 'refused' | 'closed'> {
  try {
    return (await store.put(key, bytes(key), 0)).revision;
  } catch (error) {
    if (error instanceof OutcomeUnknownError) return 'unknown';
    if (!(error instanceof UnavailableError)) throw error;
    if (/closed|not running/.test(error.message)) return 'closed';
    await eventually(() => replica.standing.leader !== 0, 'somebody leads');
    return 'refused';
  }
}

async function historyOf({ store }: GroupMember, last: number): Promise<StoreEvent[]> {
  const events: StoreEvent[] = [];
  for await (const batch of store.watch('', 0)) {
    events.push(...batch.events);
    if (batch.revision >= last) break;
  }
  for (const { kv } of events) expect(text(kv.value)).toBe(kv.key);
  return events;
}
