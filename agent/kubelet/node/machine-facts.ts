// Reads what there is to know of this machine from the operating system.
import { readFileSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { arch, availableParallelism, freemem, platform, release, totalmem } from 'node:os';
import { machineAddresses } from '#platform/machine-addresses.ts';
import type { Stock } from '../pressure/image-garbage.ts';
import type { MachineFacts } from './node-status.ts';

const architectures: Readonly<Partial<Record<string, string>>> = { x64: 'amd64', ia32: '386' };

export async function readMachineFacts(
  nodeName: string,
  dataDirectory: string,
): Promise<MachineFacts> {
  const disk = await statfs(dataDirectory);
  return {
    hostname: nodeName,
    addresses: [machineAddresses()[0] ?? '127.0.0.1'],
    cpuCount: availableParallelism(),
    memoryBytes: totalmem(),
    diskBytes: disk.blocks * disk.bsize,
    pidLimit: pidLimit(),
    architecture: architectures[arch()] ?? arch(),
    operatingSystem: platform(),
    kernelVersion: release(),
    osImage: osImage(await text('/etc/os-release')),
    machineId: (await text('/etc/machine-id')).trim(),
    systemUuid: kernelText('/sys/class/dmi/id/product_uuid').trim(),
    hasAppArmor: kernelText('/sys/module/apparmor/parameters/enabled').trim() === 'Y',
    bootId: kernelText('/proc/sys/kernel/random/boot_id').trim(),
  };
}

/** Whichever of the two is lower, the kernel makes no process beyond it. */
function pidLimit(): number {
  return Math.min(limit('pid_max'), limit('threads-max'));
}

/** Of processes and threads. */
export function pidStock(): Stock {
  const total = pidLimit();
  const count = Number(/\d+\/(\d+)/.exec(kernelText('/proc/loadavg'))?.[1] ?? 0);
  return { total, available: total - count };
}

function limit(name: 'pid_max' | 'threads-max'): number {
  return Number(kernelText(`/proc/sys/kernel/${name}`).trim() || 32_768);
}

/** What programs could still get without others giving way. */
export function memoryAvailableBytes(): number {
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(kernelText('/proc/meminfo'))?.[1];
  return available === undefined ? freemem() : Number(available) * 1024;
}

/**
 * Of a file that the kernel makes up when it is read, so nothing waits for a disk: the asynchronous way takes
 * 64 KiB for each, and who asks every ten seconds leaves a megabyte of them to be collected.
 */
function kernelText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** '' for what this system does not have, or does not show to us. */
async function text(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}

export function osImage(osRelease: string): string {
  return /^PRETTY_NAME="?([^"\n]*)"?/m.exec(osRelease)?.[1] ?? platform();
}
