import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskReserve } from './disk-reserve.ts';

let directory = '';
let free = 0;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'flotilla-reserve-'));
  free = 100 * 1024 * 1024;
});
afterEach(() => rmSync(directory, { recursive: true }));

const file = () => path.join(directory, 'reserve');
const open = () => new DiskReserve(file(), directory, () => free);

describe('the reserve', () => {
  it('of an earlier process is there for the next, also on a disk that is full by then', () => {
    open().take();
    free = 0;
    const next = open();
    expect([next.release(), existsSync(file()), next.release()]).toEqual([true, false, false]);
  });

  it('is not taken where space is scarce, and half of one is none', () => {
    free = 0;
    const reserve = open();
    reserve.take();
    expect([reserve.release(), existsSync(file())]).toEqual([false, false]);
  });
});
