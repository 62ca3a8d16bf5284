import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { containerConfig } from '../../../test/conformance/runtime.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { RuntimeError, type RuntimeErrorKind } from '../../runtime/runtime.ts';
import { ImageCollector } from './image-collector.ts';
import { bytesToFree, removalOrder, type DiskSpace } from './image-garbage.ts';

const gib = 1024 ** 3;

describe('how much images have to give up', () => {
  const disks: { name: string; disk: DiskSpace; want: number }[] = [
    { name: 'nothing of a card with room', disk: disk(32, 5), want: 0 },
    { name: 'up to a fifth of a small card', disk: disk(32, 4), want: 2.4 * gib },
    { name: 'nothing of a big disk with 11 GiB', disk: disk(4000, 11), want: 0 },
    { name: 'up to 15 GiB of a big disk', disk: disk(4000, 9), want: 6 * gib },
  ];
  it.each(disks)('is $name', (row) => {
    expect(bytesToFree(row.disk)).toBeCloseTo(row.want, -1);
  });
});

function disk(size: number, available: number): DiskSpace {
  return { sizeBytes: size * gib, availableBytes: available * gib };
}

let clock: ManualClock;
let runtime: FakeRuntime;
let wanted: Set<string>;
let told: string[];
/** What each removed image gives back is up to the disk; here one each. */
let full: boolean;
let availableGib: () => Promise<number>;
let inodes: Pick<DiskSpace, 'inodes'>;
let collector: ImageCollector;

beforeEach(() => {
  clock = new ManualClock();
  runtime = new FakeRuntime(clock);
  wanted = new Set();
  told = [];
  full = true;
  inodes = {};
  availableGib = async () => (full ? 1 : 30);
  collector = new ImageCollector({
    runtime,
    events: {
      event: (_about, type, reason, message) => told.push(`${type} ${reason}: ${message}`),
    },
    clock,
    logger: silentLogger,
    node: { kind: 'Node', name: 'pi', uid: 'pi' },
    diskSpace: async () => ({ ...disk(32, await availableGib()), ...inodes }),
    isInRegistry: (id) => id === 'sha256:from-a-machine:1',
    wanted: () => wanted,
  });
});

async function left(): Promise<string[]> {
  return (await runtime.listImages()).flatMap(({ names }) => names).sort();
}

async function lookLater(): Promise<void> {
  clock.advance(300_000);
  await collector.collect();
}

