import {
  cpSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { show } from '../../../test/conformance/store.ts';
import {
  makeClusterBackup,
  testPassphrase,
  testRelease,
  type MadeBackup,
} from '../../../test/setup/cluster-backup.ts';
import { openStoreIn } from '../../../test/setup/store.ts';
import { finishAdoption, stageAdoption, type AdoptionDeps } from './adoption.ts';
import type { BackupManifest } from './manifest.ts';

const clock = new ManualClock(Date.parse('2026-11-24T05:06:07Z'));
let made: string;
let backup: string;
let cluster: MadeBackup;
let data: string;

beforeAll(async () => {
  made = mkdtempSync(path.join(tmpdir(), 'flotilla-old-laptop-'));
  backup = path.join(made, 'home.age');
  cluster = await makeClusterBackup(path.join(made, 'data'), backup, {
    a: 'kept',
    b: 'x'.repeat(200_000),
  });
});
afterAll(() => rmSync(made, { recursive: true, force: true }));
beforeEach(() => {
  data = mkdtempSync(path.join(tmpdir(), 'flotilla-new-laptop-'));
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

function stage(deps: Partial<AdoptionDeps> & { readonly from?: string } = {}) {
  const { from = backup, ...rest } = deps;
  return stageAdoption(createReadStream(from), {
    dataDirectory: data,
    file: 'home.age',
    release: testRelease,
    unlocking: { passphrase: testPassphrase },
    clock,
    random: seededRandom(1),
    ...rest,
  });
}

async function rows(): Promise<unknown> {
  const { store, state } = await openStoreIn(path.join(data, 'store'));
  const { items } = await store.list('');
  await store.close();
  return { items: items.map((item) => show(item)?.split('@')[0]), lineage: state.lineage };
}

/** The sentence by which it is refused; the directory has to be as it was. */
async function refusal(deps: Parameters<typeof stage>[0]): Promise<string> {
  const before = readdirSync(data);
  const error = await stage(deps).then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  expect(readdirSync(data)).toEqual(before);
  expect(error?.name).toBe('BackupRefusedError');
  return error?.message ?? '';
}

async function changed(changes: Partial<BackupManifest>): Promise<string> {
  const folder = mkdtempSync(path.join(data, 'changed-'));
  const file = path.join(folder, 'home.age');
  await makeClusterBackup(path.join(folder, 'data'), file, {}, changes);
  return file;
}

describe('a backup that is adopted', () => {
  it('becomes the same cluster under another id of its store, with the same authority', async () => {
    const manifest = await stage();
    expect(manifest).toMatchObject({ madeOn: 'old-laptop', lineage: [cluster.clusterId] });
    expect(await finishAdoption(data, clock)).toEqual([]);
    expect(await rows()).toEqual({
      items: ['a=kept', expect.stringMatching(/^b=x/)],
      lineage: [expect.not.stringMatching(cluster.clusterId), cluster.clusterId],
    });
    expect(readFileSync(path.join(data, 'pki/ca.crt'), 'utf8')).toBe(cluster.caPem);
    expect(readdirSync(path.join(data, 'pki')).toSorted()).toEqual([
      'ca.crt',
      'ca.key',
      'sa.key',
      'secrets.key',
    ]);
    expect(statSync(path.join(data, 'pki/ca.key')).mode & 0o777).toBe(0o600);
    expect(readdirSync(data).toSorted()).toEqual(['adopted.json', 'pki', 'store']);
  });

  it('takes the place of a cluster that was just begun, which is kept, but for who is signed in', async () => {
    await makeClusterBackup(data, path.join(data, 'other.age'), { b: 'begun' });
    writeFileSync(path.join(data, 'pki/ui-session.key'), 'session');
    await stage();
    expect((await rows()) as object).toMatchObject({ items: ['b=begun'] });
    const superseded = await finishAdoption(data, clock);
    expect(superseded.map((folder) => existsSync(folder))).toEqual([true, true]);
    expect(await rows()).toMatchObject({ items: ['a=kept', expect.anything()] });
    expect(readFileSync(path.join(data, 'pki/ca.crt'), 'utf8')).toBe(cluster.caPem);
    expect(readFileSync(path.join(data, 'pki/ui-session.key'), 'utf8')).toBe('session');
  });

  it('may be adopted once only at a time', async () => {
    await stage();
    await expect(stage()).rejects.toThrow('Another backup is being taken in already.');
  });

  it('does not come about when whoever asked has gone', async () => {
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(stage({ signal })).rejects.toThrow('gone');
    expect(readdirSync(data)).toEqual([]);
  });
});

describe('a backup that is refused leaves everything as it was', () => {
  it('with a wrong passphrase', async () => {
    expect(await refusal({ unlocking: { passphrase: 'another' } })).toBe(
      'home.age does not open with this passphrase: give the one that was set when it was written.',
    );
  });

  it('when it is cut, wherever', async () => {
    const file = path.join(made, 'cut.age');
    const { size } = statSync(backup);
    for (const length of [10, 300, 900, 40_000, 66_500, size - 70_000, size - 1]) {
      cpSync(backup, file);
      truncateSync(file, length);
      expect(await refusal({ from: file })).toMatch(
        /^home\.age (ends too early|is damaged|is not)/,
      );
    }
  });

  it('when a bit of it is another', async () => {
    const file = path.join(made, 'flipped.age');
    const bytes = readFileSync(backup);
    for (const at of [900, 70_000, bytes.length - 5]) {
      const bad = Buffer.from(bytes);
      bad.writeUInt8(bad.readUInt8(at) ^ 4, at);
      writeFileSync(file, bad);
      expect(await refusal({ from: file })).toBe(
        'home.age is damaged: some of its bytes are not what was written: copy it again, or use another backup.',
      );
    }
  });

  it('when a newer release wrote it', async () => {
    const older =
      'home.age was written by Flotilla 1.3.0, and this is 1.2.3: update Flotilla on this computer first.';
    expect(await refusal({ from: await changed({ release: '1.3.0' }) })).toBe(older);
    const other = await changed({ version: 2 as 1 });
    expect(await refusal({ from: other })).toContain('update Flotilla on this computer first.');
  });

  it('when it is something else that opens, or lacks what it lists', async () => {
    const format = 'photos' as BackupManifest['format'];
    expect(await refusal({ from: await changed({ format }) })).toBe(
      "home.age opens, but is no backup of a cluster: give a file that Flotilla's backup wrote.",
    );
    expect(await refusal({ from: await changed({ keys: [] }) })).toContain('is incomplete');
    const keys = ['ca.crt', 'ca.key', 'sa.key', 'secrets.key'].map((name) => ({
      name,
      sha256: 'x',
    }));
    expect(await refusal({ from: await changed({ keys }) })).toContain('is incomplete');
  });
});
