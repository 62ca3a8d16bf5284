import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { PodSample } from './collector.ts';
import { History, rangeOf, type HistoryAnswer } from './history.ts';
import { Ring } from './ring.ts';

const second = 1000;
const minute = 60 * second;
const day = 24 * 60 * minute;
let clock: ManualClock;
let warnings: string[];
let file: Uint8Array | undefined;
let writes: number;

beforeEach(() => {
  clock = new ManualClock(30 * day);
  warnings = [];
  file = undefined;
  writes = 0;
});

function history(): History {
  return new History({
    clock: { now: () => clock.now() },
    logger: { ...silentLogger, warn: (message) => void warnings.push(message) },
    read: async () => file,
    async write(bytes) {
      file = bytes;
      writes++;
    },
  });
}

function pod(name: string, cpu: number, rxBytes?: number): PodSample {
  const container = { name: 'c', id: name, image: '', startedAtMs: 0, cpuNanoCores: cpu };
  const counts = { txBytes: 0, rxErrors: 0, txErrors: 0 };
  const network = rxBytes === undefined ? {} : { network: { rxBytes, ...counts } };
  return { uid: name, name, namespace: 'n', startedAtMs: 0, containers: [container], ...network };
}

/** A sample every ten seconds; the next slot begins with the last. */
function live(one: History, count: number, pods: (i: number) => readonly PodSample[] = () => []) {
  for (let i = 0; i < count; i++) {
    one.take({ node: { cpuNanoCores: i, memoryWorkingSetBytes: 100 + i }, pods: pods(i) });
    clock.advance(10 * second);
  }
}

const cpu = (answer: HistoryAnswer, of = 'node') => answer.series[of]?.cpuNanoCores;

describe('the past', () => {
  it('has a slot for every ten seconds of the last hour', () => {
    const one = history();
    live(one, 3);
    one.take({ node: {}, pods: [] });
    const answer = one.query('1h', ['node']);
    expect(answer).toEqual({
      range: '1h',
      stepMs: 10 * second,
      startMs: 30 * day,
      series: {
        node: {
          cpuNanoCores: [0, 1, 2, null],
          memoryWorkingSetBytes: [100, 101, 102, null],
          rxBytesPerSecond: [null, null, null, null],
          txBytesPerSecond: [null, null, null, null],
        },
      },
    });
  });

  it('is the mean of what came within a slot, at whatever pace', () => {
    const one = history();
    for (const cpuNanoCores of [10, 20, 60]) {
      one.take({ node: { cpuNanoCores }, pods: [] });
      clock.advance(second);
    }
    clock.advance(10 * second);
    one.take({ node: {}, pods: [] });
    expect(cpu(one.query('1h', []))).toEqual([30, null]);
  });

  it('is kept a day by the minute and two weeks by the quarter of an hour', () => {
    const one = history();
    live(one, 91);
    expect(cpu(one.query('24h', []))?.slice(0, 3)).toEqual(
      [3, 9, 15].map((mean) => Math.round(mean - 0.5)),
    );
    expect(cpu(one.query('14d', []))).toEqual([45, null]);
  });

  it('forgets what is older than its range', () => {
    const one = history();
    live(one, 400);
    one.take({ node: {}, pods: [] });
    const answer = one.query('1h', []);
    expect([cpu(answer)?.length, cpu(answer)?.[0]]).toEqual([360, 41]);
  });

  it('does not invent what nobody measured', () => {
    const one = history();
    live(one, 2);
    clock.advance(30 * second);
    live(one, 2);
    one.take({ node: {}, pods: [] });
    expect(cpu(one.query('1h', []))).toEqual([0, 1, null, null, null, 0, 1, null]);
  });

  it('goes on from a clock that was set back', () => {
    const one = history();
    live(one, 6);
    clock = new ManualClock(30 * day + 20 * second);
    live(one, 2);
    one.take({ node: {}, pods: [] });
    expect(cpu(one.query('1h', []))).toEqual([0, 1, 0, 1, null]);
  });

  it('gives the network as a rate, and none where a counter began anew', () => {
    const one = history();
    const counts = [1000, 3000, 10, 510];
    live(one, 4, (i) => [pod('p', 1, counts[i])]);
    one.take({ node: {}, pods: [] });
    expect(one.query('1h', ['n/p']).series['n/p']?.rxBytesPerSecond.slice(0, 4)).toEqual([
      null,
      200,
      null,
      50,
    ]);
  });

  it('is told of those that are asked for', () => {
    const one = history();
    live(one, 2, () => [pod('a', 1), pod('b', 2)]);
    expect(Object.keys(one.query('1h', ['n/b', 'n/none']).series)).toEqual(['n/b']);
    expect(Object.keys(one.query('1h', []).series)).toEqual(['node', 'n/a', 'n/b']);
  });

  it('of a pod ends a day after its last sample; at most three hundred are kept', () => {
    const one = history();
    const crowd = (from: number) => Array.from({ length: 200 }, (_, i) => pod(`p${from + i}`, 1));
    live(one, 1, () => [pod('old', 1)]);
    live(one, 1, () => crowd(0));
    live(one, 1, () => crowd(200));
    const names = Object.keys(one.query('1h', []).series);
    expect([names.length, names.includes('n/old'), names.includes('n/p399')]).toEqual([
      300,
      false,
      true,
    ]);
    clock.advance(day + minute);
    live(one, 1);
    expect(Object.keys(one.query('1h', []).series)).toEqual(['node']);
  });

  it('knows its ranges by name', () => {
    expect([rangeOf(null), rangeOf('14d'), rangeOf('2h')]).toEqual(['1h', '14d', undefined]);
  });
});

