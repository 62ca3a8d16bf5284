// What any Kv must do beyond what Store shows of it: byte keys, ranges, transactions, leases, hashes.
// Source: etcd's v3 API (api/etcdserverpb/rpc.proto and tests/integration/v3_grpc_test.go, for what
// to look at).
import { describe, expect, it } from 'vitest';
import type {
  ByteKey,
  Command,
  CommandResult,
  Compare,
  Kv,
  KvWatchBatch,
  Operation,
  RangeOperation,
  Row,
} from '../../electron/controlplane/store/commands.ts';
import { CompactedError, FutureRevisionError } from '../../electron/controlplane/store/store.ts';
import type { WatchLimits } from '../../electron/controlplane/store/watch-hub.ts';
import { bytes, text } from './store.ts';

export interface OpenedKv {
  readonly kv: Kv & { close(): Promise<void> };
  readonly dispose: () => Promise<void>;
}

export interface OpenKvOptions {
  readonly watchLimits?: WatchLimits;
}

export type OpenKv = (options?: OpenKvOptions) => OpenedKv | Promise<OpenedKv>;

type Using = (use: (kv: Kv) => Promise<void>, options?: OpenKvOptions) => Promise<void>;

export function kvConformance(name: string, open: OpenKv): void {
  const using: Using = async (use, options) => {
    const { kv, dispose } = await open(options);
    try {
      await use(kv);
    } finally {
      await kv.close();
      await dispose();
    }
  };
  describe(`${name}: ranges`, () => ranges(using));
  describe(`${name}: transactions`, () => transactions(using));
  describe(`${name}: transactions refused`, () => refusals(using));
  describe(`${name}: leases`, () => leases(using));
  describe(`${name}: watches of ranges`, () => watches(using));
  describe(`${name}: hashes`, () => hashes(using));
}

/** `key=value@create/mod v2 lease 5`. */
function showRow(row: Row): string {
  const lease = row.lease === 0 ? '' : ` lease ${row.lease}`;
  const { key, createRevision, modRevision, version } = row;
  return `${key}=${text(row.value)}@${createRevision}/${modRevision} v${version}${lease}`;
}

function put(key: ByteKey, value: string, more: Partial<Operation & { type: 'put' }> = {}) {
  return { type: 'put', key, value: bytes(value), lease: 0, ...more } as const;
}

function get(key: ByteKey, end?: ByteKey, more: Partial<RangeOperation> = {}): RangeOperation {
  const range = end === undefined ? { key } : { key, end };
  return { type: 'range', range, revision: 0, limit: 0, ...more };
}

function remove(key: ByteKey, end?: ByteKey, wantsPrevious = false) {
  const range = end === undefined ? { key } : { key, end };
  return { type: 'delete', range, wantsPrevious } as const;
}

function txn(success: Operation[], compares: Compare[] = [], failure: Operation[] = []) {
  return { type: 'txn', compares, success, failure } as const;
}

function when(
  key: ByteKey,
  target: Compare['target'],
  relation: Compare['relation'],
  operand: number | string,
): Compare {
  const range = { key };
  return {
    range,
    target,
    relation,
    operand: typeof operand === 'string' ? bytes(operand) : operand,
  };
}

async function rowsOf(kv: Kv, operation: RangeOperation): Promise<string[]> {
  return (await kv.range(operation)).rows.map(showRow);
}

const everything = get('\0', '\0');

