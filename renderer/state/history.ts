// The past of a machine or a copy, as its node keeps it (agent/metrics/history.ts), checked at the
// edge, and put before what the page saw itself. Pure.
import type { Point } from './series.ts';

export interface RangeChoice {
  readonly range: '1h' | '24h' | '14d';
  readonly label: string;
  /** `last hour`, for those who hear the chart. */
  readonly words: string;
  readonly spanMs: number;
  /** How old the past may be before it is asked for again. */
  readonly refreshMs: number;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
export const rangeChoices: readonly RangeChoice[] = [
  { range: '1h', label: '1 hour', words: 'last hour', spanMs: hourMs, refreshMs: 2 * minuteMs },
  {
    range: '24h',
    label: '24 hours',
    words: 'last 24 hours',
    spanMs: 24 * hourMs,
    refreshMs: 4 * minuteMs,
  },
  {
    range: '14d',
    label: '14 days',
    words: 'last 14 days',
    spanMs: 14 * 24 * hourMs,
    refreshMs: 4 * minuteMs,
  },
];
export type Range = RangeChoice['range'];

export function choiceOf(range: Range): RangeChoice {
  const found = rangeChoices.find((choice) => choice.range === range);
  if (found === undefined) throw new Error(`no range ${range}`);
  return found;
}

export interface Past {
  readonly cpu: readonly Point[];
  readonly memory: readonly Point[];
}
export const noPast: Past = { cpu: [], memory: [] };

/** By series: `node`, or `NAMESPACE/NAME` of a pod. Nothing for an answer that is no history. */
export function parseHistory(value: unknown): ReadonlyMap<string, Past> {
  if (!isRecord(value) || !isRecord(value['series'])) return new Map();
  const { stepMs, startMs } = value;
  if (typeof stepMs !== 'number' || typeof startMs !== 'number') return new Map();
  const points = (column: unknown): Point[] => {
    if (!Array.isArray(column)) return [];
    // A slot's mean stands in its middle.
    return column.map((known: unknown, slot) => ({
      timeMs: startMs + (slot + 0.5) * stepMs,
      value: typeof known === 'number' ? known : Number.NaN,
    }));
  };
  const series = Object.entries(value['series']).filter(([, one]) => isRecord(one));
  return new Map(
    series.map(([name, one]) => {
      const columns = one as Record<string, unknown>;
      const cpu = points(columns['cpuNanoCores']);
      return [name, { cpu, memory: points(columns['memoryWorkingSetBytes']) }];
    }),
  );
}

/** What the node kept, until where the page's own finer points begin. */
export function withPast(past: readonly Point[], live: readonly Point[]): readonly Point[] {
  const [first] = live;
  if (first === undefined) return past;
  const before = past.filter(({ timeMs }) => timeMs < first.timeMs);
  // The slot that is not over yet is unknown to the node, and known here.
  while (before.length > 0 && Number.isNaN(before.at(-1)?.value)) before.pop();
  return [...before, ...live];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
