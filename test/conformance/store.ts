// What any Store must do, whatever is beneath it: run by every implementation beside its code.
// Source of the shopping list: kubernetes apiserver pkg/storage/testing/store_tests.go, and the
// watch guarantees of etcd tests/robustness/validate/watch.go.
import { describe, expect, it } from 'vitest';
import {
  CompactedError,
  FutureRevisionError,
  UnavailableError,
  WatchOverflowError,
  type KeyValue,
  type Store,
  type StoreWatch,
  type WatchBatch,
} from '../../electron/controlplane/store/store.ts';
import type { WatchLimits } from '../../electron/controlplane/store/watch-hub.ts';

export interface OpenedStore {
  readonly store: Store;
  /** Removes what the store leaves behind. */
  readonly dispose: () => Promise<void>;
}

export interface OpenOptions {
  readonly watchLimits?: WatchLimits;
}

export type OpenStore = (options?: OpenOptions) => OpenedStore | Promise<OpenedStore>;

export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : new TextDecoder().decode(value);
}

/** `key=value@create/mod`, for readable expectations. */
export function show(kv: KeyValue | undefined): string | undefined {
  if (kv === undefined) return undefined;
  return `${kv.key}=${text(kv.value)}@${kv.createRevision}/${kv.modRevision}`;
}

/** One line for each event: `put a=1@1/1 was nothing`. */
export function showBatch(batch: WatchBatch): string[] {
  return batch.events.map(
    ({ type, kv, previous }) => `${type} ${show(kv)} was ${show(previous) ?? 'nothing'}`,
  );
}

type Use = (store: Store) => Promise<void>;

export function storeConformance(name: string, open: OpenStore): void {
  async function using(use: Use, options?: OpenOptions): Promise<void> {
    const { store, dispose } = await open(options);
    try {
      await use(store);
    } finally {
      await store.close();
      await dispose();
    }
  }

  describe(`${name}: writes`, () => writes(using));
  describe(`${name}: reads`, () => reads(using));
  describe(`${name}: watches`, () => watches(using));
  describe(`${name}: watches end`, () => watchEnds(using));
  describe(`${name}: compaction`, () => compaction(using));
  describe(`${name}: close`, () => closing(using));
}

type Using = (use: Use, options?: OpenOptions) => Promise<void>;

function writes(using: Using): void {
  it('starts empty at revision 0', () =>
    using(async (store) => {
      expect(await store.currentRevision({ linearizable: true })).toBe(0);
      expect(await store.list('')).toEqual({ items: [], revision: 0, remaining: 0 });
    }));

  it('counts every committed write and nothing else', () =>
    using(async (store) => {
      const created = await store.put('a', bytes('1'), 0);
      const refused = await store.put('a', bytes('2'), 0);
      const updated = await store.put('a', bytes('2'), 1);
      const deleted = await store.delete('a', 2);
      const again = await store.put('a', bytes('3'), 0);
      expect([created, refused, updated, deleted, again].map(showResult)).toEqual([
        'ok 1 a=1@1/1',
        'refused 1 a=1@1/1',
        'ok 2 a=2@1/2',
        'ok 3 a=2@1/2',
        'ok 4 a=3@4/4',
      ]);
      expect(await store.currentRevision()).toBe(4);
    }));

  it('refuses writes of an absent key that expect one, and of a present key that expect none', () =>
    using(async (store) => {
      expect(showResult(await store.put('a', bytes('1'), 7))).toBe('refused 0 undefined');
      expect(showResult(await store.delete('a', 7))).toBe('refused 0 undefined');
      expect(showResult(await store.delete('a', 0))).toBe('refused 0 undefined');
      await store.put('a', bytes('1'), 0);
      expect(showResult(await store.delete('a', 0))).toBe('refused 1 a=1@1/1');
    }));

  it('lets exactly one of many simultaneous creates win', () =>
    using(async (store) => {
      const tries = Array.from({ length: 50 }, (_, i) => store.put('a', bytes(`${i}`), 0));
      const results = await Promise.all(tries);
      expect(results.filter((result) => result.ok)).toHaveLength(1);
      expect(new Set(results.map((result) => show(result.kv)))).toEqual(new Set(['a=0@1/1']));
      expect(await store.currentRevision()).toBe(1);
    }));

  it('lets writes asked for together see each other in order', () =>
    using(async (store) => {
      const results = await Promise.all([
        store.put('a', bytes('1'), 0),
        store.put('a', bytes('2'), 1),
        store.delete('a', 2),
        store.put('a', bytes('3'), 0),
        store.put('a', bytes('4'), 3),
      ]);
      expect(results.map(showResult)).toEqual([
        'ok 1 a=1@1/1',
        'ok 2 a=2@1/2',
        'ok 3 a=2@1/2',
        'ok 4 a=3@4/4',
        'refused 4 a=3@4/4',
      ]);
    }));

  it('keeps values byte for byte, also empty and big ones', () =>
    using(async (store) => {
      const every = Uint8Array.from({ length: 256 }, (_, i) => i);
      const big = new Uint8Array(3 * 1024 * 1024).fill(7);
      await store.put('every', every, 0);
      await store.put('none', new Uint8Array(), 0);
      await store.put('big', big, 0);
      expect((await store.get('every')).kv?.value).toEqual(every);
      expect((await store.get('none')).kv?.value).toEqual(new Uint8Array());
      expect(Buffer.compare((await store.get('big')).kv?.value ?? every, big)).toBe(0);
    }));

  it('refuses a key that is not Unicode, since it could not be told from another', () =>
    using(async (store) => {
      await expect(store.put('a\ud800', bytes('1'), 0)).rejects.toThrow('well-formed');
      expect(await store.currentRevision()).toBe(0);
    }));
}

