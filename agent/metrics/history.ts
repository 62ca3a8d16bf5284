// What the machine and its pods used in the past, so that charts have one without a monitoring
// stack: an hour by 10 s, a day by the minute, two weeks by the quarter of an hour. Kept in memory;
// written down whole when the agent stops and every six hours, since a machine that idles writes
// nothing: an agent that is killed loses at most that. Bounded in series and in slots.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../error-message.ts';
import type { PodSample, Sample } from './collector.ts';
import type { NetworkUsage } from './machine-usage.ts';
import { Ring, type RingShape, type RingState } from './ring.ts';
import { total } from './totals.ts';

export const measures = [
  'cpuNanoCores',
  'memoryWorkingSetBytes',
  'rxBytesPerSecond',
  'txBytesPerSecond',
] as const;
export type Measure = (typeof measures)[number];

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const columns = measures.length;
export const ranges = {
  '1h': { stepMs: 10_000, length: 360, columns },
  '24h': { stepMs: minuteMs, length: 1_440, columns },
  '14d': { stepMs: 15 * minuteMs, length: 1_344, columns },
} as const satisfies Readonly<Record<string, RingShape>>;
export type Range = keyof typeof ranges;
const rangeNames = Object.keys(ranges) as Range[];

/** Of the machine itself. No pod has it: theirs have a slash. */
export const nodeSeries = 'node';
/** A sample in each slot of the finest range. */
export const historyIntervalMs = ranges['1h'].stepMs;
const seriesMax = 300;
/** Of a pod that is gone; one of the same name goes on with it. */
const silentMsMax = dayMs;
const saveIntervalMs = 6 * hourMs;
const version = 1;

/** One range: columns of numbers, null where nothing is known. */
export interface HistoryAnswer {
  readonly range: Range;
  readonly stepMs: number;
  /** Of the first slot's beginning; the others follow by `stepMs`. */
  readonly startMs: number;
  /** `node`, or `NAMESPACE/NAME` of a pod. */
  readonly series: Readonly<Record<string, Readonly<Record<Measure, readonly (number | null)[]>>>>;
}

export interface HistoryDeps {
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
  /** Undefined: nothing was written down yet. */
  readonly read: () => Promise<Uint8Array | undefined>;
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

type Values = readonly (number | undefined)[];

export class History {
  readonly #deps: HistoryDeps;
  readonly #series = new Map<string, Series>();
  #savedAtMs: number;

  constructor(deps: HistoryDeps) {
    this.#deps = deps;
    this.#savedAtMs = deps.clock.now();
  }

