import { expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { Demand } from './compilers.ts';

it('compilers are asked for by many calls in a short time, not by many in a long one', () => {
  const clock = new ManualClock();
  let asked = 0;
  const demand = new Demand(clock, () => asked++);
  const calls = (count: number, ms: number): void => {
    for (let i = 0; i < count; i++) {
      demand.note();
      clock.advance(ms / count);
    }
  };
  calls(5000, 60_000);
  expect(asked).toBe(0);
  calls(3000, 3000);
  expect(asked).toBeGreaterThan(0);
});
