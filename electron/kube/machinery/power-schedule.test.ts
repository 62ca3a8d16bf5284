import { describe, expect, it } from 'vitest';
import { isAsleepAt, nextChangeMs, parseSchedule } from './power-schedule.ts';

const night = '01:00-07:00 Europe/Berlin';
const next = (text: string, at: string): string => {
  const schedule = parseSchedule(text)!;
  const atMs = Date.parse(at);
  const state = isAsleepAt(schedule, atMs) ? 'asleep' : 'awake';
  return `${state} until ${new Date(nextChangeMs(schedule, atMs)).toISOString().slice(0, 16)}Z`;
};

describe('when a machine is to be asleep', () => {
  it.each([
    [
      'in winter an hour ahead of UTC',
      night,
      '2026-01-10T00:30:00Z',
      'asleep until 2026-01-10T06:00Z',
    ],
    ['in summer two', night, '2026-07-10T04:59:59Z', 'asleep until 2026-07-10T05:00Z'],
    ['by day', night, '2026-07-10T05:00:00Z', 'awake until 2026-07-10T23:00Z'],
    ['over midnight', '22:30-06:15 UTC', '2026-03-01T23:00:00Z', 'asleep until 2026-03-02T06:15Z'],
    [
      'without a zone by UTC',
      '22:00-23:00',
      '2026-03-01T22:10:00Z',
      'asleep until 2026-03-01T23:00Z',
    ],
    // The clock goes from 02:00 to 03:00: that night has an hour less.
    ['in the night that is short', night, '2026-03-29T00:10:00Z', 'asleep until 2026-03-29T05:00Z'],
    [
      'to a time that night has not',
      '01:00-02:30 Europe/Berlin',
      '2026-03-29T00:10:00Z',
      'asleep until 2026-03-29T01:00Z',
    ],
    [
      'from a time that night has not',
      '02:30-06:00 Europe/Berlin',
      '2026-03-29T00:30:00Z',
      'awake until 2026-03-29T01:00Z',
    ],
    // From 03:00 back to 02:00.
    ['in the night that is long', night, '2026-10-25T00:10:00Z', 'asleep until 2026-10-25T06:00Z'],
    [
      'to a time that night has twice',
      '01:00-02:30 Europe/Berlin',
      '2026-10-24T23:30:00Z',
      'asleep until 2026-10-25T00:30Z',
    ],
  ])('%s', (_, text, at, want) => {
    expect(next(text, at)).toBe(want);
  });

  it.each(['', '1:00-7:00', '01:00-07:00 Mars/Olympus', '25:00-07:00', '07:00-07:00', 'always'])(
    '"%s" says nothing',
    (text) => {
      expect(parseSchedule(text)).toBeUndefined();
    },
  );
});
