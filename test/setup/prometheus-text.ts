// Reads Prometheus' text format 0.0.4 as strictly as it is described: whatever a lenient reader would
// let pass is an error here.
// Source: prometheus docs/instrumenting/exposition_formats.md.

export interface TextSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly atMs: number | undefined;
}

const types = ['counter', 'gauge', 'histogram', 'summary', 'untyped'];
const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** All samples by family. Throws a sentence with the line. */
export function parsePrometheusText(text: string): ReadonlyMap<string, readonly TextSample[]> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, TextSample[]>();
  const typeOf = new Map<string, string>();
  const helped = new Set<string>();
  const seen = new Set<string>();
  let current = '';
  for (const line of text.split('\n').slice(0, -1)) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === undefined) {
      const sample = parseSample(line) ?? fail('no sample');
      const family = familyOf(sample.name, typeOf.get(current) === 'histogram' ? current : '');
      if (family !== current) fail(`belongs to ${family}, found in ${current}`);
      const key = keyOf(sample);
      if (seen.has(key)) fail('twice');
      seen.add(key);
      families.get(family)?.push(sample);
      continue;
    }
    if (!metricName.test(name)) fail('no metric name');
    if (keyword === 'HELP') {
      if (helped.has(name)) fail('a second HELP');
      if (rest.replaceAll(/\\[\\n]/g, '').includes('\\'))
        fail('an escape that help texts do not know');
      helped.add(name);
    } else {
      if (typeOf.has(name)) fail('a second TYPE');
      if (!types.includes(rest)) fail('no such type');
      if (!helped.has(name)) fail('TYPE without HELP before it');
      if (families.has(name)) fail('its family was interrupted');
      typeOf.set(name, rest);
      families.set(name, []);
      current = name;
    }
  }
  for (const [name, samples] of families) {
    if (samples.length === 0) throw new Error(`${name} has no sample`);
    if (typeOf.get(name) === 'histogram') checkHistogram(name, samples);
    if (typeOf.get(name) === 'counter') checkCounter(name, samples);
  }
  return families;
}

function keyOf({ name, labels }: TextSample): string {
  const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([name, sorted]);
}

function familyOf(name: string, histogram: string): string {
  const parts = ['_bucket', '_sum', '_count'].map((end) => `${histogram}${end}`);
  return histogram !== '' && parts.includes(name) ? histogram : name;
}

function parseSample(line: string): TextSample | undefined {
  const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?$/.exec(line);
  if (match === null) return undefined;
  const [, name = '', labelText, valueText = '', time] = match;
  const labels = labelText === undefined ? {} : parseLabels(labelText);
  const value = parseValue(valueText);
  if (labels === undefined || value === undefined) return undefined;
  return { name, labels, value, atMs: time === undefined ? undefined : Number(time) };
}

function parseLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/.exec(rest);
    const [whole = '', name = '', value = ''] = match ?? [];
    if (match === null || name in labels || name.startsWith('__')) return undefined;
    labels[name] = value.replaceAll(/\\(.)/g, (_all, one: string) => (one === 'n' ? '\n' : one));
    rest = rest.slice(whole.length);
  }
  return labels;
}

function parseValue(text: string): number | undefined {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  if (text === 'NaN') return Number.NaN;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}

function checkCounter(name: string, samples: readonly TextSample[]): void {
  if (samples.some(({ value }) => value < 0)) throw new Error(`${name} counts below zero`);
}

function checkHistogram(name: string, samples: readonly TextSample[]): void {
  const series = Map.groupBy(samples, ({ labels: { le: _le, ...labels } }) =>
    JSON.stringify(labels),
  );
  for (const [labels, all] of series) {
    const of = (end: string) => all.filter((sample) => sample.name === `${name}${end}`);
    const buckets = of('_bucket').map(({ labels: { le = '' }, value }) => [parseValue(le), value]);
    const bounds = buckets.map(([bound]) => bound ?? Number.NaN);
    const counts = buckets.map(([, count]) => count ?? Number.NaN);
    const isRising = (values: readonly number[]) =>
      values.every((value, i) => i === 0 || value >= (values[i - 1] ?? Infinity));
    if (!isRising(bounds) || !isRising(counts)) throw new Error(`${name}${labels} does not rise`);
    if (bounds.at(-1) !== Infinity) throw new Error(`${name}${labels} has no bucket +Inf`);
    if (of('_sum').length !== 1 || of('_count').length !== 1)
      throw new Error(`${name}${labels} lacks its sum or count`);
    if (of('_count')[0]?.value !== counts.at(-1))
      throw new Error(`${name}${labels} counts differently`);
  }
}
