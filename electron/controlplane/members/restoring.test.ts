import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { SealingKeys } from '#platform/sealing-keys.ts';
import { bytes, show } from '../../../test/conformance/store.ts';
import { openStoreIn } from '../../../test/setup/store.ts';
import { backupChunks } from '../store/backup.ts';
import { writeChunks } from '../store/state-copy.ts';
import { StoreOpenError } from '../store/state-file.ts';
import { finishRestore, stageRestore, type StagingDeps } from './restoring.ts';

let data: string;
let folder: string;
let backup: string;
let lineage: readonly string[];
let clock: ManualClock;
const keys = new SealingKeys(`${Buffer.alloc(32, 1).toString('base64')}\n`, 'secrets.key');

beforeEach(async () => {
  data = mkdtempSync(path.join(tmpdir(), 'flotilla-restoring-'));
  folder = path.join(data, 'store');
  backup = path.join(data, 'backup');
  clock = new ManualClock(Date.parse('2026-11-24T05:06:07Z'));
  const { store, state } = await openStoreIn(folder);
  await store.put('a', bytes('kept'), 0);
  const snapshot = await state.snapshot();
  await writeChunks(backup, backupChunks(snapshot));
  snapshot.close();
  await store.put('b', bytes('later'), 0);
  ({ lineage } = state);
  await store.close();
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

function stage(deps: Partial<StagingDeps> = {}, isOther = false): Promise<void> {
  const all = { folder, clock, random: seededRandom(1), lineage, keys, ...deps };
  return stageRestore(createReadStream(backup), isOther, all);
}

async function rows(directory: string): Promise<unknown> {
  const { store, state } = await openStoreIn(directory);
  const { items } = await store.list('');
  await store.close();
  return { items: items.map((item) => show(item)?.split('@')[0]), lineage: state.lineage };
}

describe('a backup that is put back while the control plane runs', () => {
  it('takes the place of the store at the next start, which is kept', async () => {
    await stage();
    expect(existsSync(path.join(folder, 'state.db'))).toBe(true);
    const superseded = finishRestore(folder, clock);
    expect(await rows(folder)).toMatchObject({
      items: ['a=kept'],
      lineage: [expect.not.stringMatching(lineage[0] ?? ''), lineage[0]],
    });
    expect(await rows(superseded ?? '')).toMatchObject({ items: ['a=kept', 'b=later'] });
    expect(finishRestore(folder, clock)).toBeUndefined();
    expect(readdirSync(data).filter((name) => name.startsWith('store'))).toEqual(['store']);
  });

  it('may be put back a second time: the cluster remembers whose it was', async () => {
    await stage();
    finishRestore(folder, clock);
    const now = (await rows(folder)) as { readonly lineage: readonly string[] };
    clock.advance(1_000);
    await stage({ lineage: now.lineage });
    finishRestore(folder, clock);
    expect(await rows(folder)).toMatchObject({ items: ['a=kept'] });
  });

  it('of another cluster is refused by name, unless that is what is wanted', async () => {
    await expect(stage({ lineage: ['other'] })).rejects.toThrow(
      `is of another cluster (${lineage[0]}) than this one (other)`,
    );
    expect(finishRestore(folder, clock)).toBeUndefined();
    await stage({ lineage: ['other'] }, true);
    expect(finishRestore(folder, clock)).toBeDefined();
  });

  it('whose Secrets nobody here can read is refused, and says which key is missing', async () => {
    const { store, state } = await openStoreIn(folder);
    await store.put('secret', keys.seal(bytes('pearl'), 'secret'), 0);
    const snapshot = await state.snapshot();
    await writeChunks(backup, backupChunks(snapshot));
    snapshot.close();
    await store.close();
    const others = new SealingKeys(`${Buffer.alloc(32, 2).toString('base64')}\n`, 'secrets.key');
    await expect(stage({ keys: others })).rejects.toThrow(
      /Secrets that are encrypted with the key [0-9a-f]{8}, which is not in secrets\.key: add/,
    );
    expect(finishRestore(folder, clock)).toBeUndefined();
    await stage();
    expect(finishRestore(folder, clock)).toBeDefined();
  });

  it('that is damaged, or broke off, changes nothing', async () => {
    const before = readdirSync(data).toSorted();
    const whole = readFileSync(backup);
    const half = whole.subarray(0, whole.length / 2);
    async function* of(part: Uint8Array): AsyncIterable<Uint8Array> {
      yield part;
    }
    const deps = { folder, clock, random: seededRandom(1), lineage, keys };
    for (const part of [half, whole.with(5_000, 255 - (whole[5_000] ?? 0))])
      await expect(stageRestore(of(part), false, deps)).rejects.toThrow(StoreOpenError);
    const given = new AbortController();
    given.abort(new Error('the client is gone'));
    await expect(stage({ signal: given.signal })).rejects.toThrow('the client is gone');
    expect(readdirSync(data).toSorted()).toEqual(before);
    expect(finishRestore(folder, clock)).toBeUndefined();
  });
});
