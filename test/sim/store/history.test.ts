import { describe, expect, it } from 'vitest';
import { checkHistory, type Call, type Change, type Operation, type Outcome } from './history.ts';
import { checkWatch, type SeenBatch } from './watch-check.ts';

const changes: readonly Change[] = [
  { revision: 1, key: 'a', value: '1' },
  { revision: 2, key: 'b', value: '2' },
  { revision: 3, key: 'a', value: '3' },
  { revision: 4, key: 'a', value: undefined },
];
const put = (key: string, value: string, expected: number): Operation => ({
  kind: 'put',
  key,
  value,
  expected,
});
const written = (revision: number): Outcome => ({ kind: 'written', revision });
const call = (
  invokedAt: number,
  completedAt: number,
  operation: Operation,
  outcome: Outcome,
): Call => ({
  invokedAt,
  completedAt,
  operation,
  outcome,
});
const remove: Operation = { kind: 'delete', key: 'a', expected: 3 };
const sound: readonly Call[] = [
  call(1, 2, put('a', '1', 0), written(1)),
  call(3, 6, put('b', '2', 0), { kind: 'unknown' }),
  call(4, 8, put('a', '3', 1), written(3)),
  call(
    5,
    7,
    { kind: 'get', key: 'a' },
    { kind: 'read', revision: 2, row: { value: '1', createRevision: 1, modRevision: 1 } },
  ),
  call(9, 10, put('a', '9', 1), {
    kind: 'conflict',
    revision: 3,
    row: { value: '3', createRevision: 1, modRevision: 3 },
  }),
  call(11, 12, remove, { kind: 'unknown' }),
];
const get = (invokedAt: number, revision: number, value?: string): Call =>
  call(
    invokedAt,
    invokedAt + 0.5,
    { kind: 'get', key: 'b' },
    {
      kind: 'read',
      revision,
      row: value === undefined ? undefined : { value, createRevision: 2, modRevision: 2 },
    },
  );

describe('the history check', () => {
  it('accepts a history that one order explains', () => {
    expect(checkHistory(sound, changes)).toEqual([]);
  });

  const broken = [
    {
      name: 'a write that was acknowledged and lost',
      calls: [...sound, call(13, 14, put('c', '5', 0), written(5))],
      says: 'lost',
    },
    {
      name: 'a write that nobody asked for',
      calls: sound.filter((_, i) => i !== 1),
      says: 'nobody asked',
    },
    { name: 'a delete that nobody asked for', calls: sound.slice(0, 5), says: 'nobody asked' },
    {
      name: 'a refused write that happened',
      calls: sound.with(1, call(3, 6, put('b', '2', 0), { kind: 'refused' })),
      says: 'did not happen',
    },
    {
      name: 'a write against its expectation',
      calls: sound.with(2, call(4, 8, put('a', '3', 2), written(3))),
      says: 'expected 2',
    },
    { name: 'a stale read', calls: [...sound, get(20, 1)], says: 'had been answered' },
    {
      name: 'a read of what was not there',
      calls: [...sound, get(20, 4, 'x')],
      says: 'the row was',
    },
    {
      name: 'a conflict where none was',
      calls: sound.with(
        0,
        call(1, 2, put('a', '1', 0), { kind: 'conflict', revision: 0, row: undefined }),
      ),
      says: 'the expectation held',
    },
    {
      name: 'writes out of the order they were answered in',
      calls: sound.with(2, call(0.1, 0.2, put('a', '3', 1), written(3))),
      says: 'had been answered',
    },
  ];
  it.each(broken)('finds $name', ({ calls, says }) => {
    expect(checkHistory(calls, changes).join('\n')).toContain(says);
  });

  it('finds a write that happened twice', () => {
    const twice = [
      ...changes,
      { revision: 5, key: 'b', value: undefined },
      { revision: 6, key: 'b', value: '2' },
    ];
    const calls = [...sound, call(15, 16, { kind: 'delete', key: 'b', expected: 2 }, written(5))];
    expect(checkHistory(calls, twice).join('\n')).toContain('twice');
  });

  it('finds a gap in the revisions', () => {
    expect(checkHistory([], [{ revision: 2, key: 'a', value: '1' }]).join('\n')).toContain(
      'revision 0 is followed by 2',
    );
  });
});

describe('the watch check', () => {
  const first = {
    type: 'put',
    key: 'a',
    value: '1',
    revision: 1,
    createRevision: 1,
    previousValue: undefined,
  } as const;
  const second = {
    type: 'put',
    key: 'a',
    value: '3',
    revision: 3,
    createRevision: 1,
    previousValue: '1',
  } as const;
  const third = {
    type: 'delete',
    key: 'a',
    value: undefined,
    revision: 4,
    createRevision: 1,
    previousValue: '3',
  } as const;
  const seen = (batches: readonly SeenBatch[], isComplete = true): string =>
    checkWatch({ prefix: 'a', afterRevision: 0, batches, isComplete }, changes).join('\n');

  it('accepts all events in order, with progress between them', () => {
    const batches = [
      { revision: 1, events: [first] },
      { revision: 2, events: [] },
      { revision: 4, events: [second, third] },
    ];
    expect(seen(batches)).toBe('');
  });

  const broken = [
    {
      name: 'a missing event',
      batches: [{ revision: 4, events: [first, third] }],
      says: 'was due',
    },
    {
      name: 'a repeated event',
      batches: [{ revision: 4, events: [first, first, second, third] }],
      says: 'was due',
    },
    {
      name: 'progress ahead of its events',
      batches: [{ revision: 3, events: [first] }],
      says: 'atomic',
    },
    {
      name: 'an event ahead of its batch',
      batches: [{ revision: 0, events: [first] }],
      says: 'bookmarkable',
    },
    {
      name: 'a wrong previous value',
      batches: [{ revision: 1, events: [{ ...first, previousValue: 'x' }] }],
      says: 'was due',
    },
    { name: 'an end too early', batches: [{ revision: 1, events: [first] }], says: 'never came' },
  ];
  it.each(broken)('finds $name', ({ batches, says }) => {
    expect(seen(batches)).toContain(says);
  });
});
