// kill -9 at every step of a backup, a restore, an adoption and a recovery: what is found afterwards is the state
// before, whole, or the one that was to be, whole; and what is half done is never taken for either.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { encodeMembership } from '../../electron/controlplane/raft/membership.ts';
import { finishAdoption } from '../../electron/controlplane/backup/adoption.ts';
import { finishRestore } from '../../electron/controlplane/members/restoring.ts';
import { finishRecovery } from '../../electron/controlplane/replica/recovery-run.ts';
import { backupChunks, checkBackup } from '../../electron/controlplane/store/backup.ts';
import { writeChunks } from '../../electron/controlplane/store/state-copy.ts';
import { bytes } from '../conformance/store.ts';
import { makeClusterBackup } from '../setup/cluster-backup.ts';
import { failpointVariable, reportVariable } from '../setup/member-failpoint.ts';
import type { ArmedFailpoint } from '../setup/member-process.ts';
import type { RestoreWork } from '../setup/restore-main.ts';
import { openStoreIn } from '../setup/store.ts';

const program = path.join(import.meta.dirname, '../setup/restore-main.ts');
const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A data directory with a store that holds `a` and `b`, and a backup of when it held `a`. */
let made: string;
let clusterId: string;
let data: string;
let folder: string;

beforeAll(async () => {
  made = mkdtempSync(path.join(memory, 'flotilla-made-'));
  const { store, state, ...opened } = await openStoreIn(path.join(made, 'store'));
  ({ clusterId } = opened);
  await store.put('a', new Uint8Array(600_000), 0);
  const snapshot = await state.snapshot();
  await writeChunks(path.join(made, 'backup'), backupChunks(snapshot));
  snapshot.close();
  await store.put('b', bytes('later'), 0);
  await store.close();
});
afterAll(() => rmSync(made, { recursive: true, force: true }));
beforeEach(() => {
  data = mkdtempSync(path.join(memory, 'flotilla-killed-'));
  folder = path.join(data, 'store');
  cpSync(made, data, { recursive: true });
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

/** Where it was killed: at `failpoint`, or the test is none. */
async function killed(work: RestoreWork, failpoint: ArmedFailpoint): Promise<void> {
  expect(await run(work, failpoint)).toBe('SIGKILL');
}

function run(work: RestoreWork, failpoint: ArmedFailpoint | '' = ''): Promise<unknown> {
  const report = path.join(data, 'report');
  const env = { ...process.env, [failpointVariable]: failpoint, [reportVariable]: report };
  const child = spawn(process.execPath, [program, work, data, clusterId], {
    env,
    stdio: 'inherit',
  });
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
}

async function keys(directory = folder): Promise<readonly string[]> {
  const { store } = await openStoreIn(directory, {
    mustExist: true,
    wish: { type: 'restart', name: 'one', addresses: [] },
  });
  const { items } = await store.list('');
  await store.close();
  return items.map(({ key }) => key);
}

describe('a process that is killed', () => {
  it('while it takes a backup leaves nothing that is taken for one', async () => {
    for (const part of ['restore:part', 'restore:part*3'] as const) {
      await killed('back up', part);
      await expect(checkBackup(path.join(data, 'backup'))).rejects.toThrow(
        'is no backup, or its end',
      );
    }
  });

  for (const step of ['restore:part*2', 'restore:copied', 'restore:begun-anew'] as const)
    it(`at ${step} of a restore leaves no state, and the restore can be made again`, async () => {
      rmSync(folder, { recursive: true });
      await killed('restore', step);
      await expect(keys()).rejects.toThrow('restore it again');
      expect(await run('restore')).toBe(0);
      expect(await keys()).toEqual(['a']);
    });

  it('behind the last step of a restore leaves all of it', async () => {
    rmSync(folder, { recursive: true });
    await killed('restore', 'restore:in-place');
    expect(await keys()).toEqual(['a']);
  });

  const early = [
    'restore:part*2',
    'restore:copied',
    'restore:begun-anew',
    'restore:in-place',
  ] as const;
  for (const step of early)
    it(`at ${step} of a restore beside the store leaves the store`, async () => {
      await killed('stage', step);
      expect(finishRestore(folder, systemClock)).toBeUndefined();
      expect(await keys()).toEqual(['a', 'b']);
    });

  it('when the restored store waits: the next start goes on with it, also the one after a crash', async () => {
    await killed('stage', 'restore:staged');
    await killed('finish', 'restore:set-aside');
    expect(existsSync(folder)).toBe(false);
    finishRestore(folder, systemClock);
    expect(await keys()).toEqual(['a']);
  });

  const steps = [
    ['recover:copied', true],
    ['recover:begun-anew', true],
    ['recover:named', true],
    ['recover:set-aside', false],
    ['recover:in-place', false],
  ] as const;
  for (const [step, isOld] of steps)
    it(`at ${step} of a recovery leaves the ${isOld ? 'old' : 'new'} member, whole`, async () => {
      await makeOneOfTwo();
      await killed('recover', step);
      finishRecovery(folder);
      if (isOld) expect(await run('recover')).toBe(0);
      expect(await keys()).toEqual(['a', 'b']);
    });
});

describe('a process that is killed while it adopts a cluster', () => {
  const used = () => readdirSync(adopted()).filter((name) => !name.startsWith('lock'));
  const adopted = () => path.join(data, 'adopted');
  beforeEach(async () => {
    const file = path.join(data, 'home.age');
    await makeClusterBackup(path.join(data, 'laptop'), file, { a: 'kept', b: 'x'.repeat(300_000) });
  });

  for (const step of ['adopt:part*2', 'adopt:unpacked'] as const)
    it(`at ${step} leaves the directory without a cluster, and adopts it when it is asked again`, async () => {
      await killed('adopt', step);
      expect(used()).toEqual(['adoption.unfinished']);
      expect(await run('adopt')).toBe(0);
      expect(used().toSorted()).toEqual(['adopted.json', 'pki', 'store']);
      expect(await keys(path.join(adopted(), 'store'))).toEqual(['a', 'b']);
    });

  const late = [
    ['adopt:staged', 'adopt'],
    ['adopt:pki-in-place', 'start'],
    ['adopt:store-in-place', 'adopt'],
  ] as const;
  for (const [step, next] of late)
    it(`at ${step} goes on as the cluster by the next ${next}`, async () => {
      await killed('adopt', step);
      if (next === 'adopt') expect(await run('adopt')).toBe(0);
      else await finishAdoption(adopted(), systemClock);
      expect(used().toSorted()).toEqual(['adopted.json', 'pki', 'store']);
      expect(await keys(path.join(adopted(), 'store'))).toEqual(['a', 'b']);
      expect(readFileSync(path.join(adopted(), 'pki/ca.crt'))).toEqual(
        readFileSync(path.join(data, 'laptop/pki/ca.crt')),
      );
    });
});

/** Another voter, whom nobody ever heard of. */
async function makeOneOfTwo(): Promise<void> {
  const { replica, store } = await openStoreIn(folder);
  const self = { id: 7, role: 'voter', name: 'one', addresses: [] } as const;
  const members = [self, { ...self, id: 8, name: 'other' }];
  const changed = replica.changeMembership(encodeMembership({ members }));
  const refused = expect(changed).rejects.toThrow();
  await new Promise((resolve) => setImmediate(resolve));
  await store.close();
  await refused;
}
