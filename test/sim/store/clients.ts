// Clients of a simulated store: each makes one call after the other, at whichever member it happens to
// talk to, and notes what it was told. One reads, writes and deletes what it shares with the others,
// another holds leases and lets them go, a third tidies up.
import { byteKeyOf } from '../../../electron/controlplane/store/byte-keys.ts';
import {
  CompactedError,
  FutureRevisionError,
  NoSpaceError,
  OutcomeUnknownError,
  UnavailableError,
  type KeyValue,
} from '../../../electron/controlplane/store/store.ts';
import type { Call, ListedRow, Operation, Outcome, SeenRow, Write } from './history.ts';
import type { Model } from './model.ts';
import type { Plan } from './plan.ts';
import { NoAnswerError, type Session } from './session.ts';
import type { World } from './world.ts';

/** What clients know of the simulation. */
export interface ClientWorld {
  readonly world: World;
  readonly plan: Plan;
  readonly model: Model;
  /** Members that run now. */
  sessions(): readonly Session[];
  readonly calls: Call[];
  /** The next moment; no two are equal. */
  moment(): number;
  report(rule: 'answers' | 'watch', sentence: string): void;
  note(text: string): void;
  /** Begin nothing any more. */
  readonly isClosing: boolean;
  /** Nothing is written any more. */
  readonly isFinal: boolean;
}

type Refusal = 'refused' | 'unknown';

export class Client {
  readonly #at: ClientWorld;
  readonly #name: string;
  #home: Session | undefined;
  #count = 0;
  /** The modRevision each key had when it was last heard of. */
  readonly #known = new Map<string, number>();
  /** Who writes waits at a leader that is cut off; who only reads notices one that answers. */
  readonly #isReader: boolean;
  isDone = false;

  constructor(at: ClientWorld, name: string) {
    this.#at = at;
    this.#name = name;
    this.#isReader = at.world.chance(0.25);
  }

  async run(): Promise<void> {
    const { world, plan } = this.#at;
    while (!this.#at.isClosing) {
      await pause(world, world.integer(1, plan.thinkMs));
      await this.#step();
    }
    this.isDone = true;
  }

