// Durations in Go's form, `1h30m`. Source: Go time.ParseDuration.

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
