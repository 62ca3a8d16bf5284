import { describe, expect, it } from 'vitest';
import { clockLabel, marksUpTo } from './axis.ts';

describe('marksUpTo', () => {
  const cases = [
    { name: 'the top is a step', top: 32, step: 8, want: [0, 8, 16, 24, 32] },
    { name: 'the top lies between two', top: 23.5, step: 8, want: [0, 8, 16, 23.5] },
    { name: 'the last step would touch the top', top: 17, step: 8, want: [0, 8, 17] },
    { name: 'a step beyond the top', top: 1, step: 8, want: [0, 1] },
  ];
  it.each(cases)('ends at the top, $name', ({ top, step, want }) => {
    expect(marksUpTo(top, step)).toEqual(want);
  });
});

describe('clockLabel', () => {
  const at = new Date(2026, 0, 1, 9, 5, 30);
  it.each([
    { step: 30, want: '09:05:30' },
    { step: 60, want: '09:05' },
    { step: 86_400, want: '1 Jan' },
  ])('of marks $step s apart reads $want', ({ step, want }) => {
    expect(clockLabel(at, step)).toBe(want);
  });
});
