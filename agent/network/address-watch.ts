// Hears of every address and route that comes or goes on this machine, by `ip monitor`: a process that sleeps in
// the kernel. Where there is none, the agent's own heartbeats have to do.
import { spawn } from 'node:child_process';
import { delay, type Clock } from '#kube/base/clock.ts';
import { boundToUs } from '../run-command.ts';

/** Several come together: a new lease is one address out, one in, and their routes. */
const calmMs = 50;
const againMs = 60_000;

export function addressWatch(clock: Clock) {
  return (onChange: () => void, signal: AbortSignal): void => void watch(clock, onChange, signal);
}

async function watch(clock: Clock, onChange: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await watchOnce(clock, onChange, signal);
    await delay(clock, againMs, signal);
  }
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
