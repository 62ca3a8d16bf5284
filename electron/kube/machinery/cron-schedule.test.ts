import { describe, expect, it } from 'vitest';
import { parseCronSchedule } from './cron-schedule.ts';

const fields = (text: string) => {
  const schedule = parseCronSchedule(text);
  if ('intervalMs' in schedule) return schedule;
  const { minutes, hours, daysOfMonth, months, daysOfWeek } = schedule;
  return [minutes, hours, daysOfMonth, months, daysOfWeek].map((set) =>
    [...set].sort((a, b) => a - b).join(),
  );
};
const range = (low: number, high: number) =>
  Array.from({ length: high - low + 1 }, (_, index) => low + index).join();

describe('a schedule', () => {
  const all = { hours: range(0, 23), days: range(1, 31), months: range(1, 12), week: range(0, 6) };
  const cases: readonly (readonly [text: string, want: unknown])[] = [
    ['*/20 0-2 1,15 * *', ['0,20,40', '0,1,2', '1,15', all.months, all.week]],
    ['5/25 * * JAN-mar Sun', ['5,30,55', all.hours, all.days, '1,2,3', '0']],
    ['0 0-23/8 ? * ?', ['0', '0,8,16', all.days, all.months, all.week]],
    ['@weekly', ['0', '0', all.days, all.months, '0']],
    ['@every 1h30m', { intervalMs: 5_400_000 }],
    ['CRON_TZ=UTC @hourly', ['0', all.hours, all.days, all.months, all.week]],
  ];
  it.each(cases)('%s', (text, want) => expect(fields(text)).toEqual(want));

  it('tells whether a day may be any', () => {
    expect(parseCronSchedule('0 0 * * 1')).toMatchObject({
      isAnyDayOfMonth: true,
      isAnyDayOfWeek: false,
    });
  });
});

describe('what is no schedule', () => {
  const cases: readonly (readonly [text: string, want: string])[] = [
    ['', 'empty spec string'],
    ['1 2 3', 'expected exactly 5 fields, found 3: [1 2 3]'],
    ['60 * * * *', 'end of range (60) above maximum (59): 60'],
    ['* * 0 * *', 'beginning of range (0) below minimum (1): 0'],
    ['* * * * 7', 'end of range (7) above maximum (6): 7'],
    ['5-1 * * * *', 'beginning of range (5) beyond end of range (1): 5-1'],
    ['*/0 * * * *', 'step of range should be a positive number: */0'],
    ['1-2-3 * * * *', 'too many hyphens: 1-2-3'],
    ['1/2/3 * * * *', 'too many slashes: 1/2/3'],
    ['x * * * *', 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'],
    ['@never', 'unrecognized descriptor: @never'],
    ['@every soon', 'failed to parse duration @every soon: time: invalid duration "soon"'],
  ];
  it.each(cases)('%j', (text, want) => expect(() => parseCronSchedule(text)).toThrow(want));
});
