import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { MemoryDisk } from '../../../test/sim/disk.ts';
import type { Entry, HardState } from '../raft/types.ts';
import { LogFullError } from './log-errors.ts';
import { type LogDeps, openLog } from './log-storage.ts';
import type { LogBatch, LogStorage, RecoveredLog } from './types.ts';

const segmentBytes = 16_384;

function world(options: { readonly capacityBytes?: number } = {}): World {
  return new World(options);
}

/** One member's disk and clock; the log over it is opened again and again. */
class World {
  readonly clock = new ManualClock();
  readonly random = seededRandom(1);
  readonly disk: MemoryDisk;

  constructor(options: { readonly capacityBytes?: number }) {
    this.disk = new MemoryDisk({ clock: this.clock, random: this.random, ...options });
  }

  open(more: Partial<LogDeps> = {}): { log: LogStorage; recovered: RecoveredLog | undefined } {
    return openLog({
      disk: this.disk,
      clusterId: 'home',
      memberId: 0xabcdef012345,
      clock: this.clock,
      random: this.random,
      logger: silentLogger,
      schedule: (work) => void this.clock.timer(0, work),
      segmentBytes,
      ...more,
    });
  }

  /** A log whose first two large segments are ready, so that what follows is writes of entries. */
  openWarm(): LogStorage {
    const { log } = this.open({ segmentBytes: 1024 * 1024 });
    this.write(log, { hardState: state });
    return log;
  }

  /** Another disk with the same files. */
  copy(): World {
    const other = new World({});
    for (const name of this.disk.list()) other.disk.setFile(name, this.disk.read(name));
    return other;
  }

  /** Undefined when the write succeeded. */
  write(log: LogStorage, batch: Partial<LogBatch>): Error | undefined {
    let outcome: { readonly error: Error | undefined } | undefined;
    const whole = { hardState: undefined, entries: [], snapshot: undefined, mustSync: true };
    log.write({ ...whole, ...batch }, (error) => {
      outcome = { error };
    });
    expect(outcome).toBe(undefined);
    this.clock.advance(0);
    if (outcome === undefined) throw new Error('the write never ended');
    return outcome.error;
  }

  segments(): string[] {
    return this.disk.list().toSorted();
  }
}

function entry(index: number, term = 1, sizeBytes = 100): Entry {
  return { index, term, kind: 'command', data: new Uint8Array(sizeBytes).fill(index % 251) };
}

function entries(from: number, to: number, term = 1, sizeBytes = 100): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term, sizeBytes));
}

function show(log: RecoveredLog | undefined): unknown {
  return log === undefined
    ? undefined
    : { ...log, entries: log.entries.map((e) => [e.index, e.term, e.kind, e.data.length]) };
}

function never(): never {
  throw new Error('nothing was recovered');
}

const state: HardState = { term: 1, vote: 7, commit: 0 };

