// The loop every controller is: sources enqueue keys, workers reconcile them one key at a time.
// Level-triggered: a reconcile is told which object, never what happened to it. An error means
// "again, later"; only a failed assertion ends the process.
// Source: sigs.k8s.io/controller-runtime pkg/internal/controller.
import type { KubeObject } from '../api/object.ts';
import { AssertionError } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { hasReason, StatusError } from '../machinery/status.ts';
import type { EventHandlers, Informer } from './informer.ts';
import { keyOf } from './resources.ts';
import { WorkQueue } from './work-queue.ts';

export interface ReconcileResult {
  /** Reconcile again after this long even if nothing changes. */
  readonly requeueAfterMs?: number;
}

// A reconcile that has nothing to ask for simply returns.
// oxlint-disable-next-line typescript/no-invalid-void-type
export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult | void>;

export interface ControllerOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly reconcile: Reconcile;
  /** How many keys are worked on at a time. */
  readonly workers?: number;
  readonly maxDelayMs?: number;
}

export class Controller {
  readonly name: string;
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  readonly #informers: { whenSynced(): Promise<void> }[] = [];

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#queue = new WorkQueue({ clock: options.clock, maxDelayMs: options.maxDelayMs });
  }

  enqueue(key: string): void {
    this.#queue.add(key);
  }

  enqueueAfter(key: string, delayMs: number): void {
    this.#queue.addAfter(key, delayMs);
  }

  /**
   * Every add, update and delete enqueues what `keysOf` answers: the object's own key by default.
   * On an update both the old and the new object are asked.
   */
  watch<T extends KubeObject>(
    informer: Informer<T>,
    keysOf: (object: T) => readonly string[] = (object) => [keyOf(object)],
  ): void {
    const enqueue = (object: T): void => {
      for (const key of keysOf(object)) this.#queue.add(key);
    };
    this.watchWith(informer, {
      onAdd: enqueue,
      onUpdate(old, object) {
        enqueue(old);
        enqueue(object);
      },
      onDelete: enqueue,
    });
  }

  /** For sources that look at the change itself (expectations); `run` waits for them too. */
  watchWith<T extends KubeObject>(informer: Informer<T>, handlers: EventHandlers<T>): void {
    informer.addHandler(handlers);
    this.#informers.push(informer);
  }

  /** Waits until every source has synced, then works until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#queue.shutDown(), { once: true });
    if (signal.aborted) this.#queue.shutDown();
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    const synced = Promise.all(this.#informers.map((informer) => informer.whenSynced()));
    await Promise.race([synced, stopped]);
    if (signal.aborted) return;
    const workers = Array.from({ length: this.#options.workers ?? 1 }, () => this.#work(signal));
    await Promise.all(workers);
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (let key = await this.#queue.take(); key !== undefined; key = await this.#queue.take()) {
      await this.#process(key, signal);
      this.#queue.done(key);
    }
  }

  async #process(key: string, signal: AbortSignal): Promise<void> {
    try {
      const result = await this.#options.reconcile(key, signal);
      this.#queue.forget(key);
      const requeueAfterMs = result?.requeueAfterMs;
      if (requeueAfterMs !== undefined) this.#queue.addAfter(key, requeueAfterMs);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (signal.aborted) return;
      const { logger } = this.#options;
      // What the API server says needs no stack.
      const why = error instanceof StatusError ? error.message : error;
      const fields = { controller: this.name, key, error: why };
      // Somebody else wrote first: usual, and the next try reads anew.
      if (hasReason(error, 'Conflict')) logger.debug('Reconcile met a conflict', fields);
      else logger.warn('Reconcile failed', fields);
      this.#queue.addRateLimited(key);
    }
  }
}
