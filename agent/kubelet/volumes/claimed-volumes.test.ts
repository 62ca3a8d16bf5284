// Volumes behind claims, on a real folder and with mounts that are only written down.
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
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Container, Pod, PodSpec, Volume } from '#kube/api/core.ts';
import type { ClaimedVolume } from './claims/claim-source.ts';
import type { MountEntry } from './disks/mount-table.ts';
import type { Mounter, NetworkMount } from './disks/mounter.ts';
import { Volumes } from './volumes.ts';

let directory = '';
let mounted: MountEntry[] = [];
let asked: { mount: NetworkMount; credentials: string }[] = [];
let recorded: unknown[] = [];
let isSilent = false;
let expected: string[] = [];

function entry(mountPoint: string, fsType: string): MountEntry {
  return { mountPoint, device: '8:1', fsType, source: 'x' };
}

const mounter: Mounter = {
  mounts: async () => mounted,
  mountTmpfs: async (path) => void mounted.push(entry(path, 'tmpfs')),
  async mountNetwork(path, mount) {
    const file = /credentials=(.*)/.exec(mount.options.join())?.[1];
    const mode = file === undefined ? '' : (statSync(file).mode & 0o777).toString(8);
    const credentials = file === undefined ? '' : `${mode} ${readFileSync(file, 'utf8')}`;
    asked.push({ mount, credentials });
    mounted.push(entry(path, mount.fsType));
  },
  bindFile: async (_fd, path) => void mounted.push(entry(path, 'bind')),
  unmount: async (path) => void (mounted = mounted.filter((one) => one.mountPoint !== path)),
  async checkAnswers() {
    if (isSilent) throw new Error('stat: no answer within 10000 ms');
  },
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-claimed-'));
  mkdirSync(join(directory, 'pods'));
  mkdirSync(join(directory, 'disk/data'), { recursive: true });
  [mounted, asked, recorded, isSilent, expected] = [[], [], [], false, []];
});
afterEach(() => rmSync(directory, { recursive: true }));

function volumesFor(isRoot = true): Volumes {
  return new Volumes({
    rootDirectory: join(directory, 'pods'),
    mounter,
    isRoot,
    machine: async () => ({
      nodeName: 'pi-1',
      mounts: mounted,
      expectedMountPoints: expected,
      uuids: new Map([['8:1', 'aaaa']]),
    }),
    recordDisk: async (...disk) => void recorded.push(disk),
  });
}

const volume: Volume = { name: 'v', persistentVolumeClaim: { claimName: 'c' } };

function input(claimed: ClaimedVolume, spec: Partial<PodSpec> = {}) {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'uid-1' },
    spec: { containers: [], volumes: [volume], ...spec },
  };
  return {
    pod,
    objects: {
      configMap: () => undefined,
      secret: () => undefined,
      token: () => undefined,
      claimed: new Map([['v', claimed]]),
    },
    addresses: { podIps: [], nodeIps: [] },
    allocatable: {},
  };
}

const local = (more: Partial<ClaimedVolume> = {}): ClaimedVolume =>
  ({
    kind: 'host',
    name: 'pvc-1',
    path: join(directory, 'disk/data'),
    isReadOnly: false,
    isOfOneNode: true,
    ...more,
  }) as ClaimedVolume;
const container = (more: object = {}): Container => ({
  name: 'main',
  volumeMounts: [{ name: 'v', mountPath: '/data', ...more }],
});
const podDirectory = (...parts: string[]) => join(directory, 'pods/uid-1', ...parts);