function ranges(using: Using): void {
  it('orders any bytes as bytes, also NUL and 255', () =>
    using(async (kv) => {
      const keys = ['a', 'a\0', 'a\x01', 'a\x7f', 'a\x80', 'a\xff', 'a\xff\0', 'b'];
      for (const key of keys.toReversed()) await kv.write(txn([put(key, 'x')]));
      expect((await kv.range(everything)).rows.map(({ key }) => key)).toEqual(keys);
      expect((await kv.range(get('a\0', 'a\x80'))).rows.map(({ key }) => key)).toEqual(
        keys.slice(1, 4),
      );
      expect((await kv.range(get('a\xff', '\0'))).rows.map(({ key }) => key)).toEqual(
        keys.slice(5),
      );
      expect((await kv.range(get('b', 'a'))).rows).toEqual([]);
    }));

  it('counts all, whatever the limit, and says when there is more', () =>
    using(async (kv) => {
      for (const key of ['a', 'b', 'c', 'd']) await kv.write(txn([put(key, 'x')]));
      const shown: unknown[] = [];
      for (const limit of [0, 3, 4]) {
        const { rows, count, hasMore } = await kv.range(get('a', '\0', { limit }));
        shown.push([rows.length, count, hasMore]);
      }
      expect(shown).toEqual([
        [4, 4, false],
        [3, 4, true],
        [4, 4, false],
      ]);
      const counted = await kv.range(get('b', '\0', { countOnly: true }));
      expect([counted.rows, counted.count]).toEqual([[], 3]);
      const [row] = (await kv.range(get('a', undefined, { keysOnly: true }))).rows;
      expect(row?.value).toHaveLength(0);
    }));

  it('sorts and bounds before it limits', () =>
    using(async (kv) => {
      await kv.write(txn([put('a', '3')]));
      await kv.write(txn([put('b', '1')]));
      await kv.write(txn([put('c', '2')]));
      await kv.write(txn([put('a', '4')]));
      const keys = async (more: Partial<RangeOperation>): Promise<string> =>
        (await kv.range(get('\0', '\0', more))).rows.map(({ key }) => key).join('');
      const by = (name: NonNullable<RangeOperation['sort']>['by'], isDescending = false) => ({
        sort: { by: name, isDescending },
      });
      expect(await keys(by('key', true))).toBe('cba');
      expect(await keys(by('value'))).toBe('bca');
      expect(await keys(by('mod'))).toBe('bca');
      expect(await keys(by('create', true))).toBe('cba');
      expect(await keys({ ...by('version', true), limit: 1 })).toBe('a');
      expect(await keys({ modRevisionMin: 3 })).toBe('ac');
      expect(await keys({ modRevisionMax: 3, limit: 1 })).toBe('b');
      expect(await keys({ createRevisionMin: 2, createRevisionMax: 2 })).toBe('b');
      const { count, hasMore } = await kv.range(get('\0', '\0', { ...by('mod'), limit: 2 }));
      expect([count, hasMore]).toEqual([3, true]);
    }));

  it('counts versions from the creation of a key', () =>
    using(async (kv) => {
      for (const value of ['1', '2', '3']) await kv.write(txn([put('a', value)]));
      await kv.write(txn([remove('a')]));
      await kv.write(txn([put('a', '4')]));
      expect(await rowsOf(kv, get('a', undefined, { revision: 3 }))).toEqual(['a=3@1/3 v3']);
      expect(await rowsOf(kv, get('a'))).toEqual(['a=4@5/5 v1']);
    }));
}

function showResult(result: CommandResult): unknown {
  if (result.type === 'failed') return `${result.failure} @${result.revision}`;
  if (result.type !== 'txn') return `${result.type} @${result.revision}`;
  return [result.isSuccess, result.revision, ...result.results.map(showOne)];
}

function showOne(result: Extract<CommandResult, { type: 'txn' }>['results'][number]): unknown {
  switch (result.type) {
    case 'range':
      return result.rows.map(showRow);
    case 'put':
      return result.previous === undefined ? 'put' : `put over ${showRow(result.previous)}`;
    case 'delete':
      return [`deleted ${result.deleted}`, ...result.previous.map(showRow)];
    case 'txn':
      return [result.isSuccess, ...result.results.map(showOne)];
  }
}

