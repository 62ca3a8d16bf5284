// The backup of the cluster against the real API server, with its own rights, into a folder, on a clock the test
// moves. What is backed up is played.
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BackupPassphrase, ClusterBackup } from '#kube/api/cluster-backup.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { clusterBackups, secrets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  backupBucketData,
  backupBucketName,
  backUpNowAnnotation,
  backupKeyName,
  singletonBackup,
} from '#kube/machinery/cluster-backup.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { openStream, sealStream } from '#platform/sealed-stream.ts';
import { backupPassphraseSetter } from '../../electron/controlplane/backup/backup-key.ts';
import { ClusterBackups } from '../../electron/controlplane/backup/cluster-backups.ts';
import { FakeS3, fakeKeys } from '../../electron/platform/object-store/testing/fake-s3.ts';
import { contentOf } from '../conformance/object-store.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const hourMs = 3_600_000;
const name = singletonBackup;

let sim: SimulatedControlPlane;
let client: RestClient;
let backups: ClusterBackups;
let folder: string;
let events: string[];
let state: string;
let opened: number;
let closed: number;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'flotilla-backups-'));
  state = 'the state';
  events = [];
  [opened, closed] = [0, 0];
  sim = await startControlPlane({
    withoutControllers: true,
    setBackupPassphrase: backupPassphraseSetter({
      client: () => client,
      clock: { ...silentClock(), now: () => sim.clock.now() },
      random: seededRandom(5),
      work: 4,
    }),
  });
  client = sim.clientAs('system:serviceaccount:kube-system:cluster-backup', [
    'system:serviceaccounts',
    'system:serviceaccounts:kube-system',
  ]);
  backups = new ClusterBackups(
    {
      client,
      openArchive: (key) => {
        opened++;
        const chunks = sealStream([Buffer.from(state)], key);
        return Promise.resolve({ manifest: {} as never, chunks, close: () => void closed++ });
      },
      nodeName: 'laptop',
      clock: sim.clock,
      logger: silentLogger,
    },
    { event: (_about, type, reason, message) => void events.push(`${type} ${reason}: ${message}`) },
  );
  await sim.client.create(clusterBackups, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'ClusterBackup',
    metadata: { name },
  });
});
afterEach(async () => {
  await sim.stop();
  await rm(folder, { recursive: true, force: true });
});

function silentClock() {
  return { now: () => 0, monotonicMs: () => 0, timer: () => ({ cancel: () => undefined }) };
}

function read(): Promise<ClusterBackup> {
  return sim.client.get(clusterBackups, { name });
}

async function patch(change: object): Promise<void> {
  await sim.client.patch(clusterBackups, { name }, change);
}

const toFolder = () => patch({ spec: { target: { folder: { path: folder } } } });

async function look(): Promise<number> {
  return (await backups.reconcile(new AbortController().signal)).requeueAfterMs;
}

async function protectedBy(): Promise<readonly (string | undefined)[]> {
  const condition = getCondition((await read()).status?.conditions, 'Protected');
  return [condition?.status, condition?.reason];
}

async function files(): Promise<readonly string[]> {
  const found = await readdir(folder, { recursive: true });
  return found
    .filter((one) => one.endsWith('.age'))
    .map((one) => path.basename(one))
    .toSorted();
}

async function setPassphrase(passphrase?: string) {
  return await sim.transport.request({
    method: 'POST',
    path: `/apis/flotilla.dev/v1alpha1/clusterbackups/${name}/passphrase`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'BackupPassphrase',
      spec: passphrase === undefined ? {} : { passphrase },
    }),
  });
}

async function madePassphrase(): Promise<string> {
  const { body } = await setPassphrase();
  const answer = JSON.parse(Buffer.from(body).toString()) as BackupPassphrase;
  return answer.status?.passphrase ?? '';
}

describe('the passphrase', () => {
  it('that is made is told once, and opens what is backed up from then on', async () => {
    const passphrase = await madePassphrase();
    expect(passphrase).toMatch(/^(\w{4}-){4}\w{4}$/);
    await toFolder();
    await look();
    const [file = ''] = await files();
    const [cluster = ''] = await readdir(folder).then((all) =>
      all.filter((one) => !one.startsWith('.')),
    );
    const sealed = await readFile(path.join(folder, cluster, file));
    expect(String(await contentOf(openStream([sealed], { passphrase })))).toBe('the state');
    const secret = await sim.client.get(secrets, { namespace: 'kube-system', name: backupKeyName });
    const stored = JSON.stringify([secret, await read()]);
    expect(stored).not.toContain(passphrase);
    expect(stored).not.toContain(Buffer.from(passphrase).toString('base64'));
  });

  it('that is typed is in no answer, and refused without being quoted when it can be guessed', async () => {
    const typed = await setPassphrase('my dog likes old bread');
    expect([typed.status, Buffer.from(typed.body).toString().includes('dog')]).toEqual([
      201,
      false,
    ]);
    const short = await setPassphrase('sesame');
    const text = Buffer.from(short.body).toString();
    expect([short.status, text.includes('sesame')]).toEqual([422, false]);
    expect(text).toContain('must have at least 14 characters');
  });

  it('can be another: what is backed up before keeps the one of then', async () => {
    const first = await madePassphrase();
    await toFolder();
    await look();
    const second = await madePassphrase();
    sim.clock.advance(25 * hourMs);
    await look();
    const [old = '', fresh = ''] = await files();
    const [cluster = ''] = await readdir(folder).then((all) =>
      all.filter((one) => !one.startsWith('.')),
    );
    const open = async (file: string, passphrase: string): Promise<string> =>
      String(
        await contentOf(
          openStream([await readFile(path.join(folder, cluster, file))], { passphrase }),
        ),
      );
    expect(await open(old, first)).toBe('the state');
    expect(await open(fresh, second)).toBe('the state');
    await expect(open(fresh, first)).rejects.toThrow('does not open with this passphrase');
  });
});

