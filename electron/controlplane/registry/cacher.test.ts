import { afterEach, describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { openMemoryStore } from '../store/memory-store.ts';
import {
  UnavailableError,
  WatchOverflowError,
  type Store,
  type WatchBatch,
} from '../store/store.ts';
import { CacheWatch, type WatchItem } from './cache-watch.ts';
import { Cacher } from './cacher.ts';
import type { ResourceDefinition } from './resource.ts';
import { StorageCodec } from './storage-codec.ts';

const definition: ResourceDefinition = {
  group: '',
  version: 'v1',
  kind: 'Thing',
  plural: 'things',
  singular: 'thing',
  namespaced: true,
  schema: 'core/v1.ConfigMap',
  strategy: { validate: () => [] },
  columns: [],
};
const prefix = '/registry/core/things/';
const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

async function open(store: Store = openMemoryStore(), windowSize?: number) {
  const clock = new ManualClock();
  const stop = new AbortController();
  stops.push(stop);
  const codec = new StorageCodec(definition, () => () => {});
  const cacher = new Cacher({
    definition,
    store,
    codec,
    clock,
    logger: silentLogger,
    ...(windowSize === undefined ? {} : { windowSize }),
  });
  await cacher.start(stop.signal);
  async function write(name: string): Promise<void> {
    const object: KubeObject = { apiVersion: 'v1', kind: 'Thing', metadata: { name } };
    const key = `${prefix}default/${name}`;
    const { kv } = await store.get(key);
    await store.put(key, codec.encode(object), kv?.modRevision ?? 0);
  }
  function watch(from: number | 'state'): CacheWatch {
    return new CacheWatch(cacher, {
      prefix,
      matches: undefined,
      from,
      hasInitialEventsEnd: false,
      allowBookmarks: false,
      timeoutMs: 3_600_000,
      clock,
      random: seededRandom(1),
      signal: stop.signal,
    });
  }
  return { clock, cacher, store, write, watch, stop };
}

async function item(watch: CacheWatch): Promise<WatchItem | undefined> {
  return (await watch.next()).value;
}

describe('a cacher', () => {
  it('keeps objects in key order, whatever the order of writes', async () => {
    const { cacher, write } = await open();
    for (const name of ['b', 'c', 'a']) await write(name);
    await cacher.waitUntilCurrent();
    expect(cacher.list(prefix).map(({ object }) => object.metadata.name)).toEqual(['a', 'b', 'c']);
  });
  it('moves on by progress alone when other resources are written', async () => {
    const { cacher, store } = await open();
    await store.put('/registry/core/others/x', new Uint8Array(), 0);
    await cacher.waitUntilCurrent();
    expect(cacher.revision).toBe(1);
  });
  it('keeps no more than twice its window, and refuses to watch from before it', async () => {
    const { cacher, write, watch } = await open(openMemoryStore(), 4);
    for (let n = 0; n < 20; n++) await write('a');
    await cacher.waitUntilCurrent();
    expect(cacher.window.events.length).toBeLessThan(8);
    expect(() => watch(cacher.windowStart - 1)).toThrow('too old resource version');
    expect(await item(watch(cacher.windowStart))).toMatchObject({
      type: 'MODIFIED',
      revision: cacher.windowStart + 1,
    });
  });
  it('gives a watcher that fell out of the window an ERROR 410 and ends it', async () => {
    const { cacher, write, watch } = await open(openMemoryStore(), 4);
    const slow = watch(0);
    for (let n = 0; n < 20; n++) await write('a');
    await cacher.waitUntilCurrent();
    expect(await item(slow)).toMatchObject({ type: 'ERROR', status: { code: 410 } });
    expect(await item(slow)).toBeUndefined();
  });
  it('fills anew after losing its watch, and ends the watches of before', async () => {
    const store = openMemoryStore();
    const { cacher, write, watch } = await open(losingOneWatch(store));
    const before = watch('state');
    const ended = item(before);
    await write('a');
    expect(await ended).toBeUndefined();
    await cacher.waitUntilCurrent();
    expect(cacher.list(prefix)).toHaveLength(1);
    await write('b');
    expect(await item(watch(1))).toMatchObject({ type: 'ADDED', revision: 2 });
  });
  it('goes on where it stands when its store could not be asked, and so do its watches', async () => {
    const store = openMemoryStore();
    const lost = losingOneWatch(store, new UnavailableError('the etcd was restarted'));
    const { clock, cacher, write, watch } = await open(lost);
    const before = watch('state');
    const told = item(before);
    await write('a');
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(500);
    expect(await told).toMatchObject({ type: 'ADDED', revision: 1 });
    await write('b');
    expect(await item(before)).toMatchObject({ type: 'ADDED', revision: 2 });
    expect(cacher.epoch).toBe(1);
  });
  it('fills anew when its store comes back older than it was', async () => {
    const [store, older] = [openMemoryStore(), openMemoryStore()];
    await store.put('before', new Uint8Array(), 0);
    const lost = losingOneWatch(store, new UnavailableError('put back'), older);
    const { clock, cacher, write } = await open(lost);
    await write('a');
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(500);
    await new Promise((resolve) => setImmediate(resolve));
    expect([cacher.epoch, cacher.revision]).toEqual([2, 0]);
  });
  it('ends a watch at its timeout even if the timer fires a moment early', async () => {
    const { clock, cacher } = await open();
    const early = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      timer: (delayMs: number, callback: () => void) => clock.timer(delayMs - 0.5, callback),
    };
    const watch = new CacheWatch(cacher, {
      prefix,
      matches: undefined,
      from: 'state',
      hasInitialEventsEnd: false,
      allowBookmarks: true,
      timeoutMs: 1000,
      clock: early,
      random: seededRandom(1),
      signal: new AbortController().signal,
    });
    const ended = item(watch);
    clock.advance(999.5);
    expect(await ended).toBeUndefined();
  });
  it('gives up waiting for a revision that does not come', async () => {
    const { cacher, clock } = await open();
    const waiting = cacher.waitForRevision(7);
    clock.advance(3000);
    await expect(waiting).rejects.toThrow('Timeout: Too large resource version: 7, current: 0');
  });

  it('ends all waiting when it stops, at once', async () => {
    const { cacher, stop } = await open();
    const waiting = cacher.waitForRevision(7);
    stop.abort();
    await expect(waiting).rejects.toThrow('the server is shutting down');
    await expect(cacher.waitForRevision(8)).rejects.toThrow('the server is shutting down');
  });
});

