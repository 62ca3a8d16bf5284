import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openBeneath, openPath, removeContents, setTreeGroup } from './tree.ts';

let directory = '';
let outside = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-tree-'));
  outside = mkdtempSync(join(tmpdir(), 'flotilla-outside-'));
  writeFileSync(join(outside, 'precious'), 'x', { mode: 0o600 });
});
afterEach(() => {
  for (const one of [directory, outside]) rmSync(one, { recursive: true });
});

describe('opening beneath a root', () => {
  it('makes what is missing, with the mode of the root', async () => {
    const file = await openBeneath(directory, ['a', 'b']);
    await file.close();
    expect(statSync(join(directory, 'a/b')).mode).toBe(statSync(directory).mode);
  });

  it('follows no link, wherever in the path it was put', async () => {
    mkdirSync(join(directory, 'real'));
    symlinkSync(outside, join(directory, 'link'));
    symlinkSync(outside, join(directory, 'real/link'));
    for (const parts of [['link'], ['link', 'precious'], ['real', 'link'], ['link', 'new']])
      await expect(openBeneath(directory, parts)).rejects.toThrow('is a link by now');
    expect(readdirSync(outside)).toEqual(['precious']);
  });
});

describe('removing what is in a directory', () => {
  it('takes links, not what they lead to', async () => {
    mkdirSync(join(directory, 'deep/er'), { recursive: true });
    writeFileSync(join(directory, 'deep/er/file'), 'x');
    symlinkSync(outside, join(directory, 'deep/link'));
    symlinkSync(join(outside, 'precious'), join(directory, 'file-link'));
    const root = await openPath(directory);
    await removeContents(root);
    await root.close();
    expect([readdirSync(directory), readdirSync(outside)]).toEqual([[], ['precious']]);
  });
});

describe('giving a tree to a group', () => {
  const groupId = process.getgid?.() ?? 0;
  const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);

  it('lets the group write all of it, and leaves what links lead to', async () => {
    mkdirSync(join(directory, 'sub'), { mode: 0o700 });
    writeFileSync(join(directory, 'sub/file'), 'x', { mode: 0o600 });
    symlinkSync(join(outside, 'precious'), join(directory, 'sub/link'));
    await setTreeGroup(directory, { groupId, onlyOnMismatch: false });
    const paths = ['', 'sub', 'sub/file'].map((name) => modeOf(join(directory, name)));
    expect([paths, modeOf(join(outside, 'precious'))]).toEqual([['2770', '2770', '660'], '600']);
  });

  it('is left out when only a mismatch counts and the root has it all', async () => {
    await setTreeGroup(directory, { groupId, onlyOnMismatch: true });
    writeFileSync(join(directory, 'file'), 'x', { mode: 0o600 });
    await setTreeGroup(directory, { groupId, onlyOnMismatch: true });
    expect([modeOf(directory), modeOf(join(directory, 'file'))]).toEqual(['2770', '600']);
  });
});
