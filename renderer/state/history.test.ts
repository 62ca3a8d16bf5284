import { describe, expect, it } from 'vitest';
import { choiceOf, parseHistory, withPast } from './history.ts';
import { alignSeries } from './series.ts';

describe('parseHistory', () => {
  const answer = {
    range: '1h',
    stepMs: 10,
    startMs: 1000,
    series: { node: { cpuNanoCores: [1, null, 3], memoryWorkingSetBytes: [4, 5, 6] } },
  };

  it('puts each mean into the middle of its slot, and leaves gaps open', () => {
    const past = parseHistory(answer).get('node');
    expect(past?.cpu).toEqual([
      { timeMs: 1005, value: 1 },
      { timeMs: 1015, value: Number.NaN },
      { timeMs: 1025, value: 3 },
    ]);
    expect(alignSeries([past?.cpu ?? []]).values).toEqual([[1, null, 3]]);
    expect(past?.memory.map(({ value }) => value)).toEqual([4, 5, 6]);
  });

  it.each([
    null,
    'no',
    {},
    { series: [] },
    { ...answer, stepMs: '10' },
    { ...answer, series: { node: 7 } },
  ])('has nothing of %j', (value) => {
    expect([...parseHistory(value)]).toEqual([]);
  });

  it('has no points of a measure that the answer lacks', () => {
    const past = parseHistory({ ...answer, series: { node: {} } }).get('node');
    expect(past).toEqual({ cpu: [], memory: [] });
  });
});

describe('withPast', () => {
  const points = (...pairs: [number, number][]) =>
    pairs.map(([timeMs, value]) => ({ timeMs, value }));

  it('ends where the page’s own points begin', () => {
    const past = points([1, 10], [2, 20], [3, 30]);
    expect(withPast(past, points([2, 21], [4, 40]))).toEqual(points([1, 10], [2, 21], [4, 40]));
  });

  it('joins what was known last with what came since, but keeps gaps before', () => {
    const past = points([1, 10], [2, Number.NaN], [3, 30], [4, Number.NaN]);
    const joined = withPast(past, points([5, 50]));
    expect(joined).toEqual(points([1, 10], [2, Number.NaN], [3, 30], [5, 50]));
  });

  it('is all there is while nothing came', () => {
    expect(withPast(points([1, 10]), [])).toEqual(points([1, 10]));
  });
});

it('asks again before the page’s own five minutes are over', () => {
  for (const range of ['1h', '24h', '14d'] as const)
    expect(choiceOf(range).refreshMs).toBeLessThan(300_000);
});
