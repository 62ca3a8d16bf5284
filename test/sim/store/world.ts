// Time for a simulation: one queue of events, one seed. Hosts have a clock of their own on it, which
// stops when the host dies and waits while it is frozen. After each event everything that promises
// still have to do is done, so that no order is left to chance.
import type { Clock, Timer } from '#kube/base/clock.ts';
import { seededRandom, type Random } from '#kube/base/random.ts';
import type { Happening } from './happenings.ts';

interface Event {
  readonly due: number;
  readonly order: number;
  work: (() => void) | undefined;
}

const startMs = 1_700_000_000_000;

export class World {
  readonly random: Random;
  /** Milliseconds since the simulation began. */
  nowMs = 0;
  /** Of these nobody knew anything: see `sleep`. */
  sleptMs = 0;
  /** Events so far. */
  steps = 0;
  readonly tally = new Map<Happening, number>();
  readonly #heap: Event[] = [];
  #order = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** Uniform in [0, 1). */
  next(): number {
    return this.random.next();
  }

  /** An integer in [from, to]. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.random.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  count(what: Happening): void {
    this.tally.set(what, (this.tally.get(what) ?? 0) + 1);
  }

  after(delayMs: number, work: () => void): Timer {
    const event: Event = { due: this.nowMs + Math.max(0, delayMs), order: this.#order++, work };
    push(this.#heap, event);
    return {
      cancel() {
        event.work = undefined;
      },
    };
  }

  /** Time goes by for everybody, with nothing done; what was due meanwhile comes at once. */
  sleep(forMs: number): void {
    this.nowMs += forMs;
    this.sleptMs += forMs;
  }

  /** Runs events up to `untilMs`, or until `isDone`. `onStep` is called after each. */
  async run(
    untilMs: number,
    onStep: () => void,
    isDone: () => boolean = () => false,
  ): Promise<void> {
    await settled();
    while (!isDone()) {
      const next = this.#heap[0];
      if (next === undefined || next.due > untilMs) break;
      pop(this.#heap);
      const { work } = next;
      if (work === undefined) continue;
      this.nowMs = Math.max(this.nowMs, next.due);
      this.steps++;
      work();
      await settled();
      onStep();
    }
    if (!isDone()) this.nowMs = Math.max(this.nowMs, untilMs);
  }
}

/** Everything that resolved promises lead to has happened. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** What a process has of its machine: all of it ends with the process. */
export interface Process {
  readonly clock: Clock;
  /** Work of this process, soon. */
  readonly schedule: (work: () => void) => void;
}

/** A machine: what its process asked the clock for is lost when it dies, late when it is frozen. */
export class Host {
  readonly #world: World;
  #life = 0;
  #frozenUntilMs = 0;
  /** Of its wall clock, against the world's. */
  #skewMs = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get isFrozen(): boolean {
    return this.#world.nowMs < this.#frozenUntilMs;
  }

  /** The process is gone: nothing it waited for comes, and what it still asks for does not either. */
  die(): void {
    this.#life++;
    this.#frozenUntilMs = 0;
  }

  /** A laptop's lid: everything waits, and comes at once afterwards. */
  freeze(forMs: number): void {
    this.#frozenUntilMs = this.#world.nowMs + forMs;
  }

  /** Somebody sets the wall clock. */
  skew(byMs: number): void {
    this.#skewMs += byMs;
  }

  /** For the process that runs now, or is about to be started. */
  process(): Process {
    const life = this.#life;
    return {
      clock: this.#clock(() => life),
      schedule: (work) => void this.#later(life, 0, work),
    };
  }

  /** Of the machine itself: whichever process runs when something is asked for. */
  readonly clock: Clock = this.#clock(() => this.#life);

  #clock(life: () => number): Clock {
    return {
      now: () => startMs + this.#world.nowMs + this.#skewMs,
      monotonicMs: () => this.#world.nowMs,
      timer: (delayMs, callback) => this.#later(life(), delayMs, callback),
    };
  }

  /** Runs `work` unless the process that asked for it has died, and not while it is frozen. */
  #later(life: number, delayMs: number, work: () => void): Timer {
    if (life !== this.#life) return { cancel() {} };
    let timer = this.#world.after(delayMs, () => attempt());
    const attempt = (): void => {
      if (life !== this.#life) return;
      if (!this.isFrozen) return work();
      timer = this.#world.after(this.#frozenUntilMs - this.#world.nowMs, attempt);
    };
    return { cancel: () => timer.cancel() };
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !isBefore(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    if (left === undefined) break;
    const isRight = right !== undefined && isBefore(right, left);
    const child = isRight ? right : left;
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = 2 * at + (isRight ? 2 : 1);
  }
  heap[at] = last;
}
