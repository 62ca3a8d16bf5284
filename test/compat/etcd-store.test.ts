// A real etcd as the store: what any Store must do, and what only a server that others can reach
// does: break off, move on, hold somebody else's keys.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { openEtcdStore } from '../../electron/controlplane/etcd/etcd-store.ts';
import { UnavailableError } from '../../electron/controlplane/store/store.ts';
import { bytes, show, storeConformance, take, text } from '../conformance/store.ts';
import {
  etcdctlOk,
  readFiles,
  startEtcd,
  startEtcds,
  writeCertificates,
  type EtcdEndpoint,
} from '../setup/etcd.ts';

describe('over mutual TLS', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-etcd-tls-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const certificates = writeCertificates(folder);
  const tls = readFiles(certificates.files);

  storeConformance('etcd store', async ({ watchLimits } = {}) => {
    const etcd = await startEtcd([], { certificates });
    return {
      store: openEtcdStore({
        endpoints: [etcd.url],
        tls,
        clock: systemClock,
        ...(watchLimits === undefined ? {} : { watchLimits }),
      }),
      dispose: () => etcd.stop(),
    };
  });

  it('what one of three members was told, each of the others answers at once', async () => {
    const etcds = await startEtcds(3, { certificates });
    const stores = etcds.map(({ url }) =>
      openEtcdStore({ endpoints: [url], tls, clock: systemClock }),
    );
    const watches = stores.map((store) => store.watch('', 0)[Symbol.asyncIterator]());
    const told: string[] = [];
    for (const [round, store] of [...stores, ...stores, ...stores].entries()) {
      const { kv } = await store.get('a');
      const put = await store.put('a', bytes(`${round}`), kv?.modRevision ?? 0);
      expect(put.ok).toBe(true);
      const now = `a=${round}@1/${round + 1}`;
      told.push(now);
      for (const other of stores) {
        const { items, revision } = await other.list('');
        expect([revision, ...items.map(show)]).toEqual([round + 1, now]);
      }
    }
    for (const events of watches) {
      const seen: (string | undefined)[] = [];
      while (seen.length < told.length)
        seen.push(...(await take(events, 1)).events.map(({ kv }) => show(kv)));
      expect(seen).toEqual(told);
    }
    for (const store of stores) await store.close();
    await Promise.all(etcds.map((etcd) => etcd.stop()));
  });
});

describe('etcd store', () => {
  let etcd: EtcdEndpoint;
  beforeEach(async () => {
    etcd = await startEtcd();
  });
  afterEach(() => etcd.stop());

  it('looks at nothing outside of its prefix', async () => {
    const store = openEtcdStore({ endpoints: [etcd.url], clock: systemClock });
    const watch = store.watch('', 0);
    await etcdctlOk(etcd, ['put', '/flotilla2/a', 'theirs']);
    await etcdctlOk(etcd, ['put', '/flotilla/a', 'ours']);
    const { items, revision } = await store.list('');
    expect([revision, ...items.map(show)]).toEqual([2, 'a=ours@2/2']);
    const seen = await take(watch[Symbol.asyncIterator](), 1);
    expect(seen.events.map(({ kv }) => show(kv))).toEqual(['a=ours@2/2']);
    await store.close();
  });

  it('goes to the next server when one does not answer', async () => {
    const endpoints = ['http://127.0.0.1:1', etcd.url];
    const store = openEtcdStore({ endpoints, clock: systemClock });
    expect((await store.put('a', bytes('1'), 0)).ok).toBe(true);
    expect(text((await store.get('a')).kv?.value)).toBe('1');
    await store.close();
  });

  it('says that it is unavailable when its server is gone, also to watches', async () => {
    const store = openEtcdStore({ endpoints: [etcd.url], clock: systemClock });
    const watch = store.watch('', 0);
    await store.put('a', bytes('1'), 0);
    const events = watch[Symbol.asyncIterator]();
    await take(events, 1);
    const next = events.next();
    const ended = expect(next).rejects.toThrow(UnavailableError);
    await etcd.stop();
    await ended;
    await expect(store.get('a')).rejects.toThrow(UnavailableError);
    await expect(store.put('a', bytes('2'), 1)).rejects.toThrow(UnavailableError);
    await store.close();
  });

  it('learns what was compacted before it came', async () => {
    for (const value of ['1', '2', '3']) await etcdctlOk(etcd, ['put', '/flotilla/a', value]);
    await etcdctlOk(etcd, ['compaction', '3']);
    const store = openEtcdStore({ endpoints: [etcd.url], clock: systemClock });
    await expect(store.get('a', 1)).rejects.toThrow('history starts after 2');
    expect(store.compactedRevision()).toBe(2);
    await store.close();
  });
});
