// Durations in Go's form, `1h30m`, and times and durations as texts. Source: Go time.ParseDuration.
import type { Duration } from '@marcbachmann/cel-js/evaluator';

const nanosOf: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds; undefined for what is no duration. */
export function parseDuration(text: string): bigint | undefined {
  const [, sign = '', rest = ''] = /^([-+]?)(.+)$/.exec(text) ?? [];
  if (rest === '0') return 0n;
  const parts = [...rest.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)];
  if (rest === '' || parts.map(([whole]) => whole).join('') !== rest) return undefined;
  let nanos = 0;
  for (const [, count = '', unit = ''] of parts) nanos += Number(count) * (nanosOf[unit] ?? 0);
  if (!Number.isFinite(nanos)) return undefined;
  return BigInt(Math.round(nanos)) * (sign === '-' ? -1n : 1n);
}

/** As `string()` gives it: in seconds, `3600s`. */
export function durationText({ seconds, nanos }: Duration): string {
  const isNegative = seconds < 0n || nanos < 0;
  const whole = seconds < 0n ? -seconds : seconds;
  const fraction = String(Math.abs(nanos)).padStart(9, '0').replace(/0+$/, '');
  return `${isNegative ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}s`;
}

/** RFC 3339, with only as many digits after the second as there are. */
export function timeText(time: Date): string {
  return time
    .toISOString()
    .replace(/\.(\d*?)0*Z$/, (_, digits: string) => (digits === '' ? 'Z' : `.${digits}Z`));
}
