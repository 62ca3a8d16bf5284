// What the machine and its pods use, put together: fake engine, told disks.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { Sample } from '../../metrics/collector.ts';
import { containerConfig, sandboxConfig } from '../../../test/conformance/runtime.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { RuntimeError } from '../../runtime/runtime.ts';
import type { DiskUse } from '../volumes/directory-size.ts';
import type { DiskSpace, Stock } from './image-garbage.ts';
import { PressureKeeper } from './pressure-keeper.ts';

const mib = 1024 ** 2;
const gib = 1024 ** 3;
const roomy: DiskSpace = { sizeBytes: 100 * gib, availableBytes: 50 * gib };

let clock: ManualClock;
let runtime: FakeRuntime;
let stopping: AbortController;
let pods: Pod[];
let evicted: string[];
let disks: Map<string, DiskSpace>;
let memoryMib: number;
let volumes: Map<string, DiskUse>;
let pids: Stock;
let keeper: PressureKeeper;

beforeEach(() => {
  clock = new ManualClock();
  runtime = new FakeRuntime(clock);
  runtime.addImage('web:1');
  stopping = new AbortController();
  pods = [];
  evicted = [];
  disks = new Map([
    ['/data', roomy],
    ['/', roomy],
  ]);
  memoryMib = 1000;
  pids = { total: 32_768, available: 30_000 };
  volumes = new Map();
  keeper = new PressureKeeper({
    runtime,
    events: { event: () => {} },
    clock,
    logger: silentLogger,
    isInRegistry: () => false,
    nodeName: 'pi',
    dataDirectory: '/data',
    pods: () => pods,
    evict: (pod, message, isDisruption) =>
      evicted.push(`${pod.metadata.name} ${isDisruption} ${message.slice(0, 43)}`),
    diskSpace: async (directory) => {
      const found = disks.get(directory);
      if (found === undefined) throw new Error(`ENOENT ${directory}`);
      return found;
    },
    sample: async () => sample(),
    memoryAvailableBytes: () => memoryMib * mib,
    volumeUse: async () => volumes,
    pids: () => pids,
    onChange: () => {},
    signal: stopping.signal,
  });
});
afterEach(() => stopping.abort());

/** Each running pod uses 10 MiB and has ten processes for each letter of its name. */
function sample(): Sample {
  const seen = pods.map(({ metadata: { uid = '', name } }) => ({
    uid,
    name,
    namespace: 'default',
    startedAtMs: 0,
    containers: [
      {
        name: 'web',
        id: uid,
        image: '',
        startedAtMs: 0,
        memoryWorkingSetBytes: name.length * 10 * mib,
        pidCount: name.length * 10,
      },
    ],
  }));
  return { time: '', atMs: 0, node: {}, pods: seen };
}

async function addPod(name: string, more: Partial<Pod['spec']> = {}, metadata: object = {}) {
  const ref = { uid: name, name, namespace: 'default' };
  const sandbox = await runtime.runSandbox(sandboxConfig(ref));
  await runtime.createContainer(containerConfig(ref, sandbox, { image: 'web:1' }));
  pods.push({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...ref, ...metadata },
    spec: { containers: [{ name: 'web', image: 'web:1' }], ...more },
    status: { phase: 'Running' },
  });
}

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    clock.advance(Math.min(left, 10_000));
    for (let turn = 0; turn < 60; turn++) await Promise.resolve();
  }
}

const limited = { volumes: [{ name: 'cache', emptyDir: { sizeLimit: '1Mi' } }] };

