// What the kernel says a process used.
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second, as Linux gives them to user space on every platform we run on. */
const ticksPerSecond = 100;

/** User and system time so far, in milliseconds, to 10 ms. */
export function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command's name is in brackets and may hold spaces: fields count from behind it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

/** On a processor, in milliseconds, by the scheduler's own clock; of threads that live. */
export function cpuMsOfThreads(pid: number): number {
  const spentMs = readdirSync(`/proc/${pid}/task`).map((thread) => {
    try {
      const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
      return Number(text.split(' ', 1)[0]) / 1e6;
    } catch {
      // It ended since they were listed.
      return 0;
    }
  });
  return spentMs.reduce((sum, ms) => sum + ms, 0);
}

export function residentMb(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1]) / 1024;
}
