import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { podCgroupName, PodCgroups, podCgroupSteps, removePodCgroupParents } from './pod-cgroup.ts';

const uid = 'a-b';
const limits = { cpuShares: 1024, cpuQuotaMicros: 50_000, memoryBytes: 1024 };
const legacy = { cgroupVersion: '1', cgroupDriver: 'cgroupfs' };
const unified = { cgroupVersion: '2', cgroupDriver: 'cgroupfs' };
const systemd = { cgroupVersion: '2', cgroupDriver: 'systemd' };

let root = '';
let commands: string[];
let cgroups: PodCgroups;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-cgroup-'));
  commands = [];
  const run = async (command: readonly string[]) => void commands.push(command.join(' '));
  cgroups = new PodCgroups({ root, run }, new ManualClock());
});
afterEach(() => rmSync(root, { recursive: true }));

/** What a kernel shows in a directory that was just made there can't be had in a plain one. */
function file(name: string): void {
  mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
  writeFileSync(path.join(root, name), '');
}
const read = (name: string) => readFileSync(path.join(root, name), 'utf8');

describe('a cgroup of the pod’s own', () => {
  it('is a slice where systemd makes Docker’s', async () => {
    expect(podCgroupName(uid, systemd)).toBe('flotilla-poda_b.slice');
    await cgroups.make(uid, limits, systemd);
    await cgroups.make(uid, { ...limits, cpuQuotaMicros: 0, memoryBytes: 0 }, systemd);
    await cgroups.remove(uid, systemd);
    const set = 'systemctl set-property --runtime flotilla-poda_b.slice';
    expect(commands).toEqual([
      `${set} CPUWeight=39 CPUQuota=50% MemoryMax=1024 MemorySwapMax=0`,
      `${set} CPUWeight=39 CPUQuota= MemoryMax=infinity`,
      'systemctl stop flotilla-poda_b.slice',
      'systemctl revert flotilla-poda_b.slice',
    ]);
  });

  it('leaves no directory above it behind, unless a pod of another cluster is in there', async () => {
    for (const name of ['cpu/flotilla', 'pids/flotilla/podx'])
      mkdirSync(path.join(root, name), { recursive: true });
    file('cpuacct');
    await removePodCgroupParents(root);
    const left = ['cpu/flotilla', 'pids/flotilla/podx'].map((name) =>
      existsSync(path.join(root, name)),
    );
    expect(left).toEqual([false, true]);
  });

  it('is a directory in each hierarchy of cgroup v1', async () => {
    const cpu = ['shares', 'cfs_period_us', 'cfs_quota_us'];
    for (const name of cpu) file(`cpu/flotilla/poda-b/cpu.${name}`);
    file('memory/flotilla/poda-b/memory.limit_in_bytes');
    await cgroups.make(uid, limits, legacy);
    const values = cpu.map((name) => read(`cpu/flotilla/poda-b/cpu.${name}`));
    expect(values).toEqual(['1024', '100000', '50000']);
    expect(read('memory/flotilla/poda-b/memory.limit_in_bytes')).toBe('1024');
    // Not even where the kernel has no swap accounting is a file made.
    expect(existsSync(path.join(root, 'memory/flotilla/poda-b/memory.memsw.limit_in_bytes'))).toBe(
      false,
    );
  });

  it('goes without memory where the kernel has it off, and makes no directory for it', async () => {
    for (const name of ['shares', 'cfs_period_us', 'cfs_quota_us'])
      file(`cpu/flotilla/poda-b/cpu.${name}`);
    await cgroups.make(uid, limits, legacy);
    expect(existsSync(path.join(root, 'memory'))).toBe(false);
  });

  it('gets controllers handed down in cgroup v2', () => {
    const steps = podCgroupSteps(uid, { ...limits, cpuQuotaMicros: 0 }, unified);
    const texts = steps.map((step) =>
      step.kind === 'write' ? `${step.path} ${step.text}` : step.kind,
    );
    expect(texts).toEqual([
      ...['cpu', 'memory', 'pids'].map((name) => `cgroup.subtree_control +${name}`),
      'mkdir',
      ...['cpu', 'memory', 'pids'].map((name) => `flotilla/cgroup.subtree_control +${name}`),
      'mkdir',
      '/flotilla/poda-b/cpu.weight 39',
      '/flotilla/poda-b/cpu.max max 100000',
      '/flotilla/poda-b/memory.max 1024',
      '/flotilla/poda-b/memory.swap.max 0',
    ]);
  });

  it('fails where it may not be made', async () => {
    await expect(cgroups.make(uid, limits, legacy)).rejects.toThrow('ENOENT');
  });

  it('goes from every hierarchy, and twice without complaint', async () => {
    for (const name of ['cpu', 'pids'])
      mkdirSync(path.join(root, name, podCgroupName(uid, legacy)), { recursive: true });
    writeFileSync(path.join(root, 'release_agent'), '');
    await cgroups.remove(uid, legacy);
    await cgroups.remove(uid, legacy);
    expect(existsSync(path.join(root, 'cpu/flotilla/poda-b'))).toBe(false);
    expect(existsSync(path.join(root, 'pids/flotilla/poda-b'))).toBe(false);
  });
});
