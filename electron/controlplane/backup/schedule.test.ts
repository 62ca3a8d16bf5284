import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  backupName,
  backupsToForget,
  backupTimeMs,
  defaultKeep,
  isTooOld,
  nextBackupMs,
} from './schedule.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const noon = Date.parse('2026-11-25T12:00:00Z');

describe('the next backup', () => {
  const cases = [
    { name: 'is due at once when there is none', success: undefined, failure: undefined, want: 0 },
    { name: 'comes a day after the last', success: noon, failure: undefined, want: noon + dayMs },
    {
      name: 'is tried again half an hour after one that failed',
      success: noon - 2 * dayMs,
      failure: noon,
      want: noon + hourMs / 2,
    },
    {
      name: 'is not tried before it is due because one by hand failed',
      success: noon - hourMs,
      failure: noon,
      want: noon - hourMs + dayMs,
    },
  ];
  for (const { name, success, failure, want } of cases)
    it(name, () =>
      expect(nextBackupMs({ everyMs: dayMs, lastSuccessMs: success, lastFailureMs: failure })).toBe(
        want,
      ),
    );

  it('is missed when three did not come', () => {
    const times = { everyMs: dayMs, lastSuccessMs: noon, lastFailureMs: undefined };
    expect([isTooOld(times, noon + 3 * dayMs), isTooOld(times, noon + 3 * dayMs + 1)]).toEqual([
      false,
      true,
    ]);
    expect(isTooOld({ ...times, lastSuccessMs: undefined }, noon)).toBe(false);
  });
});

describe('old backups', () => {
  const daily = (count: number) =>
    Array.from({ length: count }, (_, days) => ({ name: `${days}`, timeMs: noon - days * dayMs }));

  it('stay of the last days, weeks and months', () => {
    const all = daily(400);
    const forgotten = new Set(backupsToForget(all, defaultKeep));
    const kept = all.filter(({ name }) => !forgotten.has(name)).map(({ name }) => Number(name));
    // Wednesday: a week of days, the Sundays before, the last days of months.
    expect(kept).toEqual([
      0, 1, 2, 3, 4, 5, 6, 10, 17, 25, 56, 86, 117, 148, 178, 209, 239, 270, 298, 329,
    ]);
  });

  it('stay when nothing came after them, however old', () => {
    const old = [{ name: 'old', timeMs: 0 }];
    expect(backupsToForget(old, { last: 0, daily: 0, weekly: 0, monthly: 0 })).toEqual([]);
  });

  it('go in the same way whether one asks each day or once', () => {
    const keep = { last: 1, daily: 3, weekly: 2, monthly: 2 };
    let kept: readonly { name: string; timeMs: number }[] = [];
    for (const backup of daily(200).toReversed()) {
      kept = [...kept, backup];
      const forgotten = new Set(backupsToForget(kept, keep));
      kept = kept.filter(({ name }) => !forgotten.has(name));
    }
    expect(kept.map(({ name }) => name)).toEqual(['25', '3', '2', '1', '0']);
    expect(backupsToForget(daily(200), keep)).toHaveLength(195);
  });

  it('never go with the newest, and are bounded', () => {
    const time = fc.integer({ min: 0, max: 4_000_000_000_000 });
    fc.assert(
      fc.property(fc.array(time, { minLength: 1 }), (times) => {
        const all = times.map((timeMs, index) => ({ name: `${index}`, timeMs }));
        const forgotten = backupsToForget(all, defaultKeep);
        const newest = Math.max(...times);
        expect(all.some(({ name, timeMs }) => timeMs === newest && !forgotten.includes(name))).toBe(
          true,
        );
        expect(all.length - forgotten.length).toBeLessThanOrEqual(3 + 7 + 4 + 12);
      }),
    );
  });

  it('are known by their names, and nothing else is', () => {
    expect(backupName('home', noon)).toBe('home/cluster-20261125T120000Z.age');
    expect(backupTimeMs(backupName('home', noon))).toBe(noon);
    for (const name of [
      'home/photos.age',
      'cluster-20261125T120000Z.age',
      'home/cluster-20269925T120000Z.age',
    ])
      expect(backupTimeMs(name)).toBeUndefined();
  });
});
