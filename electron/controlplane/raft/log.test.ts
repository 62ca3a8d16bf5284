// The log against a plain model: an array of terms, and the set of entries that a disk really holds.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RaftLog } from './log.ts';
import type { Entry } from './types.ts';

const entry = (index: number, term: number, bytes = 0): Entry => ({
  index,
  term,
  kind: 'command',
  data: new Uint8Array(bytes),
});

function logOf(terms: readonly number[]): RaftLog {
  return new RaftLog(
    { index: 0, term: 0 },
    terms.map((term, at) => entry(at + 1, term)),
  );
}

type Act =
  | { readonly kind: 'append'; readonly count: number }
  | { readonly kind: 'truncate'; readonly back: number }
  | { readonly kind: 'write' }
  | { readonly kind: 'persist'; readonly which: number }
  | { readonly kind: 'commit'; readonly ahead: number }
  | { readonly kind: 'compact' };

const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant('truncate' as const), back: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant('write' as const) }),
    fc.record({ kind: fc.constant('persist' as const), which: fc.nat(3) }),
    fc.record({ kind: fc.constant('commit' as const), ahead: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant('compact' as const) }),
  ),
  { maxLength: 60 },
);

/** A disk that does one write after the other, and what the log should say about it. */
class Model {
  readonly log = new RaftLog({ index: 0, term: 0 }, []);
  /** What the log holds: its terms, from index 1. */
  terms: number[] = [];
  private disk: number[] = [];
  private writes: { id: number; entries: readonly Entry[] }[] = [];
  private lastWrite = 0;
  private term = 1;
  private readonly applied: number[] = [];

  act(act: Act): void {
    const { log } = this;
    if (act.kind === 'append')
      for (let at = 0; at < act.count; at += 1) {
        log.append(entry(this.terms.length + 1, this.term));
        this.terms.push(this.term);
      }
    else if (act.kind === 'truncate') this.truncate(act.back);
    else if (act.kind === 'write') this.write();
    else if (act.kind === 'persist') this.persist(act.which);
    else if (act.kind === 'commit') log.commit = Math.min(log.commit + act.ahead, log.lastIndex);
    else log.compact(log.handedOut);
    for (const { index, term } of log.takeCommitted()) {
      // Only what this disk holds, as it holds it.
      expect(this.disk[index - 1]).toBe(term);
      this.applied.push(term);
    }
    this.check();
  }

  private truncate(back: number): void {
    const index = Math.max(this.log.commit, this.log.lastIndex - back) + 1;
    if (index > this.log.lastIndex) return;
    this.log.truncateFrom(index);
    this.terms.length = index - 1;
    this.term += 1;
  }

  private write(): void {
    const entries = this.log.takeUnsaved();
    this.lastWrite += 1;
    this.log.writeBegan(this.lastWrite);
    this.writes.push({ id: this.lastWrite, entries });
  }

  /** The oldest writes are done, `which` + 1 of them. */
  private persist(which: number): void {
    const done = this.writes.splice(0, which + 1);
    for (const { entries } of done)
      for (const { index, term } of entries) {
        this.disk.length = index - 1;
        this.disk.push(term);
      }
    const last = done.at(-1);
    if (last !== undefined) this.log.persisted(last.id);
  }

  private check(): void {
    const { log, terms } = this;
    expect(log.lastIndex).toBe(terms.length);
    expect(log.lastTerm).toBe(terms.at(-1) ?? 0);
    expect(this.applied).toEqual(terms.slice(0, log.handedOut));
    for (let index = log.firstIndex; index <= log.durable; index += 1)
      expect(this.disk[index - 1]).toBe(terms[index - 1]);
  }
}

describe('the log', () => {
  it('calls durable only what the disk holds, through any order of appends, cuts and writes', () => {
    fc.assert(
      fc.property(acts, (list) => {
        const model = new Model();
        for (const act of list) model.act(act);
      }),
      { numRuns: 500 },
    );
  });

  const terms = fc
    .array(fc.nat(4), { maxLength: 30 })
    .map((list) => list.toSorted((a, b) => a - b));

  it('finds the last entry up to an index whose term is not newer', () => {
    fc.assert(
      fc.property(terms, fc.nat(35), fc.nat(6), (list, index, term) => {
        let want = Math.min(index, list.length);
        while (want > 0 && (list[want - 1] ?? 0) > term) want -= 1;
        expect(logOf(list).lastUpTo(index, term)).toEqual({
          index: want,
          term: list[want - 1] ?? 0,
        });
      }),
    );
  });

  it('fills a message with what fits, and always with one entry', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(300), { minLength: 1, maxLength: 9 }),
        fc.nat(900),
        (sizes, max) => {
          const log = new RaftLog(
            { index: 0, term: 0 },
            sizes.map((bytes, at) => entry(at + 1, 1, bytes)),
          );
          const sent = log.sliceBytes(1, max);
          const bytes = (list: readonly Entry[]): number =>
            list.reduce((sum, { data }) => sum + data.length + 24, 0);
          expect(sent.length).toBeGreaterThan(0);
          if (sent.length > 1) expect(bytes(sent)).toBeLessThanOrEqual(max);
          if (sent.length < sizes.length)
            expect(bytes(log.slice(1, sent.length + 1))).toBeGreaterThan(max);
        },
      ),
    );
  });

  it('forgets nothing that is not handed out', () => {
    const log = logOf([1, 1, 1]);
    log.commit = 2;
    log.takeCommitted();
    expect(() => log.compact(3)).toThrow('before it is applied');
    log.compact(2);
    expect([log.firstIndex, log.termAt(1), log.termAt(2), log.termAt(3)]).toEqual([
      3,
      undefined,
      1,
      1,
    ]);
  });

  it('refuses a state and a log that do not fit together', () => {
    expect(() => logOf([1, 1]).startAt(0, 5)).toThrow('the state holds entry 5');
  });
});
