// When a machine is to be asleep by itself, as an annotation of its Node says: `01:00-07:00 Europe/Berlin`, by the clock on the wall there.
// Pure. What follows is done once at each change: who wakes it in between is not overruled.
import type { Node } from '../api/core.ts';

/** `01:00-07:00 Europe/Berlin`: asleep each day from the first to the second. */
export const scheduleAnnotation = 'flotilla.dev/asleep-hours';
/** `true`: it is woken when pods wait that would fit it. */
export const wakeForPodsAnnotation = 'flotilla.dev/wake-for-pods';
/** RFC 3339, by the control plane: when the schedule is heeded next. */
export const nextChangeAnnotation = 'flotilla.dev/asleep-hours-next';

export interface PowerSchedule {
  /** Minutes of the day. */
  readonly from: number;
  readonly to: number;
  readonly timeZone: string;
}

/** Undefined: it can't be read, or is never over. */
export function parseSchedule(text: string): PowerSchedule | undefined {
  const [, fromHour, fromMinute, toHour, toMinute, timeZone = 'UTC'] =
    /^(\d\d):(\d\d)-(\d\d):(\d\d)(?: (\S+))?$/.exec(text.trim()) ?? [];
  const [from, to] = [minutes(fromHour, fromMinute), minutes(toHour, toMinute)];
  if (from === undefined || to === undefined || from === to) return undefined;
  if (!isTimeZone(timeZone)) return undefined;
  return { from, to, timeZone };
}

export function scheduleOf({ metadata }: Node): PowerSchedule | undefined {
  return parseSchedule(metadata.annotations?.[scheduleAnnotation] ?? '');
}

export function isAsleepAt(schedule: PowerSchedule, atMs: number): boolean {
  return isWithin(schedule, minuteOfDay(formatterFor(schedule.timeZone), atMs));
}

const minuteMs = 60_000;
/** A day, and the hour that it may be longer by, twice. */
const furthestMinutes = 26 * 60;

/** The first full minute at which it is the other way round: days have 23 hours, or 25, now and then. */
export function nextChangeMs(schedule: PowerSchedule, nowMs: number): number {
  const format = formatterFor(schedule.timeZone);
  const isNow = isWithin(schedule, minuteOfDay(format, nowMs));
  const firstMs = (Math.floor(nowMs / minuteMs) + 1) * minuteMs;
  for (let minute = 0; minute < furthestMinutes; minute++) {
    const atMs = firstMs + minute * minuteMs;
    if (isWithin(schedule, minuteOfDay(format, atMs)) !== isNow) return atMs;
  }
  return firstMs + furthestMinutes * minuteMs;
}

function isWithin({ from, to }: PowerSchedule, minute: number): boolean {
  return from < to ? from <= minute && minute < to : from <= minute || minute < to;
}

function minuteOfDay(format: Intl.DateTimeFormat, atMs: number): number {
  const [hour = 0, minute = 0] = format.format(atMs).split(':').map(Number);
  return hour * 60 + minute;
}

function formatterFor(timeZone: string): Intl.DateTimeFormat {
  const options = { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
  return new Intl.DateTimeFormat('en-GB', options);
}

function isTimeZone(text: string): boolean {
  try {
    formatterFor(text);
    return true;
  } catch {
    return false;
  }
}

function minutes(hour = '', minute = ''): number | undefined {
  const [h, m] = [Number(hour), Number(minute)];
  return hour !== '' && h < 24 && m < 60 ? h * 60 + m : undefined;
}