describe('a machine', () => {
  it('short of memory ends the pod that uses most of it, and none that is ending', async () => {
    await addPod('a');
    await addPod('abc');
    await addPod('abcdef', {}, { deletionTimestamp: '2026-11-28T12:00:00Z' });
    memoryMib = 50;
    keeper.start();
    await pass(10_000);
    expect(evicted[0]).toMatch(/^abc true The node was low on resource: memory/);
    expect(keeper.isShort('memory')).toBe(true);
  });

  it('is as short of disk as the shorter of two, whatever their sizes', async () => {
    await addPod('a');
    volumes.set('cache', { bytes: 5 * mib, files: 200 });
    disks.set('/data', { sizeBytes: 4000 * gib, availableBytes: 40 * gib });
    disks.set('/', { sizeBytes: 8 * gib, availableBytes: gib / 2 });
    keeper.start();
    await pass(10_000);
    expect(keeper.isShort('ephemeral-storage')).toBe(true);
    expect(evicted[0]).toMatch(/^a true The node was low on resource: ephemeral/);
  });

  it('short of processes ends the pod that has most of them', async () => {
    await addPod('a');
    await addPod('abc');
    pids = { total: 32_768, available: 900 };
    keeper.start();
    await pass(10_000);
    expect(evicted[0]).toMatch(/^abc true The node was low on resource: pids/);
    expect([keeper.isShort('pids'), keeper.isShort('memory')]).toEqual([true, false]);
  });

  it('on whose disk no more files can be made ends who has them', async () => {
    await addPod('a');
    const inodes = { total: 20_000, available: 900 };
    disks.set('/data', { ...roomy, device: 2, inodes });
    keeper.start();
    await pass(10_000);
    expect([keeper.isShort('inodes'), evicted]).toEqual([true, []]);
    volumes.set('cache', { bytes: 0, files: 200 });
    await pass(10_000);
    expect(evicted[0]).toMatch(/^a true The node was low on resource: inodes/);
  });

  describe('whose agent and engine have a disk each', () => {
    const full = { sizeBytes: 32 * mib, availableBytes: 0 };
    beforeEach(async () => {
      await addPod('a');
      runtime.containerDiskBytes = async () => 10 * mib;
    });

    it('ends no pod for what lies on the other one', async () => {
      disks.set('/data', { ...full, device: 2 });
      disks.set('/', { ...roomy, device: 1 });
      keeper.start();
      await pass(30_000);
      expect([keeper.isShort('ephemeral-storage'), evicted]).toEqual([true, []]);
      volumes.set('cache', { bytes: 5 * mib, files: 200 });
      await pass(10_000);
      expect(evicted[0]).toMatch(/^a true/);
    });

    it("ends none for its volumes when the engine's is full", async () => {
      runtime.containerDiskBytes = async () => 0;
      volumes.set('cache', { bytes: 5 * mib, files: 200 });
      disks.set('/data', { ...roomy, device: 2 });
      disks.set('/', { ...full, device: 1 });
      keeper.start();
      await pass(30_000);
      expect([keeper.isShort('ephemeral-storage'), evicted]).toEqual([true, []]);
    });
  });

  it('whose engine is away, or keeps its files elsewhere, is looked at all the same', async () => {
    await addPod('abc');
    memoryMib = 50;
    disks.delete('/');
    keeper.start();
    await pass(10_000);
    expect([keeper.isShort('memory'), evicted.length > 0]).toEqual([true, true]);
  });
});

describe('a pod that may hold only so much of the disk', () => {
  it('is ended when it holds more, and not as a disruption', async () => {
    await addPod('a', limited);
    keeper.start();
    await pass(60_000);
    expect(evicted).toEqual([]);
    volumes.set('cache', { bytes: 2 * mib, files: 2 });
    await pass(60_000);
    expect(evicted[0]).toBe('a false Usage of EmptyDir volume "cache" exceeds th');
  });

  it('stays if the cluster stands on it', async () => {
    await addPod('a', { ...limited, priority: 2_000_000_000 });
    volumes.set('cache', { bytes: 2 * mib, files: 2 });
    keeper.start();
    await pass(120_000);
    expect(evicted).toEqual([]);
  });

  it('is looked at although a container of another went meanwhile', async () => {
    await addPod('gone', limited);
    await addPod('a', limited);
    volumes.set('cache', { bytes: 2 * mib, files: 2 });
    const bytes = runtime.containerDiskBytes.bind(runtime);
    let isFirst = true;
    runtime.containerDiskBytes = async (id) => {
      if (!isFirst) return bytes(id);
      isFirst = false;
      throw new RuntimeError('notFound', `No such container: ${id}`);
    };
    keeper.start();
    await pass(60_000);
    expect(evicted.map((text) => text.split(' ')[0])).toContain('a');
  });
});
