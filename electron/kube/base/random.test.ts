import { describe, expect, it } from 'vitest';
import { systemRandom, uuid } from './random.ts';

describe("the system's randomness", () => {
  it('gives as many bytes as asked for, of any number', () => {
    for (const length of [0, 1, 16, 4095, 4096, 4097, 10_000])
      expect(systemRandom.bytes(length)).toHaveLength(length);
  });

  it('never gives the same twice, also where its supply is renewed', () => {
    const ids = Array.from({ length: 2_000 }, () => uuid(systemRandom));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('leaves what it gave alone', () => {
    const first = systemRandom.bytes(32);
    const copy = Uint8Array.from(first);
    for (let n = 0; n < 300; n++) systemRandom.bytes(32);
    expect(first).toEqual(copy);
  });

  it('is spread over [0, 1)', () => {
    const numbers = Array.from({ length: 2_000 }, () => systemRandom.next());
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.1);
  });
});
