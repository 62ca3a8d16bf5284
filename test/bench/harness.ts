// What every benchmark is made of: samples of ours and of a peer, taken in turn in one run, and rows
// that say median, spread, ratio and whether the goal is met. Machines are noisy: ratios count.
import { cpus, totalmem } from 'node:os';

/** What the value, or its ratio to the peer's, should be at most or at least. */
export interface Goal {
  readonly of: 'value' | 'ratio';
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface Row {
  readonly name: string;
  /** Median of our samples. */
  readonly value: number;
  readonly unit: string;
  /** Smallest and largest of our samples. */
  readonly spread: readonly [min: number, max: number];
  /** The peer's name and median, where there is a peer. */
  readonly peer?: { readonly name: string; readonly value: number };
  /** Ours / the peer's: the median of the pairs' ratios, when the samples are pairs. */
  readonly ratio?: number;
  readonly ratioSpread?: readonly [min: number, max: number];
  readonly goal?: Goal;
  readonly met?: boolean;
}

export interface Report {
  readonly name: string;
  readonly machine: string;
  readonly date: string;
  readonly rows: readonly Row[];
}

export interface BenchmarkOptions {
  readonly say: (text: string) => void;
  /** Names of parts; none: all of them. */
  readonly only: readonly string[];
  /** Samples of ours and the peer's, where a benchmark leaves the choice. */
  readonly pairs: number | undefined;
}

export interface Benchmark {
  readonly name: string;
  readonly about: string;
  /** What can be run alone. */
  readonly parts?: readonly string[];
  readonly run: (options: BenchmarkOptions) => Promise<readonly Row[]>;
}

export interface RowOptions {
  readonly unit: string;
  readonly goal?: Goal;
  readonly peer?: { readonly name: string; readonly samples: readonly number[] };
}

export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1));
  const value = sorted[index];
  if (value === undefined) throw new Error('a benchmark took no samples');
  return value;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** One row of a report; `samples` are ours, in `unit`, taken in turn with the peer's. */
export function row(name: string, samples: readonly number[], options: RowOptions): Row {
  const { unit, goal, peer } = options;
  const value = median(samples);
  const ratios = peer === undefined ? undefined : ratiosOf(samples, peer.samples);
  const ratio = ratios && median(ratios);
  return {
    name,
    value,
    unit,
    spread: spreadOf(samples),
    ...(peer !== undefined && ratios !== undefined && ratio !== undefined
      ? {
          peer: { name: peer.name, value: median(peer.samples) },
          ratio,
          ratioSpread: spreadOf(ratios),
        }
      : {}),
    ...(goal === undefined ? {} : { goal, met: isMet(goal, value, ratio) }),
  };
}

/** Of each pair, which the machine's moods touch less; of the medians when there are no pairs. */
function ratiosOf(samples: readonly number[], peers: readonly number[]): readonly number[] {
  if (samples.length !== peers.length) return [median(samples) / median(peers)];
  return samples.map((sample, i) => sample / (peers[i] ?? Number.NaN));
}

function spreadOf(samples: readonly number[]): readonly [number, number] {
  return [Math.min(...samples), Math.max(...samples)];
}

function isMet(goal: Goal, value: number, ratio: number | undefined): boolean {
  const measured = goal.of === 'value' ? value : ratio;
  if (measured === undefined) throw new Error('a goal for a ratio needs a peer');
  return measured <= (goal.atMost ?? Infinity) && measured >= (goal.atLeast ?? -Infinity);
}

export function machine(): string {
  const [cpu] = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} x ${cpu?.model ?? 'unknown'}, ${gib} GiB, ${process.platform}, Node ${process.versions.node}`;
}

/** The report as an aligned table. */
export function table(report: Report): string {
  const head = ['', 'median', 'min–max', 'peer', 'ratio', 'min–max', 'goal', ''];
  const lines = report.rows.map((r) => [
    r.name,
    `${figure(r.value)} ${r.unit}`,
    `${figure(r.spread[0])}–${figure(r.spread[1])}`,
    r.peer === undefined ? '' : `${figure(r.peer.value)} (${r.peer.name})`,
    r.ratio === undefined ? '' : `x${r.ratio.toFixed(2)}`,
    r.ratioSpread === undefined ? '' : r.ratioSpread.map((one) => one.toFixed(2)).join('–'),
    goalText(r.goal),
    r.met === undefined ? '' : r.met ? 'met' : 'MISSED',
  ]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...lines].map((l) => l[column]?.length ?? 0)),
  );
  const text = [head, ...lines].map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [`${report.name} · ${report.date} · ${report.machine}`, ...text, ''].join('\n');
}

function goalText(goal: Goal | undefined): string {
  if (goal === undefined) return '';
  const mark = goal.of === 'ratio' ? 'x' : '';
  return goal.atMost === undefined
    ? `≥ ${mark}${figure(goal.atLeast ?? 0)}`
    : `≤ ${mark}${figure(goal.atMost)}`;
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
