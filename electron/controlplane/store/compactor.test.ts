import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { historyMs, sampleIntervalMs, startCompactor } from './compactor.ts';
import { openMemoryStore } from './memory-store.ts';
import { NoSpaceError, type Store } from './store.ts';

/** Lets everything that was started and waits for nothing outside come to its end. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

async function write(store: Store, count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await store.put(`k${await store.currentRevision()}`, new Uint8Array(), 0);
}

describe('startCompactor', () => {
  it('forgets what is older than five minutes, and nothing younger', async () => {
    const store = openMemoryStore();
    const clock = new ManualClock();
    await write(store, 3);
    const compactor = startCompactor({ store, clock, logger: silentLogger });
    await settle();
    const marks: number[] = [];
    for (let minute = 1; minute <= 8; minute++) {
      await write(store, 1);
      clock.advance(sampleIntervalMs);
      await settle();
      marks.push(store.compactedRevision());
    }
    // Revision 3 is five minutes old in the fifth minute, each further one a minute later.
    expect(marks).toEqual([0, 0, 0, 0, 3, 4, 5, 6]);
    compactor.stop();
  });

  it('does not touch a store that nobody writes to', async () => {
    const clock = new ManualClock();
    const marks: number[] = [];
    const store = {
      currentRevision: () => Promise.resolve(7),
      compactedRevision: () => marks.at(-1) ?? 0,
      compact: (revision: number) => Promise.resolve(void marks.push(revision)),
    };
    startCompactor({ store, clock, logger: silentLogger });
    for (let minute = 0; minute < 20; minute++) {
      await settle();
      clock.advance(sampleIntervalMs);
    }
    expect(marks).toEqual([7]);
  });

  it('tries again after a failure, and says what to do', async () => {
    const clock = new ManualClock();
    const errors: unknown[] = [];
    let isFull = true;
    let compacted = 0;
    const store = {
      currentRevision: () => Promise.resolve(7),
      compactedRevision: () => compacted,
      compact(revision: number) {
        if (isFull) return Promise.reject(new NoSpaceError('full'));
        compacted = revision;
        return Promise.resolve();
      },
    };
    const logger = { ...silentLogger, error: (_: string, fields = {}) => void errors.push(fields) };
    startCompactor({ store, clock, logger });
    await settle();
    clock.advance(historyMs);
    await settle();
    expect(errors).toEqual([
      { error: expect.any(NoSpaceError), remedy: 'free some space on the disk' },
    ]);
    isFull = false;
    clock.advance(historyMs);
    await settle();
    expect(compacted).toBe(7);
  });

  it('ends with its signal, and with the store', async () => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const store = openMemoryStore();
    startCompactor({ store, clock, logger: silentLogger, signal: abort.signal });
    await settle();
    expect(clock.nextTimerMs()).toBe(sampleIntervalMs);
    abort.abort();
    expect(clock.nextTimerMs()).toBeUndefined();

    startCompactor({ store, clock, logger: silentLogger });
    await settle();
    await store.close();
    clock.advance(sampleIntervalMs);
    await settle();
    expect(clock.nextTimerMs()).toBeUndefined();
  });
});
