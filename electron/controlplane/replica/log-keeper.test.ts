import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import type { Entry } from '../raft/types.ts';
import { defaultLogLimits, LogKeeper } from './log-keeper.ts';

const limits = {
  ...defaultLogLimits,
  tailEntries: 20,
  stepEntries: 5,
  tailBytes: 10_000,
  stepBytes: 2_000,
};
const entry = (index: number, sizeBytes: number): Entry => ({
  index,
  term: 1,
  kind: 'command',
  data: new Uint8Array(sizeBytes),
});

describe('the log keeper', () => {
  it('forgets as soon as it may when it holds too much: nothing is appended that would remind it', () => {
    const keeper = new LogKeeper(
      { ...limits, logBytesMax: 12_500 },
      { index: 0, durable: 0, nowMs: 0 },
    );
    keeper.appended(Array.from({ length: 12 }, (_, i) => entry(i + 1, 1_000)));
    expect(keeper.isOverfull).toBe(true);
    // The state's disk is full: nothing may go, and the next try is put off.
    keeper.compacted(keeper.compactTo(0) ?? 0);
    expect([keeper.isOverfull, keeper.compactTo(0)]).toEqual([true, undefined]);
    keeper.compacted(keeper.compactTo(12) ?? 0);
    expect(keeper.isOverfull).toBe(false);
  });

  it('never forgets what is not durable, and holds a bounded tail when all is', () => {
    const step = fc.record({
      /** Entries replaced, then appended. */
      cut: fc.nat(3),
      sizes: fc.array(fc.nat(900), { maxLength: 4 }),
      durableLag: fc.nat(30),
      isHeldUp: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const keeper = new LogKeeper(limits, { index: 0, durable: 0, nowMs: 0 });
        let sizes: number[] = [];
        let [first, durable] = [1, 0];
        for (const { cut, sizes: added, durableLag, isHeldUp } of steps) {
          const uncommitted = Math.max(0, first + sizes.length - 1 - durable);
          const from = first + sizes.length - Math.min(cut, uncommitted);
          if (added.length > 0) sizes = sizes.slice(0, from - first);
          keeper.appended(added.map((size, i) => entry(from + i, size)));
          sizes.push(...added);
          const last = first + sizes.length - 1;
          durable = Math.max(durable, last - durableLag);
          const target = keeper.compactTo(durable);
          if (target !== undefined) {
            expect(target).toBeLessThanOrEqual(durable);
            expect(target).toBeGreaterThanOrEqual(first - 1);
            const forgotten = isHeldUp ? first - 1 : target;
            keeper.compacted(forgotten);
            sizes = sizes.slice(forgotten + 1 - first);
            first = forgotten + 1;
          }
          const held = sizes.reduce((sum, size) => sum + size + 100, 0);
          expect(keeper.sizeBytes).toBe(held);
        }
        keeper.appended(
          Array.from({ length: 200 }, (_, i) => entry(first + sizes.length + i, 100)),
        );
        const target = keeper.compactTo(first + sizes.length + 199);
        keeper.compacted(target ?? 0);
        expect(keeper.sizeBytes).toBeLessThanOrEqual(limits.tailBytes);
      }),
    );
  });

  it('keeps all that is not durable, however long that is', () => {
    const keeper = new LogKeeper(limits, { index: 0, durable: 0, nowMs: 0 });
    keeper.appended(Array.from({ length: 100 }, (_, i) => entry(i + 1, 0)));
    expect(keeper.compactTo(10)).toBe(10);
  });

  it('does not look again at each entry while somebody needs the old ones', () => {
    const keeper = new LogKeeper(limits, { index: 0, durable: 0, nowMs: 0 });
    let tries = 0;
    for (let index = 1; index <= 1_000; index++) {
      keeper.appended([entry(index, 1)]);
      if (keeper.compactTo(index) === undefined) continue;
      tries++;
      keeper.compacted(0);
    }
    expect(tries).toBeLessThan(1_000 / limits.stepEntries);
  });

  const flushes: readonly {
    name: string;
    entries: number;
    bytes: number;
    ms: number;
    want: boolean;
  }[] = [
    { name: 'nothing came', entries: 0, bytes: 0, ms: 1e9, want: false },
    { name: 'little came', entries: 4, bytes: 10, ms: 30 * 60_000 - 1, want: false },
    { name: 'many entries came', entries: 5, bytes: 1, ms: 0, want: true },
    { name: 'many bytes came', entries: 1, bytes: 2_000, ms: 0, want: true },
    { name: 'little came long ago', entries: 1, bytes: 1, ms: 30 * 60_000, want: true },
  ];
  for (const { name, entries, bytes, ms, want } of flushes)
    it(`${want ? 'has' : 'does not have'} the state made durable when ${name}`, () => {
      const keeper = new LogKeeper(limits, { index: 0, durable: 0, nowMs: 0 });
      keeper.appended(Array.from({ length: entries }, (_, i) => entry(i + 1, bytes)));
      expect(keeper.isFlushDue(entries, ms)).toBe(want);
      keeper.flushed(entries, ms);
      expect(keeper.isFlushDue(entries, ms)).toBe(false);
    });
});
