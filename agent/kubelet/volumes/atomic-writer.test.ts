import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writePayload } from './atomic-writer.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-payload-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function payload(files: Readonly<Record<string, string>>) {
  return new Map(
    Object.entries(files).map(([path, text]) => [path, { bytes: Buffer.from(text), mode: 0o644 }]),
  );
}

/** What a reader sees, and how many sets of files lie there. */
function shown(): { files: Record<string, string>; sets: number } {
  const all = readdirSync(directory);
  const names = all.filter((name) => !name.startsWith('..'));
  const text = (name: string) => readFileSync(join(directory, name), 'utf8');
  return {
    files: Object.fromEntries(names.map((name) => [name, text(name)])),
    sets: all.filter((name) => name.startsWith('..files_')).length,
  };
}

describe('a write that fails in the middle', () => {
  // A file cannot be a directory as well.
  const impossible = payload({ a: 'new', 'a/b': '' });

  it('leaves what was there, and nothing of its own', async () => {
    await writePayload(directory, payload({ a: 'old', b: 'old' }));
    for (let attempt = 0; attempt < 3; attempt++)
      await expect(writePayload(directory, impossible)).rejects.toThrow();
    expect(shown()).toEqual({ files: { a: 'old', b: 'old' }, sets: 1 });
  });

  it('shows nothing at all when it is the first', async () => {
    await expect(writePayload(directory, impossible)).rejects.toThrow();
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('after an agent that was killed', () => {
  it('while it wrote: half a set of files goes, a whole one is shown', async () => {
    for (const name of ['..files_one', '..files_two']) {
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, 'a'), 'ha');
    }
    expect(await writePayload(directory, payload({ a: 'half' }))).toBe(true);
    expect(shown()).toEqual({ files: { a: 'half' }, sets: 1 });
  });

  it('when the files were there, and not yet their names: they get them', async () => {
    await writePayload(directory, payload({ a: '1', b: '2' }));
    rmSync(join(directory, 'b'));
    expect(await writePayload(directory, payload({ a: '1', b: '2' }))).toBe(false);
    expect(shown()).toEqual({ files: { a: '1', b: '2' }, sets: 1 });
  });

  it('before it made the link that is to be renamed, or the old files went', async () => {
    await writePayload(directory, payload({ a: 'old' }));
    mkdirSync(join(directory, '..files_new'));
    writeFileSync(join(directory, '..files_new', 'a'), 'new');
    symlinkSync('..files_new', join(directory, '..data_tmp'));
    expect(await writePayload(directory, payload({ a: 'new' }))).toBe(true);
    expect(shown()).toEqual({ files: { a: 'new' }, sets: 1 });
    const left = readlinkSync(join(directory, '..data'));
    mkdirSync(join(directory, '..files_older'));
    await writePayload(directory, payload({ a: 'new' }));
    expect([readlinkSync(join(directory, '..data')), shown().sets]).toEqual([left, 1]);
  });
});
