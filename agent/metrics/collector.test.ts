import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { Collector, type PodTarget, type Sample } from './collector.ts';
import { resourceMetrics } from './resource-metrics.ts';
import { summary } from './summary.ts';

let root = '';
let clock: ManualClock;
let targets: PodTarget[];
let asked = 0;
let diskAsked = 0;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-collector-'));
  for (const folder of ['proc/42', 'cgroup/c'])
    mkdirSync(path.join(root, folder), { recursive: true });
  write('proc/42/cgroup', '0::/c\n');
  write('proc/stat', 'cpu  0 0 0 0 0 0 0 0\n');
  write('proc/meminfo', 'MemTotal: 100 kB\nMemAvailable: 60 kB\n');
  write('cgroup/cgroup.controllers', 'cpu\n');
  write('cgroup/c/cpu.stat', 'usage_usec 0\n');
  clock = new ManualClock();
  asked = 0;
  diskAsked = 0;
  const container = { id: 'c1', name: 'web', pid: 42, image: 'i', startedAtMs: 1000 };
  const pod = { uid: 'u', name: 'p', namespace: 'n', sandboxPid: 0, startedAtMs: 1000 };
  targets = [{ ...pod, containers: [container] }];
});
afterEach(() => rmSync(root, { recursive: true }));

function write(file: string, text: string): void {
  writeFileSync(path.join(root, file), text);
}

function collector(): Collector {
  return new Collector({
    clock,
    folders: {
      cgroup: path.join(root, 'cgroup'),
      proc: path.join(root, 'proc'),
      sys: path.join(root, 'sys'),
    },
    dataDirectory: root,
    targets: async () => {
      asked++;
      return targets;
    },
    diskBytes: async () => {
      diskAsked++;
      return 77;
    },
  });
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

it('samples once a second while somebody listens, and not at all otherwise', async () => {
  const samples: Sample[] = [];
  const stop = collector().subscribe((sample) => samples.push(sample));
  await settle();
  write('cgroup/c/cpu.stat', 'usage_usec 250000\n');
  write('proc/stat', 'cpu  50 0 0 0 0 0 0 0\n');
  clock.advance(1000);
  await settle();
  stop();
  clock.advance(10_000);
  await settle();
  expect([samples.length, asked, clock.nextTimerMs()]).toEqual([2, 2, undefined]);
  const [first, second] = samples;
  expect(first?.pods[0]?.containers[0]).not.toHaveProperty('cpuNanoCores');
  expect(second?.pods[0]?.containers[0]).toMatchObject({ cpuNanoCores: 250_000_000 });
  expect(second?.node).toMatchObject({ cpuNanoCores: 500_000_000, memoryWorkingSetBytes: 40_960 });
});

it('gives those who ask once a rate, too', async () => {
  const asking = collector().once();
  await settle();
  write('cgroup/c/cpu.stat', 'usage_usec 100000\n');
  clock.advance(500);
  const sample = await asking;
  expect(sample.pods[0]?.containers[0]?.cpuNanoCores).toBe(200_000_000);
  expect(sample.windowMs).toBe(500);
});

it('keeps the pace of the most impatient, and goes back to the others’', async () => {
  const one = collector();
  const slow: number[] = [];
  const stopSlow = one.subscribe(({ atMs }) => slow.push(atMs), 10_000);
  await settle();
  clock.advance(10_000);
  await settle();
  const stopFast = one.subscribe(() => {}, 1000);
  for (let second = 0; second < 3; second++) {
    clock.advance(1000);
    await settle();
  }
  stopFast();
  clock.advance(1000);
  await settle();
  clock.advance(10_000);
  await settle();
  stopSlow();
  expect(slow).toEqual([0, 10_000, 11_000, 12_000, 13_000, 14_000, 24_000]);
});

it('leaves no step of the past without a sample, although each comes a second late', async () => {
  const steps: number[] = [];
  const stop = collector().subscribe(() => steps.push(Math.floor(clock.now() / 10_000)), 10_000);
  await settle();
  for (let at = 0; at < 60; at++) {
    clock.advance((clock.nextTimerMs() ?? 0) + 900);
    await settle();
  }
  stop();
  const [first = 0] = steps;
  const seen = [...new Set(steps)];
  expect(seen).toEqual(seen.map((_, index) => first + index));
  expect(seen.length).toBeGreaterThan(58);
});

it('makes the engine walk a layer only for who asks for sizes, and seldom', async () => {
  const one = collector();
  const stop = one.subscribe(() => {});
  await settle();
  clock.advance(1000);
  await settle();
  expect(diskAsked).toBe(0);
  await one.detailed();
  await settle();
  clock.advance(1000);
  await settle();
  const { sample } = await one.detailed();
  stop();
  expect([diskAsked, sample.pods[0]?.containers[0]?.fsUsedBytes]).toEqual([1, 77]);
});

it('leaves out what is unknown in every format', async () => {
  const asking = collector().detailed();
  await settle();
  clock.advance(500);
  const details = await asking;
  const told = JSON.parse(JSON.stringify(summary(details, 'node-1'))) as {
    pods: { containers: { memory: object; cpu: object }[] }[];
  };
  expect(Object.keys(told.pods[0]?.containers[0]?.memory ?? {})).toEqual(['time']);
  expect(told.pods[0]?.containers[0]?.cpu).toMatchObject({ usageCoreNanoSeconds: 0 });
  const text = resourceMetrics(details);
  expect(text).toContain(
    `container_cpu_usage_seconds_total{container="web",namespace="n",pod="p"} 0 ${clock.now()}\n`,
  );
  expect(text).not.toContain('container_memory_working_set_bytes');
});
