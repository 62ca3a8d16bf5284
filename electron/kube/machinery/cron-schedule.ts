// The five fields of a CronJob's schedule, with names of months and days, steps, ranges and the
// `@daily` forms; errors in the words of the parser that Kubernetes uses.
// Source: robfig/cron v3 parser.go.

/** Which values of each field match. */
export interface CronSchedule {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly daysOfMonth: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly daysOfWeek: ReadonlySet<number>;
  /** Of the two kinds of days both must match if one is `*`, else either will do. */
  readonly isAnyDayOfMonth: boolean;
  readonly isAnyDayOfWeek: boolean;
}

/** `@every 90s`: not by the calendar. */
export interface CronInterval {
  readonly intervalMs: number;
}

/** What is wrong, as `parseCronSchedule` throws it. */
export class CronScheduleError extends Error {}

interface Bounds {
  readonly low: number;
  readonly high: number;
  readonly names?: readonly string[];
}

const minutes: Bounds = { low: 0, high: 59 };
const hours: Bounds = { low: 0, high: 23 };
const daysOfMonth: Bounds = { low: 1, high: 31 };
const months: Bounds = {
  low: 1,
  high: 12,
  names: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
};
const daysOfWeek: Bounds = {
  low: 0,
  high: 6,
  names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'],
};

const descriptors: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

/** Throws CronScheduleError. A time zone in front (`TZ=…`) is taken off. */
export function parseCronSchedule(text: string): CronSchedule | CronInterval {
  if (text === '') throw new CronScheduleError('empty spec string');
  const spec = text.replace(/^(?:CRON_)?TZ=\S*\s*/, '').trim();
  if (spec.startsWith('@')) return parseDescriptor(spec);
  const fields = spec.split(/\s+/).filter((part) => part !== '');
  if (fields.length !== 5)
    throw new CronScheduleError(
      `expected exactly 5 fields, found ${fields.length}: [${fields.join(' ')}]`,
    );
  const [minute = '', hour = '', dayOfMonth = '', month = '', dayOfWeek = ''] = fields;
  return {
    minutes: parseField(minute, minutes),
    hours: parseField(hour, hours),
    daysOfMonth: parseField(dayOfMonth, daysOfMonth),
    months: parseField(month, months),
    daysOfWeek: parseField(dayOfWeek, daysOfWeek),
    isAnyDayOfMonth: isAny(dayOfMonth),
    isAnyDayOfWeek: isAny(dayOfWeek),
  };
}

const every = '@every ';
const durationUnits: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

function parseDescriptor(text: string): CronSchedule | CronInterval {
  const spec = descriptors[text];
  if (spec !== undefined) return parseCronSchedule(spec);
  if (!text.startsWith(every)) throw new CronScheduleError(`unrecognized descriptor: ${text}`);
  const duration = text.slice(every.length);
  const parts = [...duration.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)];
  const length = parts.reduce((sum, [part]) => sum + part.length, 0);
  if (length === 0 || length !== duration.length)
    throw new CronScheduleError(
      `failed to parse duration ${text}: time: invalid duration ${JSON.stringify(duration)}`,
    );
  const totalMs = parts.reduce(
    (sum, [, amount = '', unit = '']) => sum + Number(amount) * (durationUnits[unit] ?? 0),
    0,
  );
  return { intervalMs: Math.max(1000, Math.trunc(totalMs / 1000) * 1000) };
}

function isAny(text: string): boolean {
  return text.split(',').some((part) => /^[*?](?:\/1)?$/.test(part));
}

function parseField(text: string, bounds: Bounds): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(',').filter((entry) => entry !== '')) {
    const { start, end, step } = parseRange(part, bounds);
    for (let value = start; value <= end; value += step) values.add(value);
  }
  return values;
}

/** `*`, `5`, `1-5`, each with an optional step: a star with `/15`. */
function parseRange(text: string, bounds: Bounds): { start: number; end: number; step: number } {
  const [range = '', stepText, ...moreSteps] = text.split('/');
  const [low = '', high, ...moreEnds] = range.split('-');
  const isStar = low === '*' || low === '?';
  if (!isStar && moreEnds.length > 0) throw new CronScheduleError(`too many hyphens: ${text}`);
  const start = isStar ? bounds.low : parseValue(low, bounds);
  let end = isStar ? bounds.high : high === undefined ? start : parseValue(high, bounds);
  if (moreSteps.length > 0) throw new CronScheduleError(`too many slashes: ${text}`);
  const step = stepText === undefined ? 1 : parseNumber(stepText);
  // `5/15` means from 5 on.
  if (stepText !== undefined && !isStar && high === undefined) end = bounds.high;
  if (start < bounds.low)
    throw new CronScheduleError(
      `beginning of range (${start}) below minimum (${bounds.low}): ${text}`,
    );
  if (end > bounds.high)
    throw new CronScheduleError(`end of range (${end}) above maximum (${bounds.high}): ${text}`);
  if (start > end)
    throw new CronScheduleError(
      `beginning of range (${start}) beyond end of range (${end}): ${text}`,
    );
  if (step === 0) throw new CronScheduleError(`step of range should be a positive number: ${text}`);
  return { start, end, step };
}

function parseValue(text: string, { low, names = [] }: Bounds): number {
  const index = names.indexOf(text.toLowerCase());
  return index >= 0 ? low + index : parseNumber(text);
}

function parseNumber(text: string): number {
  if (!/^[+-]?\d+$/.test(text))
    throw new CronScheduleError(
      `failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  const value = Number(text);
  if (value < 0) throw new CronScheduleError(`negative number (${value}) not allowed: ${text}`);
  return value;
}