function showResult(result: { ok: boolean; revision: number; kv: KeyValue | undefined }): string {
  return `${result.ok ? 'ok' : 'refused'} ${result.revision} ${show(result.kv)}`;
}

function reads(using: Using): void {
  it('gets a key as of any revision', () =>
    using(async (store) => {
      await store.put('a', bytes('1'), 0);
      await store.put('a', bytes('2'), 1);
      await store.delete('a', 2);
      await store.put('a', bytes('3'), 0);
      const seen: unknown[] = [];
      for (const at of [0, 1, 2, 3, 4]) {
        const { kv, revision } = await store.get('a', at);
        seen.push([revision, show(kv)]);
      }
      expect(seen).toEqual([
        [0, undefined],
        [1, 'a=1@1/1'],
        [2, 'a=2@1/2'],
        [3, undefined],
        [4, 'a=3@4/4'],
      ]);
      expect(await store.get('b')).toEqual({ kv: undefined, revision: 4 });
    }));

  it('refuses revisions that do not exist yet', () =>
    using(async (store) => {
      await store.put('a', bytes('1'), 0);
      await expect(store.get('a', 2)).rejects.toThrow(FutureRevisionError);
      await expect(store.list('a', { revision: 2 })).rejects.toThrow(FutureRevisionError);
      await expect(store.compact(2)).rejects.toThrow(FutureRevisionError);
    }));

  it('lists by prefix in the order of UTF-8 bytes', () =>
    using(async (store) => {
      // By UTF-16 units the last two would change places.
      const keys = ['/a', '/a/', '/a/b', '/a/é', '/a/\uffee', '/a/\u{1f600}'];
      for (const key of keys.toReversed()) await store.put(key, bytes('x'), 0);
      await store.put('/A', bytes('x'), 0);
      await store.put('/b', bytes('x'), 0);
      const { items } = await store.list('/a');
      expect(items.map((item) => item.key)).toEqual(keys);
      expect(await store.count('/a')).toBe(6);
      expect(await store.count('/a/')).toBe(5);
    }));

  it('continues a list behind its last key, and says how much is left', () =>
    using(async (store) => {
      for (const key of ['a1', 'a2', 'a3', 'a4', 'b1']) await store.put(key, bytes('x'), 0);
      const pages: unknown[] = [];
      let startKey = 'a';
      for (let left = 1; left > 0;) {
        const page = await store.list('a', { limit: 2, startKey, revision: 5 });
        pages.push([page.items.map((item) => item.key), page.remaining]);
        left = page.remaining;
        startKey = `${page.items.at(-1)?.key}\0`;
      }
      expect(pages).toEqual([
        [['a1', 'a2'], 2],
        [['a3', 'a4'], 0],
      ]);
    }));

  it('lists as of a revision, whatever was written since', () =>
    using(async (store) => {
      await store.put('a', bytes('1'), 0);
      await store.put('b', bytes('1'), 0);
      await store.delete('a', 1);
      await store.put('b', bytes('2'), 2);
      await store.put('c', bytes('1'), 0);
      const then = await store.list('', { revision: 2 });
      expect([then.revision, ...then.items.map(show)]).toEqual([2, 'a=1@1/1', 'b=1@2/2']);
      const now = await store.list('');
      expect([now.revision, ...now.items.map(show)]).toEqual([5, 'b=2@2/4', 'c=1@5/5']);
    }));

  it('keeps order and counts over thousands of keys that come and go', () =>
    using(async (store) => {
      const keys = Array.from({ length: 3000 }, (_, i) => `k${String((i * 7919) % 3000)}`);
      const created = await Promise.all(keys.map((key) => store.put(key, bytes(key), 0)));
      const gone = keys.filter((_, i) => i % 3 === 0);
      await Promise.all(gone.map((key, i) => store.delete(key, created[i * 3]?.revision ?? 0)));
      const { items } = await store.list('k');
      const want = keys.filter((_, i) => i % 3 !== 0).sort();
      expect(items.map((item) => text(item.value))).toEqual(want);
      expect(await store.count('k')).toBe(2000);
    }));
}

