// All that a container's cgroup tells, for those who scrape: read when asked for, no file stays open.
// What a version of cgroups or a kernel does not tell is absent, never zero.
// Source: kernel Documentation/admin-guide/cgroup-v1, cgroup-v2.rst, Documentation/accounting/psi.rst.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { controllerPaths, field, number, type CgroupSystem } from './cgroup.ts';

/** Bytes and operations of one block device, `8:0`. */
export interface DeviceUse {
  readonly device: string;
  readonly readBytes?: number | undefined;
  readonly writeBytes?: number | undefined;
  readonly reads?: number | undefined;
  readonly writes?: number | undefined;
}

/** Nanoseconds in which some, or all, of its tasks had to wait. */
export interface Stall {
  readonly someNs?: number | undefined;
  readonly fullNs?: number | undefined;
}

export interface ContainerDetail {
  /** Below the hierarchy's root. */
  readonly cgroup: string;
  readonly cpu: {
    readonly userNs?: number | undefined;
    readonly systemNs?: number | undefined;
    readonly periods?: number | undefined;
    readonly throttledPeriods?: number | undefined;
    readonly throttledNs?: number | undefined;
    readonly shares?: number | undefined;
    readonly periodMicros?: number | undefined;
    /** Absent: unlimited. */
    readonly quotaMicros?: number | undefined;
  };
  readonly memory: {
    readonly maxUsageBytes?: number | undefined;
    readonly cacheBytes?: number | undefined;
    readonly swapBytes?: number | undefined;
    readonly mappedFileBytes?: number | undefined;
    readonly kernelBytes?: number | undefined;
    readonly activeFileBytes?: number | undefined;
    readonly inactiveFileBytes?: number | undefined;
    readonly failures?: number | undefined;
    readonly pageFaults?: number | undefined;
    readonly majorPageFaults?: number | undefined;
    readonly oomKills?: number | undefined;
    readonly reservationBytes?: number | undefined;
    readonly swapLimitBytes?: number | undefined;
  };
  readonly devices: readonly DeviceUse[];
  readonly processes?: number | undefined;
  readonly threadsMax?: number | undefined;
  /** Only with cgroup v2, and a kernel that counts it. */
  readonly pressure: { readonly cpu: Stall; readonly memory: Stall; readonly io: Stall };
}

const nanosPerTick = 1e7;
const nanosPerMicro = 1e3;
/** Kernels write a number near 2^63 for "no limit". */
const noLimitBytes = 2 ** 60;

type Read = (controller: string, name: string) => string | undefined;

/** Undefined when the process is gone. */
export function readContainerDetail(
  { root, proc }: CgroupSystem,
  pid: number,
): ContainerDetail | undefined {
  const membership = textOf(path.join(proc, String(pid), 'cgroup'));
  if (membership === undefined) return undefined;
  const paths = controllerPaths(membership);
  if (existsSync(path.join(root, 'cgroup.controllers'))) {
    const cgroup = paths.get('') ?? '/';
    return unifiedDetail(cgroup, (_controller, name) => textOf(path.join(root, cgroup, name)));
  }
  return legacyDetail(paths.get('memory') ?? paths.get('cpuacct') ?? '/', (controller, name) => {
    const below = paths.get(controller);
    return below === undefined ? undefined : textOf(path.join(root, controller, below, name));
  });
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    // Gone, or not counted by this kernel.
    return undefined;
  }
}

function legacyDetail(cgroup: string, read: Read): ContainerDetail {
  const times = read('cpuacct', 'cpuacct.stat');
  const cpu = read('cpu', 'cpu.stat');
  const memory = read('memory', 'memory.stat');
  const bytes = (name: string) => limited(number(read('memory', name)));
  const quota = number(read('cpu', 'cpu.cfs_quota_us'));
  return {
    cgroup,
    cpu: {
      userNs: scaled(field(times, 'user'), nanosPerTick),
      systemNs: scaled(field(times, 'system'), nanosPerTick),
      periods: field(cpu, 'nr_periods'),
      throttledPeriods: field(cpu, 'nr_throttled'),
      throttledNs: field(cpu, 'throttled_time'),
      shares: number(read('cpu', 'cpu.shares')),
      periodMicros: number(read('cpu', 'cpu.cfs_period_us')),
      quotaMicros: quota === undefined || quota < 0 ? undefined : quota,
    },
    memory: {
      maxUsageBytes: bytes('memory.max_usage_in_bytes'),
      cacheBytes: field(memory, 'total_cache'),
      swapBytes: field(memory, 'total_swap'),
      mappedFileBytes: field(memory, 'total_mapped_file'),
      kernelBytes: bytes('memory.kmem.usage_in_bytes'),
      activeFileBytes: field(memory, 'total_active_file'),
      inactiveFileBytes: field(memory, 'total_inactive_file'),
      failures: number(read('memory', 'memory.failcnt')),
      pageFaults: field(memory, 'total_pgfault'),
      majorPageFaults: field(memory, 'total_pgmajfault'),
      oomKills: field(read('memory', 'memory.oom_control'), 'oom_kill'),
      reservationBytes: bytes('memory.soft_limit_in_bytes'),
      swapLimitBytes: bytes('memory.memsw.limit_in_bytes'),
    },
    devices: legacyDevices(
      read('blkio', 'blkio.throttle.io_service_bytes_recursive') ??
        read('blkio', 'blkio.throttle.io_service_bytes'),
      read('blkio', 'blkio.throttle.io_serviced_recursive') ??
        read('blkio', 'blkio.throttle.io_serviced'),
    ),
    processes: lines(read('pids', 'cgroup.procs')),
    threadsMax: number(read('pids', 'pids.max')),
    pressure: { cpu: {}, memory: {}, io: {} },
  };
}

