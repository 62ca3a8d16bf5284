// What any Store must do, whatever is beneath it: run by every implementation beside its code.
// Source of the shopping list: kubernetes apiserver pkg/storage/testing/store_tests.go, and the
// watch guarantees of etcd tests/robustness/validate/watch.go.
import { describe, expect, it } from 'vitest';
import {
  CompactedError,
  FutureRevisionError,
  UnavailableError,
  type Store,
  type TxnWrite,
  type WatchBatch,
} from '../../electron/controlplane/store/store.ts';
import type { WatchLimits } from '../../electron/controlplane/store/watch-hub.ts';
import { bytes, iterate, show, showBatch, showResult, take, text } from './store-showing.ts';
import { watchConformance } from './store-watches.ts';

export { bytes, show, showBatch, take, text } from './store-showing.ts';

export interface OpenedStore {
  readonly store: Store;
  /** Removes what the store leaves behind. */
  readonly dispose: () => Promise<void>;
}

export interface OpenOptions {
  readonly watchLimits?: WatchLimits;
}

export type OpenStore = (options?: OpenOptions) => OpenedStore | Promise<OpenedStore>;

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
  describe(`${name}: transactions`, () => transactions(using));
  watchConformance(name, using);
  describe(`${name}: compaction`, () => compaction(using));
  describe(`${name}: close`, () => closing(using));
}

export type Using = (use: Use, options?: OpenOptions) => Promise<void>;

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

function transactions(using: Using): void {
  it('write all their keys at one revision, told in one batch', () =>
    using(async (store) => {
      await store.put('a', bytes('1'), 0);
      await store.put('b', bytes('1'), 0);
      const live = iterate(store.watch('', 2));
      const result = await store.txn([
        { key: 'a', expectedRevision: 1, value: bytes('2') },
        { key: 'b', expectedRevision: 2, value: null },
        { key: 'c', expectedRevision: 0, value: bytes('1') },
        { key: 'd', expectedRevision: 0, value: undefined },
      ]);
      expect(result).toEqual({ ok: true, revision: 3 });
      expect((await store.list('')).items.map(show)).toEqual(['a=2@1/3', 'c=1@3/3']);
      for (const events of [live, iterate(store.watch('', 2))])
        expect(showBatch((await events.next()).value as WatchBatch)).toEqual([
          'put a=2@1/3 was a=1@1/1',
          'delete b=1@2/3 was b=1@2/2',
          'put c=1@3/3 was nothing',
        ]);
    }));

  const put = { key: 'new', expectedRevision: 0, value: bytes('1') };
  const refused: { name: string; writes: readonly TxnWrite[] }[] = [
    { name: 'is newer', writes: [put, { key: 'b', expectedRevision: 1, value: bytes('2') }] },
    { name: 'is there', writes: [put, { key: 'b', expectedRevision: 0, value: bytes('2') }] },
    { name: 'is not there', writes: [put, { key: 'c', expectedRevision: 2, value: null }] },
    {
      name: 'that is only looked at is newer',
      writes: [put, { key: 'b', expectedRevision: 1, value: undefined }],
    },
  ];
  for (const { name, writes: parts } of refused)
    it(`write nothing when one key ${name}`, () =>
      using(async (store) => {
        await store.put('a', bytes('1'), 0);
        await store.put('b', bytes('1'), 0);
        for (const asked of [parts, parts.toReversed()])
          expect(await store.txn(asked)).toEqual({ ok: false, revision: 2 });
        expect((await store.list('')).items.map(show)).toEqual(['a=1@1/1', 'b=1@2/2']);
        expect(await store.currentRevision()).toBe(2);
      }));

  it('make no revision when they change nothing', () =>
    using(async (store) => {
      await store.put('a', bytes('1'), 0);
      const looks = { key: 'a', expectedRevision: 1, value: undefined };
      const none = { key: 'gone', expectedRevision: 0, value: null };
      expect(await store.txn([looks])).toEqual({ ok: true, revision: 1 });
      expect(await store.txn([looks, none])).toEqual({ ok: true, revision: 1 });
      expect((await store.put('b', bytes('1'), 0)).revision).toBe(2);
    }));

  it('refuse a key that is named twice', () =>
    using(async (store) => {
      await expect(store.txn([put, put])).rejects.toThrow();
      expect(await store.list('')).toEqual({ items: [], revision: 0, remaining: 0 });
    }));

  it('that want the same keys at once succeed one by one', () =>
    using(async (store) => {
      const tries = Array.from({ length: 20 }, (_, i) =>
        store.txn(['a', 'b'].map((key) => ({ key, expectedRevision: 0, value: bytes(`${i}`) }))),
      );
      const results = await Promise.all(tries);
      expect(results.filter(({ ok }) => ok)).toEqual([{ ok: true, revision: 1 }]);
      const { items } = await store.list('');
      expect(new Set(items.map(({ value }) => text(value))).size).toBe(1);
    }));
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

  it('tells the revision of a key alone', () =>
    using(async (store) => {
      const seen = [await store.modRevision('a')];
      const look = async (write: Promise<unknown>): Promise<void> => {
        await write;
        seen.push(await store.modRevision('a'));
      };
      await look(store.put('a', bytes('1'), 0));
      await look(store.put('ab', bytes('other'), 0));
      await look(store.put('a', bytes('2'), 1));
      await look(store.delete('a', 3));
      await look(store.put('a', bytes('3'), 0));
      expect(seen).toEqual([0, 1, 1, 3, 0, 5]);
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

  it('continues a list at its revision while others write and compact, until that is compacted', () =>
    using(async (store) => {
      for (const key of ['a1', 'a2', 'a3', 'a4', 'a5']) await store.put(key, bytes('x'), 0);
      const first = await store.list('a', { limit: 2 });
      expect([first.items.map((item) => item.key), first.remaining]).toEqual([['a1', 'a2'], 3]);
      await store.delete('a3', 3);
      await store.put('a4', bytes('y'), 4);
      await store.put('a6', bytes('x'), 0);
      const rest = { startKey: 'a2\0', limit: 2, revision: first.revision };
      for (const mark of [3, 5]) {
        await store.compact(mark);
        const second = await store.list('a', rest);
        expect([...second.items.map(show), second.remaining]).toEqual(['a3=x@3/3', 'a4=x@4/4', 1]);
      }
      await store.compact(6);
      await expect(store.list('a', rest)).rejects.toThrow(CompactedError);
      const anew = await store.list('a', { ...rest, revision: 8 });
      expect([...anew.items.map(show), anew.remaining]).toEqual(['a4=y@4/7', 'a5=x@5/5', 1]);
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
      // Many slices: a slow disk must get its write in between.
      const keys = Array.from({ length: 50 }, (_, key) => `k${key}`);
      const revisions = new Map<string, number>();
      for (let round = 0; round < 100; round++)
        await Promise.all(
          keys.map(async (key) => {
            const put = await store.put(key, bytes(`${round}`), revisions.get(key) ?? 0);
            revisions.set(key, put.revision);
          }),
        );
      const order: string[] = [];
      const compacted = store.compact(5000).then(() => order.push('compacted'));
      await store.put('z', bytes('x'), 0).then(() => order.push('written'));
      await compacted;
      expect(order).toEqual(['written', 'compacted']);
      const { items } = await store.list('');
      expect(items.map(({ value }) => text(value))).toEqual([...keys.map(() => '99'), 'x']);
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
