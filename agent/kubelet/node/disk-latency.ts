// How long the disk takes to keep what is written: measured at the start, and some times a day, since
// it costs a write. Slow once may be somebody else's doing; slow twice is the disk.
import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import { median, slowFlushMs } from './machine-conditions.ts';

export interface DiskLatencyDeps {
  readonly clock: Clock;
  /** Milliseconds of one flush. Throws when it can't write. */
  readonly measure: () => Promise<number>;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

const againMs = 60_000;
const everyMs = 6 * 3_600_000;
const flushes = 5;
const blockBytes = 4096;

export class DiskLatency {
  readonly #deps: DiskLatencyDeps;
  #flushMs: number | undefined;

  constructor(deps: DiskLatencyDeps) {
    this.#deps = deps;
  }

  /** Undefined until measured. */
  flushMs(): number | undefined {
    return this.#flushMs;
  }

  /** Runs until the signal aborts. */
  async run(): Promise<void> {
    const { clock, measure, onChange, signal } = this.#deps;
    while (!signal.aborted) {
      // A disk that can't be written to is told by other means.
      let flushMs = await measure().catch(() => undefined);
      if (flushMs !== undefined && flushMs > slowFlushMs) {
        await delay(clock, againMs, signal);
        if (signal.aborted) return;
        const second = await measure().catch(() => undefined);
        flushMs = Math.min(flushMs, second ?? flushMs);
      }
      if (signal.aborted) return;
      if (flushMs !== undefined) {
        this.#flushMs = flushMs;
        onChange();
      }
      await delay(clock, everyMs, signal);
    }
  }
}

/** The middle of some flushes of one block, in milliseconds. Leaves nothing behind. */
export async function measureFlush(directory: string, clock: Clock): Promise<number> {
  const name = path.join(directory, '.flush-test');
  const file = await open(name, 'w');
  try {
    const times: number[] = [];
    const block = Buffer.alloc(blockBytes, 1);
    for (let turn = 0; turn < flushes; turn++) {
      await file.write(block, 0, blockBytes, 0);
      const beganMs = clock.monotonicMs();
      await file.datasync();
      times.push(clock.monotonicMs() - beganMs);
    }
    return median(times) ?? 0;
  } finally {
    await file.close();
    await rm(name, { force: true });
  }
}