function transactions(using: Using): void {
  it('write any number of keys at one revision', () =>
    using(async (kv) => {
      const result = await kv.write(txn([put('a', '1'), put('b', '1'), get('a', 'c')]));
      expect(showResult(result)).toEqual([true, 1, 'put', 'put', ['a=1@1/1 v1', 'b=1@1/1 v1']]);
      expect(kv.currentRevision()).toBe(1);
    }));

  it('see their own writes, and the past as it was', () =>
    using(async (kv) => {
      await kv.write(txn([put('a', 'old')]));
      const result = await kv.write(
        txn([
          get('a'),
          put('a', 'new', { wantsPrevious: true }),
          get('a'),
          get('a', undefined, { revision: 1 }),
          remove('b'),
        ]),
      );
      expect(showResult(result)).toEqual([
        true,
        2,
        ['a=old@1/1 v1'],
        'put over a=old@1/1 v1',
        ['a=new@1/2 v2'],
        ['a=old@1/1 v1'],
        ['deleted 0'],
      ]);
    }));

  it('take a branch by what all comparisons say', () =>
    using(async (kv) => {
      await kv.write(txn([put('a', 'm')]));
      await kv.write(txn([put('a', 'n')]));
      const cases: [Compare, boolean][] = [
        [when('a', 'version', 'equal', 2), true],
        [when('a', 'version', 'greater', 2), false],
        [when('a', 'create', 'equal', 1), true],
        [when('a', 'mod', 'less', 3), true],
        [when('a', 'mod', 'not-equal', 2), false],
        [when('a', 'value', 'equal', 'n'), true],
        [when('a', 'value', 'greater', 'm'), true],
        [when('a', 'value', 'less', 'm'), false],
        [when('a', 'lease', 'equal', 0), true],
        [when('gone', 'mod', 'equal', 0), true],
        [when('gone', 'version', 'greater', 0), false],
        [when('gone', 'value', 'equal', ''), false],
        [when('gone', 'value', 'not-equal', 'x'), false],
        [{ ...when('a', 'mod', 'greater', 0), range: { key: '\0', end: '\0' } }, true],
        [{ ...when('x', 'mod', 'equal', 0), range: { key: 'x', end: 'z' } }, true],
      ];
      for (const [compare, want] of cases) {
        const result = await kv.write(txn([], [compare], []));
        expect([compare, result.type === 'txn' && result.isSuccess]).toEqual([compare, want]);
      }
      const both = [when('a', 'mod', 'equal', 2), when('a', 'mod', 'equal', 1)];
      expect(showResult(await kv.write(txn([], both, [put('b', '1')])))).toEqual([false, 3, 'put']);
    }));

  it('compare before they write, nested ones too', () =>
    using(async (kv) => {
      const inner = txn([put('b', 'first')], [when('a', 'version', 'equal', 0)], [put('b', 'x')]);
      const result = await kv.write(txn([put('a', '1'), inner]));
      expect(showResult(result)).toEqual([true, 1, 'put', [true, 'put']]);
      expect(await rowsOf(kv, everything)).toEqual(['a=1@1/1 v1', 'b=first@1/1 v1']);
    }));

  it('make no revision when they write nothing', () =>
    using(async (kv) => {
      await kv.write(txn([put('a', '1')]));
      expect(showResult(await kv.write(txn([remove('b', 'z'), get('a')])))).toEqual([
        true,
        1,
        ['deleted 0'],
        ['a=1@1/1 v1'],
      ]);
      expect(showResult(await kv.write(txn([get('a')])))).toEqual([true, 1, ['a=1@1/1 v1']]);
    }));

  it('delete ranges, and tell what was there', () =>
    using(async (kv) => {
      await kv.write(txn(['a', 'b', 'c', 'd'].map((key) => put(key, key))));
      expect(showResult(await kv.write(txn([remove('b', 'd', true)])))).toEqual([
        true,
        2,
        ['deleted 2', 'b=b@1/1 v1', 'c=c@1/1 v1'],
      ]);
      expect(await rowsOf(kv, everything)).toEqual(['a=a@1/1 v1', 'd=d@1/1 v1']);
      expect(await rowsOf(kv, get('\0', '\0', { revision: 1 }))).toHaveLength(4);
    }));

  it('keep a value or a lease when told to', () =>
    using(async (kv) => {
      await kv.write({ type: 'lease-grant', id: 9, ttlSeconds: 100 });
      await kv.write(txn([put('a', '1', { lease: 9 })]));
      await kv.write(txn([put('a', '2', { keepsLease: true })]));
      await kv.write(txn([put('a', '', { keepsValue: true, lease: 9 })]));
      expect(await rowsOf(kv, get('a'))).toEqual(['a=2@1/3 v3 lease 9']);
    }));

  it('happen wholly or not at all when many are asked for at once', () =>
    using(async (kv) => {
      const tries = Array.from({ length: 20 }, (_, i) =>
        kv.write(txn([put('a', `${i}`), put('b', `${i}`)], [when('a', 'mod', 'equal', 0)])),
      );
      const results = await Promise.all(tries);
      const won = results.filter((result) => result.type === 'txn' && result.isSuccess);
      expect(won).toHaveLength(1);
      const [a, b] = (await kv.range(everything)).rows;
      expect(text(a?.value)).toBe(text(b?.value));
    }));
}

