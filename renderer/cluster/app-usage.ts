// An app's live use, summed over its copies from their machines' stats streams.
import { seriesLength, type Point } from '../state/series.ts';
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

/**
 * The use of all copies together, second by second: samples of different machines are a little
 * apart. A copy that has no sample at a time counts as nothing then. `latest`: how many samples of
 * each are wanted.
 */
export function appSeries(
  usage: ReadonlyMap<string, Usage>,
  field: keyof Usage,
  latest = seriesLength,
): Point[] {
  const sums = new Map<number, number>();
  for (const copy of usage.values())
    for (const { timeMs, value } of copy[field].slice(-latest)) {
      const second = Math.round(timeMs / 1000) * 1000;
      sums.set(second, (sums.get(second) ?? 0) + value);
    }
  const points = [...sums].map(([timeMs, value]) => ({ timeMs, value }));
  return points.sort((a, b) => a.timeMs - b.timeMs);
}
