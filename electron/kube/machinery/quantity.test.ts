import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  parseQuantity,
  quantityFromBytes,
  quantityFromMilli,
  subtractQuantities,
  toInteger,
  toMilli,
  toNumber,
  validateQuantity,
} from './quantity.ts';

describe('canonicalQuantity', () => {
  const cases: [text: string | number, want: string][] = [
    ['0', '0'],
    ['-0', '0'],
    ['0Ki', '0'],
    ['100m', '100m'],
    ['1000m', '1'],
    ['1500m', '1500m'],
    ['0.1', '100m'],
    ['0.5', '500m'],
    ['1.5', '1500m'],
    ['.5', '500m'],
    ['1.', '1'],
    ['+2', '2'],
    ['-1000m', '-1'],
    ['1Gi', '1Gi'],
    ['1024Mi', '1Gi'],
    ['1.5Gi', '1536Mi'],
    ['1000Ki', '1000Ki'],
    ['0.5Ki', '512'],
    ['0.1Mi', '104857600m'],
    ['0.0001Ki', '102400u'],
    ['1000k', '1M'],
    ['1e3', '1e3'],
    ['1E3', '1e3'],
    ['1e-3', '1e-3'],
    ['100e2', '10e3'],
    ['1E', '1E'],
    ['1000E', '1000E'],
    ['1Ei', '1Ei'],
    ['100Ei', '9223372036854775807'],
    ['1n', '1n'],
    ['0.1n', '1n'],
    ['-0.1n', '-1n'],
    ['1.0000000001', '1000000001n'],
    ['128974848', '128974848'],
    ['129M', '129M'],
    [1, '1'],
    [0.25, '250m'],
    [1e21, '1e21'],
  ];
  it.each(cases)('prints %j as %j', (given, want) => {
    expect(canonicalQuantity(given)).toBe(want);
  });

  const wrong: [text: string, message: string][] = [
    ['', 'quantities must match the regular expression'],
    ['abc', 'quantities must match the regular expression'],
    ['1 Gi', 'quantities must match the regular expression'],
    [' 1', 'quantities must match the regular expression'],
    ['1.1.1', 'quantities must match the regular expression'],
    ['1+1M', 'quantities must match the regular expression'],
    ['9'.repeat(200), 'quantities must match the regular expression'],
    ['1i', "unable to parse quantity's suffix"],
    ['1ki', "unable to parse quantity's suffix"],
    ['1mi', "unable to parse quantity's suffix"],
    ['1e-', "unable to parse quantity's suffix"],
    ['1e999999999', "unable to parse quantity's suffix"],
    ['1K', "unable to parse quantity's suffix"],
    ['.', 'unable to parse numeric part of quantity'],
  ];
  it.each(wrong)('refuses %j: %s', (text, message) => {
    expect(() => parseQuantity(text)).toThrow(message);
  });

  it('refuses a text of endless digits at once', () => {
    expect(() => parseQuantity(`${'1'.repeat(200_000)}x`)).toThrow(
      'quantities must match the regular expression',
    );
  });

  it('is checked without an exception by validateQuantity', () => {
    expect([validateQuantity('1Gi'), validateQuantity(2), validateQuantity(' 1 ')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(validateQuantity('1ki')).toBe("unable to parse quantity's suffix");
    expect(validateQuantity({})).toContain('must match the regular expression');
  });

  it('is a fixed point and keeps the amount', () => {
    fc.assert(
      fc.property(anyQuantity(), (text) => {
        const once = canonicalQuantity(text);
        expect(canonicalQuantity(once)).toBe(once);
        expect(compareQuantities(once, text)).toBe(0);
      }),
    );
  });
});

function anyQuantity(): fc.Arbitrary<string> {
  const suffix = ['', 'n', 'u', 'm', 'k', 'M', 'G', 'T', 'P', 'Ki', 'Mi', 'Gi', 'Ti', 'e3', 'e-4'];
  return fc
    .tuple(fc.integer({ min: -9999, max: 9999 }), fc.nat(999), fc.constantFrom(...suffix))
    .map(([whole, fraction, unit]) => `${whole}.${fraction}${unit}`);
}

describe('arithmetic', () => {
  it('subtracting what was added gives the amount back', () => {
    fc.assert(
      fc.property(anyQuantity(), anyQuantity(), (a, b) => {
        // Beyond 2^63 - 1 a binary amount is cut.
        fc.pre([a, b].every((one) => Math.abs(toNumber(one)) < 2 ** 61));
        expect(compareQuantities(subtractQuantities(addQuantities(a, b), b), a)).toBe(0);
      }),
    );
  });

  it('keeps the format of the first amount unless that is zero', () => {
    expect(addQuantities('1Gi', '1M')).toBe('1074741824');
    expect(addQuantities('1Gi', '1024Mi')).toBe('2Gi');
    expect(addQuantities('0', '1Gi')).toBe('1Gi');
    expect(addQuantities('1', '500m')).toBe('1500m');
    expect(subtractQuantities('1', '1500m')).toBe('-500m');
  });

  it('orders by amount, not by text', () => {
    expect(['1Gi', '1M', '900m', '1', '2e3'].toSorted(compareQuantities)).toEqual([
      '900m',
      '1',
      '2e3',
      '1M',
      '1Gi',
    ]);
  });

  it('rounds away from zero when whole units are asked for', () => {
    expect([toMilli('0.0001'), toMilli('1.5'), toMilli('-0.0001')]).toEqual([1, 1500, -1]);
    expect([toInteger('100m'), toInteger('1Gi'), toInteger('-1.5')]).toEqual([1, 2 ** 30, -2]);
    expect([toNumber('100m'), toNumber('1.5Gi'), toNumber('-250m')]).toEqual([
      0.1, 1_610_612_736, -0.25,
    ]);
  });

  it('makes text from millicores and bytes', () => {
    expect([quantityFromMilli(250), quantityFromMilli(2000)]).toEqual(['250m', '2']);
    expect([quantityFromBytes(1_073_741_824), quantityFromBytes(1_500)]).toEqual(['1Gi', '1500']);
  });
});
