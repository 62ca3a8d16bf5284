import { describe, expect, it } from 'vitest';
import { findByPath, parseJsonPath } from './json-path.ts';

const value = {
  spec: { replicas: 3, 'a.b': 'dotted', names: ['x', 'y', 'z'] },
  status: {
    conditions: [
      { type: 'Ready', status: 'True', times: 2 },
      { type: 'Stuck', status: 'False', times: 5 },
      { type: 'Bare' },
    ],
  },
};

describe('a path', () => {
  const cases: readonly [path: string, found: unknown[]][] = [
    ['.spec.replicas', [3]],
    ['{.spec.replicas}', [3]],
    ['$.spec.replicas', [3]],
    ['.spec.nothing.more', []],
    ['.spec.names[0]', ['x']],
    ['.spec.names[-1]', ['z']],
    ['.spec.names[7]', []],
    ['.spec.replicas[0]', []],
    ['.spec.names[1:]', ['y', 'z']],
    ['.spec.names[:1]', ['x']],
    ['.spec.names[0:2]', ['x', 'y']],
    ['.spec.names[-2:]', ['y', 'z']],
    ['.spec.names[*]', ['x', 'y', 'z']],
    ['.status.conditions[*].type', ['Ready', 'Stuck', 'Bare']],
    ['.spec.*', [3, 'dotted', ['x', 'y', 'z']]],
    ['..type', ['Ready', 'Stuck', 'Bare']],
    [".spec['a.b']", ['dotted']],
    ['.spec["a.b"]', ['dotted']],
    ['.spec.a\\.b', ['dotted']],
    ['.status.conditions[?(@.type=="Ready")].status', ['True']],
    [".status.conditions[?(@.type == 'Ready')].status", ['True']],
    ['.status.conditions[?(@.status!="True")].type', ['Stuck']],
    ['.status.conditions[?(@.times<5)].type', ['Ready']],
    ['.status.conditions[?(@.times>=5)].type', ['Stuck']],
    ['.status.conditions[?(@.status)].type', ['Ready', 'Stuck']],
  ];
  it.each(cases)('%s', (path, found) => {
    expect(findByPath(parseJsonPath(path), value)).toEqual(found);
  });

  it('does not find what every object of JavaScript has', () => {
    expect(findByPath(parseJsonPath('.spec.constructor'), value)).toEqual([]);
  });

  const wrong = ['spec', '.spec[', '.spec[a]', '.a[?(@.b==)', '.a[?(b)]', '.a b', '.'];
  it.each(wrong)('%s can not be read', (path) => {
    expect(() => parseJsonPath(path)).toThrow(Error);
  });
});
