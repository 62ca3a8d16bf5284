// Counts of what the API server does, in Prometheus' text form, under Kubernetes' names. Labels
// come from the resource table or a short list, never from what a client wrote, so that their
// number is bounded.
// Source: kubernetes apiserver pkg/endpoints/metrics/metrics.go.
import type { RequestInfo } from './http.ts';

/** Upper bounds of the duration histogram, seconds. */
const bucketsSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Read when the page is asked for. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type?: 'gauge' | 'counter';
  /** One number, or one for each set of labels. */
  readonly value: () => number | Iterable<Sample>;
}

export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

interface Histogram {
  readonly counts: number[];
  count: number;
  sumSeconds: number;
}

export class ServerMetrics {
  readonly #requests = new Map<string, number>();
  /** Labels of what was asked for, made once. */
  readonly #targets = new Map<string, string>();
  readonly #durations = new Map<string, Histogram>();
  readonly #inflight = new Map<string, number>();
  readonly #longRunning = new Map<string, number>();
  readonly #families: readonly Family[];
  readonly #isServed: (info: RequestInfo) => boolean;

  /** `isServed`: whether a request's group, version, resource and subresource are in the table. */
  constructor(
    families: readonly Family[] = [],
    isServed: (info: RequestInfo) => boolean = () => true,
  ) {
    this.#families = families;
    this.#isServed = isServed;
  }

  /** One answered request; `durationMs` is left out for those that stream. */
  observe(info: RequestInfo, code: number, durationMs?: number): void {
    const isKnown = code !== 404 && code !== 400;
    const target = isKnown ? this.#target(info) : labels({ verb: verbLabel(info) });
    add(this.#requests, `${target},code="${code}"`, 1);
    if (durationMs !== undefined && isKnown) this.#observeDuration(target, durationMs);
  }

  inflight(kind: 'readOnly' | 'mutating', change: 1 | -1): void {
    add(this.#inflight, `request_kind="${kind}"`, change);
  }

  longRunning(info: RequestInfo, change: 1 | -1): void {
    add(this.#longRunning, this.#target(info), change);
  }

  /** A path that leads nowhere, or to another server, could be any text: that is no label. */
  #target(info: RequestInfo): string {
    if (info.isResourceRequest && !this.#isServed(info)) return labels({ verb: verbLabel(info) });
    const { verb, group, version, resource, subresource } = info;
    const key = `${verb} ${group} ${version} ${resource} ${subresource} ${scopeOf(info)}`;
    let text = this.#targets.get(key);
    if (text === undefined) this.#targets.set(key, (text = labels(targetLabels(info))));
    return text;
  }

  render(): string {
    const lines: string[] = [];
    writeFamily(
      lines,
      'apiserver_request_total',
      'counter',
      'Requests by verb, resource and code.',
      this.#requests,
    );
    this.#renderDurations(lines);
    writeFamily(
      lines,
      'apiserver_current_inflight_requests',
      'gauge',
      'Requests being worked on, long-running ones apart.',
      this.#inflight,
    );
    writeFamily(
      lines,
      'apiserver_longrunning_requests',
      'gauge',
      'Watches, followed logs and proxied streams that are open.',
      this.#longRunning,
    );
    for (const { name, help, type = 'gauge', value: read } of this.#families) {
      const value = read();
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      if (typeof value === 'number') lines.push(`${name} ${value}`);
      else for (const [own, one] of value) lines.push(`${name}{${labels(own)}} ${one}`);
    }
    return `${lines.join('\n')}\n`;
  }

  #observeDuration(key: string, durationMs: number): void {
    let histogram = this.#durations.get(key);
    if (histogram === undefined) {
      histogram = { counts: bucketsSeconds.map(() => 0), count: 0, sumSeconds: 0 };
      this.#durations.set(key, histogram);
    }
    const seconds = durationMs / 1000;
    histogram.count += 1;
    histogram.sumSeconds += seconds;
    const slot = bucketsSeconds.findIndex((bound) => seconds <= bound);
    if (slot >= 0) histogram.counts[slot] = (histogram.counts[slot] ?? 0) + 1;
  }

  #renderDurations(lines: string[]): void {
    const name = 'apiserver_request_duration_seconds';
    lines.push(
      `# HELP ${name} Time to the whole answer, streams apart.`,
      `# TYPE ${name} histogram`,
    );
    for (const [key, { counts, count, sumSeconds }] of this.#durations) {
      let below = 0;
      for (const [slot, bound] of bucketsSeconds.entries()) {
        below += counts[slot] ?? 0;
        lines.push(`${name}_bucket{${key},le="${bound}"} ${below}`);
      }
      lines.push(`${name}_bucket{${key},le="+Inf"} ${count}`);
      lines.push(`${name}_sum{${key}} ${sumSeconds}`, `${name}_count{${key}} ${count}`);
    }
  }
}

function targetLabels(info: RequestInfo): Record<string, string> {
  if (!info.isResourceRequest) return { verb: verbLabel(info) };
  const { group, version, resource, subresource } = info;
  return { verb: verbLabel(info), group, version, resource, subresource, scope: scopeOf(info) };
}

function scopeOf({ isResourceRequest, name, namespace }: RequestInfo): string {
  if (!isResourceRequest) return '';
  return name !== '' ? 'resource' : namespace !== '' ? 'namespace' : 'cluster';
}

function verbLabel(info: RequestInfo): string {
  return info.verb.toUpperCase();
}

function labels(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(',');
}

function add(map: Map<string, number>, key: string, change: number): void {
  map.set(key, (map.get(key) ?? 0) + change);
}

function writeFamily(
  lines: string[],
  name: string,
  type: string,
  help: string,
  values: ReadonlyMap<string, number>,
): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  for (const [key, value] of values) lines.push(`${name}{${key}} ${value}`);
}
