// Pure: what is wrong with a machine that a person can put right, as conditions of its Node, in words
// and with what to do. Kubernetes has none of these; names and form are as node-problem-detector's.

export interface NodeVerdict {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

/** `/proc/cgroups` and `/sys/fs/cgroup/cgroup.controllers`; '' where there is no such file. */
export interface CgroupFiles {
  readonly legacy: string;
  readonly unified: string;
  /** The machine's, '' if it tells none: `/proc/device-tree/model`. */
  readonly model: string;
}

export function memoryLimitsVerdict({ legacy, unified, model }: CgroupFiles): NodeVerdict {
  const type = 'MemoryLimitsNotEnforced';
  const row = legacy.split('\n').find((line) => line.startsWith('memory\t'));
  const isOn =
    unified === '' ? row?.split('\t')[3]?.trim() === '1' : unified.split(/\s+/).includes('memory');
  if (isOn)
    return {
      type,
      status: 'False',
      reason: 'MemoryCgroupEnabled',
      message: 'the kernel enforces limits of memory',
    };
  const toDo = model.startsWith('Raspberry Pi')
    ? 'add cgroup_enable=memory cgroup_memory=1 to the end of the one line of /boot/firmware/cmdline.txt (/boot/cmdline.txt before Debian 12) and restart the machine'
    : "start the kernel with cgroup_enable=memory and without cgroup_disable=memory (in the boot loader's settings), then restart the machine";
  return {
    type,
    status: 'True',
    reason: 'MemoryCgroupDisabled',
    message: `the memory cgroup is switched off in this machine's kernel: an app that takes more memory than its limit is not stopped, and how much each app uses is not known. To switch it on, ${toDo}`,
  };
}

/** Off by more than this is told; by less than half of it, no longer. */
export const clockSkewMs = 5_000;

/** `skewMs`: how far this machine is ahead of the API server's. */
export function clockVerdict(skewMs: number, wasSkewed: boolean): NodeVerdict {
  const type = 'ClockSkew';
  if (Math.abs(skewMs) <= (wasSkewed ? clockSkewMs / 2 : clockSkewMs))
    return {
      type,
      status: 'False',
      reason: 'ClockAgrees',
      message: "this machine's clock agrees with the cluster's",
    };
  const amount = duration(Math.abs(skewMs));
  return {
    type,
    status: 'True',
    reason: skewMs > 0 ? 'ClockAhead' : 'ClockBehind',
    message: `this machine's clock is ${amount} ${skewMs > 0 ? 'ahead of' : 'behind'} the cluster's: certificates and tokens may seem expired or not yet valid, and times in logs are wrong. Turn on time synchronisation on both machines (sudo timedatectl set-ntp true), and see that they reach a time server`,
  };
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const units = [
    [86_400, 'days'],
    [3_600, 'hours'],
    [60, 'minutes'],
  ] as const;
  for (const [size, name] of units)
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${name}`;
  return `${seconds} seconds`;
}

/** A flush of a good memory card takes 10 ms, of an SSD less than 5. */
export const slowFlushMs = 100;

export function diskVerdict(flushMs: number, directory: string): NodeVerdict {
  const type = 'SlowDisk';
  const rounded = Math.round(flushMs);
  if (flushMs <= slowFlushMs)
    return {
      type,
      status: 'False',
      reason: 'DiskFlushesFast',
      // Without the figure: it differs each time, and would be written each time.
      message: `the disk below ${directory} keeps what is written in good time`,
    };
  return {
    type,
    status: 'True',
    reason: 'DiskFlushesSlowly',
    message: `the disk below ${directory} takes ${rounded} ms to keep what is written (${slowFlushMs} is slow): apps with databases will be sluggish, and the cluster's state should not be kept here. A worn or cheap memory card is the usual cause: use an SSD, or another card`,
  };
}

/** The middle one of an odd number, the lower of the two in the middle else; undefined of none. */
export function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