describe('a log', () => {
  it('that is new is recovered as nothing, also when it was opened before', () => {
    const w = world();
    const { log, recovered } = w.open();
    w.clock.advance(0);
    log.close();
    expect([recovered, w.open().recovered]).toEqual([undefined, undefined]);
  });

  it('has after a restart what was written: state, entries of every kind, to the byte', () => {
    const w = world();
    const { log } = w.open();
    const all: Entry[] = [
      { index: 1, term: 1, kind: 'membership', data: Uint8Array.of(1, 2, 3) },
      { index: 2, term: 2 ** 40 + 5, kind: 'noop', data: new Uint8Array() },
      { index: 3, term: 2 ** 40 + 5, kind: 'command', data: w.random.bytes(1500) },
    ];
    const hardState = { term: 2 ** 40 + 5, vote: 2 ** 48 - 1, commit: 1 };
    expect(w.write(log, { hardState, entries: all })).toBe(undefined);
    log.close();
    const { recovered } = w.open();
    expect(recovered).toEqual({
      hardState,
      start: { index: 0, term: 0 },
      entries: all.map((e) => ({ ...e, data: Buffer.from(e.data) })),
    });
  });

  it('forgets what an entry with an earlier index replaces, across segments and restarts', () => {
    const w = world();
    const first = w.open().log;
    w.write(first, { hardState: state, entries: entries(1, 100, 1, 300) });
    w.write(first, { entries: entries(40, 41, 2) });
    first.close();
    const second = w.open();
    expect(second.recovered?.entries.map((e) => e.term)).toEqual([
      ...Array.from({ length: 39 }, () => 1),
      2,
      2,
    ]);
    w.write(second.log, { entries: [entry(41, 3)] });
    second.log.close();
    expect(
      w
        .open()
        .recovered?.entries.slice(38)
        .map((e) => [e.index, e.term]),
    ).toEqual([
      [39, 1],
      [40, 2],
      [41, 3],
    ]);
  });

  it('begins anew behind a snapshot', () => {
    const w = world();
    const { log } = w.open();
    w.write(log, { hardState: state, entries: entries(1, 60, 1, 300) });
    const snapshot = { index: 500, term: 4, membership: { members: [] } };
    w.write(log, { hardState: { term: 5, vote: 0, commit: 500 }, snapshot });
    w.write(log, { entries: [entry(501, 5)] });
    log.close();
    expect(show(w.open().recovered)).toEqual({
      hardState: { term: 5, vote: 0, commit: 500 },
      start: { index: 500, term: 4 },
      entries: [[501, 5, 'command', 100]],
    });
  });

  it('keeps to the start of what was compacted, once a later write has said so', () => {
    const w = world();
    const { log } = w.open();
    w.write(log, { hardState: state, entries: [...entries(1, 9, 1), ...entries(10, 20, 3)] });
    log.compact(9);
    log.compact(10);
    w.write(log, { entries: [entry(21, 3)] });
    log.close();
    const { recovered } = w.open();
    expect(recovered?.start).toEqual({ index: 10, term: 3 });
    expect(recovered?.entries.map((e) => e.index)).toEqual(entries(11, 21).map((e) => e.index));
  });

  it('may be compacted to its very end', () => {
    const w = world();
    const { log } = w.open();
    w.write(log, { entries: [...entries(1, 3, 1), entry(4, 2)] });
    log.compact(4);
    w.write(log, { hardState: { term: 3, vote: 1, commit: 4 } });
    log.close();
    const again = w.open();
    expect(show(again.recovered)).toEqual({
      hardState: { term: 3, vote: 1, commit: 4 },
      start: { index: 4, term: 2 },
      entries: [],
    });
    w.write(again.log, { entries: [entry(5, 3)] });
    again.log.close();
    expect(w.open().recovered?.entries.map((e) => e.index)).toEqual([5]);
  });
});

describe('what a write costs', () => {
  it('one write of the disk for a batch, and none for a commit that moves alone', () => {
    const w = world();
    const log = w.openWarm();
    const before = w.disk.writes;
    w.write(log, { entries: entries(1, 200) });
    expect(w.disk.writes - before).toBe(1);
    w.write(log, { hardState: { ...state, commit: 200 }, mustSync: false });
    expect(w.disk.writes - before).toBe(1);
    w.write(log, { entries: [entry(201)] });
    log.close();
    expect(w.disk.writes - before).toBe(2);
    expect(w.open().recovered?.hardState).toEqual({ ...state, commit: 200 });
  });

  it('512 bytes at least, and little more than its entries', () => {
    const w = world();
    const log = w.openWarm();
    const before = w.disk.bytesWritten;
    w.write(log, { hardState: { ...state, term: 2 } });
    const small = w.disk.bytesWritten;
    w.write(log, { entries: entries(1, 64, 2, 1024) });
    expect([small - before, w.disk.bytesWritten - small]).toEqual([512, 64 * 1024 + 2048]);
  });

  it('a batch larger than a segment is split, with no commit ahead of what is there', () => {
    const w = world();
    const found: RecoveredLog[] = [];
    const { log } = w.open({
      failpoint: (name) => {
        if (name === 'log:after-write') found.push(w.copy().open().recovered ?? never());
      },
    });
    const hardState = { ...state, commit: 40 };
    w.write(log, { hardState, entries: entries(1, 40, 1, 1000) });
    const commits = found.map((r) => [r.entries.length, r.hardState.commit]);
    expect(commits).toEqual([
      [11, 11],
      [22, 22],
      [33, 33],
      [40, 40],
    ]);
  });

  it('no file grows while entries are written; emptied segments are used again', () => {
    const w = world();
    const { log } = w.open();
    let most = 0;
    for (let i = 1; i <= 500; i++) {
      expect(w.write(log, { entries: [entry(i, 1, 1000)] })).toBe(undefined);
      if (i > 20) log.compact(i - 20);
      most = Math.max(most, w.disk.usedBytes());
    }
    expect(most).toBeLessThanOrEqual(7 * segmentBytes);
    expect(w.disk.list().filter((name) => !name.startsWith('log-'))).toEqual([]);
    log.close();
    expect(w.open().recovered?.entries.at(-1)?.index).toBe(500);
  });
});

