import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConfigMap, Container, Pod, Secret, Volume } from '#kube/api/core.ts';
import { volumePayload, type PayloadInput } from './payload.ts';
import { referencedObjects, type PodObjects } from './object-source.ts';
import type { Machine } from './disks/disk.ts';
import type { Mounter } from './disks/mounter.ts';
import { Volumes } from './volumes.ts';

let directory = '';
/** `fsType [size or source] options`, by path. */
let mounted = new Map<string, string>();
let answers = true;
const entries = () =>
  [...mounted].map(([mountPoint, what]) => ({
    mountPoint,
    device: '0:1',
    fsType: what.split(' ')[0] ?? '',
    source: 'x',
  }));
const mounter: Mounter = {
  mounts: async () => entries(),
  mountTmpfs: async (path, size) => void mounted.set(path, `tmpfs ${size ?? ''}`),
  mountNetwork: async (path, { fsType, source, options }) =>
    void mounted.set(path, `${fsType} ${source} ${options.join(',')}`),
  bindFile: async (_fd, path) => void mounted.set(path, 'bind'),
  unmount: async (path) => void mounted.delete(path),
  checkAnswers: async () => {
    if (!answers) throw new Error('no answer');
  },
};
let recorded: unknown[] = [];
let machine: Partial<Machine> = {};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-volumes-'));
  mounted = new Map();
  answers = true;
  recorded = [];
  machine = {};
});
afterEach(() => rmSync(directory, { recursive: true }));

function volumesFor(isRoot = true): Volumes {
  return new Volumes({
    rootDirectory: directory,
    mounter,
    isRoot,
    machine: async () => ({
      nodeName: 'pi-1',
      mounts: entries(),
      expectedMountPoints: [],
      uuids: new Map(),
      ...machine,
    }),
    recordDisk: async (...disk) => void recorded.push(disk),
  });
}

function input(volumes: Volume[], objects: Partial<PodObjects> = {}): PayloadInput {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'uid-1', labels: { app: 'web' } },
    spec: { containers: [], volumes },
  };
  return {
    pod,
    objects: {
      configMap: () => undefined,
      secret: () => undefined,
      token: () => undefined,
      ...objects,
    },
    addresses: { podIps: [], nodeIps: [] },
    allocatable: {},
  };
}

function configMap(data: Record<string, string>): PodObjects['configMap'] {
  const object: ConfigMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, data };
  return (name) => (name === 'm' ? object : undefined);
}

const path = (...parts: string[]) => join(directory, 'uid-1', 'volumes', ...parts);
const read = (...parts: string[]) => readFileSync(path(...parts), 'utf8');

describe('a volume on a disk that is full', () => {
  it('is told so, with the words that people search for, and what to do', async () => {
    const volumes = volumesFor();
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
    });
    vi.spyOn(mounter, 'mountTmpfs').mockRejectedValueOnce(full);
    const memory = { name: 'cache', emptyDir: { medium: 'Memory' } };
    await expect(volumes.setUp(input([memory]))).rejects.toThrow(
      `MountVolume.SetUp failed for volume "cache" : no space left on device: the disk that holds ${directory} is full, free some space on it`,
    );
  });
});

