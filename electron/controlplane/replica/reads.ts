// Who waits to read linearizably: first for the protocol's word how far the state must be, then for
// the state to be that far. One question is under way at a time; all who come meanwhile share the
// next, since an answer says nothing about what was written after its question.
// Nothing here trusts a clock but to give up.
import type { Random } from '#kube/base/random.ts';
import { ReplicaUnavailableError } from './types.ts';

const waitingMax = 50_000;

interface Waiting {
  readonly deadlineMs: number;
  readonly resolve: (index: number) => void;
  readonly reject: (error: Error) => void;
}

interface Confirmed {
  readonly index: number;
  waiting: Waiting[];
}

export class Reads {
  /** Not asked yet, oldest first. */
  #queue: Waiting[] = [];
  #asked: { readonly id: number; readonly waiting: Waiting[] } | undefined;
  /** Answered, for an index that is not applied yet. */
  #confirmed: Confirmed[] = [];
  /** There was nobody to ask: not again before `retry`. */
  #isResting = false;
  #count = 0;
  /** Begins at random: ids of a run before this one are not met again. */
  #id: number;

  constructor(random: Random) {
    this.#id = Math.floor(random.next() * 2 ** 31) * 2 ** 16;
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= waitingMax;
  }

  /** Resolves with an index that held when it was asked for and is applied now. */
  add(deadlineMs: number): Promise<number> {
    this.#count++;
    return new Promise((resolve, reject) => {
      this.#queue.push({ deadlineMs, resolve, reject });
    });
  }

  /** A question to ask now. */
  ask(): number | undefined {
    if (this.#asked !== undefined || this.#isResting || this.#queue.length === 0) return undefined;
    this.#id++;
    this.#asked = { id: this.#id, waiting: this.#queue };
    this.#queue = [];
    return this.#id;
  }

  /** `index` undefined: there was no leader, or it changed. */
  answered(id: number, index: number | undefined, applied: number): void {
    const asked = this.#asked;
    if (asked?.id !== id) return;
    this.#asked = undefined;
    if (index === undefined) {
      this.#queue = [...asked.waiting, ...this.#queue];
      this.#isResting = true;
      return;
    }
    this.#confirmed.push({ index, waiting: asked.waiting });
    this.applied(applied);
  }

  /** Time went by, or there is a leader now. */
  retry(): void {
    this.#isResting = false;
  }

  /** Answers come in order, so the indexes ascend. */
  applied(index: number): void {
    for (
      let first = this.#confirmed[0];
      first !== undefined && first.index <= index;
      first = this.#confirmed[0]
    ) {
      this.#confirmed.shift();
      this.#count -= first.waiting.length;
      for (const { resolve } of first.waiting) resolve(first.index);
    }
  }

  expire(nowMs: number): void {
    if (this.#count === 0) return;
    this.#queue = this.#onlyTimely(this.#queue, nowMs);
    for (const confirmed of this.#confirmed)
      confirmed.waiting = this.#onlyTimely(confirmed.waiting, nowMs);
    if (this.#asked !== undefined) {
      const { id, waiting } = this.#asked;
      this.#asked = { id, waiting: this.#onlyTimely(waiting, nowMs) };
    }
  }

  #onlyTimely(waiting: Waiting[], nowMs: number): Waiting[] {
    const [oldest] = waiting;
    if (oldest === undefined || oldest.deadlineMs > nowMs) return waiting;
    const error = new ReplicaUnavailableError(
      'No majority of the voters confirmed in time that this is the newest state',
    );
    const kept = waiting.filter(({ deadlineMs }) => deadlineMs > nowMs);
    for (const { deadlineMs, reject } of waiting) if (deadlineMs <= nowMs) reject(error);
    this.#count -= waiting.length - kept.length;
    return kept;
  }

  end(why: Error): void {
    const all = [this.#queue, this.#asked?.waiting ?? [], ...this.#confirmed.map((c) => c.waiting)];
    this.#queue = [];
    this.#asked = undefined;
    this.#confirmed = [];
    this.#count = 0;
    for (const { reject } of all.flat()) reject(why);
  }
}
