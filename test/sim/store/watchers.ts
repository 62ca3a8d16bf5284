// Clients that watch: each keeps what it saw, reads at its own pace, and when its member is gone goes
// on at another from where it was. Who was too slow lists anew, which begins another watch.
import type {
  KvEvent,
  KvWatch,
  KvWatchBatch,
} from '../../../electron/controlplane/store/commands.ts';
import { prefixRange } from '../../../electron/controlplane/store/byte-keys.ts';
import {
  CompactedError,
  UnavailableError,
  WatchOverflowError,
} from '../../../electron/controlplane/store/store.ts';
import { pause, refusalOf, type ClientWorld } from './clients.ts';
import { NoAnswerError, type Session } from './session.ts';
import type { SeenBatch, SeenEvent, SeenWatch } from './watch-check.ts';

interface Watching {
  readonly afterRevision: number;
  readonly batches: SeenBatch[];
}

export class Watcher {
  readonly #at: ClientWorld;
  readonly #name: string;
  readonly #prefix: string;
  /** A slow one pauses between two batches. */
  readonly #pauseMsMax: number;
  readonly #ended: Watching[] = [];
  #session: Session | undefined;
  #watching: Watching = { afterRevision: 0, batches: [] };

  constructor(at: ClientWorld, number: number) {
    const { world } = at;
    this.#at = at;
    this.#name = `w${number}`;
    this.#prefix = world.pick(['', 'a', 'b0', 'lease/']);
    this.#pauseMsMax = world.pick([0, 0, 100, 1500]);
  }

  /** All it saw, of each of its watches. */
  seen(): readonly SeenWatch[] {
    const prefix = this.#prefix;
    return [
      ...this.#ended.map((watch) => ({ ...watch, prefix, isComplete: false })),
      { ...this.#watching, prefix, isComplete: true },
    ];
  }

  get position(): number {
    const { afterRevision, batches } = this.#watching;
    return batches.at(-1)?.revision ?? afterRevision;
  }

  /** Has seen everything there is. */
  get isDone(): boolean {
    return this.#at.isFinal && this.position >= this.#at.model.revision;
  }

  async run(): Promise<never> {
    const { world } = this.#at;
    // Also when all is seen: a write that was on its way may still come. Ends with the simulation.
    for (;;) {
      await pause(world, world.integer(1, 50));
      const sessions = this.#at.sessions();
      if (sessions.length > 0 && !this.isDone) await this.#watchAt(world.pick(sessions));
    }
  }

  async #watchAt(session: Session): Promise<void> {
    const { world, plan } = this.#at;
    const range = prefixRange(this.#prefix);
    if (this.position > 0 && session !== this.#session) world.count('watch went on elsewhere');
    this.#session = session;
    this.#at.note(`${this.#name} at ${session.id}: from ${this.position}`);
    try {
      const patienceMs = plan.timing.patienceMs;
      const watch = await session.ask(world, patienceMs, async () =>
        session.kv.watch(range, this.position),
      );
      await this.#read(session, watch);
    } catch (error) {
      if (error instanceof CompactedError || error instanceof WatchOverflowError) {
        world.count('watch too slow or compacted');
        await this.#listAnew(session);
      } else refusalOf(this.#at, error);
    }
  }

  async #read(session: Session, watch: KvWatch): Promise<void> {
    const { world } = this.#at;
    const iterator = watch[Symbol.asyncIterator]();
    for (let left = world.integer(1, 60); left > 0 && !this.isDone; left--) {
      if (world.chance(0.2) || this.#at.isClosing) watch.requestProgress();
      const batch = await nextBatch(session, iterator, world.integer(200, 1500), this.#at);
      if (batch === undefined || !this.#at.sessions().includes(session)) break;
      this.#take(batch);
      if (this.#pauseMsMax > 0) await pause(world, world.integer(0, this.#pauseMsMax));
    }
    watch.close();
  }

  #take({ revision, events }: KvWatchBatch): void {
    const { batches } = this.#watching;
    batches.push({ revision, events: events.map(seenEvent) });
    this.#at.note(`${this.#name}: ${events.length} up to ${revision}`);
  }

  /** Too far behind: what there is now is where the next watch begins. */
  async #listAnew(session: Session): Promise<void> {
    const { world, plan } = this.#at;
    try {
      const { revision } = await session.ask(world, plan.timing.patienceMs, () =>
        session.store.list(this.#prefix, { limit: 1 }),
      );
      this.#ended.push(this.#watching);
      this.#watching = { afterRevision: revision, batches: [] };
    } catch (error) {
      refusalOf(this.#at, error);
    }
  }
}

/** Undefined: none came in time, or the watch was ended. */
async function nextBatch(
  session: Session,
  iterator: AsyncIterator<KvWatchBatch, undefined>,
  patienceMs: number,
  { world }: ClientWorld,
): Promise<KvWatchBatch | undefined> {
  try {
    const { value } = await session.ask(world, patienceMs, () => iterator.next());
    return value;
  } catch (error) {
    if (error instanceof NoAnswerError || error instanceof UnavailableError) return undefined;
    throw error;
  }
}

function seenEvent({ type, row, previous }: KvEvent): SeenEvent {
  return {
    type,
    key: row.key,
    value: type === 'put' ? Buffer.from(row.value).toString() : undefined,
    revision: row.modRevision,
    createRevision: row.createRevision,
    previousValue: previous && Buffer.from(previous.value).toString(),
  };
}