describe('a configMap volume', () => {
  const volume: Volume = { name: 'v', configMap: { name: 'm' } };

  it('shows each key as a file, and is replaced as a whole when the object changes', async () => {
    const volumes = volumesFor();
    await volumes.setUp(input([volume], { configMap: configMap({ a: '1', b: '2' }) }));
    expect([read('v', 'a'), read('v', 'b')]).toEqual(['1', '2']);
    const first = readlinkSync(path('v', '..data'));
    await volumes.setUp(input([volume], { configMap: configMap({ a: '3', c: '4' }) }));
    expect(readdirSync(path('v')).filter((name) => !name.startsWith('..'))).toEqual(['a', 'c']);
    expect([read('v', 'a'), read('v', 'c')]).toEqual(['3', '4']);
    expect(readdirSync(path('v'))).not.toContain(first);
  });

  it('is left alone when nothing changed', async () => {
    const volumes = volumesFor();
    const same = input([volume], { configMap: configMap({ a: '1' }) });
    await volumes.setUp(same);
    const before = readlinkSync(path('v', '..data'));
    await volumes.setUp(same);
    expect(readlinkSync(path('v', '..data'))).toBe(before);
  });

  it('puts chosen keys at chosen paths with their modes', async () => {
    const items = [{ key: 'a', path: 'deep/er/x', mode: 0o400 }];
    const chosen: Volume = { name: 'v', configMap: { name: 'm', items, defaultMode: 0o640 } };
    await volumesFor().setUp(input([chosen], { configMap: configMap({ a: '1', b: '2' }) }));
    expect(read('v', 'deep', 'er', 'x')).toBe('1');
    expect(statSync(path('v', 'deep/er/x')).mode & 0o777).toBe(0o400);
    expect(readdirSync(path('v'))).not.toContain('b');
  });

  const errors = [
    {
      name: 'the object is missing',
      volume: { name: 'v', configMap: { name: 'no' } },
      want: 'MountVolume.SetUp failed for volume "v" : configmap "no" not found',
    },
    {
      name: 'a key is missing',
      volume: { name: 'v', configMap: { name: 'm', items: [{ key: 'k', path: 'k' }] } },
      want: 'configmap ns/m references non-existent config key: k',
    },
    {
      name: 'a path leads out',
      volume: { name: 'v', configMap: { name: 'm', items: [{ key: 'a', path: '../x' }] } },
      want: "must be relative and not contain '..'",
    },
    {
      name: 'the sort is not supported',
      volume: { name: 'v', iscsi: { iqn: 'i', lun: 0, targetPortal: 't' } },
      want: 'volume type iscsi is not supported',
    },
  ];
  it.each(errors)('fails with a reason when $name', async ({ volume: bad, want }) => {
    const setUp = volumesFor().setUp(input([bad], { configMap: configMap({ a: '1' }) }));
    await expect(setUp).rejects.toThrow(want);
  });

  it('may be missing when it is optional', async () => {
    await volumesFor().setUp(input([{ name: 'v', configMap: { name: 'no', optional: true } }]));
    expect(readdirSync(path('v')).filter((name) => !name.startsWith('..'))).toEqual([]);
  });
});

describe('a service-account token', () => {
  const token = {
    name: 'v',
    projected: {
      sources: [{ serviceAccountToken: { path: 'token' } }],
      defaultMode: 0o444,
    },
  };
  const pod = (users: readonly (number | undefined)[], ofPod: object = {}): PayloadInput => {
    const given = input([token], { token: () => 'secret' });
    const containers = users.map((runAsUser, index) => ({
      name: `c${index}`,
      ...(runAsUser !== undefined && { securityContext: { runAsUser } }),
    }));
    const spec = { ...given.pod.spec, containers, securityContext: ofPod };
    return { ...given, pod: { ...given.pod, spec } };
  };
  const access = (given: PayloadInput, canGiveAway = true) => {
    const { mode, userId } = volumePayload(given, token, { canGiveAway })?.get('token') ?? {};
    return [mode?.toString(8), userId];
  };

  it.each([
    ['for all when nobody says who runs', pod([undefined]), ['444', undefined]],
    ['for the one user of all containers', pod([7, 7]), ['600', 7]],
    ['for the one user of the pod', pod([undefined, undefined], { runAsUser: 7 }), ['600', 7]],
    ['for all when users differ', pod([7, 8]), ['444', undefined]],
    ['for the group when there is one', pod([undefined], { fsGroup: 5 }), ['600', undefined]],
  ])('is %s', (_, given, want) => {
    expect(access(given)).toEqual(want);
  });

  it('stays readable where files can not be given away', () => {
    expect(access(pod([7]), false)).toEqual(['444', undefined]);
  });

  it('lies in memory, unless an older agent has put it on the disk', async () => {
    await volumesFor().setUp(pod([undefined]));
    expect([...mounted.keys()]).toEqual([path('v')]);
    mounted.clear();
    await volumesFor().setUp(pod([undefined]));
    expect([[...mounted.keys()], read('v', 'token')]).toEqual([[], 'secret']);
  });
});

it('a projected volume gathers several sources', async () => {
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 's' },
    data: { pw: Buffer.from('geheim').toString('base64') },
  };
  const sources = [
    { configMap: { name: 'm' } },
    { secret: { name: 's' } },
    { downwardAPI: { items: [{ path: 'l', fieldRef: { fieldPath: 'metadata.labels' } }] } },
  ];
  const objects = { configMap: configMap({ a: '1' }), secret: () => secret };
  await volumesFor().setUp(input([{ name: 'v', projected: { sources } }], objects));
  expect([read('v', 'a'), read('v', 'pw'), read('v', 'l')]).toEqual(['1', 'geheim', 'app="web"']);
});

describe('an emptyDir', () => {
  it('is open to every user and keeps what is in it', async () => {
    const volumes = volumesFor();
    await volumes.setUp(input([{ name: 'v', emptyDir: {} }]));
    writeFileSync(path('v', 'x'), '1');
    await volumes.setUp(input([{ name: 'v', emptyDir: {} }]));
    expect(read('v', 'x')).toBe('1');
    expect(statSync(path('v')).mode & 0o777).toBe(0o777);
  });

  it('in memory is a tmpfs of its size, and says what it needs without root', async () => {
    const memory: Volume = { name: 'v', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } };
    await volumesFor().setUp(input([memory]));
    expect([...mounted]).toEqual([[path('v'), 'tmpfs 1048576']]);
    await expect(volumesFor(false).setUp(input([memory]))).rejects.toThrow('run as root');
  });
});

