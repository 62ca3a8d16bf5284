import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readVolumeFile } from './volume-file.ts';

let directory: string;
let volume: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'flotilla-file-'));
  volume = path.join(directory, 'volume');
  mkdirSync(path.join(volume, 'sub'), { recursive: true });
  writeFileSync(path.join(directory, 'secret'), 'secret');
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string): string => path.join(volume, name);

describe('a file of a volume', () => {
  it('is read, also by a link within the volume', async () => {
    writeFileSync(at('sub/a.env'), 'text');
    symlinkSync('sub/a.env', at('b.env'));
    expect(await readVolumeFile(volume, 'sub/a.env')).toBe('text');
    expect(await readVolumeFile(volume, 'b.env')).toBe('text');
  });

  it('may not be there', async () => {
    writeFileSync(at('file'), '');
    for (const name of ['none', 'none/none', 'file/none'])
      expect(await readVolumeFile(volume, name)).toBeUndefined();
  });

  it.each([
    ['link', (name: string) => symlinkSync('../secret', name), /leads out of its volume/],
    ['../secret', () => {}, /leads out of its volume/],
    ['sub', () => {}, /is no file/],
    ['pipe', (name: string) => void execFileSync('mkfifo', [name]), /is no file/],
    ['large', (name: string) => writeFileSync(name, 'x'.repeat(2 ** 20 + 1)), /larger than 1 MiB/],
  ])('is not %s', async (name, make, why) => {
    make(at(name));
    await expect(readVolumeFile(volume, name)).rejects.toThrow(why);
  });
});