function unifiedDetail(cgroup: string, read: Read): ContainerDetail {
  const cpu = read('', 'cpu.stat');
  const memory = read('', 'memory.stat');
  const events = read('', 'memory.events');
  const [quota, period] = (read('', 'cpu.max') ?? '').trim().split(' ');
  return {
    cgroup,
    cpu: {
      userNs: scaled(field(cpu, 'user_usec'), nanosPerMicro),
      systemNs: scaled(field(cpu, 'system_usec'), nanosPerMicro),
      periods: field(cpu, 'nr_periods'),
      throttledPeriods: field(cpu, 'nr_throttled'),
      throttledNs: scaled(field(cpu, 'throttled_usec'), nanosPerMicro),
      shares: sharesOf(number(read('', 'cpu.weight'))),
      periodMicros: number(period),
      quotaMicros: number(quota),
    },
    memory: {
      maxUsageBytes: number(read('', 'memory.peak')),
      cacheBytes: field(memory, 'file'),
      swapBytes: number(read('', 'memory.swap.current')),
      mappedFileBytes: field(memory, 'file_mapped'),
      kernelBytes: field(memory, 'kernel'),
      activeFileBytes: field(memory, 'active_file'),
      inactiveFileBytes: field(memory, 'inactive_file'),
      failures: field(events, 'max'),
      pageFaults: field(memory, 'pgfault'),
      majorPageFaults: field(memory, 'pgmajfault'),
      oomKills: field(events, 'oom_kill'),
      reservationBytes: number(read('', 'memory.low')),
      swapLimitBytes: number(read('', 'memory.swap.max')),
    },
    devices: unifiedDevices(read('', 'io.stat')),
    processes: lines(read('', 'cgroup.procs')),
    threadsMax: number(read('', 'pids.max')),
    pressure: {
      cpu: stallOf(read('', 'cpu.pressure')),
      memory: stallOf(read('', 'memory.pressure')),
      io: stallOf(read('', 'io.pressure')),
    },
  };
}

function scaled(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

function limited(bytes: number | undefined): number | undefined {
  return bytes === undefined || bytes >= noLimitBytes ? undefined : bytes;
}

/** As runc turned shares into a weight: from 2–262144 to 1–10000. */
function sharesOf(weight: number | undefined): number | undefined {
  return weight === undefined ? undefined : Math.round(((weight - 1) * 262_142) / 9_999 + 2);
}

function lines(text: string | undefined): number | undefined {
  return text?.split('\n').filter((line) => line !== '').length;
}

/** `8:0 Read 4096`, and a line that sums all up. */
function legacyDevices(bytes: string | undefined, counts: string | undefined): DeviceUse[] {
  const table = (text: string | undefined) =>
    new Map(
      (text ?? '').split('\n').flatMap((line) => {
        const [device = '', operation = '', value = ''] = line.split(' ');
        return value === '' ? [] : [[`${device} ${operation}`, Number(value)] as const];
      }),
    );
  const ofBytes = table(bytes);
  const ofCounts = table(counts);
  const names = [...ofBytes.keys(), ...ofCounts.keys()].map((key) => key.split(' ')[0] ?? '');
  return [...new Set(names)].map((device) => ({
    device,
    readBytes: ofBytes.get(`${device} Read`),
    writeBytes: ofBytes.get(`${device} Write`),
    reads: ofCounts.get(`${device} Read`),
    writes: ofCounts.get(`${device} Write`),
  }));
}

/** `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …` */
function unifiedDevices(text: string | undefined): DeviceUse[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [device = '', ...pairs] = line.split(' ');
    if (pairs.length === 0) return [];
    const known = new Map(pairs.map((pair) => pair.split('=') as [string, string]));
    const value = (name: string) => number(known.get(name));
    return [
      {
        device,
        readBytes: value('rbytes'),
        writeBytes: value('wbytes'),
        reads: value('rios'),
        writes: value('wios'),
      },
    ];
  });
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`: microseconds. */
export function stallOf(text: string | undefined): Stall {
  const totalOf = (kind: string) =>
    scaled(
      number(new RegExp(`^${kind} .*total=(\\d+)$`, 'm').exec(text ?? '')?.[1]),
      nanosPerMicro,
    );
  return { someNs: totalOf('some'), fullNs: totalOf('full') };
}
