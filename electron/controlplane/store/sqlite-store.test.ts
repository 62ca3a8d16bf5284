import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '#kube/base/logger.ts';
import { openDatabase } from '#platform/sqlite.ts';
import { bytes, show, showBatch, storeConformance, take } from '../../../test/conformance/store.ts';
import { openSqliteStore, type SqliteStoreOptions } from './sqlite-store.ts';
import { StoreOpenError } from './state-file.ts';
import { NoSpaceError, OutcomeUnknownError, UnavailableError, type Store } from './store.ts';

storeConformance('SQLite store', (options) => {
  const directory = mkdtempSync(join(tmpdir(), 'flotilla-store-'));
  return {
    store: openSqliteStore({ directory, logger: silentLogger, ...options }),
    dispose: async () => rmSync(directory, { recursive: true }),
  };
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-store-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function open(options: Partial<SqliteStoreOptions> = {}): Store {
  return openSqliteStore({ directory, logger: silentLogger, ...options });
}

function stateFile(): string {
  return join(directory, 'state.db');
}

describe('a SQLite store opened again', () => {
  it('has its rows, history, revision and compaction mark', async () => {
    const before = open();
    await before.put('a', bytes('1'), 0);
    await before.put('b', bytes('1'), 0);
    await before.put('a', bytes('2'), 1);
    await before.delete('b', 2);
    await before.put('a', bytes('3'), 3);
    await before.compact(3);
    await before.close();

    const store = open();
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
    const before = open();
    await before.put('a', bytes('1'), 0);
    await before.delete('a', 1);
    await before.compact(2);
    await before.close();
    const store = open();
    expect(await store.currentRevision()).toBe(2);
    expect((await store.put('a', bytes('2'), 0)).revision).toBe(3);
    await store.close();
  });

  it('finishes a compaction that a crash cut short', async () => {
    const before = open();
    for (let i = 0; i < 5; i++) await before.put('a', bytes(`${i}`), i);
    await before.put('b', bytes('x'), 0);
    await before.delete('b', 6);
    await before.close();
    // As a crash between the mark and the first slice leaves it.
    const database = openDatabase(stateFile());
    database.exec('UPDATE compaction SET revision = 7');
    database.close();

    const store = open();
    expect((await store.list('')).items.map(show)).toEqual(['a=4@1/5']);
    await store.compact(7);
    await store.close();
    const after = openDatabase(stateFile());
    expect(after.prepare('SELECT mod_revision AS revision FROM kv').all()).toEqual([
      { revision: 5 },
    ]);
    after.close();
  });
});

describe('a SQLite store that is killed', () => {
  const writer = new URL('./testdata/crash-writer-main.ts', import.meta.url).pathname;

  it(
    'has every write it acknowledged, and revisions without a gap',
    { timeout: 30_000 },
    async () => {
      let acknowledged = 0;
      for (const killAfter of [40, 400, 1200]) {
        acknowledged = Math.max(acknowledged, await writeAndKill(killAfter));
        const store = open();
        const revision = await store.currentRevision();
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

describe('a full SQLite store', () => {
  it('refuses puts, says that nothing was written, and still deletes, compacts and reads', async () => {
    const store = open({ sizeBytesMax: 200_000 });
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
    const store = open({ sizeBytesMax: 200_000 });
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

describe('a SQLite store whose disk fails', () => {
  it('says that the outcome is unknown, stops, and tells its owner once', async () => {
    const fatal: unknown[] = [];
    const store = open({ onFatal: (error) => fatal.push(error) });
    await store.put('a', bytes('1'), 0);
    const events = store.watch('', 1)[Symbol.asyncIterator]();
    const pending = expect(events.next()).rejects.toThrow(UnavailableError);
    // A table that vanished stands for a disk that answers with errors.
    const other = openDatabase(stateFile());
    other.exec('DROP TABLE kv');
    other.close();
    const writes = await Promise.allSettled([store.put('b', bytes('1'), 0), store.delete('a', 1)]);
    expect(writes.map((write) => write.status === 'rejected' && write.reason)).toEqual([
      expect.any(OutcomeUnknownError),
      expect.any(OutcomeUnknownError),
    ]);
    await pending;
    await expect(store.get('a')).rejects.toThrow(UnavailableError);
    await expect(store.put('c', bytes('1'), 0)).rejects.toThrow(UnavailableError);
    expect(fatal).toHaveLength(1);
    await store.close();
  });
});

describe('what opening says when it cannot', () => {
  async function filled(): Promise<void> {
    const store = open();
    for (let i = 0; i < 200; i++) await store.put(`key${i}`, new Uint8Array(1000).fill(i), 0);
    await store.close();
  }

  function sentence(): string {
    try {
      open();
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
    const content = readFileSync(stateFile());
    content.fill(0xa5, position, position + length);
    writeFileSync(stateFile(), content);
  }

  const cases: { name: string; spoil: () => void; want: RegExp }[] = [
    {
      name: 'a file that is no database',
      spoil: () => writeFileSync(stateFile(), 'not a database, but long enough to be read as one'),
      want: /^The database DIR\/state\.db is damaged \(file is not a database\) and was left as it is: put a backup in its place, or move it away to start with an empty cluster\.$/,
    },
    {
      name: 'a file with an overwritten page',
      spoil: () => overwrite(4096 * 3, 4096),
      want: /^The database DIR\/state\.db is damaged \(database disk image is malformed\) and was left/,
    },
    {
      name: 'a missing revision',
      spoil: () => change('DELETE FROM kv WHERE mod_revision = 100'),
      want: /is damaged \(revision 100 is missing\) and was left as it is/,
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
        overwrite(4096 * 3, 4096);
        writeFileSync(`${stateFile()}-wal`, 'the rest of a log');
      },
      want: /^The database DIR\/state\.db is damaged \(Tree 2 page 4: .*\) and was left as it is/,
    },
    {
      name: 'a newer schema',
      spoil: () => change('PRAGMA user_version = 7'),
      want: /^DIR\/state\.db has schema version 7 and this Flotilla knows 1: start the version/,
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
  ];
  for (const { name, spoil, want } of cases)
    it(`names ${name}`, async () => {
      await filled();
      spoil();
      expect(sentence()).toMatch(want);
    });

  it('names a directory that is a file', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    expect(() => open({ directory: join(file, 'store') })).toThrow(
      /^The database .*\/file\/store\/state\.db can't be opened \(ENOTDIR.*\): give this user read and write access/,
    );
  });

  it('leaves a damaged file as it found it, byte for byte', async () => {
    await filled();
    overwrite(4096 * 3, 4096);
    copyFileSync(stateFile(), join(directory, 'copy'));
    sentence();
    sentence();
    expect(readFileSync(stateFile()).equals(readFileSync(join(directory, 'copy')))).toBe(true);
  });
});
