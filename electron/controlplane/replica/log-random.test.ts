// Random lives of a log on a disk that loses, keeps or tears what is under way when the power goes.
// After each restart the log must be what was acknowledged, or that with a part of the one batch
// that was not, from its beginning.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Clock, ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { MemoryDisk } from '../../../test/sim/disk.ts';
import type { Entry, HardState } from '../raft/types.ts';
import type { Position } from './log-codec.ts';
import { LogFullError } from './log-errors.ts';
import { openLog } from './log-storage.ts';
import type { LogBatch, LogStorage, RecoveredLog } from './types.ts';

type Operation =
  | { readonly type: 'append'; readonly sizes: readonly number[]; readonly back: number }
  | { readonly type: 'vote' }
  | { readonly type: 'commit' }
  | { readonly type: 'snapshot'; readonly ahead: number; readonly sizes: readonly number[] }
  | { readonly type: 'compact'; readonly keep: number }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'restart'; readonly how: 'closed' | 'killed' | 'crashed' }
  | { readonly type: 'full' }
  | { readonly type: 'freed' };

const sizes = fc.array(fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 3900 })), {
  minLength: 1,
  maxLength: 8,
});
const how = fc.constantFrom('closed' as const, 'killed' as const, 'crashed' as const);
const operations = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        type: fc.constant('append' as const),
        sizes,
        back: fc.constantFrom(0, 0, 0, 1, 5),
      }),
    },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('vote' as const) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('commit' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant('snapshot' as const),
        ahead: fc.nat({ max: 9 }),
        sizes: fc.oneof(fc.constant([]), sizes),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constant('compact' as const), keep: fc.nat({ max: 6 }) }),
    },
    {
      weight: 8,
      arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.nat({ max: 12 }) }),
    },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('restart' as const), how }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('full' as const) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('freed' as const) }) },
  ),
  { maxLength: 60 },
);

interface State {
  readonly hardState: HardState;
  readonly start: Position;
  readonly entries: readonly Entry[];
}

/** What a log holds after a batch, or after the first `count` of its entries. */
function after(state: State, batch: LogBatch, count = batch.entries.length): State {
  const hardState = batch.hardState ?? state.hardState;
  const start = batch.snapshot ?? state.start;
  const held = batch.snapshot === undefined ? state.entries : [];
  const [first] = batch.entries;
  const kept = first === undefined ? held : held.filter((entry) => entry.index < first.index);
  const entries = count === 0 ? held : [...kept, ...batch.entries.slice(0, count)];
  return { hardState, start: { index: start.index, term: start.term }, entries };
}

function lastIndex(state: State): number {
  return state.entries.at(-1)?.index ?? state.start.index;
}

