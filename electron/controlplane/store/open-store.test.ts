import { spawn } from 'node:child_process';
import {
  cpSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '#platform/sqlite.ts';
import { kvConformance } from '../../../test/conformance/kv.ts';
import { bytes, show, showBatch, storeConformance, take } from '../../../test/conformance/store.ts';
import { openStoreIn } from '../../../test/setup/store.ts';
import { DamagedRowError } from './mvcc.ts';
import type { ReplicatedStore, ReplicatedStoreOptions } from './open-store.ts';
import { StoreOpenError } from './state-file.ts';
import { NoSpaceError, UnavailableError, type Store } from './store.ts';

storeConformance('single replica', async (options) => {
  const { store, dispose } = await openSomewhere(options);
  return { store, dispose };
});
kvConformance('single replica', async (options) => {
  const { kv, dispose } = await openSomewhere(options);
  return { kv, dispose };
});

async function openSomewhere(options?: Partial<ReplicatedStoreOptions>) {
  const somewhere = mkdtempSync(join(tmpdir(), 'flotilla-store-'));
  const opened = await openStoreIn(somewhere, options);
  return { ...opened, dispose: async () => rmSync(somewhere, { recursive: true }) };
}

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-store-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function open(options: Partial<ReplicatedStoreOptions> = {}): Promise<ReplicatedStore> {
  return openStoreIn(directory, options);
}

function stateFile(): string {
  return join(directory, 'state.db');
}

/** What stands in the store in full, for comparison. */
async function content(store: Store): Promise<unknown> {
  const { items, revision } = await store.list('');
  return { revision, items: items.map(show) };
}

describe('a store opened again', () => {
  it('has its rows, history, revision and compaction mark', async () => {
    const { store: before } = await open();
    await before.put('a', bytes('1'), 0);
    await before.put('b', bytes('1'), 0);
    await before.put('a', bytes('2'), 1);
    await before.delete('b', 2);
    await before.put('a', bytes('3'), 3);
    await before.compact(3);
    await before.close();

    const { store } = await open();
    expect(await store.currentRevision()).toBe(5);
    expect(store.compactedRevision()).toBe(3);
    expect((await store.list('')).items.map(show)).toEqual(['a=3@1/5']);
    expect((await store.list('', { revision: 3 })).items.map(show)).toEqual(['a=2@1/3', 'b=1@2/2']);
    const batch = await take(store.watch('', 3)[Symbol.asyncIterator](), 2);
    expect(showBatch(batch)).toEqual(['delete b=1@2/4 was b=1@2/2', 'put a=3@1/5 was a=2@1/3']);
    expect((await store.put('b', bytes('2'), 0)).revision).toBe(6);
    await store.close();
  });

  it('does not forget its revision when every row was compacted away', async () => {
    const { store: before } = await open();
    await before.put('a', bytes('1'), 0);
    await before.delete('a', 1);
    await before.compact(2);
    await before.close();
    const { store } = await open();
    expect(await store.currentRevision()).toBe(2);
    expect((await store.put('a', bytes('2'), 0)).revision).toBe(3);
    await store.close();
  });

  it('has its leases and their keys', async () => {
    const { kv: before } = await open();
    await before.write({ type: 'lease-grant', id: 5, ttlSeconds: 600 });
    const put = { type: 'put', key: 'a', value: bytes('1'), lease: 5 } as const;
    await before.write({ type: 'txn', compares: [], success: [put], failure: [] });
    await before.close();
    const { kv } = await open();
    expect(await kv.lease(5)).toMatchObject({ ttlSeconds: 600, keys: ['a'] });
    await kv.write({ type: 'lease-revoke', id: 5 });
    expect(kv.currentRevision()).toBe(2);
    await kv.close();
  });

  it('has what the log had and the database had not', async () => {
    const { store, state } = await open();
    for (let i = 0; i < 20; i++) await store.put(`k${i}`, bytes(`${i}`), 0);
    state.flush();
    for (let i = 0; i < 20; i++) await store.put(`k${i}`, bytes('again'), i + 1);
    const crashed = join(directory, 'crashed');
    const want = await content(store);
    const copy = join(directory, '..', `${Date.now()}-crashed`);
    cpSync(directory, copy, { recursive: true });
    await store.close();
    renameSync(copy, crashed);
    const after = await openStoreIn(crashed);
    expect(await content(after.store)).toEqual(want);
    await after.store.close();
  });

  it('starts from its log alone when the database is gone and the log is whole', async () => {
    const { store: before } = await open();
    for (let i = 0; i < 5; i++) await before.put(`k${i}`, bytes(`${i}`), 0);
    const want = await content(before);
    await before.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${stateFile()}${suffix}`, { force: true });
    const { store } = await open({ mustExist: true });
    expect(await content(store)).toEqual(want);
    await store.close();
  });

  it('refuses a log that was put back from an older backup than its database', async () => {
    const log = join(directory, 'log');
    const kept = `${directory}-log`;
    const { store: early } = await open();
    await early.put('a', bytes('1'), 0);
    await early.close();
    cpSync(log, kept, { recursive: true });
    const { store: late } = await open();
    await late.put('a', bytes('2'), 1);
    await late.close();
    rmSync(log, { recursive: true });
    renameSync(kept, log);
    await expect(open()).rejects.toThrow(StoreOpenError);
    await expect(open()).rejects.toThrow(/put back from an older backup.*npm run cluster/);
  });

  it('finishes a compaction that a crash cut short', async () => {
    const { store: before } = await open();
    for (let i = 0; i < 5; i++) await before.put('a', bytes(`${i}`), i);
    await before.put('b', bytes('x'), 0);
    await before.delete('b', 6);
    await before.close();
    const { store: cut, state } = await open();
    // The mark is applied and written; rows are still to go.
    const compacted = cut.compact(7);
    await new Promise((resolve) => setImmediate(resolve));
    state.flush();
    await compacted;
    await cut.close();
    const { store, state: again } = await open();
    await again.swept();
    expect((await store.list('')).items.map(show)).toEqual(['a=4@1/5']);
    await store.close();
    const after = openDatabase(stateFile());
    expect(after.prepare('SELECT mod_revision AS revision FROM kv').all()).toEqual([
      { revision: 5 },
    ]);
    after.close();
  });
});

describe('a store that is killed', () => {
  const writer = new URL('../../../test/setup/store-writer-main.ts', import.meta.url).pathname;

  it(
    'has every write it acknowledged, and revisions without a gap',
    { timeout: 60_000 },
    async () => {
      let acknowledged = 0;
      for (const killAfter of [40, 400, 1200]) {
        acknowledged = Math.max(acknowledged, await writeAndKill(killAfter));
        const { store } = await open();
        const revision = await store.currentRevision({ linearizable: true });
        expect(revision).toBeGreaterThanOrEqual(acknowledged);
        const { events } = await take(store.watch('', 0)[Symbol.asyncIterator](), revision);
        expect(events.map((event) => event.kv.modRevision)).toEqual(
          Array.from({ length: revision }, (_, i) => i + 1),
        );
        // The writer's value is the revision it expected to write.
        for (const { kv } of events)
          expect(Number(new TextDecoder().decode(kv.value.slice(0, 10)))).toBe(kv.modRevision);
        await store.close();
      }
    },
  );

  /** Runs the writer until it printed `lines` acknowledgements, kills it, answers the last one. */
  async function writeAndKill(lines: number): Promise<number> {
    const child = spawn(process.execPath, [writer, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    let last = 0;
    let seen = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      last = Number(line);
      if (++seen === lines) child.kill('SIGKILL');
    }
    await ended;
    expect(seen).toBeGreaterThanOrEqual(lines);
    expect(child.signalCode).toBe('SIGKILL');
    return last;
  }
});

describe('a full store', () => {
  it('refuses puts, says that nothing was written, and still deletes, compacts and reads', async () => {
    const { store } = await open({ sizeBytesMax: 200_000 });
    const value = new Uint8Array(20_000);
    let count = 0;
    await expect(
      (async () => {
        for (; count < 100; count++) await store.put(`k${count}`, value, 0);
      })(),
    ).rejects.toThrow(NoSpaceError);
    expect(count).toBeGreaterThan(3);
    expect(await store.currentRevision()).toBe(count);
    expect((await store.get('k0')).kv?.value).toEqual(value);

    for (let i = 0; i < 3; i++) expect((await store.delete(`k${i}`, i + 1)).ok).toBe(true);
    await store.compact(count + 3);
    expect((await store.put('again', value, 0)).ok).toBe(true);
    await store.close();
  });

  it('answers each write of a group by itself', async () => {
    const { store } = await open({ sizeBytesMax: 200_000 });
    const outcomes = await Promise.allSettled([
      store.put('small', bytes('x'), 0),
      store.put('huge', new Uint8Array(400_000), 0),
      store.put('small', bytes('y'), 1),
    ]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(outcomes[1]).toMatchObject({ reason: { name: 'NoSpaceError' } });
    expect((await store.list('')).items.map(show)).toEqual(['small=y@1/2']);
    await store.close();
  });
});

describe('a store whose disk fails', () => {
  it('stops, and tells its owner once, when the database takes nothing more', async () => {
    const fatal: unknown[] = [];
    const { store, state } = await open({ onFatal: (error) => fatal.push(error) });
    await store.put('a', bytes('1'), 0);
    const events = store.watch('', 1)[Symbol.asyncIterator]();
    const pending = expect(events.next()).rejects.toThrow(UnavailableError);
    // A table that vanished stands for a disk that answers with errors.
    const other = openDatabase(stateFile());
    other.exec('DROP TABLE kv');
    other.close();
    state.flush();
    await pending;
    await expect(store.get('a')).rejects.toThrow(UnavailableError);
    await expect(store.put('c', bytes('1'), 0)).rejects.toThrow();
    expect(fatal.length).toBeGreaterThanOrEqual(1);
    await store.close();
  });

  it('serves nothing from a row that is not what was written, and names it', async () => {
    const { store: before } = await open();
    await before.put('good', bytes('good'), 0);
    await before.put('bad', new Uint8Array(100).fill(0x5a), 0);
    await before.close();
    const fatal: unknown[] = [];
    const { store } = await open({ onFatal: (error) => fatal.push(error) });
    // A small file was checked at the start: the disk changes it afterwards.
    const file = readFileSync(stateFile());
    const at = file.indexOf(Buffer.alloc(100, 0x5a));
    file[at + 50] = 0;
    writeFileSync(stateFile(), file);
    expect(show((await store.get('good')).kv)).toBe('good=good@1/1');
    await expect(store.get('bad')).rejects.toThrow(UnavailableError);
    expect(fatal[0]).toBeInstanceOf(DamagedRowError);
    expect((fatal[0] as Error).message).toContain(
      `${stateFile()} is damaged: revision 2 is not what was written. Put a backup in its place`,
    );
    await store.close();
  });
});

describe('a database that is too large to be checked at the start', () => {
  it('is checked in the background, and served no more when it is damaged', async () => {
    const { store: before } = await open();
    for (let i = 0; i < 300; i++) await before.put(`good${i}`, bytes('good'), 0);
    await before.put('bad', new Uint8Array(100).fill(0x5a), 0);
    await before.close();
    const whole = await open({ checkedBytesMax: 0, onFatal: (error) => expect(error).toBeNull() });
    await whole.store.close();
    const file = readFileSync(stateFile());
    const at = file.indexOf(Buffer.alloc(100, 0x5a));
    writeFileSync(stateFile(), file.with(at + 10, 0x5b));
    await expect(open()).rejects.toThrow('is not what was written');
    const found = Promise.withResolvers<unknown>();
    const { store } = await open({ checkedBytesMax: 0, onFatal: found.resolve });
    // Nobody reads the row.
    const error = await found.promise;
    expect(error).toBeInstanceOf(DamagedRowError);
    expect(String(error)).toMatch(/state\.db is damaged \(revision 301 is not what was written\)/);
    await expect(store.get('good1')).rejects.toThrow(UnavailableError);
    await store.close();
  });
});

describe('what opening says when it cannot', () => {
  async function filled(): Promise<void> {
    const { store } = await open();
    for (let i = 0; i < 200; i++) await store.put(`key${i}`, new Uint8Array(1000).fill(i), 0);
    await store.close();
  }

  async function sentence(): Promise<string> {
    try {
      await open({ mustExist: true });
    } catch (error) {
      expect(error).toBeInstanceOf(StoreOpenError);
      return (error as StoreOpenError).message.replaceAll(directory, 'DIR');
    }
    throw new Error('it opened');
  }

  function change(sql: string): void {
    const database = openDatabase(stateFile());
    database.exec(sql);
    database.close();
  }

  function overwrite(position: number, length: number): void {
    const file = readFileSync(stateFile());
    file.fill(0xa5, position, position + length);
    writeFileSync(stateFile(), file);
  }

  const cases: { name: string; spoil: () => void; want: RegExp }[] = [
    {
      name: 'a file that is no database',
      spoil: () => writeFileSync(stateFile(), 'not a database, but long enough to be read as one'),
      want: /^The database DIR\/state\.db is damaged \(file is not a database\) and was left as it is\. If other machines .* put a backup back \(`npm run cluster -- restore FILE`\)\.$/,
    },
    {
      name: 'a file with an overwritten page',
      spoil: () => overwrite(4096 * 3, 4096),
      want: /^The database DIR\/state\.db is damaged \(Tree \d+ page \d+.*\) and was left as it is/,
    },
    {
      name: 'a missing revision',
      spoil: () => change('DELETE FROM kv WHERE mod_revision = 100'),
      want: /is damaged \(revision 100 is missing\) and was left as it is/,
    },
    {
      name: 'a missing last revision',
      spoil: () => change('DELETE FROM kv WHERE mod_revision = 200'),
      want: /is damaged \(revision 200 is missing\) and was left as it is/,
    },
    {
      name: 'a changed account of itself',
      spoil: () => change(`UPDATE meta SET json = replace(json, '"hash":', '"hash":1')`),
      want: /is damaged \(what it says of itself is not what was written\) and was left/,
    },
    {
      name: 'an empty file beside a log that is not',
      spoil: () => {
        writeFileSync(stateFile(), '');
        writeFileSync(`${stateFile()}-wal`, 'some log');
      },
      want: /is damaged \(it is empty, but its log is not\) and was left as it is/,
    },
    {
      name: 'an overwritten page after an unclean stop',
      spoil: () => {
        overwrite(4096 * 4, 4096);
        writeFileSync(`${stateFile()}-wal`, 'the rest of a log');
      },
      want: /^The database DIR\/state\.db is damaged \(Tree \d+ page \d+.*\) and was left as it is/,
    },
    {
      name: 'a newer schema',
      spoil: () => change('PRAGMA user_version = 7'),
      want: /^DIR\/state\.db has schema version 7 and this Flotilla knows 2: start the version/,
    },
    {
      name: 'the database of another program',
      spoil: () => change('PRAGMA application_id = 12345'),
      want: /^DIR\/state\.db is a database of another program: choose another data directory\.$/,
    },
    {
      name: 'a folder in the place of the file',
      spoil: () => {
        rmSync(stateFile());
        mkdirSync(stateFile());
      },
      want: /^DIR\/state\.db is not a file: move it away, or choose another data directory\.$/,
    },
    {
      name: 'a vanished database and log',
      spoil: () => {
        rmSync(stateFile());
        rmSync(join(directory, 'log'), { recursive: true });
      },
      want: /^DIR\/state\.db is missing or empty, but this data directory had a cluster: put a backup back /,
    },
    {
      name: 'a vanished log',
      spoil: () => rmSync(join(directory, 'log'), { recursive: true }),
      want: /^DIR: The log is gone: what this member promised to hold is lost\./,
    },
  ];
  for (const { name, spoil, want } of cases)
    it(`names ${name}`, async () => {
      await filled();
      spoil();
      expect(await sentence()).toMatch(want);
    });

  it('names a directory that is a file', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    await expect(openStoreIn(join(file, 'store'))).rejects.toThrow(
      /^The database .*\/file\/store\/state\.db can't be opened \(ENOTDIR.*\): give this user read and write access/,
    );
  });

  it('leaves a damaged file as it found it, byte for byte', async () => {
    await filled();
    overwrite(4096 * 3, 4096);
    copyFileSync(stateFile(), join(directory, 'copy'));
    await sentence();
    await sentence();
    expect(readFileSync(stateFile()).equals(readFileSync(join(directory, 'copy')))).toBe(true);
  });
});

describe('a database of schema 1', () => {
  const file = new URL('./testdata/state-schema-1.db', import.meta.url).pathname;

  it('becomes the present one with rows, history, mark and revision', async () => {
    copyFileSync(file, stateFile());
    for (let opened = 0; opened < 2; opened++) {
      const { store } = await open({ mustExist: true });
      expect(store.compactedRevision()).toBe(4);
      const { items, revision } = await store.list('');
      expect(revision).toBe(11);
      expect(
        items.map(({ key, value, createRevision, modRevision }) => [
          key,
          value.length,
          createRevision,
          modRevision,
        ]),
      ).toEqual([
        ['/registry/a', 1, 10, 10],
        ['/registry/big', 9000, 7, 7],
        ['/registry/none', 0, 11, 11],
        ['/registry/é😀', 1, 4, 4],
      ]);
      const { events } = await take(store.watch('/registry/a', 4)[Symbol.asyncIterator](), 4);
      expect(showBatch({ revision: 0, events })).toEqual([
        'put /registry/a=3@1/6 was /registry/a=2@1/3',
        'put /registry/a=4@1/8 was /registry/a=3@1/6',
        'delete /registry/a=4@1/9 was /registry/a=4@1/8',
        'put /registry/a=5@10/10 was nothing',
      ]);
      await store.close();
    }
    const { store } = await open({ mustExist: true });
    expect((await store.put('more', bytes('x'), 0)).revision).toBe(12);
    await store.close();
  });

  it('is left as it is when a revision is missing', async () => {
    copyFileSync(file, stateFile());
    const database = openDatabase(stateFile());
    database.exec('DELETE FROM kv WHERE mod_revision = 8');
    database.close();
    const before = readFileSync(stateFile());
    await expect(open()).rejects.toThrow('is damaged (revision 8 is missing)');
    expect(readFileSync(stateFile()).equals(before)).toBe(true);
  });
});