function refusals(using: Using): void {
  const cases: { name: string; command: Command; want: string }[] = [
    {
      name: 'a key put twice',
      command: txn([put('new', '1'), put('new', '2')]),
      want: 'duplicate-key @3',
    },
    {
      name: 'a key put and deleted',
      command: txn([put('new', '1'), remove('m', 'z')]),
      want: 'duplicate-key @3',
    },
    {
      name: 'a key put here and in a nested transaction',
      command: txn([put('new', '1'), txn([], [], [put('new', '2')])]),
      want: 'duplicate-key @3',
    },
    {
      name: 'a lease that is not there',
      command: txn([put('new', '1'), put('b', '1', { lease: 77 })]),
      want: 'lease-not-found @3',
    },
    {
      name: 'a value to keep of a key that is not there',
      command: txn([put('new', '1'), put('gone', '', { keepsValue: true })]),
      want: 'key-not-found @3',
    },
    {
      name: 'a read of what is compacted',
      command: txn([put('new', '1'), get('a', undefined, { revision: 1 })]),
      want: 'compacted @3',
    },
    {
      name: 'a read of what is to come',
      command: txn([put('new', '1'), get('a', undefined, { revision: 4 })]),
      want: 'future-revision @3',
    },
    {
      name: 'a compaction of what is compacted',
      command: { type: 'compact', revision: 2 },
      want: 'compacted @3',
    },
    {
      name: 'a compaction of what is to come',
      command: { type: 'compact', revision: 4 },
      want: 'future-revision @3',
    },
  ];
  for (const { name, command, want } of cases)
    it(`write nothing: ${name}`, () =>
      using(async (kv) => {
        for (const value of ['1', '2', '3']) await kv.write(txn([put('a', value)]));
        await kv.write({ type: 'compact', revision: 2 });
        expect(showResult(await kv.write(command))).toBe(want);
        expect(await rowsOf(kv, everything)).toEqual(['a=3@1/3 v3']);
      }));

  it('the two branches of a nested transaction may put the same key', () =>
    using(async (kv) => {
      const inner = txn([put('a', '1')], [], [put('a', '2')]);
      expect(showResult(await kv.write(txn([inner])))).toEqual([true, 1, [true, 'put']]);
    }));

  it('reads throw what is wrong with their revision', () =>
    using(async (kv) => {
      for (const value of ['1', '2', '3']) await kv.write(txn([put('a', value)]));
      await kv.write({ type: 'compact', revision: 2 });
      await expect(kv.range(get('a', undefined, { revision: 1 }))).rejects.toThrow(CompactedError);
      await expect(kv.range(get('a', undefined, { revision: 4 }))).rejects.toThrow(
        FutureRevisionError,
      );
    }));
}

function leases(using: Using): void {
  it('delete their keys at one revision when revoked', () =>
    using(async (kv) => {
      await kv.write({ type: 'lease-grant', id: 5, ttlSeconds: 100 });
      await kv.write(
        txn([put('a', '1', { lease: 5 }), put('b', '1', { lease: 5 }), put('c', '1')]),
      );
      expect(await kv.lease(5)).toMatchObject({ id: 5, ttlSeconds: 100, keys: ['a', 'b'] });
      expect(showResult(await kv.write({ type: 'lease-revoke', id: 5 }))).toBe('done @2');
      expect(await rowsOf(kv, everything)).toEqual(['c=1@1/1 v1']);
      expect(await kv.lease(5)).toBeUndefined();
      const events = await take(kv.watch({ key: '\0', end: '\0' }, 1), 2);
      expect(events).toEqual(['2 delete a', '2 delete b']);
    }));

  it('lose a key that is put without them, moved to another, or deleted', () =>
    using(async (kv) => {
      await kv.write({ type: 'lease-grant', id: 5, ttlSeconds: 100 });
      await kv.write({ type: 'lease-grant', id: 6, ttlSeconds: 100 });
      await kv.write(txn(['a', 'b', 'c', 'd'].map((key) => put(key, '1', { lease: 5 }))));
      await kv.write(txn([put('a', '2'), put('b', '2', { lease: 6 }), remove('c')]));
      expect((await kv.lease(5))?.keys).toEqual(['d']);
      expect((await kv.lease(6))?.keys).toEqual(['b']);
      await kv.write({ type: 'lease-revoke', id: 5 });
      expect((await kv.range(everything)).rows.map(({ key }) => key)).toEqual(['a', 'b']);
    }));

  it('are granted once, and are no revision', () =>
    using(async (kv) => {
      const grant = { type: 'lease-grant', id: 5, ttlSeconds: 100 } as const;
      expect(showResult(await kv.write(grant))).toBe('done @0');
      expect(showResult(await kv.write(grant))).toBe('lease-exists @0');
      expect(showResult(await kv.write({ type: 'lease-revoke', id: 5 }))).toBe('done @0');
      expect(showResult(await kv.write({ type: 'lease-revoke', id: 5 }))).toBe(
        'lease-not-found @0',
      );
    }));

  it('are kept, listed, and unknown when they are not there', () =>
    using(async (kv) => {
      for (const id of [9, 3]) await kv.write({ type: 'lease-grant', id, ttlSeconds: 60 });
      expect(await kv.leases()).toEqual([3, 9]);
      expect(await kv.keepLease(3)).toEqual({ ttlSeconds: 60 });
      expect(await kv.keepLease(4)).toBeUndefined();
      const { remainingSeconds } = (await kv.lease(3)) ?? {};
      expect(remainingSeconds).toBeGreaterThan(50);
      expect(remainingSeconds).toBeLessThanOrEqual(60);
    }));
}