describe('a backup', () => {
  it('is not made before there are a passphrase and a place, and says which is missing', async () => {
    await look();
    expect(await protectedBy()).toEqual(['False', 'NoPassphrase']);
    await madePassphrase();
    await look();
    expect(await protectedBy()).toEqual(['False', 'NoTarget']);
    expect(opened).toBe(0);
  });

  it('is made at once, then each day, and not in between', async () => {
    await madePassphrase();
    await toFolder();
    await look();
    expect(await protectedBy()).toEqual(['True', 'BackedUp']);
    const { status } = await read();
    expect(status?.lastSuccess).toMatchObject({
      name: expect.stringMatching(/^cluster-.+\/cluster-\d+T\d+Z\.age$/),
      place: `the folder ${folder}`,
      nodeName: 'laptop',
    });
    expect([status?.runningSince, status?.keptCount]).toEqual([undefined, 1]);
    sim.clock.advance(23 * hourMs);
    await look();
    expect(await files()).toHaveLength(1);
    sim.clock.advance(hourMs);
    await look();
    expect(await files()).toHaveLength(2);
    expect([opened, closed]).toEqual([2, 2]);
    expect(events).toEqual([
      expect.stringContaining('Normal BackedUp'),
      expect.stringContaining('Normal BackedUp'),
    ]);
  });

  it('is made when it is asked for, once for each time', async () => {
    await madePassphrase();
    await toFolder();
    await look();
    await patch({ metadata: { annotations: { [backUpNowAnnotation]: 'one' } } });
    sim.clock.advance(1000);
    await look();
    await look();
    expect(await files()).toHaveLength(2);
    expect((await read()).status?.answeredRequest).toBe('one');
  });

  it('that can not be made says why, is tried again, and is young enough until it is not', async () => {
    await madePassphrase();
    await toFolder();
    await look();
    await rename(folder, `${folder}-unplugged`);
    sim.clock.advance(24 * hourMs);
    await look();
    const { status } = await read();
    expect(status?.lastFailure?.message).toContain('is its disk plugged in and mounted?');
    expect(await protectedBy()).toEqual(['True', 'BackedUp']);
    expect(await look()).toBeLessThanOrEqual(hourMs / 2);
    expect(events.at(-1)).toContain('Warning BackupFailed');
    sim.clock.advance(3 * 24 * hourMs);
    await look();
    expect(await protectedBy()).toEqual(['False', 'TooOld']);
    await rename(`${folder}-unplugged`, folder);
    sim.clock.advance(hourMs);
    await look();
    expect(await protectedBy()).toEqual(['True', 'BackedUp']);
    expect((await read()).status?.lastFailure).toBeUndefined();
  });

  it('that was asked for without a place is answered by why not', async () => {
    await madePassphrase();
    await patch({ metadata: { annotations: { [backUpNowAnnotation]: 'one' } } });
    await look();
    expect((await read()).status).toMatchObject({
      answeredRequest: 'one',
      lastFailure: { message: 'There is no place for backups: choose a folder first.' },
    });
  });

  it('goes to a bucket, whose keys lie in a Secret of their own', async () => {
    const server = new FakeS3('home');
    try {
      const endpoint = await server.listen();
      await madePassphrase();
      await patch({ spec: { target: { bucket: { endpoint, name: 'home' } } } });
      await look();
      const { status } = await read();
      expect(status?.lastFailure?.message).toBe(
        'The keys of the bucket home are missing: put access-key-id and secret-access-key into the Secret kube-system/cluster-backup-bucket.',
      );
      await sim.client.create(secrets, {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { namespace: 'kube-system', name: backupBucketName },
        stringData: {
          [backupBucketData.accessKeyId]: fakeKeys.accessKeyId,
          [backupBucketData.secretAccessKey]: fakeKeys.secretAccessKey,
        },
      });
      await patch({ metadata: { annotations: { [backUpNowAnnotation]: 'now' } } });
      await look();
      expect(await protectedBy()).toEqual(['True', 'BackedUp']);
      expect([...server.objects.keys()]).toEqual([(await read()).status?.lastSuccess?.name]);
    } finally {
      await server.close();
    }
  });

  it('lets old ones go, and nothing else in the folder', async () => {
    await madePassphrase();
    await patch({ spec: { keep: { last: 1, daily: 2, weekly: 0, monthly: 0 } } });
    await toFolder();
    await writeFile(path.join(folder, 'photos.age'), 'mine');
    for (let day = 0; day < 5; day++) {
      await look();
      sim.clock.advance(24 * hourMs);
    }
    expect(await files()).toHaveLength(3);
    expect(await readFile(path.join(folder, 'photos.age'), 'utf8')).toBe('mine');
    expect((await read()).status?.keptCount).toBe(2);
  });

  it('is not made while it is suspended, and its place has to be a whole path', async () => {
    await madePassphrase();
    await patch({ spec: { suspend: true } });
    await toFolder();
    await look();
    expect(await files()).toEqual([]);
    await expect(patch({ spec: { target: { folder: { path: 'backups' } } } })).rejects.toThrow(
      'must be the whole path of a folder',
    );
    await expect(patch({ spec: { everyHours: 0 } })).rejects.toThrow('must be from 1 to 744');
  });
});
