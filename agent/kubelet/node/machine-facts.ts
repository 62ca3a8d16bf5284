// Reads what there is to know of this machine from the operating system.
import { readFile, statfs } from 'node:fs/promises';
import {
  arch,
  availableParallelism,
  freemem,
  networkInterfaces,
  platform,
  release,
  totalmem,
} from 'node:os';
import type { MachineFacts } from './node-status.ts';

const architectures: Readonly<Partial<Record<string, string>>> = { x64: 'amd64', ia32: '386' };

export async function readMachineFacts(
  nodeName: string,
  dataDirectory: string,
): Promise<MachineFacts> {
  const disk = await statfs(dataDirectory);
  const meminfo = await text('/proc/meminfo');
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo)?.[1];
  const loadavg = await text('/proc/loadavg');
  return {
    hostname: nodeName,
    addresses: primaryAddresses(await text('/proc/net/route')),
    cpuCount: availableParallelism(),
    memoryBytes: totalmem(),
    memoryAvailableBytes: available === undefined ? freemem() : Number(available) * 1024,
    diskBytes: disk.blocks * disk.bsize,
    diskAvailableBytes: disk.bavail * disk.bsize,
    pidCount: Number(/\d+\/(\d+)/.exec(loadavg)?.[1] ?? 0),
    pidLimit: Math.min(await limit('pid_max'), await limit('threads-max')),
    architecture: architectures[arch()] ?? arch(),
    operatingSystem: platform(),
    kernelVersion: release(),
    osImage: osImage(await text('/etc/os-release')),
    machineId: (await text('/etc/machine-id')).trim(),
    systemUuid: (await text('/sys/class/dmi/id/product_uuid')).trim(),
    hasAppArmor: (await text('/sys/module/apparmor/parameters/enabled')).trim() === 'Y',
    bootId: (await text('/proc/sys/kernel/random/boot_id')).trim(),
  };
}

/** Whichever of the two is lower, the kernel makes no process beyond it. */
async function limit(name: 'pid_max' | 'threads-max'): Promise<number> {
  return Number((await text(`/proc/sys/kernel/${name}`)).trim() || 32_768);
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

/** The address of the interface with the default route; without one the first; else loopback. */
function primaryAddresses(routes: string): string[] {
  const primary = defaultInterface(routes);
  const all = Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
    (entries ?? [])
      .filter((entry) => entry.family === 'IPv4' && !entry.internal)
      .map((entry) => ({ name, address: entry.address })),
  );
  const physical = all.filter(({ name }) => !/^(docker|br-|flt-|flv-|veth|virbr)/.test(name));
  const found = physical.find(({ name }) => name === primary) ?? physical[0];
  return [found?.address ?? '127.0.0.1'];
}

/** Of `/proc/net/route`: destination 0 is the default. */
export function defaultInterface(routes: string): string | undefined {
  const rows = routes.split('\n').map((line) => line.split('\t'));
  return rows.find(
    ([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000',
  )?.[0];
}
