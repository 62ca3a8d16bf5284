// A queue of keys. Fair: first in, first out. Stingy: a key queued several times is handed out
// once, and never to two workers at a time; one added while being worked on is queued again afterwards.
// Bounded by the number of distinct keys. Source: client-go util/workqueue.
import type { Clock, Timer } from '../base/clock.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  /** First rate-limited delay of a key; doubles with every further one. */
  readonly baseDelayMs?: number;
  readonly maxDelayMs?: number;
}

interface Waiting {
  readonly dueMs: number;
  readonly timer: Timer;
}

export class WorkQueue {
  readonly #clock: Clock;
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  /** Insertion order is queue order. */
  readonly #queued = new Set<string>();
  readonly #processing = new Set<string>();
  /** Added again while being processed. */
  readonly #dirty = new Set<string>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #failures = new Map<string, number>();
  #takers: ((key: string | undefined) => void)[] = [];
  #isShutDown = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#baseDelayMs = options.baseDelayMs ?? 5;
    this.#maxDelayMs = options.maxDelayMs ?? 1_000_000;
  }

  /** Keys that could be taken now. */
  get length(): number {
    return this.#queued.size;
  }

  get isShutDown(): boolean {
    return this.#isShutDown;
  }

  add(key: string): void {
    if (this.#isShutDown) return;
    if (this.#processing.has(key)) this.#dirty.add(key);
    else this.#queued.add(key);
    this.#dispatch();
  }

  /** The earliest of several delays counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#isShutDown) return;
    if (delayMs <= 0) return this.add(key);
    const dueMs = this.#clock.monotonicMs() + delayMs;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined && waiting.dueMs <= dueMs) return;
    waiting?.timer.cancel();
    const timer = this.#clock.timer(delayMs, () => {
      this.#waiting.delete(key);
      this.add(key);
    });
    this.#waiting.set(key, { dueMs, timer });
  }

  /** Adds after a delay that grows with every call until `forget`. */
  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** Math.min(failures, 40)));
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  requeueCount(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** Waits for a key; undefined once the queue is shut down. Call `done` when it is processed. */
  take(): Promise<string | undefined> {
    if (this.#isShutDown) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#dispatch();
    });
  }

  done(key: string): void {
    this.#processing.delete(key);
    if (!this.#dirty.delete(key) || this.#isShutDown) return;
    this.#queued.add(key);
    this.#dispatch();
  }

  /** Nothing is taken any more; keys being processed may still be finished. */
  shutDown(): void {
    this.#isShutDown = true;
    for (const waiting of this.#waiting.values()) waiting.timer.cancel();
    this.#waiting.clear();
    this.#queued.clear();
    const takers = this.#takers;
    this.#takers = [];
    for (const taker of takers) taker(undefined);
  }

  #dispatch(): void {
    while (this.#takers.length > 0) {
      const [key] = this.#queued;
      if (key === undefined) return;
      this.#queued.delete(key);
      this.#processing.add(key);
      this.#takers.shift()?.(key);
    }
  }
}
