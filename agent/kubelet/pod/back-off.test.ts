import { expect, it } from 'vitest';
import { BackOff } from './back-off.ts';

it('lets the first failure through at once, then waits 10 s, doubling to 5 min', () => {
  const backOff = new BackOff();
  let nowMs = 1_000_000;
  const waits: number[] = [];
  for (let round = 0; round < 8; round++) {
    const waitMs = backOff.remainingMs('k', nowMs, nowMs);
    waits.push(waitMs / 1000);
    backOff.next('k', nowMs, nowMs + waitMs);
    nowMs += waitMs;
  }
  expect(waits).toEqual([0, 10, 20, 40, 80, 160, 300, 300]);
});

it('counts the wait from the failure, not from when it is asked', () => {
  const backOff = new BackOff();
  backOff.next('k', 0, 0);
  expect(backOff.remainingMs('k', 1000, 4000)).toBe(7000);
  expect(backOff.remainingMs('k', 1000, 60_000)).toBe(0);
});

it('forgets after ten quiet minutes', () => {
  const backOff = new BackOff();
  backOff.next('k', 0, 0);
  backOff.next('k', 0, 0);
  expect(backOff.remainingMs('k', 600_001, 600_001)).toBe(0);
  backOff.next('k', 600_001, 600_001);
  expect(backOff.delayMs('k')).toBe(10_000);
});

it('keeps keys apart', () => {
  const backOff = new BackOff();
  backOff.next('a', 0, 0);
  expect(backOff.remainingMs('b', 0, 0)).toBe(0);
});
