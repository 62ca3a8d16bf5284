// How long ago, as `kubectl get` prints it in AGE and RESTARTS. Pure; the reader gives the time.
// Source: kubernetes apimachinery pkg/util/duration/duration.go HumanDuration.

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;

/** Age of an RFC 3339 timestamp: `5m30s`, `<unknown>` when it is missing. */
export function age(timestamp: string | undefined, nowMs: number): string {
  const startMs = timestamp === undefined ? Number.NaN : Date.parse(timestamp);
  return Number.isNaN(startMs) ? '<unknown>' : humanDuration(nowMs - startMs);
}

/** Two units at most, coarser the longer it is: `119s`, `9m59s`, `3h5m`, `7d23h`, `2y120d`. */
export function humanDuration(durationMs: number): string {
  const seconds = Math.trunc(durationMs / secondMs);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 60 * 2) return `${seconds}s`;
  const minutes = Math.trunc(durationMs / minuteMs);
  if (minutes < 10) return units(minutes, 'm', seconds % 60, 's');
  if (minutes < 60 * 3) return `${minutes}m`;
  const hours = Math.trunc(durationMs / hourMs);
  if (hours < 8) return units(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (hours < 24 * 8) return units(days, 'd', hours % 24, 'h');
  if (hours < 24 * 365 * 2) return `${days}d`;
  const years = Math.trunc(days / 365);
  if (hours < 24 * 365 * 8) return units(years, 'y', days % 365, 'd');
  return `${years}y`;
}

function units(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
}