/** The next batch that has events, flattened with those that follow, up to `count` events. */
export async function take(
  iterator: AsyncIterator<WatchBatch>,
  count: number,
): Promise<WatchBatch> {
  const events: WatchBatch['events'][number][] = [];
  let revision = 0;
  while (events.length < count) {
    const next = await iterator.next();
    if (next.done === true) throw new Error(`the watch ended after ${events.length} events`);
    events.push(...next.value.events);
    revision = next.value.revision;
  }
  return { revision, events };
}

function iterate(watch: StoreWatch): AsyncIterator<WatchBatch> {
  return watch[Symbol.asyncIterator]();
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

function modRevision(event: { readonly kv: KeyValue }): number {
  return event.kv.modRevision;
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

function compaction(using: Using): void {
  it('keeps the newest value of live keys, and what is newer than the mark', () =>
    using(async (store) => {
      await store.put('live', bytes('1'), 0);
      await store.put('live', bytes('2'), 1);
      await store.put('gone', bytes('1'), 0);
      await store.delete('gone', 3);
      await store.put('later', bytes('1'), 0);
      await store.delete('later', 5);
      await store.compact(5);
      expect(store.compactedRevision()).toBe(5);
      const atMark = await store.list('', { revision: 5 });
      expect(atMark.items.map(show)).toEqual(['later=1@5/5', 'live=2@1/2']);
      expect((await store.list('')).items.map(show)).toEqual(['live=2@1/2']);
      expect(showBatch(await take(iterate(store.watch('', 5)), 1))).toEqual([
        'delete later=1@5/6 was later=1@5/5',
      ]);
    }));

  it('refuses reads before the mark', () =>
    using(async (store) => {
      for (let i = 0; i < 4; i++) await store.put('a', bytes(`${i}`), i);
      await store.compact(3);
      await expect(store.get('a', 2)).rejects.toThrow(CompactedError);
      await expect(store.list('', { revision: 0 })).rejects.toThrow(CompactedError);
      expect(show((await store.get('a', 3)).kv)).toBe('a=2@1/3');
    }));

  it('does nothing for a mark that is behind', () =>
    using(async (store) => {
      for (let i = 0; i < 4; i++) await store.put('a', bytes(`${i}`), i);
      await store.compact(3);
      await store.compact(1);
      expect(store.compactedRevision()).toBe(3);
    }));

  it('keeps a key that was deleted and made again', () =>
    using(async (store) => {
      await store.put('a', bytes('1'), 0);
      await store.delete('a', 1);
      await store.put('a', bytes('2'), 0);
      await store.put('a', bytes('3'), 3);
      for (const mark of [2, 3, 4]) {
        await store.compact(mark);
        expect(show((await store.get('a')).kv)).toBe('a=3@3/4');
      }
    }));

  it('goes in slices, between which writes are answered', () =>
    using(async (store) => {
      let revision = 0;
      for (let i = 0; i < 1000; i++)
        revision = (await store.put('a', bytes(`${i}`), revision)).revision;
      const order: string[] = [];
      const compacted = store.compact(1000).then(() => order.push('compacted'));
      await store.put('b', bytes('x'), 0).then(() => order.push('written'));
      await compacted;
      expect(order).toEqual(['written', 'compacted']);
      expect((await store.list('')).items.map(show)).toEqual(['a=999@1/1000', 'b=x@1001/1001']);
    }));
}

function closing(using: Using): void {
  it('answers the writes that wait, then nothing', () =>
    using(async (store) => {
      const waiting = store.put('a', bytes('1'), 0);
      const events = iterate(store.watch('', 1));
      const pending = events.next();
      const ended = expect(pending).rejects.toThrow(UnavailableError);
      await store.close();
      expect((await waiting).ok).toBe(true);
      await ended;
      const calls = [
        store.get('a'),
        store.list(''),
        store.count(''),
        store.currentRevision(),
        store.put('a', bytes('2'), 1),
        store.delete('a', 1),
        store.compact(1),
        iterate(store.watch('', 0)).next(),
      ];
      const outcomes = await Promise.allSettled(calls);
      for (const outcome of outcomes)
        expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'UnavailableError' } });
    }));
}