  /** Any sample, at whatever pace they come. */
  take({ node, pods }: Pick<Sample, 'node' | 'pods'>): void {
    const nowMs = this.#deps.clock.now();
    this.#add(nodeSeries, nowMs, node, node.network);
    for (const pod of pods)
      this.#add(`${pod.namespace}/${pod.name}`, nowMs, usageOf(pod), pod.network);
    this.#forgetSilent();
    if (nowMs - this.#savedAtMs >= saveIntervalMs) void this.save();
  }

  /** `names` none: everything there is. */
  query(range: Range, names: readonly string[]): HistoryAnswer {
    const { stepMs, length } = ranges[range];
    const lastSlot = Math.floor(this.#deps.clock.now() / stepMs);
    const wanted = names.length === 0 ? [...this.#series.keys()] : names;
    const rings = wanted.flatMap((name) => {
      const one = this.#series.get(name);
      return one === undefined ? [] : [[name, one.ringUntil(range, lastSlot)] as const];
    });
    const known = rings.map(([, ring]) => ring.firstSlot).filter(Number.isFinite);
    const firstSlot = Math.max(lastSlot - length + 1, Math.min(lastSlot + 1, ...known));
    const slots = Array.from({ length: lastSlot - firstSlot + 1 }, (_, i) => firstSlot + i);
    const series = Object.fromEntries(
      rings.map(([name, ring]) => [name, columnsOf(ring, slots)] as const),
    );
    return { range, stepMs, startMs: firstSlot * stepMs, series };
  }

  /** What was written down last; a file that can't be read is left alone until the next save. */
  async load(): Promise<void> {
    const { read, logger } = this.#deps;
    try {
      const bytes = await read();
      if (bytes === undefined) return;
      const { deserialize } = await import('node:v8');
      const saved = deserialize(bytes) as Saved;
      if (saved.version !== version) return;
      for (const [name, states] of saved.series) this.#series.set(name, Series.of(states));
      this.#passOver();
      this.#forgetSilent();
    } catch (error) {
      logger.warn('The history of measurements begins anew', { error: messageOf(error) });
    }
  }

  /** Never throws: charts are not worth more than what else the agent does. */
  async save(): Promise<void> {
    const { write, logger, clock } = this.#deps;
    this.#savedAtMs = clock.now();
    const series = [...this.#series].map(([name, one]) => [name, one.states()] as const);
    try {
      const { serialize } = await import('node:v8');
      await write(serialize({ version, series } satisfies Saved));
    } catch (error) {
      logger.warn('The history of measurements is not saved', { error: messageOf(error) });
    }
  }

  #add(
    name: string,
    nowMs: number,
    usage: { readonly cpuNanoCores?: number; readonly memoryWorkingSetBytes?: number },
    network: NetworkUsage | undefined,
  ): void {
    let series = this.#series.get(name);
    if (series === undefined) this.#series.set(name, (series = new Series()));
    const rates = series.networkRates(nowMs, network);
    series.add(nowMs, [usage.cpuNanoCores, usage.memoryWorkingSetBytes, ...rates]);
  }

  /** While the machine was off nobody was silent. */
  #passOver(): void {
    const offMs = this.#deps.clock.now() - (this.#series.get(nodeSeries)?.lastMs ?? Number.NaN);
    if (!Number.isFinite(offMs) || offMs < 0) return;
    for (const series of this.#series.values()) series.lastMs += offMs;
  }

  #forgetSilent(): void {
    const oldestMs = this.#deps.clock.now() - silentMsMax;
    for (const [name, { lastMs }] of this.#series)
      if (name !== nodeSeries && lastMs < oldestMs) this.#series.delete(name);
    if (this.#series.size <= seriesMax) return;
    const silentFirst = [...this.#series].toSorted(([, a], [, b]) => a.lastMs - b.lastMs);
    for (const [name] of silentFirst.slice(0, this.#series.size - seriesMax))
      this.#series.delete(name);
  }
}

interface Saved {
  readonly version: number;
  readonly series: readonly (readonly [string, SeriesState])[];
}

type SeriesState = Readonly<Record<Range, RingState>>;

/** The mean of what came within one slot so far. */
class Mean {
  readonly slot: number;
  readonly #sums = measures.map(() => 0);
  readonly #counts = measures.map(() => 0);

  constructor(slot: number) {
    this.slot = slot;
  }

  add(values: Values): void {
    for (const [column, value] of values.entries())
      if (value !== undefined) {
        this.#sums[column] = (this.#sums[column] ?? 0) + value;
        this.#counts[column] = (this.#counts[column] ?? 0) + 1;
      }
  }

  /** NaN where nothing came. */
  values(): number[] {
    return this.#sums.map((sum, column) => sum / (this.#counts[column] ?? 0));
  }
}

class Series {
  readonly #rings: Readonly<Record<Range, Ring>>;
  lastMs: number;
  readonly #means = new Map<Range, Mean>();
  #network: { readonly atMs: number; readonly usage: NetworkUsage } | undefined;

  constructor(rings: Readonly<Record<Range, Ring>> = ringsOf((range) => new Ring(ranges[range]))) {
    this.#rings = rings;
    this.lastMs = rings['1h'].lastSlot * ranges['1h'].stepMs;
  }

  static of(states: SeriesState): Series {
    return new Series(ringsOf((range) => Ring.of(ranges[range], states[range])));
  }

  states(): SeriesState {
    for (const range of rangeNames) this.#finish(range);
    return {
      '1h': this.#rings['1h'].state(),
      '24h': this.#rings['24h'].state(),
      '14d': this.#rings['14d'].state(),
    };
  }

  add(nowMs: number, values: Values): void {
    this.lastMs = nowMs;
    for (const range of rangeNames) {
      const slot = Math.floor(nowMs / ranges[range].stepMs);
      let mean = this.#means.get(range);
      if (mean?.slot !== slot) {
        this.#finish(range);
        this.#means.set(range, (mean = new Mean(slot)));
      }
      mean.add(values);
    }
  }

  /** With all slots before this one, also when nothing came after them. */
  ringUntil(range: Range, slot: number): Ring {
    if ((this.#means.get(range)?.slot ?? slot) < slot) this.#finish(range);
    return this.#rings[range];
  }

  #finish(range: Range): void {
    const mean = this.#means.get(range);
    if (mean !== undefined) this.#rings[range].put(mean.slot, mean.values());
  }

  /** Counters begin anew with the pod's sandbox: less than before is no rate. */
  networkRates(nowMs: number, usage: NetworkUsage | undefined): Values {
    const before = this.#network;
    this.#network = usage && { atMs: nowMs, usage };
    if (before === undefined || usage === undefined || nowMs <= before.atMs) return [];
    return (['rxBytes', 'txBytes'] as const).map((field) => {
      const bytes = usage[field] - before.usage[field];
      return bytes < 0 ? undefined : (bytes * 1000) / (nowMs - before.atMs);
    });
  }
}

function ringsOf(make: (range: Range) => Ring): Readonly<Record<Range, Ring>> {
  return { '1h': make('1h'), '24h': make('24h'), '14d': make('14d') };
}

function usageOf({ containers }: PodSample) {
  const cpuNanoCores = total(containers.map((container) => container.cpuNanoCores));
  const memory = total(containers.map((container) => container.memoryWorkingSetBytes));
  return {
    ...(cpuNanoCores === undefined ? {} : { cpuNanoCores }),
    ...(memory === undefined ? {} : { memoryWorkingSetBytes: memory }),
  };
}

function columnsOf(
  ring: Ring,
  slots: readonly number[],
): Record<Measure, readonly (number | null)[]> {
  const column = (index: number): (number | null)[] =>
    slots.map((slot) => {
      const value = ring.get(slot, index);
      return Number.isNaN(value) ? null : Math.round(value);
    });
  return {
    cpuNanoCores: column(0),
    memoryWorkingSetBytes: column(1),
    rxBytesPerSecond: column(2),
    txBytesPerSecond: column(3),
  };
}

/** Undefined: there is no such range. */
export function rangeOf(text: string | null): Range | undefined {
  return rangeNames.find((name) => name === (text ?? '1h'));
}