describe('a local volume', () => {
  it('is mounted where it lies, and its disk is written down', async () => {
    mounted.push(entry(join(directory, 'disk'), 'ext4'));
    const volumes = volumesFor();
    await volumes.setUp(input(local()));
    const [mount] = await volumes.mounts(input(local()).pod, container(), new Map());
    expect([mount?.hostPath, mount?.readOnly, recorded]).toEqual([
      join(directory, 'disk/data'),
      false,
      [['pvc-1', { mountPoint: join(directory, 'disk'), fsType: 'ext4', uuid: 'aaaa' }]],
    ]);
  });

  it('that is on every machine has another disk on each', async () => {
    mounted.push(entry(join(directory, 'disk'), 'ext4'));
    await volumesFor().setUp(input(local({ isOfOneNode: false })));
    expect(recorded).toEqual([]);
  });

  it('is given to fsGroup also where its path is a link', async () => {
    const fsGroup = process.getgid?.() ?? 0;
    symlinkSync(join(directory, 'disk/data'), join(directory, 'link'));
    const file = join(directory, 'disk/data/file');
    writeFileSync(file, 'x', { mode: 0o600 });
    const given = input(local({ path: join(directory, 'link') }), { securityContext: { fsGroup } });
    await volumesFor().setUp(given);
    expect((statSync(file).mode & 0o777).toString(8)).toBe('660');
  });

  it('behind a link does not hide that its disk is missing', async () => {
    symlinkSync(join(directory, 'disk'), join(directory, 'ssd'));
    expected = [join(directory, 'disk')];
    const path = join(directory, 'ssd/app');
    const given = input(local({ path, type: 'DirectoryOrCreate' }));
    await expect(volumesFor().setUp(given)).rejects.toThrow('is not connected');
    expect(existsSync(join(directory, 'disk/app'))).toBe(false);
  });

  it('does not start without its disk, and does when it is back', async () => {
    const disk = { mountPoint: join(directory, 'disk'), fsType: 'ext4', uuid: 'aaaa' };
    const volumes = volumesFor();
    await expect(volumes.setUp(input(local({ disk })))).rejects.toThrow(
      `MountVolume.SetUp failed for volume "pvc-1" : the disk aaaa (ext4) of ${disk.mountPoint} is not connected to pi-1, or not mounted there`,
    );
    mounted.push(entry(disk.mountPoint, 'ext4'));
    await volumes.setUp(input(local({ disk })));
    expect(recorded).toEqual([]);
  });

  it('is never made again', async () => {
    const gone = join(directory, 'disk/gone');
    await expect(volumesFor().setUp(input(local({ path: gone })))).rejects.toThrow(
      `directory ${gone} is missing`,
    );
  });

  it('is given to fsGroup once for each pod', async () => {
    const fsGroup = process.getgid?.() ?? 0;
    const file = join(directory, 'disk/data/file');
    const modeOf = () => (statSync(file).mode & 0o777).toString(8);
    writeFileSync(file, 'x', { mode: 0o600 });
    const given = input(local(), { securityContext: { fsGroup } });
    await volumesFor().setUp(given);
    const first = modeOf();
    writeFileSync(file, 'y');
    rmSync(file);
    writeFileSync(file, 'x', { mode: 0o600 });
    await volumesFor().setUp(given);
    expect([first, modeOf()]).toEqual(['660', '600']);
  });

  it('shows a part of it at a place where no link can be put', async () => {
    const volumes = volumesFor();
    const given = input(local());
    await volumes.setUp(given);
    const [mount] = await volumes.mounts(given.pod, container({ subPath: 'a/b' }), new Map());
    expect([mount?.hostPath, statSync(join(directory, 'disk/data/a/b')).isDirectory()]).toEqual([
      podDirectory('subpaths/main/0'),
      true,
    ]);
    symlinkSync('/etc', join(directory, 'disk/data/link'));
    const leading = volumes.mounts(given.pod, container({ subPath: 'link' }), new Map());
    await expect(leading).rejects.toThrow('leads out of its volume');
  });
});

const share = (more: object = {}): ClaimedVolume => ({
  kind: 'network',
  name: 'nas',
  isReadOnly: false,
  source: { fsType: 'cifs', source: '//nas/x', options: ['vers=3.0'], ...more },
});

describe('a share of the network', () => {
  it('is mounted once, with its password in a file of root’s own that is gone after', async () => {
    const volumes = volumesFor();
    const given = input(share({ credentials: 'username=a\npassword=b\n' }));
    await volumes.setUp(given);
    await volumes.setUp(given);
    const file = `${podDirectory('mounts/v')}.credentials`;
    expect(asked).toEqual([
      {
        mount: {
          fsType: 'cifs',
          source: '//nas/x',
          options: ['vers=3.0', `credentials=${file}`],
        },
        credentials: '600 username=a\npassword=b\n',
      },
    ]);
    expect(() => statSync(file)).toThrow('ENOENT');
    const [mount] = await volumes.mounts(given.pod, container(), new Map());
    expect(mount?.hostPath).toBe(podDirectory('mounts/v'));
  });

  it('is adopted by an agent that was started again, and unmounted with the pod', async () => {
    await volumesFor().setUp(input(share()));
    const again = volumesFor();
    await again.setUp(input(share()));
    expect([asked.length, mounted.length]).toEqual([1, 1]);
    await again.tearDown('uid-1');
    expect([mounted, await again.podUids()]).toEqual([[], []]);
  });

  it('that does not answer holds the pod up, with a reason', async () => {
    const volumes = volumesFor();
    await volumes.setUp(input(share()));
    isSilent = true;
    await expect(volumes.setUp(input(share()))).rejects.toThrow('no answer within 10000 ms');
  });

  it('keeps its files whatever happens to the mount', async () => {
    const volumes = volumesFor();
    await volumes.setUp(input(share()));
    const file = podDirectory('mounts/v/precious');
    // As if it were still mounted, and nobody said so.
    writeFileSync(file, 'x');
    await expect(volumes.tearDown('uid-1')).rejects.toThrow('ENOTEMPTY');
    expect(readFileSync(file, 'utf8')).toBe('x');
  });

  it('needs root', async () => {
    await expect(volumesFor(false).setUp(input(share()))).rejects.toThrow(
      'mounting //nas/x needs the agent to run as root',
    );
  });
});
