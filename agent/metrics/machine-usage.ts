// What the whole machine uses: CPU, memory, the data disk, network. Reading and parsing apart.
import { readFileSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { readMachineHealth, type MachineHealth } from './machine-health.ts';

export interface NetworkUsage {
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxErrors: number;
  readonly txErrors: number;
}

export interface MachineUsage extends MachineHealth {
  readonly cpuNanoseconds?: number;
  readonly memoryWorkingSetBytes?: number;
  readonly memoryAvailableBytes?: number;
  readonly fs?: {
    readonly usedBytes: number;
    readonly capacityBytes: number;
    readonly availableBytes: number;
    readonly inodes: number;
    readonly inodesFree: number;
  };
  readonly swapBytes?: number;
  readonly network?: NetworkUsage;
}

/** `/proc/stat` counts hundredths of a second. */
const nanosPerTick = 1e7;

export interface MachineFolders {
  /** Such as `/proc` and `/sys`. */
  readonly proc: string;
  readonly sys: string;
  /** On the disk that counts. */
  readonly data: string;
}

export function readMachineUsage({ proc, sys, data }: MachineFolders): MachineUsage {
  const usage: { -readonly [key in keyof MachineUsage]: MachineUsage[key] } = {
    ...readMachineHealth(proc, sys),
  };
  const cpuNanoseconds = cpuTime(text(path.join(proc, 'stat')));
  if (cpuNanoseconds !== undefined) usage.cpuNanoseconds = cpuNanoseconds;
  const memory = text(path.join(proc, 'meminfo'));
  const total = kibibytes(memory, 'MemTotal');
  const available = kibibytes(memory, 'MemAvailable');
  if (total !== undefined && available !== undefined) {
    usage.memoryWorkingSetBytes = total - available;
    usage.memoryAvailableBytes = available;
  }
  const swapTotal = kibibytes(memory, 'SwapTotal');
  const swapFree = kibibytes(memory, 'SwapFree');
  if (swapTotal !== undefined && swapFree !== undefined) usage.swapBytes = swapTotal - swapFree;
  const disk = statfsSync(data);
  usage.fs = {
    capacityBytes: disk.blocks * disk.bsize,
    usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
    availableBytes: disk.bavail * disk.bsize,
    inodes: disk.files,
    inodesFree: disk.ffree,
  };
  const network = networkUsage(text(path.join(proc, 'net/dev')));
  if (network !== undefined) usage.network = network;
  return usage;
}

/** Of a process's network namespace; undefined when it is gone. */
export function readNetworkUsage(proc: string, pid: number): NetworkUsage | undefined {
  return networkUsage(text(path.join(proc, String(pid), 'net/dev')));
}

/** '' when it can't be read. */
function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Everything but idle and waiting for disks. */
export function cpuTime(stat: string): number | undefined {
  const match = /^cpu +(.*)$/m.exec(stat);
  if (match === null) return undefined;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (match[1] ?? '')
    .split(' ')
    .map(Number);
  return (user + nice + system + irq + softirq + steal) * nanosPerTick;
}

function kibibytes(meminfo: string, name: string): number | undefined {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(meminfo);
  return match === null ? undefined : Number(match[1]) * 1024;
}

/** Counters of one interface since it came up. */
export interface InterfaceUsage extends NetworkUsage {
  readonly name: string;
  readonly rxPackets: number;
  readonly rxDropped: number;
  readonly txPackets: number;
  readonly txDropped: number;
}

/** Bridges and pairs of containers, tunnels (what is in them is counted below them), and what leads nowhere. */
const unreal = /^(lo$|docker|br-|fl[tv]-|veth|virbr|cni|flannel|tun|tap|wg|sit|ip6tnl|ifb|dummy)/;

/** Real ones only. */
export function interfacesOf(netDev: string): readonly InterfaceUsage[] {
  return netDev.split('\n').flatMap((line) => {
    const [, name = '', counts = ''] = /^\s*([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === '' || unreal.test(name)) return [];
    const columns = counts.trim().split(/\s+/).map(Number);
    const at = (column: number) => columns[column] ?? 0;
    const received = { rxBytes: at(0), rxPackets: at(1), rxErrors: at(2), rxDropped: at(3) };
    const sent = { txBytes: at(8), txPackets: at(9), txErrors: at(10), txDropped: at(11) };
    return [{ name, ...received, ...sent }];
  });
}

/** Of a process's network namespace; none when it is gone. */
export function readInterfaces(proc: string, pid?: number): readonly InterfaceUsage[] {
  return interfacesOf(text(path.join(proc, pid === undefined ? '' : String(pid), 'net/dev')));
}

/** Sum over real interfaces. */
export function networkUsage(netDev: string): NetworkUsage | undefined {
  if (netDev === '') return undefined;
  const sum = { rxBytes: 0, txBytes: 0, rxErrors: 0, txErrors: 0 };
  for (const one of interfacesOf(netDev)) {
    sum.rxBytes += one.rxBytes;
    sum.txBytes += one.txBytes;
    sum.rxErrors += one.rxErrors;
    sum.txErrors += one.txErrors;
  }
  return sum;
}

/** `   8       0 sda 1 2 …` */
export function readBlockDevices(proc: string): ReadonlyMap<string, string> {
  const rows = text(path.join(proc, 'diskstats')).split('\n');
  return new Map(
    rows.flatMap((row) => {
      const [major, minor, name] = row.trim().split(/\s+/);
      return name === undefined ? [] : [[`${major}:${minor}`, `/dev/${name}`] as const];
    }),
  );
}
