import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { bytes, show, showBatch, take } from '../../../test/conformance/store.ts';
import { LocalConsensus } from './consensus.ts';
import { KvStore } from './kv-store.ts';
import { openMemoryStore } from './memory-store.ts';
import { ReplicatedKv } from './replicated-kv.ts';
import { SqliteRows } from './sqlite-rows.ts';
import { KvStateMachine } from './state-machine.ts';
import type { KeyValue, Store } from './store.ts';

type Operation =
  | {
      readonly type: 'write';
      readonly key: string;
      readonly isDelete: boolean;
      readonly guess: number;
    }
  | {
      readonly type: 'txn';
      readonly parts: readonly {
        readonly key: string;
        readonly change: 'put' | 'delete' | 'look';
        readonly guess: number;
      }[];
    }
  | { readonly type: 'get'; readonly key: string; readonly back: number }
  | {
      readonly type: 'list';
      readonly prefix: string;
      readonly back: number;
      readonly limit: number;
    }
  | { readonly type: 'watch'; readonly prefix: string; readonly back: number }
  | { readonly type: 'compact'; readonly back: number }
  /** What was not handed to storage yet is, and no command is answered differently for it. */
  | { readonly type: 'flush' }
  | { readonly type: 'reopen' };

const keys = fc.constantFrom('a', 'a/', 'a/b', 'a/\uffee', 'a/\u{1f600}', 'b', 'ba');
const prefixes = fc.constantFrom('', 'a', 'a/', 'b', 'c');
const back = fc.nat({ max: 12 });
const operations = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant('write' as const),
        key: keys,
        isDelete: fc.boolean(),
        // How far off the expected revision is: mostly right.
        guess: fc.constantFrom(0, 0, 0, 0, 1, -1),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant('txn' as const),
        parts: fc.uniqueArray(
          fc.record({
            key: keys,
            change: fc.constantFrom('put' as const, 'delete' as const, 'look' as const),
            guess: fc.constantFrom(0, 0, 0, 0, 0, 1),
          }),
          { selector: ({ key }) => key, maxLength: 4 },
        ),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('flush' as const) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('get' as const), key: keys, back }) },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant('list' as const),
        prefix: prefixes,
        back,
        limit: fc.nat({ max: 3 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant('watch' as const), prefix: prefixes, back }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('compact' as const), back }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const) }) },
  ),
  { maxLength: 60 },
);

/** The plainest thing that could be right: a snapshot of everything at every revision. */
class Model {
  readonly snapshots: ReadonlyMap<string, KeyValue>[] = [new Map()];
  readonly events: { readonly key: string; readonly line: string; readonly revision: number }[] =
    [];
  compacted = 0;

  get revision(): number {
    return this.snapshots.length - 1;
  }

  at(revision: number): ReadonlyMap<string, KeyValue> {
    return this.snapshots[revision] ?? new Map<string, KeyValue>();
  }

  /** Value undefined: delete. */
  write(key: string, value: string | undefined, expectedRevision: number): string {
    const before = this.at(this.revision).get(key);
    const isAbsentDelete = value === undefined && before === undefined;
    if ((before?.modRevision ?? 0) !== expectedRevision || isAbsentDelete)
      return `false ${this.revision} ${show(before)}`;
    const kv = this.#change([{ key, value }]).get(key);
    return `true ${this.revision} ${show(value === undefined ? before : kv)}`;
  }

  txn(
    parts: readonly { key: string; value: string | undefined | null; expectedRevision: number }[],
  ): string {
    const now = this.at(this.revision);
    if (parts.some((part) => (now.get(part.key)?.modRevision ?? 0) !== part.expectedRevision))
      return `false ${this.revision}`;
    const changes = parts.flatMap(({ key, value }) => {
      if (value === undefined || (value === null && !now.has(key))) return [];
      return [{ key, value: value ?? undefined }];
    });
    if (changes.length > 0) this.#change(changes);
    return `true ${this.revision}`;
  }

  /** All at one revision. */
  #change(changes: readonly { key: string; value: string | undefined }[]): Map<string, KeyValue> {
    const modRevision = this.revision + 1;
    const next = new Map(this.at(this.revision));
    for (const { key, value } of changes) {
      const before = next.get(key);
      const createRevision = before?.createRevision ?? modRevision;
      const content = value === undefined ? before?.value : bytes(value);
      const kv = { key, value: content ?? bytes(''), createRevision, modRevision };
      if (value === undefined) next.delete(key);
      else next.set(key, kv);
      const type = value === undefined ? 'delete' : 'put';
      const line = `${type} ${show(kv)} was ${show(before) ?? 'nothing'}`;
      this.events.push({ key, line, revision: modRevision });
    }
    this.snapshots.push(next);
    return next;
  }

  list(prefix: string, revision: number): readonly KeyValue[] {
    const found = [...this.at(revision).values()].filter((kv) => kv.key.startsWith(prefix));
    return found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  }

  eventsAfter(prefix: string, revision: number): readonly string[] {
    const later = this.events.filter((event) => event.revision > revision);
    return later.filter((event) => event.key.startsWith(prefix)).map((event) => event.line);
  }
}

