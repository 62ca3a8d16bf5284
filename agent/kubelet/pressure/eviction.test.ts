import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { staticPod } from '../static/static-pod.ts';
import {
  evictionMessage,
  evictionOrder,
  starved,
  type NodeSupply,
  type PodUsage,
  type Starved,
} from './eviction.ts';
import { EvictionManager } from './eviction-manager.ts';

const mib = 1024 ** 2;
const gib = 1024 ** 3;

const plenty = { total: 30_000, available: 29_000 };

function supply(memoryMib: number, diskGib = 50, sizeGib = 100): NodeSupply {
  const disk = { sizeBytes: sizeGib * gib, availableBytes: diskGib * gib };
  return { memoryAvailableBytes: memoryMib * mib, disk, inodes: undefined, pids: plenty };
}

function usage(
  name: string,
  usedMib: number,
  { requestMib = 0, priority = 0, metadata = {} } = {},
): PodUsage {
  const resources = {
    requests: { memory: `${requestMib}Mi`, 'ephemeral-storage': `${requestMib}Mi` },
  };
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', ...metadata },
    spec: { priority, containers: [{ name: 'web', image: 'web:1', resources }] },
  };
  return { pod, containers: [{ name: 'web', amount: usedMib * mib }], inVolumes: 0 };
}

describe('a machine is short', () => {
  const rows: { name: string; now: NodeSupply; want: Starved[] }[] = [
    { name: 'of nothing with plenty', now: supply(1000), want: [] },
    { name: 'of nothing at just the threshold', now: supply(100), want: [] },
    { name: 'of memory below 100 MiB', now: supply(99), want: ['memory'] },
    { name: 'of disk below a GiB', now: supply(1000, 0.9), want: ['ephemeral-storage'] },
    {
      name: 'of disk below a tenth of a small one',
      now: supply(1000, 0.3, 4),
      want: ['ephemeral-storage'],
    },
    { name: 'of nothing with half a GiB of 4', now: supply(1000, 0.5, 4), want: [] },
    { name: 'of both', now: supply(10, 0.1), want: ['memory', 'ephemeral-storage'] },
    {
      name: 'of processes with fewer than a thousand left',
      now: { ...supply(1000), pids: { total: 32_768, available: 999 } },
      want: ['pids'],
    },
    {
      name: 'of nothing with a tenth of a small machine’s',
      now: { ...supply(1000), pids: { total: 4_000, available: 400 } },
      want: [],
    },
    {
      name: 'of files with less than a twentieth left',
      now: { ...supply(1000), inodes: { total: 20_000, available: 999 } },
      want: ['inodes'],
    },
    {
      name: 'of nothing with a hundred thousand files left on a big disk',
      now: { ...supply(1000), inodes: { total: 250_000_000, available: 100_000 } },
      want: [],
    },
  ];
  it.each(rows)('$name', ({ now, want }) => {
    expect(starved(now)).toEqual(want);
  });
});

describe('who has to give way', () => {
  const order = (...pods: PodUsage[]) =>
    evictionOrder(pods, 'memory').map(({ pod }) => pod.metadata.name);

  it('is whoever uses more than it asked for, before anybody else', () => {
    const modest = usage('modest', 900, { requestMib: 1000 });
    const greedy = usage('greedy', 20, { requestMib: 10, priority: 1000 });
    expect(order(modest, greedy)).toEqual(['greedy', 'modest']);
  });

  it('is the one of lower priority among those', () => {
    const [low, high] = [usage('low', 10), usage('high', 500, { priority: 10 })];
    expect(order(high, low)).toEqual(['low', 'high']);
  });

  it('is the one that uses most beyond its request among equals', () => {
    const [big, small] = [usage('big', 600, { requestMib: 500 }), usage('small', 200)];
    expect(order(big, small)).toEqual(['small', 'big']);
  });

  it('is, of processes and files, the one of lower priority, then who has more', () => {
    const amounts = [
      ['many', 300, 10],
      ['few', 40, 10],
      ['low', 20, 0],
      ['one', 1, 0],
    ] as const;
    const pods = amounts.map(([name, amount, priority]) => ({
      ...usage(name, 0, { priority, requestMib: 1 }),
      containers: [{ name: 'web', amount }],
    }));
    expect(evictionOrder(pods, 'pids').map(({ pod }) => pod.metadata.name)).toEqual([
      'low',
      'many',
      'few',
    ]);
    expect(evictionOrder(pods, 'inodes').map(({ pod }) => pod.metadata.name)).toEqual(['many']);
  });

  it('goes by what the whole pod asked for, and counts what its volumes hold', () => {
    const whole = usage('whole', 300, { requestMib: 10 });
    whole.pod.spec.resources = { requests: { memory: '400Mi' } };
    const init = usage('init', 300, { requestMib: 10 });
    init.pod.spec.initContainers = [
      { name: 'i', image: 'i', resources: { requests: { memory: '350Mi' } } },
    ];
    const full = { ...usage('full', 1), inVolumes: 900 * mib };
    expect(order(whole, init, full, usage('over', 20, { requestMib: 10 }))).toEqual([
      'full',
      'over',
      'init',
      'whole',
    ]);
  });

  it('is never what the cluster stands on, a pod of a file, or one whose end frees nothing', () => {
    const manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'static' },
      spec: { containers: [{ name: 'web', image: 'web:1' }] },
    };
    const { metadata } = staticPod(manifest, 'static.yaml', 'pi');
    const pods = [
      usage('critical', 900, { priority: 2_000_000_000 }),
      usage('static', 900, { metadata }),
      usage('tiny', 0.5),
    ];
    expect(order(...pods)).toEqual([]);
  });
});

