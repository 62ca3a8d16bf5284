import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { jsonLogger } from '#kube/base/logger.ts';
import { LineFile } from './line-file.ts';

let folder: string;
let clock: ManualClock;
let said: string[];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-lines-'));
  clock = new ManualClock();
  said = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(more: { maxBytes?: number; maxPendingBytes?: number; in?: string } = {}): LineFile {
  const { in: inside = '', ...bounds } = more;
  const logger = jsonLogger({ clock, level: 'info', write: (line) => void said.push(line) });
  return new LineFile({
    file: path.join(folder, inside, 'a.log'),
    clock,
    logger,
    keep: 2,
    ...bounds,
  });
}
const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8');

describe('a file of lines', () => {
  it('gathers for a second and writes once, readable to the owner only', async () => {
    const file = open({ in: 'logs' });
    file.write('1\n');
    file.write('2\n');
    expect(readdirSync(folder)).toEqual([]);
    clock.advance(1_000);
    await file.flush();
    expect(read('logs/a.log')).toBe('1\n2\n');
    expect(statSync(path.join(folder, 'logs/a.log')).mode & 0o777).toBe(0o600);
  });

  it('goes on with what is there, and rotates by size', async () => {
    writeFileSync(path.join(folder, 'a.log'), 'old\n');
    const file = open({ maxBytes: 8 });
    for (const line of ['a\n', 'b\n', 'c\n', '0123456\n', 'd\n']) {
      file.write(line);
      await file.flush();
    }
    expect(readdirSync(folder).toSorted()).toEqual(['a.1.log', 'a.2.log', 'a.log']);
    expect([read('a.2.log'), read('a.1.log'), read('a.log')]).toEqual(['c\n', '0123456\n', 'd\n']);
  });

  it('takes no more than its bound, and then again', async () => {
    const file = open({ maxPendingBytes: 4 });
    expect([file.write('1\n'), file.write('2\n'), file.write('3\n')]).toEqual([true, true, false]);
    await file.flush();
    expect(file.write('4\n')).toBe(true);
    file.flushSync();
    expect(read('a.log')).toBe('1\n2\n4\n');
  });

  it('says once that a disk takes nothing, and ends nobody', async () => {
    writeFileSync(path.join(folder, 'file'), '');
    const file = open({ in: 'file' });
    for (const line of ['1\n', '2\n']) {
      file.write(line);
      await file.flush();
    }
    expect(said).toHaveLength(1);
  });
});