describe('a restart', () => {
  it('finds all that was saved, and goes on', async () => {
    const one = history();
    live(one, 400, () => [pod('p', 7)]);
    await one.save();
    const again = history();
    await again.load();
    expect(again.query('1h', [])).toEqual(one.query('1h', []));
    expect(again.query('24h', [])).toEqual(one.query('24h', []));
    live(again, 1);
    again.take({ node: {}, pods: [] });
    expect(cpu(again.query('1h', []))?.slice(-3)).toEqual([399, 0, null]);
  });

  it('after days finds the pods that were there, and not those long gone', async () => {
    const one = history();
    live(one, 6, () => [pod('old', 7), pod('p', 7)]);
    live(one, 20 * 360, () => [pod('p', 7)]);
    await one.save();
    clock.advance(3 * day);
    const again = history();
    await again.load();
    expect(Object.keys(again.query('14d', []).series)).toEqual(['node', 'n/old', 'n/p']);
    live(again, 5 * 360);
    expect(Object.keys(again.query('14d', []).series)).toEqual(['node', 'n/p']);
  });

  it('is the only time it writes, but for every six hours', async () => {
    const one = history();
    live(one, 6 * 360);
    await import('node:v8');
    expect(writes).toBe(0);
    live(one, 6 * 360);
    await import('node:v8');
    expect(writes).toBe(1);
  });

  it('begins anew where the file can’t be read, and says so', async () => {
    file = Buffer.from('no history');
    const one = history();
    await one.load();
    expect([one.query('1h', []).series, warnings]).toEqual([
      {},
      ['The history of measurements begins anew'],
    ]);
  });
});

describe('a ring', () => {
  const shape = { stepMs: 1, length: 40, columns: 1 };
  const all = (ring: Ring) =>
    Array.from({ length: ring.lastSlot - ring.firstSlot + 1 }, (_, i) =>
      ring.get(ring.firstSlot + i, 0),
    );

  it('grows to its length, then forgets the oldest', () => {
    const ring = new Ring(shape);
    for (let slot = 100; slot < 200; slot++) {
      ring.put(slot, [slot]);
      const first = Math.max(100, slot - 39);
      const want = Array.from({ length: slot - first + 1 }, (_, i) => first + i);
      expect(all(ring)).toEqual(want);
    }
  });

  it('is the same again from its state', () => {
    const ring = new Ring(shape);
    for (const slot of [5, 6, 9, 30, 60]) ring.put(slot, [slot]);
    const again = Ring.of(shape, ring.state());
    expect(all(again)).toEqual(all(ring));
    expect(again.state()).toEqual(ring.state());
  });

  it('takes a slot anew, and forgets those after it', () => {
    const ring = new Ring(shape);
    for (const slot of [1, 2, 3]) ring.put(slot, [slot]);
    ring.put(2, [20]);
    expect(all(ring)).toEqual([1, 20]);
  });
});