it("is told in Kubernetes' words", () => {
  const fewPids = { ...supply(1000), pids: { total: 32_768, available: 900 } };
  expect(evictionMessage(usage('web', 60), 'pids', fewPids)).toBe(
    'The node was low on resource: pids. Threshold quantity: 1000, available: 900. ',
  );
  expect(evictionMessage(usage('web', 60, { requestMib: 10 }), 'memory', supply(50))).toBe(
    'The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. Container web was using 61440Ki, request is 10240Ki, has larger consumption of memory. ',
  );
  expect(evictionMessage(usage('web', 5, { requestMib: 10 }), 'memory', supply(50))).toBe(
    'The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. ',
  );
  expect(evictionMessage(usage('web', 60), 'ephemeral-storage', supply(50, 0.5))).toBe(
    'The node was low on resource: ephemeral-storage. Threshold quantity: 1048576Ki, available: 524288Ki. Container web was using 61440Ki, request is 0, has larger consumption of ephemeral-storage. ',
  );
});

describe('a machine that runs out of memory', () => {
  let clock: ManualClock;
  let stopping: AbortController;
  let now: NodeSupply;
  let pods: PodUsage[];
  let evicted: string[];
  let changes: number;
  let freed: () => void;
  let manager: EvictionManager;

  beforeEach(() => {
    clock = new ManualClock();
    stopping = new AbortController();
    now = supply(1000);
    pods = [usage('small', 10), usage('big', 500)];
    evicted = [];
    changes = 0;
    freed = () => {};
    manager = new EvictionManager({
      clock,
      logger: silentLogger,
      supply: async () => now,
      usage: async () => pods,
      freeDisk: async () => freed(),
      evict: (pod) => {
        evicted.push(pod.metadata.name);
        pods = pods.filter((entry) => entry.pod !== pod);
      },
      onChange: () => changes++,
      signal: stopping.signal,
    });
    void manager.run();
  });
  afterEach(() => stopping.abort());

  /** Look by look: each sets the next timer. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10_000) {
      clock.advance(Math.min(left, 10_000));
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
  }

  it('ends one pod at a time, until there is enough', async () => {
    await pass(10_000);
    expect(evicted).toEqual([]);
    now = supply(50);
    await pass(10_000);
    expect(evicted).toEqual(['big']);
    await pass(10_000);
    expect(evicted).toEqual(['big', 'small']);
  });

  it('says so for five minutes longer than it is', async () => {
    now = supply(50);
    await pass(10_000);
    expect([manager.isShort('memory'), manager.isShort('ephemeral-storage')]).toEqual([
      true,
      false,
    ]);
    now = supply(1000);
    await pass(290_000);
    expect(manager.isShort('memory')).toBe(true);
    await pass(10_000);
    expect([manager.isShort('memory'), changes]).toEqual([false, 2]);
  });

  it('ends no pod for a disk that has room once unused images are gone', async () => {
    now = supply(1000, 0.1);
    freed = () => (now = supply(1000, 20));
    await pass(10_000);
    expect([evicted, manager.isShort('ephemeral-storage')]).toEqual([[], true]);
  });

  it('goes on looking after a look that failed', async () => {
    now = supply(50);
    const real = pods;
    pods = undefined as never;
    await pass(10_000);
    pods = real;
    await pass(10_000);
    expect(evicted).toEqual(['big']);
  });
});
