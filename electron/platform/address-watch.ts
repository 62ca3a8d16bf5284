// Hears of every address and route that comes or goes on this machine, by `ip monitor`: a process that sleeps in
// the kernel. Where there is none, who asks for it is called every so often instead.
import { spawn } from 'node:child_process';
import { delay, type Clock } from '#kube/base/clock.ts';
import { boundToUs } from './bound-process.ts';

export interface AddressWatchOptions {
  /** Where nothing tells of changes; left out: there is a look from elsewhere. */
  readonly lookEveryMs?: number;
}

/** Several come together: a new lease is one address out, one in, and their routes. */
const calmMs = 50;
const againMs = 60_000;

export function addressWatch(clock: Clock, { lookEveryMs }: AddressWatchOptions = {}) {
  return async (onChange: () => void, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await watchOnce(clock, onChange, signal);
      await delay(clock, lookEveryMs ?? againMs, signal);
      if (lookEveryMs !== undefined && !signal.aborted) onChange();
    }
  };
}

/** Resolves when the program ends. */
function watchOnce(clock: Clock, onChange: () => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const args = ['-4', '-oneline', 'monitor', 'address', 'route'];
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    const child = spawn(...boundToUs('ip', args), { stdio, signal });
    let isTold = false;
    child.stdout.on('data', () => {
      if (isTold) return;
      isTold = true;
      clock.timer(calmMs, () => {
        isTold = false;
        if (!signal.aborted) onChange();
      });
    });
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
}
