// What a broken disk can do to a log, bit by bit and sector by sector: acknowledged entries are
// there as they were, or the log is refused; a write that was cut off is left out.
import { beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { MemoryDisk } from '../../../test/sim/disk.ts';
import type { Entry } from '../raft/types.ts';
import { encodeSegmentHeader } from './log-codec.ts';
import { LogCorruptError, LogRefusedError } from './log-errors.ts';
import { type LogDeps, openLog } from './log-storage.ts';
import type { LogStorage } from './types.ts';

const segmentBytes = 16_384;
const [first, second, third] = ['log-0000000001', 'log-0000000002', 'log-0000000003'];
type Files = ReadonlyMap<string, Uint8Array>;

function diskWith(clock: ManualClock, files: Files): MemoryDisk {
  const disk = new MemoryDisk({ clock, random: seededRandom(2) });
  for (const [name, bytes] of files) disk.setFile(name, bytes);
  return disk;
}

function deps(clock: ManualClock, disk: MemoryDisk): LogDeps {
  return {
    disk,
    clusterId: 'home',
    memberId: 9,
    clock,
    random: seededRandom(3),
    logger: silentLogger,
    schedule: (work) => void clock.timer(0, work),
    segmentBytes,
  };
}

function filesOf(disk: MemoryDisk): Map<string, Uint8Array> {
  return new Map(disk.list().map((name) => [name, disk.read(name)]));
}

/** The indexes and first bytes of the entries in a log, or how it is refused. */
function opened(files: Files, more: Partial<LogDeps> = {}): unknown {
  const clock = new ManualClock();
  try {
    const { recovered } = openLog({ ...deps(clock, diskWith(clock, files)), ...more });
    return recovered?.entries.map(({ index, data }) => `${index}:${data.length}:${sum(data)}`);
  } catch (error) {
    if (error instanceof LogCorruptError || error instanceof LogRefusedError) return error;
    throw error;
  }
}

function sum(data: Uint8Array): number {
  return data.reduce((total, byte, i) => (total + byte * (i + 1)) % 65_521, 0);
}

function entry(index: number, sizeBytes: number): Entry {
  const data = seededRandom(index).bytes(sizeBytes);
  return { index, term: 1, kind: 'command', data };
}

function write(clock: ManualClock, log: LogStorage, entries: readonly Entry[]): void {
  let isDone = false;
  const hardState = { term: 1, vote: 9, commit: 0 };
  log.write({ hardState, entries, snapshot: undefined, mustSync: true }, (error) => {
    isDone = error === undefined;
  });
  clock.advance(0);
  expect(isDone).toBe(true);
}

/** Files after each batch of entries, one for each size; the last batches are in `first`. */
function history(batches: readonly (readonly number[])[]): Files[] {
  const clock = new ManualClock();
  const disk = diskWith(clock, new Map());
  const { log } = openLog(deps(clock, disk));
  let index = 0;
  return batches.map((sizes) => {
    write(
      clock,
      log,
      sizes.map((size) => entry(++index, size)),
    );
    return filesOf(disk);
  });
}

function changed(files: Files, name: string, change: (bytes: Uint8Array) => void): Files {
  const bytes = files.get(name)?.slice() ?? new Uint8Array();
  change(bytes);
  return new Map([...files, [name, bytes]]);
}

/** The sectors in which two files differ. */
function sectorsBetween(before: Files, after: Files, name: string): number[] {
  const [old, now] = [before.get(name), after.get(name)];
  return Array.from({ length: segmentBytes / 512 }, (_, i) => i * 512).filter((at) =>
    now?.subarray(at, at + 512).some((byte, i) => byte !== old?.[at + i]),
  );
}

/** Three batches: of one sector, of three, of five. */
let before: Files;
let after: Files;
let all: unknown;
let withoutLast: unknown;
beforeAll(() => {
  const states = history([[100], [600, 600], [1000, 10, 1000]]);
  before = states[1] ?? new Map();
  after = states[2] ?? new Map();
  all = opened(after);
  withoutLast = opened(before);
});

describe('a flipped bit', () => {
  it('anywhere in what was written is refused or harmless: no entry is lost or changed', () => {
    const flips = { refused: 0, harmless: 0 };
    for (let at = 0; at < 4096 + 512 * 9; at++) {
      const files = changed(after, first ?? '', (bytes) => {
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      });
      const found = opened(files);
      if (found instanceof LogCorruptError) flips.refused++;
      else {
        expect({ at, found }).toEqual({ at, found: all });
        flips.harmless++;
      }
    }
    // Harmless: the unused rest of the header's page, and one of two copies of the same word.
    expect(flips).toEqual({ refused: 300 + 9 * 508 - 8 * 3, harmless: 3796 + 9 * 4 + 8 * 3 });
  });
});

describe('a write that was cut off', () => {
  it('is left out whichever of its sectors are there, and the log goes on', () => {
    const sectors = sectorsBetween(before, after, first ?? '');
    expect(sectors.length).toBe(5);
    for (let kept = 0; kept < 2 ** sectors.length; kept++) {
      const files = changed(before, first ?? '', (bytes) => {
        sectors.forEach((at, i) => {
          const written = after.get(first ?? '')?.subarray(at, at + 512) ?? [];
          if ((kept & (1 << i)) !== 0) bytes.set(written, at);
        });
      });
      const want = kept === 2 ** sectors.length - 1 ? all : withoutLast;
      expect({ kept, found: opened(files) }).toEqual({ kept, found: want });
    }
  });

  it('does not stand in the way when the next batch goes to another segment', () => {
    const [full, torn] = history([[3500, 3500, 3500], [1000]]);
    const sectors = sectorsBetween(full ?? before, torn ?? before, first ?? '');
    const cut = changed(torn ?? before, first ?? '', (bytes) => {
      bytes.fill(0, sectors[1], (sectors[1] ?? 0) + 512);
    });
    const clock = new ManualClock();
    const disk = diskWith(clock, cut);
    const { log, recovered } = openLog(deps(clock, disk));
    expect(recovered?.entries.length).toBe(3);
    clock.advance(0);
    write(clock, log, [entry(4, 3000)]);
    expect(opened(filesOf(disk))).toHaveLength(4);
  });

  it('in a segment that is used again is told from what the segment held before', () => {
    const clock = new ManualClock();
    const disk = diskWith(clock, new Map());
    const { log } = openLog(deps(clock, disk));
    let cuts = 0;
    // The same sizes over and over: each record lies exactly over an older one.
    for (let i = 1; i <= 60; i++) {
      write(clock, log, [entry(i, 3000)]);
      const old = filesOf(disk);
      if (i > 2) log.compact(i - 2);
      write(clock, log, [entry(i + 1, 3000)]);
      const now = filesOf(disk);
      const name =
        [...now.keys()].find((file) => sectorsBetween(old, now, file).length === 7) ?? '';
      for (const at of sectorsBetween(old, now, name)) {
        const cut = changed(now, name, (bytes) => {
          const stale = old.get(name)?.subarray(at, at + 512) ?? new Uint8Array(512);
          bytes.set(stale, at);
        });
        if (old.has(name)) {
          expect(opened(cut)).toEqual(opened(old));
          cuts++;
        }
      }
    }
    expect(cuts).toBeGreaterThan(200);
  });
});

describe('a log that is refused by name', () => {
  const problem = (files: Files, more: Partial<LogDeps> = {}): string => {
    const found = opened(files, more);
    expect(found).toBeInstanceOf(Error);
    return (found as Error).message.replace(/ This member can't go on .*/, '');
  };
  /** Entries in three segments. */
  let long: Files;
  beforeAll(() => {
    long = history([[3500, 3500, 3500], [3500, 3500, 3500], [3500]])[2] ?? new Map();
    expect(opened(long)).toHaveLength(7);
  });
  const without = (name: string | undefined): Files =>
    new Map([...long].filter(([other]) => other !== name));

  it('a record in the middle that is broken, wholly lost, or the last of its segment', () => {
    const cases = [
      changed(after, first ?? '', (bytes) => bytes.fill(7, 4096, 4608)),
      changed(after, first ?? '', (bytes) => bytes.fill(0, 4608, 4608 + 3 * 512)),
      changed(long, first ?? '', (bytes) => bytes.fill(0, 4096, 16_384)),
    ];
    expect(cases.map((files) => problem(files))).toEqual([
      'The log is damaged: log-0000000001, byte 4096: a record is broken, and one follows at 4608.',
      'The log is damaged: log-0000000001, byte 4608: a record is broken, and one follows at 6144.',
      'The log is damaged: log-0000000001, byte 4096: its records end here, but log-0000000002 says at 14848.',
    ]);
  });

  it('a segment that is missing, cut short, empty, renamed, or has no header', () => {
    const renamed = new Map([...without(third), [third ?? '', long.get(second ?? '') ?? before]]);
    const cases = [
      without(second),
      without(first),
      changed(long, second ?? '', (bytes) => bytes.fill(0)),
      new Map([...long, [second ?? '', new Uint8Array()]]),
      new Map([
        ...long,
        [second ?? '', (long.get(second ?? '') ?? new Uint8Array()).slice(0, 9000)],
      ]),
      renamed as Files,
      changed(long, second ?? '', (bytes) => bytes.set([1, 2, 3])),
    ];
    expect(cases.map((files) => problem(files))).toEqual([
      'The log is damaged: log-0000000003, byte 0: the log begins behind entry 6, but must hold all behind 0: segments before this one are missing.',
      'The log is damaged: log-0000000002, byte 0: the log begins behind entry 3, but must hold all behind 0: segments before this one are missing.',
      'The log is damaged: log-0000000002, byte 0: its header is all zeros.',
      'The log is damaged: log-0000000002, byte 0: it is too short to have a header.',
      'The log is damaged: log-0000000002, byte 9000: it has 9000 bytes and should have 16384.',
      'The log is damaged: log-0000000003, byte 16: by its header it is log-0000000002.',
      'The log is damaged: log-0000000002, byte 0: it does not start as a log.',
    ]);
  });

  it('all but the one that was made ready for later', () => {
    const last = [...long.keys()].toSorted().at(-1) ?? '';
    const alone = new Map([[last, long.get(last) ?? new Uint8Array()]]);
    expect(problem(alone)).toBe(
      'The log is damaged: log-0000000004, byte 0: it is empty, and those before it are missing.',
    );
  });

  it("another cluster's, another member's, and a newer release's", () => {
    const header = encodeSegmentHeader(
      { sequence: 1, salt: new Uint8Array(8), clusterId: 'home', memberId: 9, sizeBytes: 16_384 },
      2,
    );
    const newer = changed(after, first ?? '', (bytes) => bytes.set(header));
    const found = [
      problem(after, { clusterId: 'office' }),
      problem(after, { memberId: 10 }),
      problem(newer),
    ];
    expect(found).toEqual([
      'The log is of another cluster (log-0000000001 is of home, not of office): start with the data directory that belongs to this cluster.',
      "The log is another member's (log-0000000001 is of member 9, not 10): start with this member's own data directory; a copied one may never be used.",
      'The log was written by a newer release (log-0000000001 has format 2): start that release again, or a newer one.',
    ]);
  });

  it('leaves every file as it was', () => {
    const clock = new ManualClock();
    const disk = diskWith(clock, without(second));
    expect(() => openLog(deps(clock, disk))).toThrow(LogCorruptError);
    clock.advance(10_000);
    expect(filesOf(disk)).toEqual(without(second));
  });
});
