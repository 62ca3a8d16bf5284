// An app's live use, summed over its copies from their machines' stats streams.
import { alignSeries, type Point } from '../state/series.ts';
import type { App } from '../state/app.ts';
import { noUsage, useNodeStats, type NodeStats, type Usage } from './live-stats.ts';

/** Answers, for an app, the use of each copy by pod name. */
export function useAppUsage(): (app: App) => ReadonlyMap<string, Usage> {
  const statsOf = useNodeStats();
  return (app) => usageByCopy(app, statsOf);
}

export function usageByCopy(
  app: App,
  statsOf: (node: string) => NodeStats,
): ReadonlyMap<string, Usage> {
  const usage = new Map<string, Usage>();
  for (const { metadata, spec } of app.pods) {
    if (spec.nodeName === undefined || spec.nodeName === '') continue;
    const key = `${metadata.namespace}/${metadata.name}`;
    usage.set(metadata.name, statsOf(spec.nodeName).pods.get(key) ?? noUsage);
  }
  return usage;
}

/** Point by point sum; a copy that has no sample at a time counts as nothing then. */
export function sumSeries(all: readonly (readonly Point[])[]): Point[] {
  const [only, ...others] = all;
  if (only !== undefined && others.length === 0) return [...only];
  const { times, values } = alignSeries(all);
  return times.map((timeMs, index) => ({
    timeMs,
    value: values.reduce((sum, series) => sum + (series[index] ?? 0), 0),
  }));
}

/** Samples of different machines are a little apart: to whole seconds before summing. */
export function toSeconds(points: readonly Point[]): Point[] {
  return points.map(({ timeMs, value }) => ({ timeMs: Math.round(timeMs / 1000) * 1000, value }));
}

export function appSeries(usage: ReadonlyMap<string, Usage>, field: keyof Usage): Point[] {
  return sumSeries([...usage.values()].map((copy) => toSeconds(copy[field])));
}