/** The first watch breaks at its first event, as one whose reader was too slow; then it is `later`. */
function losingOneWatch(
  store: Store,
  error: Error = new WatchOverflowError('too slow'),
  later = store,
): Store {
  let isFirst = true;
  let present = store;
  const watch: Store['watch'] = (from, after) => {
    const inner = present.watch(from, after);
    if (!isFirst) return inner;
    isFirst = false;
    const batches = inner[Symbol.asyncIterator]();
    async function next(): Promise<IteratorResult<WatchBatch>> {
      await batches.next();
      present = later;
      throw error;
    }
    return {
      [Symbol.asyncIterator]: () => ({ next }),
      requestProgress: () => inner.requestProgress(),
      close: () => inner.close(),
    };
  };
  return new Proxy(store, {
    get(_, name) {
      if (name === 'watch') return watch;
      const value: unknown = Reflect.get(present, name);
      return typeof value === 'function' ? value.bind(present) : value;
    },
  });
}

describe('stored objects', () => {
  const codec = new StorageCodec(definition, () => (object) => {
    (object as { extra?: string }).extra ??= 'default';
  });
  const encode = (text: string) => new TextEncoder().encode(text);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const stored = (value: string) =>
    codec.stored({ key: 'k', value: encode(value), createRevision: 7, modRevision: 7 });
  it('show the revision of their write as resourceVersion, spliced into the stored bytes', () => {
    const value = '{"apiVersion":"v1","kind":"Thing","metadata":{"name":"é"},"extra":"x"}';
    expect(text(stored(value).json)).toBe(
      '{"apiVersion":"v1","kind":"Thing","metadata":{"resourceVersion":"7","name":"é"},"extra":"x"}',
    );
    expect(stored(value).object.metadata.resourceVersion).toBe('7');
  });
  it('get the defaults of today when they were stored before those existed', () => {
    const value = '{"apiVersion":"v1","kind":"Thing","metadata":{"name":"a"}}';
    expect(JSON.parse(text(stored(value).json))).toMatchObject({ extra: 'default' });
  });
  it('are read whatever order their fields were stored in', () => {
    const value = '{"metadata":{"name":"a"},"kind":"Thing","apiVersion":"v1","extra":"x"}';
    expect(Object.keys(JSON.parse(text(stored(value).json)))).toEqual([
      'apiVersion',
      'kind',
      'metadata',
      'extra',
    ]);
  });
});
