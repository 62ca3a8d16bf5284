import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { directoryUse } from './directory-size.ts';

const mib = 1024 ** 2;
let directory: string;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'flotilla-size-')), 'volume');
  mkdirSync(join(directory, 'below'), { recursive: true });
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true }));

/** In MiB: directories themselves are small. */
async function size(path = directory): Promise<number> {
  return Math.round((await directoryUse(path)).bytes / mib);
}

it('counts what is below, a file of several names once, and no link', async () => {
  writeFileSync(join(directory, 'a'), Buffer.alloc(2 * mib, 1));
  writeFileSync(join(directory, 'below/b'), Buffer.alloc(mib, 1));
  for (const name of ['c', 'd', 'e']) linkSync(join(directory, 'a'), join(directory, name));
  symlinkSync('/usr', join(directory, 'below/usr'));
  expect(await size()).toBe(3);
  // Two directories, two files, the link.
  expect((await directoryUse(directory)).files).toBe(5);
});

it('counts nothing of another file system', async () => {
  // Whatever it holds: /proc is none of /'s.
  expect(await directoryUse('/proc')).toEqual({ bytes: 0, files: 0 });
});

it('is nothing for what is not there', async () => {
  expect(await size(join(directory, 'nosuch'))).toBe(0);
  expect(await size(join(directory, 'nosuch/below'))).toBe(0);
});
