// What any Store's watches must do, called by storeConformance: the nine guarantees of etcd's
// tests/robustness/validate/watch.go, how a watch begins and ends, and who is slow.
import { describe, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import {
  CompactedError,
  WatchOverflowError,
  type KeyValue,
  type Store,
  type StoreWatch,
  type WatchBatch,
} from '../../electron/controlplane/store/store.ts';
import type { WatchLimits } from '../../electron/controlplane/store/watch-hub.ts';
import { bytes, iterate, modRevision, show, showBatch, take } from './store-showing.ts';
import type { Using } from './store.ts';

export function watchConformance(name: string, using: Using): void {
  describe(`${name}: watches`, () => watches(using));
  describe(`${name}: watches guarantee`, () => guarantees(using));
  describe(`${name}: watches end`, () => watchEnds(using));
}

function watches(using: Using): void {
  it('delivers puts and deletes with what was there before', () =>
    using(async (store) => {
      const events = iterate(store.watch('a', 0));
      await store.put('a', bytes('1'), 0);
      await store.put('a', bytes('2'), 1);
      await store.delete('a', 2);
      await store.put('a', bytes('3'), 0);
      const want = [
        'put a=1@1/1 was nothing',
        'put a=2@1/2 was a=1@1/1',
        'delete a=2@1/3 was a=2@1/2',
        'put a=3@4/4 was nothing',
      ];
      expect(showBatch(await take(events, 4))).toEqual(want);
      // History tells the same story as the live watch.
      expect(showBatch(await take(iterate(store.watch('a', 0)), 4))).toEqual(want);
    }));

  it('delivers the same live as from history', () =>
    using(async (store) => {
      const watch = store.watch('a', 0);
      const live = iterate(watch);
      watch.requestProgress();
      expect((await live.next()).value).toEqual({ revision: 0, events: [] });
      await store.put('b', bytes('1'), 0);
      // Only writes of one key keep the order in which they are asked for everywhere.
      await Promise.all([
        store.put('a', bytes('1'), 0),
        store.put('a', bytes('2'), 2),
        store.delete('a', 3),
      ]);
      await store.put('a', bytes('3'), 0);
      expect(await take(live, 4)).toEqual(await take(iterate(store.watch('a', 0)), 4));
    }));

  it('resumes after any revision, with no gap and nothing twice', () =>
    using(async (store) => {
      for (let i = 0; i < 20; i++) await store.put(`k${i}`, bytes('x'), 0);
      for (const after of [0, 1, 7, 19]) {
        const events = iterate(store.watch('k', after));
        const first = await events.next();
        await store.put(`late${after}`, bytes('x'), 0);
        expect(first.value?.events.map(modRevision)).toEqual(
          Array.from({ length: 20 - after }, (_, i) => after + 1 + i),
        );
      }
    }));

  it('joins live without a gap when writes go on during the replay', () =>
    using(async (store) => {
      const puts: Promise<unknown>[] = [];
      for (let i = 0; i < 1500; i++) puts.push(store.put(`k${i}`, bytes('x'), 0));
      await Promise.all(puts);
      const events = iterate(store.watch('k', 0));
      const seen: number[] = [];
      for (let i = 1500; seen.length < 1600; i++) {
        if (i < 1600) await store.put(`k${i}`, bytes('x'), 0);
        const next = await events.next();
        seen.push(...(next.value?.events.map(modRevision) ?? []));
      }
      expect(seen).toEqual(Array.from({ length: 1600 }, (_, i) => i + 1));
    }));

  it('delivers only keys under its prefix', () =>
    using(async (store) => {
      const events = iterate(store.watch('/pods/', 0));
      for (const key of ['/pods', '/pods/a', '/podsx', '/nodes/a', '/pods/b'])
        await store.put(key, bytes('x'), 0);
      const batch = await take(events, 2);
      expect(batch.events.map((event) => event.kv.key)).toEqual(['/pods/a', '/pods/b']);
    }));

  it('never splits a revision, and never tells of one before its events', () =>
    using(async (store) => {
      const events = iterate(store.watch('', 0));
      await Promise.all(Array.from({ length: 40 }, (_, i) => store.put(`k${i}`, bytes('x'), 0)));
      let delivered = 0;
      while (delivered < 40) {
        const { value } = await events.next();
        delivered += value?.events.length ?? 0;
        expect(value?.events.at(-1)?.kv.modRevision).toBe(value?.revision);
        expect(delivered).toBe(value?.revision);
      }
    }));

  it('waits silently for a revision that does not exist yet', () =>
    using(async (store) => {
      const watch = store.watch('', 3);
      const events = iterate(watch);
      // Not answered before revision 3: until then something up to 3 is missing.
      watch.requestProgress();
      const first = events.next();
      for (const key of ['a', 'b', 'c']) await store.put(key, bytes('x'), 0);
      expect((await first).value).toEqual({ revision: 3, events: [] });
      await store.put('d', bytes('x'), 0);
      expect(showBatch(await take(events, 1))).toEqual(['put d=x@4/4 was nothing']);
    }));

  it('reports progress only behind all events up to it', () =>
    using(async (store) => {
      const watch = store.watch('a', 0);
      const events = iterate(watch);
      await store.put('a', bytes('1'), 0);
      await store.put('b', bytes('1'), 0);
      watch.requestProgress();
      const first = await events.next();
      expect(showBatch(first.value as WatchBatch)).toEqual(['put a=1@1/1 was nothing']);
      expect((await events.next()).value).toEqual({ revision: 2, events: [] });
    }));
}

interface Told {
  readonly revision: number;
  /** As showBatch shows them. */
  readonly lines: readonly string[];
}

/** Writes keys of its own, one or two at once. Returns what watches have to tell of it. */
async function writeForAWhile(store: Store, name: string, count: number): Promise<Told[]> {
  const random = seededRandom(name.length);
  const oneOf = (many: number): number => Math.floor(random.next() * many);
  const rows = new Map<string, KeyValue>();
  const told: Told[] = [];
  for (let i = 0; i < count; i++) {
    const first = oneOf(3);
    const keys = [first, ...(oneOf(3) === 0 ? [(first + 1) % 3] : [])];
    const writes = keys.map((n) => {
      const key = `${name}/${n}`;
      const isDelete = rows.has(key) && oneOf(3) === 0;
      const value = isDelete ? null : bytes(`${i}`);
      return { key, expectedRevision: rows.get(key)?.modRevision ?? 0, value };
    });
    const { ok, revision } = await store.txn(writes);
    expect(ok).toBe(true);
    const lines = writes.map(({ key, value }) => {
      const previous = rows.get(key);
      const was = show(previous) ?? 'nothing';
      if (value === null && previous !== undefined) {
        rows.delete(key);
        return `delete ${show({ ...previous, modRevision: revision })} was ${was}`;
      }
      const createRevision = previous?.createRevision ?? revision;
      const kv = { key, value: value ?? bytes(''), createRevision, modRevision: revision };
      rows.set(key, kv);
      return `put ${show(kv)} was ${was}`;
    });
    told.push({ revision, lines });
  }
  return told;
}

/** All that is told up to `revision`, asking for progress after each batch; checks what progress says. */
async function readUpTo(watch: StoreWatch, revision: number): Promise<Told[]> {
  const told: Told[] = [];
  let upTo = 0;
  watch.requestProgress();
  for await (const batch of watch) {
    expect(batch.revision).toBeGreaterThanOrEqual(upTo);
    for (const event of batch.events) {
      const at = event.kv.modRevision;
      // Ordered, and nothing behind what progress has told of.
      expect(at).toBeGreaterThan(upTo);
      expect(at).toBeLessThanOrEqual(batch.revision);
      const [line = ''] = showBatch({ revision: at, events: [event] });
      const last = told.at(-1);
      if (last?.revision === at) told.splice(-1, 1, { revision: at, lines: [...last.lines, line] });
      else told.push({ revision: at, lines: [line] });
    }
    upTo = batch.revision;
    if (upTo >= revision) break;
    // Progress may be told at once: the writers' disk must have its turn.
    await new Promise((resolve) => setImmediate(resolve));
    watch.requestProgress();
  }
  return told;
}

function guarantees(using: Using): void {
  const names = ['p', 'pq', 'q/r'];

  it('tell every watcher the same, in order, once, whole, with what was there before', () =>
    using(async (store) => {
      const early = names.map((name) => store.watch(`${name}/`, 0));
      const [all, stopped] = [store.watch('', 0), store.watch('', 0)];
      const cutOff = readUpTo(stopped, 20);
      const written = await Promise.all(names.map((name) => writeForAWhile(store, name, 20)));
      const want = written.flat().toSorted((a, b) => a.revision - b.revision);
      // One revision for each transaction, with no gap.
      expect(want.map(({ revision }) => revision)).toEqual(want.map((_, i) => i + 1));
      const last = want.length;

      expect(await readUpTo(all, last)).toEqual(want);
      expect(await readUpTo(store.watch('', 0), last)).toEqual(want);
      for (const [i, watch] of early.entries())
        expect(await readUpTo(watch, last)).toEqual(written[i]);
      const before = await cutOff;
      const resumed = store.watch('', before.at(-1)?.revision ?? 0);
      expect([...before, ...(await readUpTo(resumed, last))]).toEqual(want);
    }));

  it('tell what is newer than a compaction in full', () =>
    using(async (store) => {
      const want = await writeForAWhile(store, 'a', 30);
      await store.compact(12);
      for (const after of [12, 13, 29])
        expect(await readUpTo(store.watch('a/', after), 30)).toEqual(want.slice(after));
    }));

  it('are not told by progress of what is still to be read', () =>
    using(async (store) => {
      const watch = store.watch('a', 0);
      const events = iterate(watch);
      for (let i = 0; i < 300; i++) {
        await store.put(`a${i}`, bytes('x'), 0);
        if (i % 50 === 0) watch.requestProgress();
      }
      await store.put('b', bytes('x'), 0);
      watch.requestProgress();
      let seen = 0;
      for (let revision = 0; revision < 301;) {
        const { value } = await events.next();
        ({ revision } = value as WatchBatch);
        seen += (value as WatchBatch).events.length;
        expect(seen).toBe(Math.min(revision, 300));
      }
    }));
}

function watchEnds(using: Using): void {
  it('ends after close, also for a reader that waits', () =>
    using(async (store) => {
      const watch = store.watch('', 0);
      const events = iterate(watch);
      const waiting = events.next();
      watch.close();
      expect((await waiting).done).toBe(true);
      await store.put('a', bytes('x'), 0);
      expect((await events.next()).done).toBe(true);
    }));

  it('closes when a loop over it breaks', () =>
    using(async (store) => {
      await store.put('a', bytes('x'), 0);
      const watch = store.watch('', 0);
      for await (const batch of watch) {
        expect(batch.revision).toBe(1);
        break;
      }
      expect((await iterate(watch).next()).done).toBe(true);
    }));

  it('throws CompactedError when its history is gone, at the start or on the way', () =>
    using(async (store) => {
      for (const key of ['a', 'b', 'c']) await store.put(key, bytes('x'), 0);
      const overtaken = iterate(store.watch('', 1));
      await store.compact(2);
      await expect(overtaken.next()).rejects.toThrow(CompactedError);
      await expect(iterate(store.watch('', 1)).next()).rejects.toThrow(CompactedError);
      expect(showBatch(await take(iterate(store.watch('', 2)), 1))).toEqual([
        'put c=x@3/3 was nothing',
      ]);
    }));

  const limits: WatchLimits = {
    bufferedEventsMax: 5,
    bufferedBytesMax: 1000,
    behindRevisionsMax: 1000,
  };
  const floods = [
    { name: 'events', valueBytes: 1, writes: 20 },
    { name: 'bytes', valueBytes: 400, writes: 10 },
  ];
  for (const flood of floods)
    it(`loses nothing in silence when its reader is behind by too many ${flood.name}`, () =>
      using(
        async (store) => {
          const slow = await liveWatch(store);
          const quick = await liveWatch(store);
          for (let i = 0; i < flood.writes; i++) {
            await store.put(`k${i}`, new Uint8Array(flood.valueBytes), 0);
            expect((await take(quick, 1)).revision).toBe(i + 1);
          }
          // Over a network the slow one is told after the quick one.
          await store.currentRevision({ linearizable: true });
          // Read from history, or ended: whoever holds nothing for it may do either.
          const read = await take(slow, flood.writes).catch((error: unknown) => error);
          if (read instanceof Error) expect(read).toBeInstanceOf(WatchOverflowError);
          else
            expect((read as WatchBatch).events.map(modRevision)).toEqual(
              Array.from({ length: flood.writes }, (_, i) => i + 1),
            );
        },
        { watchLimits: limits },
      ));

  it('keeps a reader that is behind by no more than its bound', () =>
    using(
      async (store) => {
        const slow = await liveWatch(store);
        for (let i = 0; i < 5; i++) await store.put(`k${i}`, bytes('x'), 0);
        expect((await take(slow, 5)).revision).toBe(5);
      },
      { watchLimits: limits },
    ));
}

/** A watch that has caught up. */
async function liveWatch(store: Store): Promise<AsyncIterator<WatchBatch>> {
  const watch = store.watch('', await store.currentRevision());
  const events = iterate(watch);
  watch.requestProgress();
  await events.next();
  return events;
}
