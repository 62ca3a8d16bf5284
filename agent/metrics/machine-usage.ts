// What the whole machine uses: CPU, memory, the data disk, network. Reading and parsing apart.
import { readFileSync, statfsSync } from 'node:fs';
import path from 'node:path';

export interface NetworkUsage {
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxErrors: number;
  readonly txErrors: number;
}

export interface MachineUsage {
  readonly cpuNanoseconds?: number;
  readonly memoryWorkingSetBytes?: number;
  readonly memoryAvailableBytes?: number;
  readonly fs?: {
    readonly usedBytes: number;
    readonly capacityBytes: number;
    readonly availableBytes: number;
  };
  readonly network?: NetworkUsage;
}

/** `/proc/stat` counts hundredths of a second. */
const nanosPerTick = 1e7;

export function readMachineUsage(proc: string, dataDirectory: string): MachineUsage {
  const usage: { -readonly [key in keyof MachineUsage]: MachineUsage[key] } = {};
  const cpuNanoseconds = cpuTime(text(path.join(proc, 'stat')));
  if (cpuNanoseconds !== undefined) usage.cpuNanoseconds = cpuNanoseconds;
  const memory = text(path.join(proc, 'meminfo'));
  const total = kibibytes(memory, 'MemTotal');
  const available = kibibytes(memory, 'MemAvailable');
  if (total !== undefined && available !== undefined) {
    usage.memoryWorkingSetBytes = total - available;
    usage.memoryAvailableBytes = available;
  }
  const disk = statfsSync(dataDirectory);
  usage.fs = {
    capacityBytes: disk.blocks * disk.bsize,
    usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
    availableBytes: disk.bavail * disk.bsize,
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

/** Sum over real interfaces: no loopback, no container bridges and pairs. */
export function networkUsage(netDev: string): NetworkUsage | undefined {
  const rows = netDev
    .split('\n')
    .map((line) => /^\s*([^:\s]+):\s*(.*)$/.exec(line))
    .filter((match) => match !== null)
    .filter((match) => !/^(lo$|docker|br-|flt-|veth|virbr)/.test(match[1] ?? ''))
    .map((match) => (match[2] ?? '').trim().split(/\s+/).map(Number));
  if (netDev === '') return undefined;
  const sum = (column: number) => rows.reduce((total, row) => total + (row[column] ?? 0), 0);
  return { rxBytes: sum(0), rxErrors: sum(2), txBytes: sum(8), txErrors: sum(10) };
}
