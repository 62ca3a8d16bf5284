import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CgroupReader, controllerPaths } from './cgroup.ts';
import { cpuTime, networkUsage } from './machine-usage.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-cgroup-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Writes files below the fixture's root and opens process 42. */
function open(files: Readonly<Record<string, string>>): CgroupReader | undefined {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
  return CgroupReader.open({ root: path.join(root, 'cgroup'), proc: path.join(root, 'proc') }, 42);
}

const legacy = {
  'proc/42/cgroup': '4:memory:/docker/c\n3:pids:/docker/c\n2:cpu,cpuacct:/docker/c\n',
  'cgroup/cpuacct/docker/c/cpuacct.usage': '123456789\n',
  'cgroup/memory/docker/c/memory.usage_in_bytes': '5000\n',
  'cgroup/memory/docker/c/memory.stat': 'cache 9\ntotal_inactive_file 1000\ntotal_rss 300\n',
  'cgroup/memory/docker/c/memory.limit_in_bytes': '9223372036854771712\n',
  'cgroup/pids/docker/c/pids.current': '3\n',
};
const scope = 'cgroup/system.slice/docker-c.scope';
const unified = {
  'proc/42/cgroup': '0::/system.slice/docker-c.scope\n',
  'cgroup/cgroup.controllers': 'cpu memory pids\n',
  [`${scope}/cpu.stat`]: 'usage_usec 2500\nuser_usec 1000\n',
  [`${scope}/memory.current`]: '8000\n',
  [`${scope}/memory.stat`]: 'anon 700\ninactive_file 1500\n',
  [`${scope}/memory.max`]: '65536\n',
  [`${scope}/pids.current`]: '2\n',
};

describe('a container’s cgroup', () => {
  it('of version 1 is read with its own controllers', () => {
    expect(open(legacy)?.read()).toEqual({
      cpuNanoseconds: 123_456_789,
      memoryUsageBytes: 5000,
      memoryWorkingSetBytes: 4000,
      memoryRssBytes: 300,
      pidCount: 3,
    });
  });

  it('of version 2 is read from the one hierarchy', () => {
    expect(open(unified)?.read()).toEqual({
      cpuNanoseconds: 2_500_000,
      memoryUsageBytes: 8000,
      memoryWorkingSetBytes: 6500,
      memoryRssBytes: 700,
      memoryLimitBytes: 65_536,
      pidCount: 2,
    });
  });

  it('has no limit where the file says max', () => {
    const usage = open({ ...unified, [`${scope}/memory.max`]: 'max\n' })?.read();
    expect(usage).not.toHaveProperty('memoryLimitBytes');
  });

  it('without a memory controller has unknown memory, not zero', () => {
    const names = ['current', 'stat', 'max'].map((name) => `${scope}/memory.${name}`);
    const without = Object.fromEntries(
      Object.entries(unified).filter(([file]) => !names.includes(file)),
    );
    expect(open(without)?.read()).toEqual({ cpuNanoseconds: 2_500_000, pidCount: 2 });
  });

  it('is read anew through the same open file', () => {
    const reader = open(unified);
    expect(reader?.read()?.memoryUsageBytes).toBe(8000);
    writeFileSync(path.join(root, `${scope}/memory.current`), '9000\n');
    expect(reader?.read()?.memoryUsageBytes).toBe(9000);
    reader?.close();
  });

  it('of a process that is gone is nothing', () => {
    expect(open({})).toBeUndefined();
  });

  it('path may hold colons', () => {
    expect(controllerPaths('0::/a:b\n').get('')).toBe('/a:b');
  });
});

describe('the machine', () => {
  it('counts processor time without idling and waiting', () => {
    expect(cpuTime('cpu  10 1 5 1000 50 2 3 4 0 0\ncpu0 1 1 1 1\n')).toBe(25e7);
    expect(cpuTime('')).toBeUndefined();
  });

  it('sums its network over real interfaces', () => {
    const row = (name: string, rx: number, tx: number) =>
      `  ${name}: ${rx} 1 0 0 0 0 0 0 ${tx} 1 0 0 0 0 0 0`;
    const rows = [row('lo', 1, 1), row('eth0', 100, 10), row('wlan0', 50, 5)];
    rows.push(row('docker0', 7, 7), row('veth12', 7, 7), row('flt-1', 7, 7), row('flv-1', 7, 7));
    rows.push(row('ifb0', 7, 7), row('wg0', 7, 7));
    const text = `Inter-| Receive\n face |bytes\n${rows.join('\n')}\n`;
    expect(networkUsage(text)).toEqual({ rxBytes: 150, txBytes: 15, rxErrors: 0, txErrors: 0 });
    expect(networkUsage('')).toBeUndefined();
  });
});
