import { expect, it } from 'vitest';
import { compareVersions } from './version-order.ts';

it('stable before beta before alpha before any other text, and the newer ones first', () => {
  const inOrder = [
    'v11',
    'v2',
    'v1',
    'v11beta2',
    'v10beta3',
    'v3beta1',
    'v12alpha1',
    'v11alpha2',
    'foo1',
    'foo10',
    'v0',
    'v1gamma1',
  ];
  const sorted = inOrder.toReversed().sort((a, b) => compareVersions(b, a));
  expect(sorted).toEqual(inOrder);
});

it('a version is no better than itself', () => {
  for (const one of ['v1', 'v1beta1', 'foo']) expect(compareVersions(one, one)).toBe(0);
});
