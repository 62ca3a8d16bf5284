// Directories of volumes: made once, removed when it was said so, and nothing else ever.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PersistentVolume } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { Informer } from '#kube/client/informer.ts';
import { persistentVolumes } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { diskAnnotation, localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { MemoryApi } from '../../../../electron/controlplane/controllers/testing/memory-api.ts';
import type { MountEntry } from '../disks/mount-table.ts';
import { LocalVolumes } from './local-volumes.ts';

const name = 'pvc-11111111-2222-3333-4444-555555555555';
let directory = '';
let clock: ManualClock;
let api: MemoryApi;
let client: RestClient;
let events: string[] = [];
let used: string[] = [];
let asked = 0;
let mounts: MountEntry[] = [];
let stop: AbortController;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-local-'));
  clock = new ManualClock();
  api = new MemoryApi(clock, [persistentVolumes]);
  client = new RestClient({ transport: api, clock, random: seededRandom(1) });
  [events, used, mounts, asked] = [[], [], [], 0];
  stop = new AbortController();
  run();
});
afterEach(() => {
  stop.abort();
  rmSync(directory, { recursive: true });
});

function run(): void {
  const deps = { client, clock, random: seededRandom(1), logger: silentLogger };
  const volumes = new Informer<PersistentVolume>(deps, { resource: persistentVolumes });
  // What of an earlier test still ends tells nobody here.
  const told = events;
  const local = new LocalVolumes({
    client,
    volumes,
    folder: join(directory, 'own'),
    machine: async () => ({ nodeName: 'pi-1', mounts, expectedMountPoints: [], uuids: new Map() }),
    copier: { want: () => {}, stop: async () => {} },
    share: { forget: async () => {} },
    isUsed(volumeName) {
      asked++;
      return used.includes(volumeName);
    },
    events: { event: (_about, _type, reason, text) => void told.push(`${reason}: ${text}`) },
    clock,
    logger: silentLogger,
  });
  volumes.start(stop.signal);
  void local.run(stop.signal);
}

const pathOf = (folder = 'own') => join(directory, folder, `${name}_default_data`);

async function provide(more: Partial<PersistentVolume['spec']> = {}): Promise<void> {
  await client.create(persistentVolumes, {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name,
      finalizers: [localPath.finalizer],
      annotations: { [volumeAnnotations.provisionedBy]: localPath.provisioner },
    },
    spec: { local: { path: pathOf() }, persistentVolumeReclaimPolicy: 'Delete', ...more },
  });
}

const find = () => api.list(persistentVolumes)[0];
const isMade = () => find()?.metadata.annotations?.[localPath.madeAnnotation] !== undefined;

/** The file system answers when it likes; retries come due meanwhile. */
async function until(isTrue: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000 && !isTrue(); turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    clock.advance(100);
  }
  expect(isTrue()).toBe(true);
}

/** Whatever was to happen has. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    clock.advance(100);
  }
}

async function made(more: Partial<PersistentVolume['spec']> = {}): Promise<void> {
  await provide(more);
  await until(isMade);
}

const remove = () => client.delete(persistentVolumes, { name });

describe('the directory of a volume', () => {
  it('is made for everybody to write to, and its volume told', async () => {
    await made();
    expect((statSync(pathOf()).mode & 0o777).toString(8)).toBe('777');
  });

  it('is made once: one that is gone stays gone', async () => {
    await made();
    rmSync(pathOf(), { recursive: true });
    await client.patch(persistentVolumes, { name }, { metadata: { labels: { a: 'b' } } });
    stop.abort();
    stop = new AbortController();
    run();
    await until(() => find()?.metadata.labels?.['a'] === 'b');
    for (let turn = 0; turn < 20; turn++)
      await new Promise<void>((resolve) => setImmediate(resolve));
    expect(existsSync(pathOf())).toBe(false);
  });

  it('is not made in a folder that is not there, but when it comes', async () => {
    await provide({ local: { path: pathOf('disk') } });
    await until(() => events.length > 0);
    expect(events[0]).toContain(
      `ProvisioningFailed: the folder ${dirname(pathOf('disk'))} is not there on pi-1: connect its disk, or make the folder`,
    );
    mkdirSync(dirname(pathOf('disk')));
    await until(isMade);
    expect(existsSync(pathOf('disk'))).toBe(true);
  });

  it('goes with its volume when the policy says Delete', async () => {
    await made();
    writeFileSync(join(pathOf(), 'file'), 'x');
    await remove();
    await until(() => find() === undefined);
    expect(existsSync(pathOf())).toBe(false);
  });

  it('stays when the policy says Retain', async () => {
    await made({ persistentVolumeReclaimPolicy: 'Retain' });
    writeFileSync(join(pathOf(), 'file'), 'x');
    await remove();
    await until(() => find() === undefined);
    expect(readFileSync(join(pathOf(), 'file'), 'utf8')).toBe('x');
  });

  it('stays while a claim has it', async () => {
    await made();
    const claimed = [localPath.finalizer, 'kubernetes.io/pv-protection'];
    await client.patch(persistentVolumes, { name }, { metadata: { finalizers: claimed } });
    await remove();
    await settled();
    expect(existsSync(pathOf())).toBe(true);
    const free = { metadata: { finalizers: [localPath.finalizer] } };
    await client.patch(persistentVolumes, { name }, free);
    await until(() => find() === undefined);
    expect(existsSync(pathOf())).toBe(false);
  });

  it('stays when something is mounted in it', async () => {
    await made();
    const within = join(pathOf(), 'disk');
    mounts.push({ mountPoint: within, device: '8:1', fsType: 'ext4', source: '/dev/sda1' });
    await remove();
    const why = `VolumeFailedDelete: something is mounted at ${within}: unmount it`;
    await until(() => events.includes(why));
    expect(existsSync(pathOf())).toBe(true);
  });

  it('stays while a pod here has it', async () => {
    await made();
    used.push(name);
    await remove();
    await until(() => asked >= 2);
    expect(existsSync(pathOf())).toBe(true);
    used = [];
    await until(() => find() === undefined);
    expect(existsSync(pathOf())).toBe(false);
  });

  it('stays when its disk is not there, and a link in its place is not followed', async () => {
    await made();
    const outside = join(directory, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'precious'), 'x');
    rmSync(pathOf(), { recursive: true });
    symlinkSync(outside, pathOf());
    await remove();
    await until(() => events.includes(`VolumeFailedDelete: ${pathOf()} is not a directory`));
    expect([existsSync(join(outside, 'precious')), find() === undefined]).toEqual([true, false]);
    const disk = { mountPoint: join(directory, 'own'), fsType: 'ext4' };
    const annotations = { [diskAnnotation]: JSON.stringify(disk) };
    await client.patch(persistentVolumes, { name }, { metadata: { annotations } });
    const why = `VolumeFailedDelete: the disk (ext4) of ${disk.mountPoint} is not connected to pi-1, or not mounted there`;
    await until(() => events.includes(why));
  });

  it('is of the name of its volume, or nothing is touched', async () => {
    const other = join(directory, 'own/other');
    mkdirSync(other, { recursive: true });
    await provide({ local: { path: other } });
    await until(() => events.length > 0);
    await remove();
    await until(() => events.some((event) => event.startsWith('VolumeFailedDelete')));
    const why = `${JSON.stringify(other)} is not a path for volume ${name}`;
    expect([[...new Set(events)], existsSync(other)]).toEqual([
      [`ProvisioningFailed: ${why}`, `VolumeFailedDelete: ${why}`],
      true,
    ]);
  });
});
