import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deepCopy, deepEqual, deepFreeze, setOwn, stableStringify } from './equality.ts';

describe('deepEqual', () => {
  it('agrees with comparing sorted JSON texts', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(deepEqual(a, b)).toBe(stableStringify(a) === stableStringify(b));
        expect(deepEqual(a, deepCopy(a))).toBe(true);
      }),
    );
  });

  it('takes undefined for absent and does not look at prototypes', () => {
    expect(deepEqual({ a: 1, b: undefined }, { a: 1 })).toBe(true);
    expect(deepEqual({ a: 1 }, { a: 1, b: undefined })).toBe(true);
    expect(deepEqual({ toString: undefined }, {})).toBe(true);
    expect(deepEqual({ a: 1 }, { b: 1 })).toBe(false);
    expect(deepEqual([], {})).toBe(false);
    expect(deepEqual(null, {})).toBe(false);
  });
});

describe('deepFreeze', () => {
  it('makes every part read-only', () => {
    const value = deepFreeze({ a: [{ b: 1 }] });
    expect(() => value.a.push({ b: 2 })).toThrow(TypeError);
    expect(() => Object.assign(value.a[0] ?? {}, { b: 2 })).toThrow(TypeError);
  });
});

describe('deepCopy', () => {
  it('shares nothing with the original', () => {
    const original = { a: [{ b: 1 }] };
    const copy = deepCopy(deepFreeze(original));
    copy.a[0] = { b: 2 };
    expect(original).toEqual({ a: [{ b: 1 }] });
  });
});

describe('setOwn', () => {
  it('adds a key named __proto__ like any other', () => {
    const target: Record<string, unknown> = {};
    setOwn(target, '__proto__', { polluted: true });
    expect(JSON.stringify(target)).toBe('{"__proto__":{"polluted":true}}');
    expect((target as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