describe('a hostPath', () => {
  const cases = [
    { type: 'Directory', make: 'directory', want: undefined },
    { type: 'Directory', make: 'file', want: 'is not a directory' },
    { type: 'Directory', make: 'nothing', want: 'is not a directory' },
    { type: 'DirectoryOrCreate', make: 'nothing', want: undefined },
    { type: 'File', make: 'directory', want: 'is not a file' },
    { type: 'FileOrCreate', make: 'nothing', want: undefined },
    { type: 'Socket', make: 'file', want: 'is not a socket file' },
    { type: '', make: 'nothing', want: undefined },
  ];
  it.each(cases)('of type "$type" on $make: $want', async ({ type, make, want }) => {
    const host = join(directory, 'host');
    if (make === 'directory') mkdirSync(host);
    if (make === 'file') writeFileSync(host, '');
    const setUp = volumesFor().setUp(input([{ name: 'v', hostPath: { path: host, type } }]));
    if (want === undefined) await expect(setUp).resolves.toBeUndefined();
    else await expect(setUp).rejects.toThrow(want);
  });
});

describe('mounts', () => {
  const container = (mount: object): Container => ({
    name: 'a',
    volumeMounts: [{ name: 'v', mountPath: '/m', ...mount }],
  });
  const empty = input([{ name: 'v', emptyDir: {} }]);

  it('show a sub-path, made when it is missing', async () => {
    const volumes = volumesFor(false);
    await volumes.setUp(empty);
    const environment = new Map([['WHO', 'me']]);
    const mounts = await volumes.mounts(
      empty.pod,
      container({ subPathExpr: 'x/$(WHO)' }),
      environment,
    );
    expect(mounts[0]?.hostPath).toBe(path('v', 'x', 'me'));
    expect(statSync(path('v', 'x', 'me')).isDirectory()).toBe(true);
  });

  const outside = ['../x', '/etc', 'link', 'link/new'];
  it.each(outside)('never lead out of their volume: %s', async (subPath) => {
    const volumes = volumesFor();
    await volumes.setUp(empty);
    mkdirSync(join(directory, 'elsewhere'));
    symlinkSync(join(directory, 'elsewhere'), path('v', 'link'));
    const mounts = volumes.mounts(empty.pod, container({ subPath }), new Map());
    await expect(mounts).rejects.toThrow(/subPath/);
    expect(readdirSync(join(directory, 'elsewhere'))).toEqual([]);
  });

  it('of objects are read-only', async () => {
    const given = input([{ name: 'v', configMap: { name: 'm' } }], { configMap: configMap({}) });
    const [mount] = await volumesFor().mounts(given.pod, container({}), new Map());
    expect(mount?.readOnly).toBe(true);
  });
});

it('everything of a pod is removed with it, mounts first', async () => {
  const volumes = volumesFor();
  await volumes.setUp(
    input([
      { name: 'v', emptyDir: {} },
      { name: 's', emptyDir: { medium: 'Memory' } },
    ]),
  );
  await volumes.terminationMessageFile('uid-1', 'a', 0);
  expect(await volumes.podUids()).toEqual(['uid-1']);
  await volumes.tearDown('uid-1');
  await volumes.tearDown('uid-1');
  expect([mounted.size, await volumes.podUids()]).toEqual([0, []]);
});

it('finds every object that a pod names', () => {
  const { pod } = input([
    { name: 'a', configMap: { name: 'c1' } },
    { name: 'b', secret: { secretName: 's1' } },
    {
      name: 'c',
      projected: { sources: [{ secret: { name: 's2' } }, { configMap: { name: 'c2' } }] },
    },
  ]);
  const env = [
    { name: 'X', valueFrom: { secretKeyRef: { name: 's3', key: 'k' } } },
    { name: 'Y', valueFrom: { configMapKeyRef: { name: 'c3', key: 'k' } } },
  ];
  const containers = [{ name: 'a', env, envFrom: [{ configMapRef: { name: 'c4' } }] }];
  const spec = { ...pod.spec, containers, imagePullSecrets: [{ name: 's4' }] };
  const found = referencedObjects({ ...pod, spec });
  expect([[...found.configMaps].sort(), [...found.secrets].sort()]).toEqual([
    ['c1', 'c2', 'c3', 'c4'],
    ['s1', 's2', 's3', 's4'],
  ]);
});
