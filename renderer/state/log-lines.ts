// Lines of several followed logs in one list: parse `timestamp text`, keep time order, stay bounded.
// Pure. Each stream's own order is kept even when its clock steps back.

export interface LogLine {
  /** Grows by one per line received: a stable key. */
  readonly id: number;
  readonly time: string;
  readonly source: string;
  readonly text: string;
}

export const logLinesMax = 5000;

/** `2026-11-23T13:41:54.123456789Z text`, as `timestamps=true` prefixes it. */
export function parseLogLine(raw: string): { time: string; text: string } {
  const space = raw.indexOf(' ');
  const head = space < 0 ? raw : raw.slice(0, space);
  if (!/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(head)) return { time: '', text: raw };
  return { time: head, text: space < 0 ? '' : stripEscapes(raw.slice(space + 1)) };
}

/** Colours of terminals are noise here. */
export function stripEscapes(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/\u001B\[[0-9;?]*[ -/]*[@-~]/g, '');
}

/** Adds `fresh` (in order per source) and drops the oldest past `max`. */
export function mergeLogLines(
  lines: readonly LogLine[],
  fresh: readonly LogLine[],
  max = logLinesMax,
): LogLine[] {
  const merged = [...lines];
  for (const line of fresh) {
    let at = merged.length;
    while (at > 0 && isAfter(merged[at - 1], line)) at--;
    merged.splice(at, 0, line);
  }
  return merged.length > max ? merged.slice(merged.length - max) : merged;
}

function isAfter(earlier: LogLine | undefined, line: LogLine): boolean {
  if (earlier === undefined || earlier.source === line.source) return false;
  return line.time !== '' && earlier.time > line.time;
}

export function filterLogLines(lines: readonly LogLine[], search: string): readonly LogLine[] {
  const wanted = search.trim().toLowerCase();
  return wanted === '' ? lines : lines.filter(({ text }) => text.toLowerCase().includes(wanted));
}
