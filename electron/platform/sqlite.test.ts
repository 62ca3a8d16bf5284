import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { lockDataDirectory, openDatabase, sqliteFailure } from './sqlite.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-sqlite-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function failureOf(work: () => void): string | undefined {
  try {
    work();
  } catch (error) {
    return sqliteFailure(error);
  }
  return 'none';
}

function modeOf(name: string): string {
  return (statSync(join(directory, name)).mode & 0o777).toString(8);
}

describe('openDatabase', () => {
  // Secrets are in it, and the folder may be one that others can look into.
  it('makes files that only this user can read, also out of older ones', () => {
    const database = openDatabase(join(directory, 'a.db'));
    database.pragma('journal_mode = WAL');
    database.exec('CREATE TABLE t (n INTEGER)');
    const fresh = [modeOf('a.db'), modeOf('a.db-wal')];
    database.close();
    chmodSync(join(directory, 'a.db'), 0o644);
    openDatabase(join(directory, 'a.db')).close();
    expect([...fresh, modeOf('a.db')]).toEqual(['600', '600', '600']);
  });

  it('commits a transaction whole, or not at all', () => {
    const database = openDatabase(join(directory, 'a.db'));
    database.exec('CREATE TABLE t (n INTEGER)');
    const insert = database.prepare('INSERT INTO t VALUES (?)');
    database.transaction(() => void insert.run(1));
    expect(() =>
      database.transaction(() => {
        insert.run(2);
        throw new Error('changed my mind');
      }),
    ).toThrow('changed my mind');
    database.transaction(() => void insert.run(3));
    expect(database.prepare('SELECT n FROM t').all()).toEqual([{ n: 1 }, { n: 3 }]);
    database.close();
  });

  it('names failures', () => {
    const file = join(directory, 'a.db');
    const database = openDatabase(file);
    database.exec('CREATE TABLE t (n BLOB)');
    const other = openDatabase(file);
    other.exec('BEGIN IMMEDIATE');
    const readOnly = openDatabase(file, { isReadOnly: true });
    writeFileSync(join(directory, 'b.db'), 'x'.repeat(200));
    expect({
      busy: failureOf(() => database.exec('INSERT INTO t VALUES (1)')),
      readOnly: failureOf(() => readOnly.exec('INSERT INTO t VALUES (1)')),
      corrupt: failureOf(() => openDatabase(join(directory, 'b.db')).pragma('user_version')),
      cannotOpen: failureOf(() => void openDatabase(directory)),
      syntax: failureOf(() => database.exec('nonsense')),
      ours: failureOf(() => {
        throw new Error('not of SQLite');
      }),
    }).toEqual({
      busy: 'busy',
      readOnly: 'read-only',
      corrupt: 'corrupt',
      cannotOpen: 'cannot-open',
      syntax: 'other',
      ours: undefined,
    });
    other.close();
    database.pragma('max_page_count = 3');
    const fill = (): void => void database.prepare('INSERT INTO t VALUES (zeroblob(50000))').run();
    expect(failureOf(fill)).toBe('full');
  });
});

describe('lockDataDirectory', () => {
  it('tells the second who holds it, until it is released', () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 23, 13, 41, 54));
    const lock = lockDataDirectory(directory, 'flotilla control plane', clock);
    expect(() => lockDataDirectory(directory, 'another')).toThrow(
      `data directory ${directory} is in use by process ${process.pid} ` +
        '(flotilla control plane, since 2026-11-23T13:41:54.000Z)',
    );
    lock.release();
    lock.release();
    expect(existsSync(join(directory, 'lock.json'))).toBe(false);
    lockDataDirectory(directory, 'another').release();
  });

  it('tells of a holder that has not said who it is', () => {
    const lock = lockDataDirectory(directory, 'first');
    writeFileSync(join(directory, 'lock.json'), '{"pid":');
    expect(() => lockDataDirectory(directory, 'second')).toThrow(
      `data directory ${directory} is in use by another process`,
    );
    lock.release();
  });

  it('lasts as long as its process, whoever forgets it, and dies with it, however that ends', async () => {
    const program = `
      const { lockDataDirectory } = await import(process.argv[1]);
      lockDataDirectory(process.argv[2], 'a process to be killed');
      globalThis.gc();
      await new Promise(setImmediate);
      console.log('locked');
      setInterval(() => {}, 1000);
    `;
    const module = new URL('./sqlite.ts', import.meta.url).href;
    const child = spawn(
      process.execPath,
      ['--expose-gc', '--input-type=module', '-e', program, module, directory],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const ended = new Promise((resolve) => child.once('exit', resolve));
    try {
      await once(createInterface({ input: child.stdout }), 'line');
      expect(() => lockDataDirectory(directory, 'me')).toThrow(
        new RegExp(`in use by process ${child.pid} \\(a process to be killed, since `),
      );
    } finally {
      child.kill('SIGKILL');
    }
    await ended;
    lockDataDirectory(directory, 'me').release();
  });
});
