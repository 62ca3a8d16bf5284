// Mistakes in YAML as go-yaml tells of them.
import { describe, expect, it } from 'vitest';
import { yamlToJson } from './yaml-json.ts';

describe('a mistake in YAML', () => {
  it.each([
    ['x: 1\na: b: c\n', 'line 2: mapping values are not allowed in this context'],
    ['a: b: c\n', 'mapping values are not allowed in this context'],
    ['x: 1\n\ta: 1\n', 'line 2: found character that cannot start any token'],
    ['x: 1\na: @b\n', 'line 2: found character that cannot start any token'],
    ['a:\n  b: 1\n c: 2\n', 'line 2: did not find expected key'],
    ['a: "b" c\n', 'did not find expected key'],
    ['a: 1\n- b\n', 'line 1: did not find expected key'],
    ['a: 1\nfoo\nb: 2\n', "line 2: could not find expected ':'"],
    ['x: 1\na: - b\n', 'line 2: block sequence entries are not allowed in this context'],
    ['a: [1, 2\nb: 3\n', "line 2: did not find expected ',' or ']'"],
    ['a: {b: 1\n', "line 1: did not find expected ',' or '}'"],
    ['x: 1\na: "\\q"\n', 'line 2: found unknown escape character'],
    ['}', 'did not find expected node content'],
    ['a: *x\n', "unknown anchor 'x' referenced"],
  ])('%j: %s', (text, want) => {
    expect(() => yamlToJson(text)).toThrow(new Error(want));
  });
});
