// Live measurements kept for drawing: a bounded ring of samples per thing. Pure data structures.
// One sample a second for the time that charts show; older ones fall out.

export const seriesLength = 300;

export interface Point {
  readonly timeMs: number;
  /** NaN: unknown from here to the next. */
  readonly value: number;
}

/** Appends in time order; a sample that is not newer than the last replaces nothing. */
export function appendPoint(
  series: readonly Point[],
  point: Point,
  length = seriesLength,
): Point[] {
  const last = series.at(-1);
  if (last !== undefined && point.timeMs <= last.timeMs) return [...series];
  return series.length < length
    ? [...series, point]
    : [...series.slice(series.length - length + 1), point];
}

/** An SVG path through the points, filling width × height; '' for fewer than two points. */
export function sparkPath(
  points: readonly Point[],
  {
    width,
    height,
    max,
  }: { readonly width: number; readonly height: number; readonly max?: number },
): string {
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined || points.length < 2) return '';
  const top = Math.max(max ?? 0, ...points.map(({ value }) => value)) || 1;
  const span = last.timeMs - first.timeMs || 1;
  return points
    .map(({ timeMs, value }, index) => {
      const x = ((timeMs - first.timeMs) / span) * width;
      const y = height - 1 - (value / top) * (height - 2);
      return `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

/** Points of several series joined at the same times: what a chart's columns are made of. */
export function alignSeries(all: readonly (readonly Point[])[]): {
  times: number[];
  values: (number | null)[][];
} {
  const times = [...new Set(all.flatMap((series) => series.map(({ timeMs }) => timeMs)))].sort(
    (a, b) => a - b,
  );
  const values = all.map((series) => {
    const at = new Map(series.map(({ timeMs, value }) => [timeMs, value]));
    return times.map((time) => known(at.get(time)));
  });
  return { times, values };
}

function known(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}
