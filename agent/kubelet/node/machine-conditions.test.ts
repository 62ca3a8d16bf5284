import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import type { TransportRequest } from '#kube/client/transport.ts';
import { ClockSkew, DatedTransport } from './clock-skew.ts';
import { DiskLatency, measureFlush } from './disk-latency.ts';
import { clockVerdict, diskVerdict, memoryLimitsVerdict } from './machine-conditions.ts';

describe('limits of memory', () => {
  const legacy = (enabled: number) =>
    `#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t56\t1\nmemory\t4\t97\t${enabled}\npids\t5\t61\t1\n`;
  const pi = 'Raspberry Pi 4 Model B Rev 1.4';
  const cases = [
    { name: 'cgroup v2', legacy: legacy(1), unified: 'cpuset cpu io memory pids\n', want: 'False' },
    {
      name: 'cgroup v2 of a Pi as it comes',
      legacy: legacy(0),
      unified: 'cpuset cpu io pids\n',
      want: 'True',
    },
    { name: 'cgroup v1', legacy: legacy(1), unified: '', want: 'False' },
    { name: 'cgroup v1, switched off', legacy: legacy(0), unified: '', want: 'True' },
    { name: 'a kernel without it', legacy: 'cpu\t1\t56\t1\n', unified: '', want: 'True' },
  ];
  it.each(cases)('$name: not enforced is $want', ({ want, ...files }) => {
    expect(memoryLimitsVerdict({ ...files, model: pi }).status).toBe(want);
  });

  it('come with what to do, which is another thing on a Pi', () => {
    const off = { legacy: legacy(0), unified: '' };
    expect(memoryLimitsVerdict({ ...off, model: pi }).message).toContain('cmdline.txt');
    expect(memoryLimitsVerdict({ ...off, model: '' }).message).not.toContain('cmdline.txt');
  });
});

describe('the clock', () => {
  const minute = 60_000;
  const cases = [
    { skewMs: 4_000, was: false, want: 'False' },
    { skewMs: 6_000, was: false, want: "True ClockAhead: this machine's clock is 6 seconds ahead" },
    { skewMs: 4_000, was: true, want: "True ClockAhead: this machine's clock is 4 seconds ahead" },
    { skewMs: 2_000, was: true, want: 'False' },
    {
      skewMs: -5 * minute,
      was: false,
      want: "True ClockBehind: this machine's clock is 5 minutes behind",
    },
    { skewMs: -20_000 * 1440 * minute, was: false, want: 'clock is 20000 days behind' },
  ];
  it.each(cases)('off by $skewMs ms: $want', ({ skewMs, was, want }) => {
    const { status, reason, message } = clockVerdict(skewMs, was);
    expect(`${status} ${reason}: ${message}`).toContain(want);
  });

  const serverMs = Date.parse('2026-11-23T12:00:00.500Z');
  const date = 'Mon, 23 Nov 2026 12:00:00 GMT';

  it('is judged by the middle of several answers, not by those that took long', () => {
    const skew = new ClockSkew();
    const sent = [8_000, 8_100, 90_000, -3_000];
    for (const [index, aheadMs] of sent.entries()) {
      skew.observe(date, serverMs + aheadMs - 50, serverMs + aheadMs + 50);
      if (index === 1) expect(skew.skewMs()).toBeUndefined();
    }
    skew.observe(date, serverMs, serverMs + 5_000);
    skew.observe('yesterday', serverMs, serverMs);
    expect(skew.skewMs()).toBe(8_000);
  });

  it('is compared when leases are renewed, and only then', async () => {
    const skew = new ClockSkew();
    const clock = new ManualClock(serverMs + 7_000);
    const answer = { status: 200, headers: { date }, body: new Uint8Array() };
    const inner = { request: async () => answer, stream: () => Promise.reject(new Error()) };
    const transport = new DatedTransport(inner, skew, clock);
    const lease = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/pi';
    const ask = (request: TransportRequest) => transport.request(request);
    for (let turn = 0; turn < 3; turn++) {
      await ask({ method: 'GET', path: lease });
      await ask({ method: 'PUT', path: '/api/v1/nodes/pi/status' });
    }
    expect(skew.skewMs()).toBeUndefined();
    for (let turn = 0; turn < 3; turn++) await ask({ method: 'PUT', path: lease });
    expect(skew.skewMs()).toBe(7_000);
  });
});

describe('the disk', () => {
  it('is slow when it says so twice', async () => {
    const clock = new ManualClock();
    const stopping = new AbortController();
    const { signal } = stopping;
    const times = [400, 20, 400, 300];
    const seen: (number | undefined)[] = [];
    const measure = async () => times.shift() ?? 0;
    const disk = new DiskLatency({
      clock,
      measure,
      onChange: () => void seen.push(disk.flushMs()),
      signal,
    });
    void disk.run();
    const settle = async () => {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    };
    await settle();
    expect(disk.flushMs()).toBeUndefined();
    clock.advance(60_000);
    await settle();
    clock.advance(6 * 3_600_000);
    await settle();
    clock.advance(60_000);
    await settle();
    expect(seen).toEqual([20, 300]);
    stopping.abort();
  });

  it('is told in words, and says nothing new while it is well', () => {
    expect(diskVerdict(180.4, '/data')).toMatchObject({
      status: 'True',
      message: expect.stringContaining('the disk below /data takes 180 ms'),
    });
    expect(diskVerdict(3, '/data')).toEqual(diskVerdict(9, '/data'));
  });

  it('is measured without leaving anything behind', async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'flotilla-flush-'));
    expect(await measureFlush(directory, systemClock)).toBeGreaterThan(0);
    expect(readdirSync(directory)).toEqual([]);
    rmSync(directory, { recursive: true });
    await expect(measureFlush(directory, systemClock)).rejects.toThrow('ENOENT');
    expect(existsSync(directory)).toBe(false);
  });
});
