// Pure: Prometheus' text format 0.0.4.
// Source: prometheus docs/instrumenting/exposition_formats.md.

export type Labels = Readonly<Record<string, string>>;

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly (readonly [Labels, number | undefined])[];
  /** When the values were true, milliseconds since the epoch; left out: when they are read. */
  readonly atMs?: number | undefined;
}

/** Upper bounds in seconds, and for each set of labels what was seen. */
export interface HistogramMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'histogram';
  readonly bounds: readonly number[];
  readonly series: readonly (readonly [Labels, HistogramValue])[];
}

export interface HistogramValue {
  /** How many fell under each bound, and not under the one before. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

/** Metrics without a single known value are left out. */
export function exposition(metrics: readonly (Metric | HistogramMetric)[]): string {
  let text = '';
  for (const metric of metrics) {
    const lines = metric.type === 'histogram' ? histogramLines(metric) : plainLines(metric);
    if (lines === '') continue;
    const { name, help, type } = metric;
    text += `# HELP ${name} ${escapedHelp(help)}\n# TYPE ${name} ${type}\n${lines}`;
  }
  return text;
}

function plainLines({ name, samples, atMs }: Metric): string {
  const time = atMs === undefined ? '' : ` ${Math.round(atMs)}`;
  let lines = '';
  for (const [labels, value] of samples)
    if (value !== undefined) lines += `${name}${labelText(labels)} ${numberText(value)}${time}\n`;
  return lines;
}

function histogramLines({ name, bounds, series }: HistogramMetric): string {
  let lines = '';
  for (const [labels, { counts, count, sum }] of series) {
    let below = 0;
    for (const [i, bound] of bounds.entries()) {
      below += counts[i] ?? 0;
      lines += `${name}_bucket${labelText({ ...labels, le: String(bound) })} ${below}\n`;
    }
    lines += `${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${count}\n`;
    lines += `${name}_sum${labelText(labels)} ${numberText(sum)}\n`;
    lines += `${name}_count${labelText(labels)} ${count}\n`;
  }
  return lines;
}

function numberText(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return escapedHelp(value).replaceAll('"', '\\"');
}

function escapedHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** Counts by labels, and how long things took. Bounded by what its callers give as labels. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #series = new Map<
    string,
    { labels: Labels; counts: number[]; count: number; sum: number }
  >();

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
  }

  observe(labels: Labels, value: number): void {
    const key = JSON.stringify(labels);
    let known = this.#series.get(key);
    if (known === undefined)
      this.#series.set(key, (known = { labels, counts: [], count: 0, sum: 0 }));
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) known.counts[bucket] = (known.counts[bucket] ?? 0) + 1;
    known.count++;
    known.sum += value;
  }

  /** The series of something that is gone go, too. */
  forget(isGone: (labels: Labels) => boolean): void {
    for (const [key, { labels }] of this.#series) if (isGone(labels)) this.#series.delete(key);
  }

  metric(name: string, help: string): HistogramMetric {
    const series = [...this.#series.values()].map((one) => [one.labels, one] as const);
    return { name, help, type: 'histogram', bounds: this.#bounds, series };
  }
}

export class Counter {
  readonly #values = new Map<string, { labels: Labels; value: number }>();

  add(labels: Labels = {}, by = 1): void {
    const key = JSON.stringify(labels);
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, { labels, value: by });
    else known.value += by;
  }

  forget(isGone: (labels: Labels) => boolean): void {
    for (const [key, { labels }] of this.#values) if (isGone(labels)) this.#values.delete(key);
  }

  metric(name: string, help: string): Metric {
    const samples = [...this.#values.values()].map(({ labels, value }) => [labels, value] as const);
    return { name, help, type: 'counter', samples };
  }
}