/** What the model says an operation answers; it also applies it. */
function expected(model: Model, operation: Operation, step: number): unknown {
  if (operation.type === 'reopen' || operation.type === 'flush') return operation.type;
  if (operation.type === 'txn') return model.txn(partsOf(model, operation, step));
  if (operation.type === 'write')
    return model.write(operation.key, valueOf(operation, step), expectation(model, operation));
  const revision = Math.max(0, model.revision - operation.back);
  if (operation.type === 'compact') {
    model.compacted = Math.max(model.compacted, revision);
    return model.compacted;
  }
  if (revision < model.compacted) return 'CompactedError';
  if (operation.type === 'get') return show(model.at(revision).get(operation.key)) ?? 'nothing';
  if (operation.type === 'watch') return model.eventsAfter(operation.prefix, revision);
  const found = model.list(operation.prefix, revision);
  const limit = operation.limit === 0 ? found.length : operation.limit;
  return [...found.slice(0, limit).map(show), Math.max(0, found.length - limit)];
}

function partsOf(model: Model, { parts }: Operation & { type: 'txn' }, step: number) {
  return parts.map(({ key, change, guess }) => {
    const expectedRevision = expectation(model, { key, guess });
    const value = { put: `t${step}${key}`, delete: null, look: undefined }[change];
    return { key, value, expectedRevision };
  });
}

function valueOf(operation: { readonly isDelete: boolean }, step: number): string | undefined {
  return operation.isDelete ? undefined : `v${step}`;
}

function expectation(model: Model, operation: { key: string; guess: number }): number {
  const now = model.at(model.revision).get(operation.key)?.modRevision ?? 0;
  return Math.max(0, now + operation.guess);
}

/** What a store answers, in the model's terms. `model` is as it was before the operation. */
async function actual(store: Store, model: Model, operation: Operation, step: number) {
  if (operation.type === 'reopen' || operation.type === 'flush') return operation.type;
  if (operation.type === 'txn') {
    const parts = partsOf(model, operation, step).map(({ value, ...part }) => ({
      ...part,
      value: typeof value === 'string' ? bytes(value) : value,
    }));
    const { ok, revision } = await store.txn(parts);
    return `${ok} ${revision}`;
  }
  if (operation.type === 'write') {
    const { key } = operation;
    const value = valueOf(operation, step);
    const revision = expectation(model, operation);
    const result = await (value === undefined
      ? store.delete(key, revision)
      : store.put(key, bytes(value), revision));
    return `${result.ok} ${result.revision} ${show(result.kv)}`;
  }
  const revision = Math.max(0, model.revision - operation.back);
  switch (operation.type) {
    case 'compact':
      await store.compact(revision);
      return store.compactedRevision();
    case 'get':
      return store.get(operation.key, revision).then(({ kv }) => show(kv) ?? 'nothing', nameOf);
    case 'list':
      return store
        .list(operation.prefix, { revision, limit: operation.limit })
        .then(({ items, remaining }) => [...items.map(show), remaining], nameOf);
    case 'watch':
      return replay(store, operation.prefix, revision).catch(nameOf);
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : String(error);
}

async function replay(store: Store, prefix: string, revision: number): Promise<string[]> {
  const watch = store.watch(prefix, revision);
  const iterator = watch[Symbol.asyncIterator]();
  const lines: string[] = [];
  watch.requestProgress();
  for (;;) {
    const batch = await take(iterator, 0).then(() => iterator.next());
    if (batch.done === true) throw new Error('the watch ended');
    if (batch.value.events.length === 0) break;
    lines.push(...showBatch(batch.value));
  }
  watch.close();
  return lines;
}

function openOnDisk(directory: string): { store: Store; state: KvStateMachine } {
  const common = { clock: systemClock, logger: silentLogger };
  const schedule = (work: () => void): void => void setImmediate(work);
  const storage = new SqliteRows({ ...common, directory });
  const state = new KvStateMachine({ ...common, schedule, storage });
  const consensus = new LocalConsensus(state, schedule);
  return { store: new KvStore(new ReplicatedKv({ ...common, state, consensus })), state };
}

describe('random operations', () => {
  it('are answered alike by SQLite, memory and a naive model', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(operations, async (script) => {
        const directory = mkdtempSync(join(tmpdir(), 'flotilla-model-'));
        const model = new Model();
        const memory = openMemoryStore();
        let disk = openOnDisk(directory);
        try {
          for (const [step, operation] of script.entries()) {
            if (operation.type === 'flush') disk.state.flush();
            if (operation.type === 'reopen') {
              await disk.store.close();
              disk = openOnDisk(directory);
            }
            const onDisk = await actual(disk.store, model, operation, step);
            const inMemory = await actual(memory, model, operation, step);
            const want = expected(model, operation, step);
            expect({ step, onDisk, inMemory }).toEqual({ step, onDisk: want, inMemory: want });
            expect(await disk.store.count('a')).toBe(model.list('a', model.revision).length);
          }
        } finally {
          await disk.store.close();
          await memory.close();
          rmSync(directory, { recursive: true });
        }
      }),
      { numRuns: 60 },
    );
  });
});
