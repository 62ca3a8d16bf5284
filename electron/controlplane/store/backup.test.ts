import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom, type Random } from '#kube/base/random.ts';
import { openDatabase } from '#platform/sqlite.ts';
import { bytes, show, text } from '../../../test/conformance/store.ts';
import { openStoreIn } from '../../../test/setup/store.ts';
import { backupChunks, restoreBackup, revisionAnew } from './backup.ts';
import type { ReplicatedStore } from './open-store.ts';
import { writeChunks } from './state-copy.ts';
import { stateFileIn, StoreOpenError } from './state-file.ts';
import { CompactedError, type Store } from './store.ts';

const nowMs = 2_000_000_000_000;
const random: Random = { next: () => 0, bytes: (count) => new Uint8Array(count) };
const moment = { nowMs, random };
const begun = nowMs * 1_000;
const markBytes = 'flotilla-backup1'.length;

/** A backup of a store with some history, and what the store held. */
let made: { readonly backup: Buffer; readonly items: unknown; readonly clusterId: string };
beforeAll(async () => {
  begin();
  made = await makeBackup();
  rmSync(folder, { recursive: true });
});

let folder: string;
let file: string;
let target: string;
beforeEach(() => {
  begin();
  writeFileSync(file, made.backup);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function begin(): void {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-backup-'));
  file = path.join(folder, 'backup');
  target = path.join(folder, 'target');
}

async function backUp({ state }: ReplicatedStore): Promise<void> {
  const snapshot = await state.snapshot();
  await writeChunks(file, backupChunks(snapshot));
  snapshot.close();
}

async function makeBackup(): Promise<typeof made> {
  const opened = await openStoreIn(path.join(folder, 'source'));
  const { store, kv, clusterId } = opened;
  await kv.write({ type: 'lease-grant', id: 5, ttlSeconds: 600 });
  const put = { type: 'put', key: 'leased', value: bytes('1'), lease: 5 } as const;
  await kv.write({ type: 'txn', compares: [], success: [put], failure: [] });
  await store.put('a', bytes('1'), 0);
  await store.put('a', bytes('2'), 2);
  await store.put('gone', bytes('1'), 0);
  await store.delete('gone', 4);
  await store.put('b', new Uint8Array(10_000), 0);
  const { items } = await store.list('');
  await backUp(opened);
  await store.close();
  return { backup: readFileSync(file), items, clusterId };
}

/** What the next watch from `revision` on says. */
function nextOf(store: Store, revision: number): Promise<unknown> {
  return store.watch('', revision)[Symbol.asyncIterator]().next();
}

describe('a backup', () => {
  it('is the state of one revision, whatever is written meanwhile', async () => {
    const opened = await openStoreIn(path.join(folder, 'source'));
    const { store } = opened;
    const writing = new AbortController();
    let before = 0;
    const write = async (i: number): Promise<void> => {
      const value = bytes(`${i}`.padEnd(2_000));
      const keys = ['one', 'two', `n${i}`];
      const writes = keys.map((key, n) => ({ key, expectedRevision: n < 2 ? before : 0, value }));
      before = (await store.txn(writes)).revision;
    };
    await write(0);
    const written = (async () => {
      for (let i = 1; !writing.signal.aborted; i++) await write(i);
    })();
    const files: string[] = [];
    for (const name of ['first', 'second']) {
      await backUp(opened);
      files.push(path.join(folder, name));
      renameSync(file, path.join(folder, name));
    }
    writing.abort();
    await written;
    for (const [i, taken] of files.entries()) {
      await restoreBackup(taken, `${target}${i}`, moment);
      const restored = await openStoreIn(`${target}${i}`);
      const { items } = await restored.store.list('');
      await restored.store.close();
      const revision = Math.max(...items.map(({ modRevision }) => modRevision));
      expect(items).toEqual((await store.list('', { revision })).items);
      const [one, two] = items.slice(-2).map(({ value }) => text(value));
      expect(one).toBe(two);
    }
    await store.close();
  });

  it('brings rows and leases back, in a cluster of its own', async () => {
    const { items, clusterId } = made;
    await restoreBackup(file, target, moment);
    const { store, kv, ...restored } = await openStoreIn(target);
    expect((await store.list('')).items).toEqual(items);
    expect(restored.clusterId).not.toBe(clusterId);
    expect(await kv.lease(5)).toMatchObject({ ttlSeconds: 600, keys: ['leased'] });
    expect(show((await store.put('a', bytes('3'), 3)).kv)).toBe(`a=3@2/${begun + 1}`);
    await store.close();
  });

  it('takes nobody back in time: what was seen before has to be listed again', async () => {
    await restoreBackup(file, target, moment);
    const { store } = await openStoreIn(target);
    expect([await store.currentRevision(), store.compactedRevision()]).toEqual([begun, begun]);
    // 6 was the backup's; the others were seen after it was taken.
    for (const seen of [1, 6, 7, 500]) {
      await expect(store.get('a', seen)).rejects.toThrow(CompactedError);
      await expect(store.list('', { revision: seen })).rejects.toThrow(CompactedError);
      await expect(nextOf(store, seen)).rejects.toThrow(CompactedError);
    }
    await store.close();
  });

  it('goes on above what was seen when it is put back a second time, also with a wrong clock', async () => {
    await restoreBackup(file, target, moment);
    const { store } = await openStoreIn(target);
    for (let i = 0; i < 20; i++) await store.put(`later${i}`, bytes('x'), 0);
    const seen = await store.currentRevision();
    await store.close();
    const [again, early] = [path.join(folder, 'again'), path.join(folder, 'early')];
    await restoreBackup(file, again, { ...moment, nowMs: nowMs + 1 });
    const { store: second } = await openStoreIn(again);
    await expect(nextOf(second, seen)).rejects.toThrow(CompactedError);
    await second.close();
    await restoreBackup(file, early, { ...moment, nowMs: 0 });
    const { store: third } = await openStoreIn(early);
    expect(await third.currentRevision()).toBe(1_000_000_006);
    await third.close();
  });
});

describe('the revision of another beginning', () => {
  const [first, second] = [seededRandom(1), seededRandom(2)];

  it('is above all that was written since an earlier one, whatever the base', () => {
    const one = revisionAnew(500, { nowMs, random: first });
    const writtenSince = 900_000;
    const later = { nowMs: nowMs + 1_000, random: second };
    for (const base of [1, 500, 600, one + writtenSince]) {
      const other = revisionAnew(base, later);
      expect(other).toBeGreaterThan(one + writtenSince);
      // Not so far that the next one would be below.
      expect(other).toBeLessThan((nowMs + 2_000) * 1_000);
    }
  });

  it('is another on each member that begins with the same, also without a clock', () => {
    for (const at of [0, 60_000, nowMs]) {
      const one = revisionAnew(500, { nowMs: at, random: first });
      const other = revisionAnew(500, { nowMs: at, random: second });
      expect(one).not.toBe(other);
      expect(Math.min(one, other)).toBeGreaterThanOrEqual(1_000_000_500);
      expect(Number.isSafeInteger(one)).toBe(true);
    }
    const one = revisionAnew(500, { nowMs: 0, random: first });
    const other = revisionAnew(500, { nowMs: 0, random: second });
    expect(Math.abs(one - other)).toBeGreaterThan(1_000_000);
  });
});

/** With the checksum that belongs to it. */
function seal(content: Uint8Array): Uint8Array {
  const hash = createHash('sha256').update(content).digest();
  return Buffer.concat([content, bytes('flotilla-backup1'), hash]);
}

/** What the backup's database would be after `change`. */
function changed(statement: string): Uint8Array {
  const database = path.join(folder, 'changed.db');
  writeFileSync(database, readFileSync(file).subarray(0, -(markBytes + 32)));
  const opened = openDatabase(database);
  opened.prepare(statement).run();
  opened.close();
  return seal(readFileSync(database));
}

describe('a restore', () => {
  const cut = (bytesLess: number) => () => readFileSync(file).subarray(0, -bytesLess);
  const flipped = (at: number) => () => {
    const content = readFileSync(file);
    const place = at < 0 ? content.length + at : at;
    content[place] = (content[place] ?? 0) ^ 4;
    return content;
  };
  const end = 'is no backup, or its end is missing: use another one.';
  const wrong = 'is damaged: its checksum is wrong. Use another backup.';
  const refusals: { name: string; content: () => Uint8Array; want: string }[] = [
    { name: 'a file that lacks its last byte', content: cut(1), want: end },
    { name: 'a file that lacks its end', content: cut(9_000), want: end },
    { name: 'an empty file', content: () => new Uint8Array(), want: end },
    { name: 'a file of something else', content: () => bytes('x'.repeat(100_000)), want: end },
    { name: 'a bare database', content: cut(markBytes + 32), want: end },
    { name: 'a flipped bit at its start', content: flipped(20), want: wrong },
    { name: 'a flipped bit in a value', content: flipped(20_000), want: wrong },
    { name: 'a flipped bit in its checksum', content: flipped(-1), want: wrong },
    { name: 'a file of a newer form', content: flipped(-33), want: end },
    {
      name: 'a newer schema',
      content: () => changed('PRAGMA user_version = 99'),
      want: 'has schema version 99 and this Flotilla knows',
    },
    {
      name: "another program's database",
      content: () => changed('PRAGMA application_id = 1'),
      want: 'is a database of another program',
    },
    {
      name: 'rows that were changed by hand',
      content: () => changed("UPDATE kv SET value = x'00' WHERE id = 2"),
      want: 'is damaged (revision 2 is not what was written)',
    },
    {
      name: 'a row that is missing',
      content: () => changed('DELETE FROM kv WHERE mod_revision = 2'),
      want: 'is damaged (revision 2 is missing)',
    },
  ];
  for (const { name, content, want } of refusals)
    it(`refuses ${name}, and leaves nothing behind`, async () => {
      writeFileSync(file, content());
      const refused = restoreBackup(file, target, moment);
      await expect(refused).rejects.toThrow(StoreOpenError);
      await expect(refused).rejects.toThrow(file);
      await expect(refused).rejects.toThrow(want);
      expect(readdirSync(target)).toEqual([]);
    });

  it('refuses what is not there, and what is no file', async () => {
    rmSync(file);
    await expect(restoreBackup(file, target, moment)).rejects.toThrow(`There is no file ${file}`);
    mkdirSync(file);
    await expect(restoreBackup(file, target, moment)).rejects.toThrow(`There is no file ${file}`);
  });

  it('refuses a directory that holds anything, and leaves it as it is', async () => {
    mkdirSync(target);
    writeFileSync(path.join(target, 'member.json'), '{}');
    await expect(restoreBackup(file, target, moment)).rejects.toThrow('holds a cluster already');
    expect(readdirSync(target)).toEqual(['member.json']);
  });

  it('that was cut short is no state, and can be made again', async () => {
    mkdirSync(target);
    copyFileSync(file, path.join(target, 'unfinished.db'));
    writeFileSync(path.join(target, 'unfinished.db-wal'), 'x');
    await expect(openStoreIn(target)).rejects.toThrow('restore it again');
    expect(existsSync(stateFileIn(target))).toBe(false);
    await restoreBackup(file, target, moment);
    const { store } = await openStoreIn(target);
    expect(await store.count('')).toBe(3);
    await store.close();
  });

  it('that is killed leaves nothing that is taken for a state', async () => {
    const opened = await openStoreIn(path.join(folder, 'source'));
    for (let i = 0; i < 6; i++) await opened.store.put(`k${i}`, new Uint8Array(2_000_000), 0);
    await backUp(opened);
    await opened.store.close();
    await killedRestore(target, statSync(file).size / 2);
    expect(existsSync(stateFileIn(target))).toBe(false);
    await expect(openStoreIn(target)).rejects.toThrow('restore it again');
  });

  /** A process of its own, killed when it has written this much. */
  async function killedRestore(into: string, sizeBytes: number): Promise<void> {
    const code = `
      const { restoreBackup } = await import(${JSON.stringify(import.meta.resolve('./backup.ts'))});
      await restoreBackup(${JSON.stringify(file)}, ${JSON.stringify(into)}, ${nowMs});`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore' });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const unfinished = path.join(into, 'unfinished.db');
    const look = setInterval(() => {
      const size = existsSync(unfinished) ? statSync(unfinished).size : 0;
      if (size >= sizeBytes || existsSync(stateFileIn(into))) child.kill('SIGKILL');
    }, 1);
    await exited;
    clearInterval(look);
  }
});