class Run {
  readonly #clock = new ManualClock();
  readonly #random;
  readonly #disk: MemoryDisk;
  readonly #segmentBytes: number;
  /** Acknowledged. */
  #state: State = {
    hardState: { term: 0, vote: 0, commit: 0 },
    start: { index: 0, term: 0 },
    entries: [],
  };
  /** Being written. */
  #pending: LogBatch | undefined;
  /** How far the log was told to forget since the last restart. */
  #compacted: Position = { index: 0, term: 0 };
  #life = 0;
  #isClosing = false;
  #log: LogStorage;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#segmentBytes = seed % 2 === 0 ? 8192 : 16_384;
    this.#disk = new MemoryDisk({
      clock: this.#clock,
      random: this.#random,
      delayMs: () => Math.floor(this.#random.next() * 4),
    });
    this.#log = this.#open().log;
  }

  do(operation: Operation): void {
    switch (operation.type) {
      case 'append':
        return this.#append(operation.sizes, operation.back);
      case 'vote':
        return this.#write({ hardState: this.#nextTerm() });
      case 'commit':
        return this.#write({
          hardState: { ...this.#state.hardState, commit: lastIndex(this.#state) },
          mustSync: false,
        });
      case 'snapshot':
        return this.#snapshot(operation.ahead, operation.sizes);
      case 'compact':
        return this.#compact(operation.keep);
      case 'wait':
        return this.#clock.advance(operation.ms);
      case 'restart':
        return this.#restart(operation.how);
      case 'full':
        return this.#disk.setCapacity(this.#disk.usedBytes());
      case 'freed':
        return this.#disk.setCapacity(Infinity);
    }
  }

  #open(): { log: LogStorage; recovered: RecoveredLog | undefined } {
    // What an earlier process had set a timer for dies with it.
    const life = ++this.#life;
    const timer: Clock['timer'] = (delayMs, callback) =>
      this.#clock.timer(delayMs, () => {
        if (life === this.#life) callback();
      });
    return openLog({
      disk: this.#disk,
      clusterId: 'home',
      memberId: 5,
      clock: { now: () => 0, monotonicMs: () => 0, timer },
      random: this.#random,
      logger: silentLogger,
      schedule: (work) => void timer(0, work),
      segmentBytes: this.#segmentBytes,
    });
  }

  #nextTerm(): HardState {
    const { term, commit } = this.#state.hardState;
    return { term: term + 1, vote: Math.floor(this.#random.next() * 5), commit };
  }

  #newEntries(first: number, entrySizes: readonly number[], term: number): Entry[] {
    return entrySizes.map((size, i) => ({
      index: first + i,
      term,
      kind: 'command',
      data: this.#random.bytes(size),
    }));
  }

  /** `back`: so many of the last entries, as far as they are not committed, are replaced. */
  #append(entrySizes: readonly number[], back: number): void {
    if (this.#pending !== undefined) return;
    const { hardState, start } = this.#state;
    const last = lastIndex(this.#state);
    const first = Math.max(last + 1 - back, hardState.commit + 1, start.index + 1);
    const newState = first <= last ? this.#nextTerm() : hardState;
    const entries = this.#newEntries(first, entrySizes, newState.term);
    this.#write({ hardState: newState === hardState ? undefined : newState, entries });
  }

  #snapshot(ahead: number, entrySizes: readonly number[]): void {
    if (this.#pending !== undefined) return;
    const index = lastIndex(this.#state) + 1 + ahead;
    const hardState = { ...this.#nextTerm(), commit: index };
    const snapshot = { index, term: hardState.term, membership: { members: [] } };
    const entries = this.#newEntries(index + 1, entrySizes, hardState.term);
    this.#write({ hardState, snapshot, entries });
  }

  #write(partial: Partial<LogBatch>): void {
    if (this.#pending !== undefined) return;
    const whole = { hardState: undefined, entries: [], snapshot: undefined, mustSync: true };
    const batch = { ...whole, ...partial };
    this.#pending = batch;
    this.#log.write(batch, (error) => {
      if (error instanceof LogFullError) {
        if (this.#isClosing) return;
        // Nothing or a first part was written. A member that is full tries the same again.
        this.#pending = undefined;
        this.#disk.setCapacity(Infinity);
        return this.#write(batch);
      }
      expect(error).toBe(undefined);
      this.#state = after(this.#state, batch);
      this.#pending = undefined;
    });
  }

  #compact(keep: number): void {
    const { hardState, start, entries } = this.#state;
    const index = Math.min(hardState.commit, lastIndex(this.#state) - keep);
    const known = entries.find((entry) => entry.index === index);
    // Not while what begins the log anew is on its way: the driver would not do that either.
    if (known === undefined || index <= start.index || this.#pending?.snapshot !== undefined)
      return;
    this.#log.compact(index);
    this.#compacted = { index, term: known.term };
  }

  #restart(kind: 'closed' | 'killed' | 'crashed'): void {
    if (kind === 'closed') {
      this.#isClosing = true;
      this.#log.close();
      this.#clock.advance(1000);
      this.#isClosing = false;
      this.#disk.kill();
    } else if (kind === 'killed') this.#disk.kill();
    else this.#disk.crash();
    this.#disk.setCapacity(Infinity);
    const { log, recovered } = this.#open();
    this.#log = log;
    const found = recovered ?? {
      hardState: { term: 0, vote: 0, commit: 0 },
      start: { index: 0, term: 0 },
      entries: [],
    };
    this.#check(found);
    this.#state = found;
    this.#pending = undefined;
    this.#compacted = found.start;
  }

  #check(found: State): void {
    const allowed = [this.#state];
    const batch = this.#pending;
    if (batch !== undefined) {
      const from = batch.entries.length === 0 || batch.snapshot !== undefined ? 0 : 1;
      for (let count = from; count <= batch.entries.length; count++)
        allowed.push(after(this.#state, batch, count));
    }
    expect(allowed.map((state) => show(state, found, this.#compacted))).toContainEqual(
      show(found, found, this.#compacted),
    );
  }
}

/**
 * A state as text, as far as it must be equal. The log may begin where it did before a compaction,
 * or where it was compacted to; a commit may be an older one.
 */
function show(state: State, found: State, compacted: Position): unknown {
  const { term, vote } = state.hardState;
  const isCompacted = found.start.index > state.start.index && found.start.index <= compacted.index;
  const start = isCompacted ? found.start : state.start;
  expect(found.hardState.commit).toBeLessThanOrEqual(lastIndex(found));
  return {
    term,
    vote,
    start: `${start.index}/${start.term}`,
    entries: state.entries
      .filter((entry) => entry.index > start.index)
      .map(({ index, term: of, data }) => `${index}/${of} ${Buffer.from(data).toString('base64')}`),
  };
}

describe('a log through random writes, compactions, kills and power cuts', () => {
  it('holds what was acknowledged', () => {
    fc.assert(
      fc.property(operations, fc.nat({ max: 1_000_000 }), (list, seed) => {
        const run = new Run(seed);
        for (const operation of list) run.do(operation);
        run.do({ type: 'restart', how: 'crashed' });
      }),
      { numRuns: 1500 },
    );
  });
});
