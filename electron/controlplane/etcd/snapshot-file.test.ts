// What is written is read again; that etcd reads it too is shown in test/compat/etcdctl.test.ts.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openMemoryKv } from '../store/memory-store.ts';
import { BoltError } from './bolt-format.ts';
import { BoltReader } from './bolt-reader.ts';
import { BoltWriter, type BoltEntry } from './bolt-writer.ts';
import { readSnapshot, writeSnapshot } from './snapshot-file.ts';

let folder = '';
let file = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bolt-'));
  file = path.join(folder, 'snapshot.db');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function written(buckets: Readonly<Record<string, readonly BoltEntry[]>>): Promise<void> {
  const handle = await open(file, 'w+');
  const writer = new BoltWriter(handle);
  for (const [name, entries] of Object.entries(buckets)) await writer.bucket(name, entries);
  await writer.finish();
  await handle.close();
}

function read(bucket: string): BoltEntry[] {
  const handle = openSync(file, 'r');
  try {
    return Array.from(new BoltReader(handle).bucket(bucket), ({ key, value }) => ({
      key: Buffer.from(key),
      value: Buffer.from(value),
    }));
  } finally {
    closeSync(handle);
  }
}

function entry(key: string, length: number): BoltEntry {
  return { key: Buffer.from(key), value: Buffer.alloc(length, key) };
}

describe('bbolt files', () => {
  it('give back the buckets that were put in, whatever the sizes', async () => {
    const sizes = fc.array(
      fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 20_000 })),
      { maxLength: 200 },
    );
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const entries = lengths.map((length, i) => entry(`k${String(i).padStart(6, '0')}`, length));
        await written({ zebra: entries, ant: [entry('only', 3)], none: [] });
        expect([read('zebra'), read('ant').length, read('none'), read('missing')]).toEqual([
          entries,
          1,
          [],
          [],
        ]);
      }),
      { numRuns: 25 },
    );
  });

  it('have branches over branches', async () => {
    const entries = Array.from({ length: 4000 }, (_, i) =>
      entry(`${String(i).padStart(6, '0')}${'x'.repeat(700)}`, 900),
    );
    await written({ key: entries });
    expect(read('key')).toEqual(entries);
  });

  it('are refused by name when they are something else or damaged', async () => {
    writeFileSync(file, Buffer.alloc(20_000));
    expect(() => read('key')).toThrow('not a bbolt file');
    await written({ key: [entry('a', 10)] });
    const bytes = readFileSync(file);
    bytes[3 * 4096] = 77;
    writeFileSync(file, bytes);
    expect(() => read('key')).toThrow('page 3 calls itself 77');
    writeFileSync(file, bytes.subarray(0, 3 * 4096 + 100));
    expect(() => read('key')).toThrow(BoltError);
  });
});

describe('snapshots', () => {
  it('hold the state at one revision, leases too', async () => {
    const kv = openMemoryKv();
    await kv.write({ type: 'lease-grant', id: 9, ttlSeconds: 60 });
    for (let i = 0; i < 2500; i++) {
      const value = Buffer.alloc(i % 400, 1);
      const put = { type: 'put', key: `k${i % 2100}`, value, lease: i === 7 ? 9 : 0 } as const;
      await kv.write({ type: 'txn', compares: [], success: [put], failure: [] });
    }
    const range = { key: 'k1', end: 'k2' };
    await kv.write({
      type: 'txn',
      compares: [],
      success: [{ type: 'delete', range }],
      failure: [],
    });
    const handle = await open(file, 'w+');
    const { revision } = await writeSnapshot(kv, handle);
    await handle.close();
    const all = { type: 'range', range: { key: '\0', end: '\0' }, revision: 0, limit: 0 } as const;
    const { rows } = await kv.range(all);
    const state = readSnapshot(file);
    expect([state.revision, revision]).toEqual([2501, 2501]);
    expect(state.rows.map((row) => ({ ...row, value: Buffer.from(row.value) }))).toEqual(
      rows.map((row) => ({ ...row, value: Buffer.from(row.value) })),
    );
    expect(state.leases).toEqual([{ id: 9, ttlSeconds: 60 }]);
    await kv.close();
  });
});