  async #step(): Promise<void> {
    const { world, plan } = this.#at;
    const dice = this.#isReader ? 0.65 + 0.35 * world.next() : world.next();
    const key = keyOf(world.integer(0, plan.keys - 1));
    if (dice < 0.45) await this.call({ kind: 'put', ...this.#put(key) });
    else if (dice < 0.55) await this.call({ kind: 'delete', key, expected: this.#expected(key) });
    else if (dice < 0.65) await this.call({ kind: 'txn', writes: this.#writes(key) });
    else if (dice < 0.85) await this.call({ kind: 'get', key });
    else if (dice < 0.95) await this.call({ kind: 'list', prefix: world.pick(['', 'a', 'b']) });
    else await this.#readPast(key);
  }

  #put(key: string): Write & { readonly value: string } {
    const { world, plan } = this.#at;
    const padding = '.'.repeat(world.integer(0, plan.valueBytesMax));
    return {
      key,
      value: `${this.#name}-${++this.#count}${padding}`,
      expected: this.#expected(key),
    };
  }

  #expected(key: string): number {
    return this.#at.world.chance(0.1) ? 0 : (this.#known.get(key) ?? 0);
  }

  #writes(key: string): readonly Write[] {
    const { world, plan } = this.#at;
    const other = keyOf(world.integer(0, plan.keys - 1));
    const first = this.#put(key);
    if (other === key) return [first];
    const second = this.#put(other);
    const isDelete = second.expected > 0 && world.chance(0.3);
    return [first, isDelete ? { ...second, value: undefined } : second];
  }

  /** Mostly to the member it talked to before. */
  #session(): Session | undefined {
    const { world } = this.#at;
    const sessions = this.#at.sessions();
    const isAtHome = this.#home !== undefined && !this.#home.isEnded && world.chance(0.9);
    if (!isAtHome) this.#home = sessions.length === 0 ? undefined : world.pick(sessions);
    return this.#home;
  }

  /** Makes the call and notes it. */
  async call(operation: Operation, session = this.#session()): Promise<Outcome> {
    const { world, plan, calls } = this.#at;
    if (session === undefined) return { kind: 'refused' };
    const invokedAt = this.#at.moment();
    let outcome: Outcome;
    try {
      outcome = await session.ask(world, 1.5 * plan.timing.patienceMs, () =>
        perform(session, operation),
      );
    } catch (error) {
      outcome = { kind: refusalOf(this.#at, error) };
      this.#home = undefined;
    }
    const call = { operation, invokedAt, completedAt: this.#at.moment(), outcome };
    calls.push(call);
    if (outcome.kind === 'conflict') world.count('conflict');
    this.#learn(operation, outcome);
    this.#at.note(`${this.#name} at ${session.id}: ${shown(operation)} → ${shown(outcome)}`);
    return outcome;
  }

  #learn(operation: Operation, outcome: Outcome): void {
    if (outcome.kind === 'listed')
      for (const { key, modRevision } of outcome.rows) this.#known.set(key, modRevision);
    if (operation.kind === 'list') return;
    if (outcome.kind === 'written') {
      const writes = operation.kind === 'txn' ? operation.writes : [operation];
      for (const write of writes) {
        const isGone = !('value' in write) || write.value === undefined;
        this.#known.set(write.key, isGone ? 0 : outcome.revision);
      }
    } else if (operation.kind !== 'txn' && (outcome.kind === 'read' || outcome.kind === 'conflict'))
      this.#known.set(operation.key, outcome.row?.modRevision ?? 0);
  }

  /** The past is told as it was, or not at all. */
  async #readPast(key: string): Promise<void> {
    const { world, plan, model } = this.#at;
    const session = this.#session();
    const revision = world.integer(1, model.revision + 1);
    try {
      const { kv } = await (session?.ask(world, plan.timing.patienceMs, () =>
        session.store.get(key, revision),
      ) ?? Promise.reject(new NoAnswerError()));
      const [want, got] = [model.truth.at(key, revision), kv && seenRow(kv)];
      if (JSON.stringify(want) !== JSON.stringify(got))
        this.#at.report('answers', `${key} at ${revision}: ${shown(got)}, not ${shown(want)}`);
    } catch (error) {
      const isFair = error instanceof CompactedError || error instanceof FutureRevisionError;
      if (!isFair) refusalOf(this.#at, error);
    }
  }
}

async function perform({ store }: Session, operation: Operation): Promise<Outcome> {
  switch (operation.kind) {
    case 'get': {
      const { kv, revision } = await store.get(operation.key);
      return { kind: 'read', revision, row: kv && seenRow(kv) };
    }
    case 'list': {
      const { items, revision } = await store.list(operation.prefix);
      return { kind: 'listed', revision, rows: items.map(listedRow) };
    }
    case 'put':
    case 'delete': {
      const { key, expected } = operation;
      const { ok, revision, kv } =
        operation.kind === 'put'
          ? await store.put(key, Buffer.from(operation.value), expected)
          : await store.delete(key, expected);
      return ok
        ? { kind: 'written', revision }
        : { kind: 'conflict', revision, row: kv && seenRow(kv) };
    }
    default: {
      const { ok, revision } = await store.txn(
        operation.writes.map(({ key, value, expected }) => ({
          key,
          value: value === undefined ? null : Buffer.from(value),
          expectedRevision: expected,
        })),
      );
      return ok ? { kind: 'written', revision } : { kind: 'conflict', revision, row: undefined };
    }
  }
}

/** What an error says of the call; anything but the store's own words is a mistake. */
export function refusalOf(at: Pick<ClientWorld, 'report' | 'world'>, error: unknown): Refusal {
  if (error instanceof UnavailableError || error instanceof NoSpaceError) {
    const isFull = error instanceof NoSpaceError;
    at.world.count(isFull ? 'refusal for want of space' : 'refusal');
    return 'refused';
  }
  if (error instanceof OutcomeUnknownError || error instanceof NoAnswerError) {
    at.world.count('unknown outcome');
    return 'unknown';
  }
  at.report('answers', `an answer nobody can use: ${String(error)}`);
  return 'unknown';
}

export function pause(world: World, forMs: number): Promise<void> {
  return new Promise((resolve) => {
    world.after(forMs, resolve);
  });
}

function keyOf(number: number): string {
  return `${number % 2 === 0 ? 'a' : 'b'}${number}`;
}

function seenRow({ value, createRevision, modRevision }: KeyValue): SeenRow {
  return { value: Buffer.from(value).toString(), createRevision, modRevision };
}

function listedRow(kv: KeyValue): ListedRow {
  return { key: kv.key, ...seenRow(kv) };
}

/** Without the padding. */
function shown(value: unknown): string {
  return JSON.stringify(value)?.replaceAll(/\.{2,}/g, '…') ?? 'nothing';
}

/** Grants a lease, hangs a key on it, keeps it for a while, forgets it. */
export class LeaseHolder {
  readonly #at: ClientWorld;
  #lastId: number;
  isDone = false;

  constructor(at: ClientWorld, number: number) {
    this.#at = at;
    this.#lastId = number * 1000;
  }

  async run(): Promise<void> {
    const { world } = this.#at;
    while (!this.#at.isClosing) {
      await pause(world, world.integer(1, 1000));
      await this.#hold(++this.#lastId, world.integer(1, 3));
    }
    this.isDone = true;
  }

  async #hold(id: number, ttlSeconds: number): Promise<void> {
    const { world } = this.#at;
    const granted = await this.#ask(({ kv }) => kv.write({ type: 'lease-grant', id, ttlSeconds }));
    if (granted?.answer.type !== 'done') return;
    this.#kept(id, granted.sinceMs);
    const key = byteKeyOf(`lease/${id}`);
    const value = Buffer.from(`${id}`);
    // Once, and nobody else does: noted as a call, it has to be explained like any other.
    const write = { key, value: `${id}`, expected: 0 };
    const invokedAt = this.#at.moment();
    const put = await this.#ask(({ kv }) =>
      kv.write({
        type: 'txn',
        compares: [{ range: { key }, target: 'mod', relation: 'equal', operand: 0 }],
        success: [{ type: 'put', key, value, lease: id }],
        failure: [],
      }),
    );
    const result = put?.answer;
    const outcome: Outcome =
      result?.type === 'txn' && result.isSuccess
        ? { kind: 'written', revision: result.revision }
        : { kind: result === undefined ? 'unknown' : 'refused' };
    const completedAt = this.#at.moment();
    const operation: Operation = { kind: 'txn', writes: [write] };
    this.#at.calls.push({ operation, invokedAt, completedAt, outcome });
    for (let times = world.integer(0, 4); times > 0 && !this.#at.isClosing; times--) {
      await pause(world, world.integer(1, ttlSeconds * 1100));
      const keeping = await this.#ask(({ kv }) => kv.keepLease(id));
      if (keeping?.answer === undefined) return;
      this.#kept(id, keeping.sinceMs);
    }
  }

  #kept(id: number, sinceMs: number): void {
    this.#at.note(`lease ${id} is kept since ${sinceMs}`);
    this.#at.model.kept(id, sinceMs);
  }