/** One line for each of the next `count` events. */
async function take(watch: AsyncIterable<KvWatchBatch>, count: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const { events } of watch) {
    lines.push(...events.map(({ type, row }) => `${row.modRevision} ${type} ${row.key}`));
    if (lines.length >= count) break;
  }
  return lines;
}

function watches(using: Using): void {
  it('deliver all events of a revision in one batch, in the order of the operations', () =>
    using(async (kv) => {
      const live = kv.watch({ key: '\0', end: '\0' }, 0)[Symbol.asyncIterator]();
      const first = live.next();
      await kv.write(txn([put('b', '1'), put('a', '1'), put('c', '1')]));
      await kv.write(txn([remove('a', 'z')]));
      const seen: unknown[] = [];
      const shown = ({ revision, events }: KvWatchBatch): unknown[] => [
        revision,
        ...events.map(({ type, row, previous }) => `${type} ${row.key} ${previous?.modRevision}`),
      ];
      seen.push(...shown((await first).value as KvWatchBatch));
      while (seen.length < 8) seen.push(...shown((await live.next()).value as KvWatchBatch));
      const all = seen.filter((entry) => typeof entry === 'string');
      expect(all).toEqual([
        'put b undefined',
        'put a undefined',
        'put c undefined',
        'delete a 1',
        'delete b 1',
        'delete c 1',
      ]);
    }));

  it('deliver one key, a range, or all from a key on', () =>
    using(async (kv) => {
      await kv.write(txn(['a', 'b', 'c', 'd'].map((key) => put(key, '1'))));
      expect(await take(kv.watch({ key: 'b' }, 0), 1)).toEqual(['1 put b']);
      expect(await take(kv.watch({ key: 'b', end: 'd' }, 0), 2)).toEqual(['1 put b', '1 put c']);
      expect(await take(kv.watch({ key: 'c', end: '\0' }, 0), 2)).toEqual(['1 put c', '1 put d']);
    }));

  it('never split a revision, however many events it has', () =>
    using(async (kv) => {
      const keys = Array.from({ length: 700 }, (_, i) => `k${String(i).padStart(4, '0')}`);
      await kv.write(txn(keys.map((key) => put(key, 'x'))));
      await kv.write(txn([remove('k', 'l')]));
      for await (const { revision, events } of kv.watch({ key: 'k', end: 'l' }, 0)) {
        expect(events.length % 700).toBe(0);
        if (revision === 2) break;
      }
    }));
}

function hashes(using: Using): void {
  it('tell histories apart, and are the same for one revision for ever', () =>
    using(async (kv) => {
      await kv.write(txn([put('a', '1')]));
      const first = kv.hash(0);
      expect(first.revision).toBe(1);
      await kv.write(txn([put('a', '1')]));
      const second = kv.hash(2);
      expect(second.hash).not.toBe(first.hash);
      await kv.write(txn([put('b', '1')]));
      expect(kv.hash(1)).toEqual(first);
      await kv.write({ type: 'compact', revision: 2 });
      expect(kv.hash(2)).toEqual(second);
      expect(() => kv.hash(1)).toThrow(CompactedError);
      expect(() => kv.hash(4)).toThrow(FutureRevisionError);
    }));
}
