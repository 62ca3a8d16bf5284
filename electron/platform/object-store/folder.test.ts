import { mkdir, mkdtemp, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { objectStoreConformance } from '../../../test/conformance/object-store.ts';
import { diskSentence, FolderStore } from './folder.ts';
import { ObjectStoreError } from './object-store.ts';

const clock = new ManualClock(Date.parse('2026-05-01T00:00:00Z'));

objectStoreConformance('a folder', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'flotilla-folder-'));
  const store = new FolderStore(root, clock);
  await store.claim();
  return { store, dispose: () => rm(root, { recursive: true }) };
});

describe('a folder of backups', () => {
  let root: string;
  let store: FolderStore;

  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'flotilla-folder-'));
    store = new FolderStore(root, clock);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function refusal(action: Promise<unknown>): Promise<readonly [string, string]> {
    const error: unknown = await action.catch((reason: unknown) => reason);
    if (!(error instanceof ObjectStoreError)) throw error;
    return [error.problem, error.message];
  }

  it('is not used before it was taken into use, as an empty mount point would be', async () => {
    await store.claim();
    await store.put('a', [Buffer.from('a')]);
    await rename(root, `${root}-disk`);
    await mkdir(root);
    const words = `The folder ${root} is not there, or is not the one backups were kept in: is its disk plugged in and mounted?`;
    expect(await refusal(store.put('b', []))).toEqual(['away', words]);
    expect(await refusal(store.list())).toEqual(['away', words]);
    expect(await refusal(store.delete('a'))).toEqual(['away', words]);
    expect(await readdir(root)).toEqual([]);
    await rm(root, { recursive: true });
    await rename(`${root}-disk`, root);
    expect((await store.list()).map((one) => one.name)).toEqual(['a']);
  });

  it('is not made when it is missing, nor taken when it is a file', async () => {
    const missing = new FolderStore(path.join(root, 'usb'), clock);
    expect(await refusal(missing.claim())).toEqual([
      'away',
      `There is no folder ${root}/usb: is its disk plugged in and mounted?`,
    ]);
    await writeFile(path.join(root, 'usb'), '');
    expect(await refusal(missing.claim())).toEqual([
      'refused',
      `${root}/usb is no folder: choose another one.`,
    ]);
    expect(() => new FolderStore('backups', clock)).toThrow(ObjectStoreError);
  });

  it('may be taken into use again, and keeps what it holds', async () => {
    await store.claim();
    await store.put('a', [Buffer.from('a')]);
    await store.claim();
    expect(await store.list()).toHaveLength(1);
  });

  it('forgets what a process that died left unfinished, but not what another one writes now', async () => {
    await store.claim();
    await mkdir(path.join(root, 'home'));
    const old = path.join(root, 'home', '.aaaaaaaaaaaa.part');
    await writeFile(old, 'half');
    await utimes(old, 0, (clock.now() - 25 * 3_600_000) / 1_000);
    const now = path.join(root, 'home', '.bbbbbbbbbbbb.part');
    await writeFile(now, 'half');
    await utimes(now, 0, clock.now() / 1_000);
    await store.put('home/a', [Buffer.from('a')]);
    expect(await readdir(path.join(root, 'home'))).toEqual(['.bbbbbbbbbbbb.part', 'a']);
  });

  it('lists files alone: no links, no folders, nothing hidden', async () => {
    await store.claim();
    await mkdir(path.join(root, 'empty'));
    await writeFile(path.join(root, '.hidden'), '');
    await symlink('/etc/hostname', path.join(root, 'link'));
    await store.put('a', []);
    expect((await store.list()).map((one) => one.name)).toEqual(['a']);
  });

  it('says in words what the disk says in numbers, and leaves other errors as they are', () => {
    const said = (code?: string): string | undefined =>
      diskSentence(Object.assign(new Error('m'), code === undefined ? {} : { code }), '/usb')
        ?.problem;
    const codes = [
      'ENOSPC',
      'EDQUOT',
      'EFBIG',
      'ENOENT',
      'EACCES',
      'EROFS',
      'EIO',
      'EMFILE',
      undefined,
    ];
    expect(codes.map(said)).toEqual([
      'full',
      'full',
      'full',
      'away',
      'refused',
      'refused',
      'away',
      'failed',
      undefined,
    ]);
  });
});
