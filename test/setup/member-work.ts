// Writes of all kinds to a store that is going to be killed, and what may stand in it afterwards.
// Each lane writes one thing after the other to keys of its own: so after a crash its keys are as
// its acknowledged writes left them, or one write further, whole.
import { seededRandom } from '#kube/base/random.ts';
import type { Content } from './member-process.ts';
import type { Store, TxnWrite } from '../../electron/controlplane/store/store.ts';

export interface WorkOptions {
  readonly seed: number;
  /** Part of all keys: another one for each run. */
  readonly name: string;
  readonly lanes: number;
  /** Of each lane; without end when left out. */
  readonly writes?: number;
  /** `begun` before a write, `done` when it is acknowledged; `changes`: null is a delete. */
  readonly say: (line: WorkLine) => void;
}

export type Changes = Readonly<Record<string, string | null>>;

export type WorkLine =
  | { readonly begun: Changes; readonly lane: string }
  | { readonly done: number; readonly lane: string };

/** Writes until it is over, or for ever. */
export async function work(store: Store, options: WorkOptions): Promise<void> {
  await Promise.all(Array.from({ length: options.lanes }, (_, i) => writeLane(store, options, i)));
}

async function writeLane(store: Store, options: WorkOptions, number: number): Promise<void> {
  const { seed, name, writes = Infinity, say } = options;
  const random = seededRandom(seed * 1000 + number);
  const id = `${name}/${number}`;
  const revisions = new Map<string, number>();
  for (let n = 0; n < writes; n++) {
    const changes = nextChanges(id, n, random, [...revisions.keys()]);
    say({ begun: changes, lane: id });
    const keys = Object.keys(changes);
    const one = keys.length === 1 ? keys[0] : undefined;
    const revision = await (one === undefined
      ? transact(store, changes, revisions)
      : writeOne(store, one, changes[one] ?? null, revisions.get(one) ?? 0));
    say({ done: revision, lane: id });
    for (const [key, value] of Object.entries(changes))
      if (value === null) revisions.delete(key);
      else revisions.set(key, revision);
    // Lane 0 also compacts now and then: what is compacted is no change of content.
    if (number === 0 && n % 25 === 24) await store.compact(revision - 10).catch(() => undefined);
  }
}

type Random = ReturnType<typeof seededRandom>;

function nextChanges(lane: string, n: number, random: Random, known: readonly string[]): Changes {
  const value = `${lane}-${n}-${'x'.repeat(Math.floor(random.next() ** 3 * 6_000))}`;
  const kind = random.next();
  const old = known[Math.floor(random.next() * known.length)];
  if (old === undefined || kind < 0.4) return { [`${lane}/k${n}`]: value };
  if (kind < 0.6) return { [old]: value };
  if (kind < 0.75) return { [old]: null };
  return { [`${lane}/a${n}`]: value, [`${lane}/b${n}`]: value, [old]: null };
}

async function writeOne(
  store: Store,
  key: string,
  value: string | null,
  expected: number,
): Promise<number> {
  const result = await (value === null
    ? store.delete(key, expected)
    : store.put(key, Buffer.from(value), expected));
  if (!result.ok) throw new Error(`${key} was not as it was left`);
  return result.revision;
}

async function transact(
  store: Store,
  changes: Changes,
  revisions: ReadonlyMap<string, number>,
): Promise<number> {
  const writes = Object.entries(changes).map(([key, value]): TxnWrite => ({
    key,
    expectedRevision: revisions.get(key) ?? 0,
    value: value === null ? null : Buffer.from(value),
  }));
  const result = await store.txn(writes);
  if (!result.ok) throw new Error(`${Object.keys(changes).join()} were not as they were left`);
  return result.revision;
}

interface Lane {
  readonly acknowledged: Map<string, string>;
  pending: Changes | undefined;
  revision: number;
}

/** What the lines of all runs promise. */
export class Promised {
  readonly #lanes = new Map<string, Lane>();
  /** Acknowledged. */
  writes = 0;
  revision = 0;

  hear(line: WorkLine): void {
    const lane = this.#lanes.get(line.lane) ?? {
      acknowledged: new Map(),
      pending: undefined,
      revision: 0,
    };
    this.#lanes.set(line.lane, lane);
    if ('begun' in line) {
      lane.pending = line.begun;
      return;
    }
    for (const [key, value] of Object.entries(lane.pending ?? {})) apply(lane, key, value);
    lane.pending = undefined;
    this.writes++;
    this.revision = Math.max(this.revision, line.done);
  }

  /** Throws unless the store holds what was acknowledged, and of what was not all or nothing. */
  async check(store: Store): Promise<void> {
    const { items, revision } = await store.list('');
    const rows = items.map(({ key, value }) => [key, Buffer.from(value).toString()] as const);
    this.checkRows({ rows, revision });
    await checkHistory(store, revision);
  }

  /** As `check`, but for history. */
  checkRows({ rows, revision }: Pick<Content, 'rows' | 'revision'>): void {
    if (revision < this.revision)
      throw new Error(`at revision ${revision}, but ${this.revision} was acknowledged`);
    const found = new Map(rows);
    for (const [id, lane] of this.#lanes) {
      const own = new Map([...found].filter(([key]) => key.startsWith(`${id}/`)));
      for (const key of own.keys()) found.delete(key);
      const without = lane.acknowledged;
      const all = { acknowledged: new Map(without), pending: undefined, revision: 0 };
      for (const [key, value] of Object.entries(lane.pending ?? {})) apply(all, key, value);
      const isWithout = isSame(own, without);
      if (!isWithout && !isSame(own, all.acknowledged))
        throw new Error(`lane ${id}: ${difference(own, without)}`);
      // What happened has happened: the next crash must not undo it.
      if (!isWithout)
        for (const [key, value] of Object.entries(lane.pending ?? {})) apply(lane, key, value);
      lane.pending = undefined;
    }
    if (found.size > 0) throw new Error(`nobody wrote ${[...found.keys()].join()}`);
  }
}

/** Every revision that is not compacted is there, in order. */
async function checkHistory(store: Store, revision: number): Promise<void> {
  const first = store.compactedRevision();
  const watch = store.watch('', first);
  let seen = first;
  watch.requestProgress();
  for await (const { events, revision: upTo } of watch) {
    for (const { kv } of events) {
      if (kv.modRevision > seen + 1) throw new Error(`revision ${seen + 1} is missing`);
      seen = Math.max(seen, kv.modRevision);
    }
    if (upTo >= revision) break;
  }
  watch.close();
  if (seen !== revision) throw new Error(`history ends at ${seen} and not at ${revision}`);
}

function apply(lane: Lane, key: string, value: string | null): void {
  if (value === null) lane.acknowledged.delete(key);
  else lane.acknowledged.set(key, value);
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

function difference(found: ReadonlyMap<string, string>, want: ReadonlyMap<string, string>): string {
  const missing = [...want].filter(([key, value]) => found.get(key) !== value).map(([key]) => key);
  const extra = [...found.keys()].filter((key) => !want.has(key));
  return `missing or changed: ${missing.join() || 'none'}; too many: ${extra.join() || 'none'}`;
}