  /** Undefined: no answer, and nobody knows. */
  async #ask<T>(
    work: (session: Session) => Promise<T>,
  ): Promise<{ readonly answer: T; readonly sinceMs: number } | undefined> {
    const { world, plan } = this.#at;
    const sessions = this.#at.sessions();
    if (sessions.length === 0) return undefined;
    const session = world.pick(sessions);
    const sinceMs = world.nowMs;
    try {
      const answer = await session.ask(world, plan.timing.patienceMs, () => work(session));
      return { answer, sinceMs };
    } catch (error) {
      refusalOf(this.#at, error);
      return undefined;
    }
  }
}

/** Compacts now and then, up to some revision of the past. */
export class Compactor {
  readonly #at: ClientWorld;
  isDone = false;

  constructor(at: ClientWorld) {
    this.#at = at;
  }

  async run(): Promise<void> {
    const { world, plan, model } = this.#at;
    while (!this.#at.isClosing) {
      await pause(world, world.integer(1, 2000));
      const sessions = this.#at.sessions();
      if (sessions.length === 0) continue;
      const session = world.pick(sessions);
      const revision = Math.max(1, model.revision - world.integer(0, 60));
      this.#at.note(`compacts up to ${revision} at ${session.id}`);
      try {
        await session.ask(world, plan.timing.patienceMs, () => session.store.compact(revision));
      } catch (error) {
        if (!(error instanceof FutureRevisionError)) refusalOf(this.#at, error);
      }
    }
    this.isDone = true;
  }
}
