import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { LeaseDue } from './commands.ts';
import { LeaseExpiry } from './lease-expiry.ts';
import { MemoryRows } from './memory-rows.ts';
import { Mvcc } from './mvcc.ts';

interface Revocation {
  readonly id: number;
  readonly due: LeaseDue;
  readonly resolve: (value?: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Whoever waits for a revocation knows what became of it. */
function told(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** On the leader of term 3, with lease 1 of ten seconds. */
function leader() {
  const clock = new ManualClock();
  const leases = new Map([[1, { ttlSeconds: 10, keptAt: 4 }]]);
  const revocations: Revocation[] = [];
  const state = { term: 3 as number | undefined };
  const expiry = new LeaseExpiry({
    state: { leases: () => Array.from(leases.keys()), lease: (id) => leases.get(id) },
    clock,
    logger: silentLogger,
    term: () => state.term,
    revoke: (id, due) =>
      new Promise((resolve, reject) => revocations.push({ id, due, resolve, reject })),
  });
  expiry.setLeader(true);
  return { clock, leases, revocations, expiry, state };
}

describe('lease expiry', () => {
  it('revokes what is over, for this term and the last keep only', () => {
    const { clock, revocations } = leader();
    clock.advance(9_999);
    expect(revocations).toEqual([]);
    clock.advance(1);
    expect(revocations).toMatchObject([{ id: 1, due: { term: 3, keptAt: 4 } }]);
  });

  it('gives a kept lease its whole time', () => {
    const { clock, revocations, expiry } = leader();
    clock.advance(9_000);
    expect(expiry.keepNow(1)).toBe(true);
    clock.advance(9_999);
    expect(revocations).toEqual([]);
    clock.advance(1);
    expect(revocations).toHaveLength(1);
  });

  it('keeps nothing by itself on a member that does not lead', () => {
    const { expiry, state } = leader();
    state.term = undefined;
    expect(expiry.keepNow(1)).toBe(false);
  });

  // Seeds 148, 153, 186, 203, 231, 270: told that it is kept, and revoked a moment later.
  it('leaves it to the log whether a lease can still be kept that is being revoked', () => {
    const { clock, expiry } = leader();
    clock.advance(10_000);
    expect(expiry.keepNow(1)).toBe(false);
  });

  it('leaves it to the log, too, when nobody knows whether it was revoked', async () => {
    const { clock, expiry, revocations } = leader();
    clock.advance(10_000);
    revocations[0]?.reject(new Error('no answer'));
    await told();
    expect(expiry.keepNow(1)).toBe(false);
    clock.advance(1_000);
    expect(revocations).toHaveLength(2);
  });

  it('goes on by itself once the log has kept the lease', async () => {
    const { clock, leases, expiry, revocations } = leader();
    clock.advance(10_000);
    leases.set(1, { ttlSeconds: 10, keptAt: 9 });
    expiry.kept(1);
    revocations[0]?.resolve();
    await told();
    clock.advance(9_999);
    expect(expiry.keepNow(1)).toBe(true);
    clock.advance(10_000);
    expect(revocations).toMatchObject([{ due: { keptAt: 4 } }, { due: { keptAt: 9 } }]);
  });

  it('gives every lease its whole time when another leads', () => {
    const { clock, expiry, revocations, state } = leader();
    clock.advance(9_000);
    expiry.setLeader(false);
    state.term = 5;
    expiry.setLeader(true);
    clock.advance(9_999);
    expect(revocations).toEqual([]);
    clock.advance(1);
    expect(revocations).toMatchObject([{ due: { term: 5 } }]);
  });
});

describe('a revocation of what is due', () => {
  const due = { term: 3, keptAt: 2 };
  const cases = [
    { name: 'ends the lease', keptAt: 2, term: 3, want: 'done' },
    { name: 'is void once the log kept the lease', keptAt: 3, term: 3, want: 'failed' },
    { name: 'is void in another term', keptAt: 2, term: 4, want: 'failed' },
  ];
  it.each(cases)('$name', ({ keptAt, term, want }) => {
    const { mvcc } = Mvcc.load(new MemoryRows({ schedule: queueMicrotask }));
    mvcc.apply({ type: 'lease-grant', id: 1, ttlSeconds: 10 }, { index: 2, term: 3 });
    if (keptAt > 2) mvcc.apply({ type: 'lease-keep', id: 1 }, { index: keptAt, term: 3 });
    const result = mvcc.apply({ type: 'lease-revoke', id: 1, due }, { index: 4, term });
    expect(result.type).toBe(want);
    expect(mvcc.leases.ids).toEqual(want === 'done' ? [] : [1]);
  });
});