describe('a disk that fills up', () => {
  it('loses no image that was made here, is used, or that a pod asks for', async () => {
    runtime.addImage('made-here:1');
    for (const name of ['running:1', 'asked-for:1', 'unused:1'])
      runtime.addImage(name, { isPulled: true });
    // Under another of its names.
    runtime.addImage('asked-for', { id: 'sha256:asked-for:1', isPulled: true });
    wanted.add('asked-for');
    const pod = { uid: 'u', name: 'p', namespace: 'default' };
    await runtime.createContainer(containerConfig(pod, '', { image: 'running:1' }));
    await collector.collect();
    await lookLater();
    expect(await left()).toEqual(['asked-for', 'asked-for:1', 'made-here:1', 'running:1']);
  });

  it('loses what is unused although a pod asks for what is no name of an image', async () => {
    const { imageStatus } = runtime;
    runtime.imageStatus = async (name) => {
      if (name.includes(' ')) throw new Error('Request path contains unescaped characters');
      return imageStatus.call(runtime, name);
    };
    runtime.addImage('unused:1', { isPulled: true });
    wanted.add('Bad Image:::');
    await collector.collect();
    await lookLater();
    expect(await left()).toEqual([]);
  });

  it('loses an image that came from another machine, which its registry has', async () => {
    runtime.addImage('from-a-machine:1');
    runtime.addImage('made-here:1');
    await collector.collect();
    await lookLater();
    expect(await left()).toEqual(['made-here:1']);
  });

  it('gives an image two minutes before it counts as unused', async () => {
    runtime.addImage('just-pulled:1', { isPulled: true });
    await collector.collect();
    clock.advance(119_000);
    await collector.collect();
    expect(await left()).toEqual(['just-pulled:1']);
    clock.advance(1_000);
    await collector.collect();
    expect(await left()).toEqual([]);
  });

  it('goes on with the next when a container of somebody else is made of one', async () => {
    runtime.addImage('a:1', { isPulled: true });
    runtime.addImage('b:1', { isPulled: true });
    await collector.collect();
    const pod = { uid: 'other', name: 'p', namespace: 'default' };
    const id = await runtime.createContainer(containerConfig(pod, '', { image: 'a:1' }));
    runtime.listPods = async () => [];
    await lookLater();
    expect(await left()).toEqual(['a:1']);
    await runtime.removeContainer(id);
    await lookLater();
    expect(await left()).toEqual([]);
  });

  it('stops removing when there is room', async () => {
    for (const name of ['a:1', 'b:1', 'c:1']) runtime.addImage(name, { isPulled: true });
    await collector.collect();
    const remove = runtime.removeImage.bind(runtime);
    runtime.removeImage = async (image) => {
      await remove(image);
      full = (await left()).length > 1;
    };
    await lookLater();
    expect(await left()).toEqual(['c:1']);
    expect(told.slice(1)).toEqual([]);
  });

  it('makes room for files, too, and no more of it than that takes', async () => {
    full = false;
    for (const name of ['a:1', 'b:1', 'c:1']) runtime.addImage(name, { isPulled: true });
    await collector.collect();
    inodes = { inodes: { total: 20_000, available: 900 } };
    const remove = runtime.removeImage.bind(runtime);
    runtime.removeImage = async (image) => {
      await remove(image);
      inodes = { inodes: { total: 20_000, available: 1_000 } };
    };
    await lookLater();
    expect(await left()).toEqual(['b:1', 'c:1']);
    expect(told).toEqual([]);
  });

  it('removes on to the second mark, so that it does not begin again at the next layer', async () => {
    for (const name of ['a:1', 'b:1', 'c:1', 'd:1']) runtime.addImage(name, { isPulled: true });
    await collector.collect();
    // Of 32 GiB 4.8 are too few, and 6.4 enough.
    const available = [1, 5, 7, 9];
    availableGib = async () => available[4 - (await left()).length] ?? 9;
    await lookLater();
    expect(await left()).toEqual(['c:1', 'd:1']);
    expect(told.slice(1)).toEqual([]);
  });

  it('says when there is nothing left to remove', async () => {
    runtime.addImage('made-here:1');
    await collector.collect();
    expect(told).toEqual([
      `Warning FreeDiskSpaceFailed: Failed to garbage collect required amount of images. Attempted to free ${bytesToFree(disk(32, 1))} bytes, but only found 0 bytes eligible to free.`,
    ]);
  });

  it('says how much it found when that was not enough', async () => {
    runtime.addImage('a:1', { isPulled: true });
    await collector.collect();
    told = [];
    await lookLater();
    expect(told).toEqual([expect.stringContaining('only found 1000000 bytes eligible')]);
  });

  it('remembers between looks when an image was last used', async () => {
    for (const name of ['older:1', 'newer:1']) runtime.addImage(name, { isPulled: true });
    full = false;
    wanted = new Set(['older:1', 'newer:1']);
    await collector.collect();
    wanted = new Set(['newer:1']);
    await lookLater();
    wanted = new Set();
    const remove = runtime.removeImage.bind(runtime);
    runtime.removeImage = async (image) => {
      await remove(image);
      full = false;
    };
    full = true;
    await lookLater();
    expect(await left()).toEqual(['newer:1']);
  });

  it('goes on with the next when one can not be removed for any reason but a lost engine', async () => {
    for (const name of ['a:1', 'b:1']) runtime.addImage(name, { isPulled: true });
    await collector.collect();
    const remove = runtime.removeImage.bind(runtime);
    let kind: RuntimeErrorKind = 'other';
    runtime.removeImage = async (image) => {
      if (image.names[0] === 'a:1') throw new RuntimeError(kind, 'broken');
      return remove(image);
    };
    await lookLater();
    expect(await left()).toEqual(['a:1']);
    kind = 'unavailable';
    clock.advance(300_000);
    await expect(collector.collect()).rejects.toThrow('broken');
  });

  it('with room loses nothing', async () => {
    full = false;
    runtime.addImage('unused:1', { isPulled: true });
    await collector.collect();
    await lookLater();
    expect(await left()).toEqual(['unused:1']);
    expect(told).toEqual([]);
  });
});

it('removes first what was unused for longest', () => {
  const image = (name: string) => ({
    id: name,
    names: [name],
    sizeBytes: 1,
    user: '',
    isPulled: true,
    os: '',
    architecture: '',
    createdAtMs: 0,
  });
  const known = [
    { image: image('yesterday'), firstSeenMs: 0, lastUsedMs: 5 },
    { image: image('never'), firstSeenMs: 0, lastUsedMs: 0 },
    { image: image('now'), firstSeenMs: 0, lastUsedMs: 200_000 },
    { image: image('before'), firstSeenMs: 0, lastUsedMs: 2 },
  ];
  expect(removalOrder(known, 200_000).map(({ id }) => id)).toEqual([
    'never',
    'before',
    'yesterday',
  ]);
});