describe('a full disk', () => {
  it('is told before anything is written, and the same batch is taken once there is room', () => {
    const w = world({ capacityBytes: 2 * segmentBytes + 5000 });
    const { log } = w.open();
    let index = 0;
    while (log.hasRoom()) w.write(log, { entries: [entry(++index, 1, 1000)] });
    // All of the last segment is left to deletes and compaction.
    let more = 0;
    let error: Error | undefined;
    for (; error === undefined; more++) {
      error = w.write(log, { entries: [entry(index + 1, 1, 1000)] });
      if (error === undefined) index++;
    }
    expect(error).toBeInstanceOf(LogFullError);
    expect(more).toBeGreaterThan(5);
    expect(w.segments()).toEqual(['log-0000000001', 'log-0000000002']);

    w.disk.setCapacity(10 * segmentBytes);
    w.clock.advance(5000);
    expect(log.hasRoom()).toBe(true);
    expect(w.write(log, { entries: [entry(++index, 1, 1000)] })).toBe(undefined);
    log.close();
    expect(w.open().recovered?.entries.length).toBe(index);
  });

  it('that fails when it is asked again is not full any more: the next write tells', () => {
    const w = world({ capacityBytes: 2 * segmentBytes + 5000 });
    const { log } = w.open();
    let index = 0;
    while (log.hasRoom()) w.write(log, { entries: [entry(++index, 1, 1000)] });
    w.disk.setCapacity(10 * segmentBytes);
    w.disk.failNext();
    w.clock.advance(5000);
    expect(log.hasRoom()).toBe(true);
    let error: Error | undefined;
    while (error === undefined) error = w.write(log, { entries: [entry(++index, 1, 1000)] });
    expect(error.message).toContain('EIO');
  });

  it('gets along with the segments that compaction empties', () => {
    const w = world({ capacityBytes: 2 * segmentBytes + 5000 });
    const { log } = w.open();
    let index = 0;
    while (log.hasRoom()) w.write(log, { entries: [entry(++index, 1, 1000)] });
    for (let i = 0; i < 100; i++) {
      log.compact(index);
      expect(w.write(log, { entries: [entry(++index, 1, 1000)] })).toBe(undefined);
    }
    expect(log.hasRoom()).toBe(true);
    log.close();
    expect(w.open().recovered?.entries.at(-1)?.index).toBe(index);
  });
});

describe('a disk that fails', () => {
  it('fails the write that met it', () => {
    const w = world();
    const { log } = w.open();
    w.write(log, { hardState: state });
    w.disk.failNext();
    expect(w.write(log, { entries: [entry(1)] })?.message).toContain('EIO');
  });

  it('in the background fails the next write that needs what was being made', () => {
    const w = world();
    const { log } = w.open();
    w.disk.failNext();
    expect(w.write(log, { entries: [entry(1)] })?.message).toContain('EIO');
  });
});
