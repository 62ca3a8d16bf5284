import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deepEqual, deepFreeze, isObject } from './equality.ts';
import { applyJsonPatch, mergePatch } from './patch.ts';

describe('mergePatch', () => {
  // The table of RFC 7386, appendix A.
  const cases: [target: unknown, patch: unknown, want: unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  it.each(cases)('%j with %j is %j', (target, patch, want) => {
    expect(mergePatch(deepFreeze(target), deepFreeze(patch))).toEqual(want);
  });

  it('the difference of two documents, applied, makes one the other', () => {
    const leaf = fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.array(fc.integer()));
    const document = fc.dictionary(
      fc.constantFrom('a', 'b', '__proto__', 'd'),
      fc.oneof(leaf, fc.dictionary(fc.constantFrom('x', 'y'), leaf)),
    );
    fc.assert(
      fc.property(document, document, (from, to) => {
        expect(deepEqual(mergePatch(from, difference(from, to)), to)).toBe(true);
      }),
    );
  });
});

/** The merge patch that makes `from` into `to`. */
function difference(from: unknown, to: unknown): unknown {
  if (!isObject(from) || !isObject(to)) return to;
  const removed = Object.keys(from).filter((key) => !Object.hasOwn(to, key));
  const entries: [string, unknown][] = removed.map((key) => [key, null]);
  for (const [key, value] of Object.entries(to))
    entries.push([key, Object.hasOwn(from, key) ? difference(from[key], value) : value]);
  return Object.fromEntries(entries);
}

describe('applyJsonPatch', () => {
  const cases: [document: unknown, patch: unknown[], want: unknown][] = [
    [{ a: 1 }, [{ op: 'add', path: '/b', value: 2 }], { a: 1, b: 2 }],
    [{ a: [1, 3] }, [{ op: 'add', path: '/a/1', value: 2 }], { a: [1, 2, 3] }],
    [{ a: [1] }, [{ op: 'add', path: '/a/-', value: 2 }], { a: [1, 2] }],
    [{ a: 1 }, [{ op: 'replace', path: '', value: { b: 1 } }], { b: 1 }],
    [{ a: 1 }, [{ op: 'replace', path: '/b', value: 2 }], { a: 1, b: 2 }],
    [{ a: [1, 2] }, [{ op: 'replace', path: '/a/-1', value: 3 }], { a: [1, 3] }],
    [{ a: [1, 2] }, [{ op: 'add', path: '/a/-1', value: 3 }], { a: [1, 2, 3] }],
    [{ a: [1, 2] }, [{ op: 'remove', path: '/a/-2' }], { a: [2] }],
    [{ a: 1 }, [{ op: 'copy', from: '/x', path: '/y' }], { a: 1, y: null }],
    [{ a: { b: 1, c: 2 } }, [{ op: 'remove', path: '/a/b' }], { a: { c: 2 } }],
    [{ a: [1, 2] }, [{ op: 'remove', path: '/a/0' }], { a: [2] }],
    [{ a: 1 }, [{ op: 'replace', path: '/a', value: null }], { a: null }],
    [{ a: { b: 1 } }, [{ op: 'move', from: '/a/b', path: '/c' }], { a: {}, c: 1 }],
    [
      { a: [1] },
      [
        { op: 'copy', from: '/a', path: '/b' },
        { op: 'add', path: '/b/-', value: 2 },
      ],
      { a: [1], b: [1, 2] },
    ],
    [{ 'x.io/a~b': 1 }, [{ op: 'replace', path: '/x.io~1a~0b', value: 2 }], { 'x.io/a~b': 2 }],
    [{ a: { b: [1] } }, [{ op: 'test', path: '/a', value: { b: [1] } }], { a: { b: [1] } }],
    [{}, [{ op: 'test', path: '/a', value: null }], {}],
  ];
  it.each(cases)('%j with %j is %j', (document, patch, want) => {
    expect(applyJsonPatch(deepFreeze(document), patch)).toEqual(want);
  });

  const wrong: [patch: unknown[], detail: string][] = [
    [[{ op: 'test', path: '/a', value: 2 }], 'testing value /a failed: test failed'],
    [
      [{ op: 'replace', path: '/x/y', value: 2 }],
      'replace operation does not apply: doc is missing path: /x/y: missing value',
    ],
    [
      [{ op: 'replace', path: '/list/1', value: 2 }],
      'replace operation does not apply: doc is missing key: /list/1: missing value',
    ],
    [
      [{ op: 'replace', path: '', value: 2 }],
      'replace operation value must be object or array: invalid value',
    ],
    [
      [{ op: 'add', path: '', value: {} }],
      'add operation does not apply: doc is missing path: "": missing value',
    ],
    [
      [{ op: 'add', path: '/list/x', value: 2 }],
      `error in add for path: '/list/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax`,
    ],
    [
      [{ op: 'remove', path: '/list/-2' }],
      "error in remove for path: '/list/-2': Unable to access invalid index: -2: invalid index referenced",
    ],
    [
      [{ op: 'test', path: '/list/-', value: 1 }],
      `error in test for path: '/list/-': strconv.Atoi: parsing "-": invalid syntax`,
    ],
    [
      [{ op: 'test', path: '/x/y', value: 1 }],
      'test operation does not apply: is missing path: /x/y: missing value',
    ],
    [
      [{ op: 'remove', path: '/x' }],
      "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
    ],
    [
      [{ op: 'add', path: '/x/y', value: 2 }],
      'add operation does not apply: doc is missing path: "/x/y": missing value',
    ],
    [
      [{ op: 'add', path: '/list/3', value: 2 }],
      "error in add for path: '/list/3': Unable to access invalid index: 3: invalid index referenced",
    ],
    [
      [{ op: 'copy', from: '/x/z', path: '/y' }],
      'copy operation does not apply: doc is missing from path: /x/z: missing value',
    ],
    [
      [{ op: 'copy', from: '/a', path: '/x/y' }],
      'copy operation does not apply: doc is missing destination path: /x/y: missing value',
    ],
    [
      [{ op: 'move', from: '/x', path: '/y' }],
      "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
    ],
    [
      [{ op: 'move', from: '/list', path: '/list/0' }],
      'move operation does not apply: doc is missing destination path: /list/0: missing value',
    ],
    [
      [{ op: 'add', path: '/constructor/x', value: 1 }],
      'add operation does not apply: doc is missing path: "/constructor/x": missing value',
    ],
    [[{ op: 'jump', path: '/a' }], 'Unexpected kind: jump'],
    [[{ op: 'add', value: 1 }], 'add operation failed to decode path: missing value'],
  ];
  it.each(wrong)('answers 422 to %j', (patch, detail) => {
    expect(() => applyJsonPatch({ a: 1, list: [1] }, patch)).toThrow(
      expect.objectContaining({
        code: 422,
        status: expect.objectContaining({ details: {} }),
        cause: new Error(detail),
      }),
    );
  });

  it('answers 400 to what is no list of operations, or too long a list', () => {
    expect(() => applyJsonPatch({}, {})).toThrow(expect.objectContaining({ code: 400 }));
    const many = Array.from({ length: 10_001 }, () => ({ op: 'test', path: '' }));
    expect(() => applyJsonPatch({}, many)).toThrow('The allowed maximum operations');
  });

  it('does not let copies grow without end', () => {
    const copies = Array.from({ length: 30 }, (_, i) => ({
      op: 'copy',
      from: '/a',
      path: `/a/b${i}`,
    }));
    expect(() => applyJsonPatch({ a: { x: 'x'.repeat(100) } }, copies)).toThrow(
      'the server rejected our request',
    );
  });
});
