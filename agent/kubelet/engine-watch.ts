// Follows the container engine: whether it answers, what its containers do. Its event stream is the
// fast way; a relist once a minute is the safety net. Tells whoever listens, decides nothing.
// Source: kubernetes pkg/kubelet/pleg/evented.go.
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  isRuntimeError,
  type ObservedPod,
  type Runtime,
  type RuntimeVersion,
} from '../runtime/runtime.ts';
import { messageOf } from '../error-message.ts';

export type EngineState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'running'; readonly version: RuntimeVersion }
  | { readonly kind: 'down'; readonly why: string };

export interface EngineWatchDeps {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onState: (state: EngineState) => void;
  readonly onPod: (podUid: string) => void;
  /** Everything the engine has, after each (re)connection and each relist. */
  readonly onRelist: (pods: readonly ObservedPod[]) => void;
}

const relistIntervalMs = 60_000;
const retryDelayMs = { first: 250, max: 5_000 };

export class EngineWatch {
  readonly #deps: EngineWatchDeps;
  #state: EngineState = { kind: 'unknown' };

  constructor(deps: EngineWatchDeps) {
    this.#deps = deps;
  }

  get state(): EngineState {
    return this.#state;
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    let waitMs = retryDelayMs.first;
    while (!signal.aborted) {
      try {
        await this.#follow(signal, () => (waitMs = retryDelayMs.first));
      } catch (error) {
        if (signal.aborted) return;
        this.#down(error);
        await delay(clock, waitMs, signal);
        waitMs = Math.min(waitMs * 2, retryDelayMs.max);
      }
    }
  }

  /** One connection; ends by throwing. */
  async #follow(signal: AbortSignal, onConnected: () => void): Promise<void> {
    const { runtime, onPod, onRelist } = this.#deps;
    const version = await runtime.version();
    const connection = new AbortController();
    const events = runtime.events(AbortSignal.any([signal, connection.signal]));
    const iterator = events[Symbol.asyncIterator]();
    // Asked for before the list, so that nothing falls between the two.
    let next = iterator.next();
    next.catch(() => {});
    try {
      onRelist(await runtime.listPods());
      this.#set({ kind: 'running', version });
      onConnected();
      void this.#relist(connection.signal);
      for (;;) {
        const event = await next;
        if (event.done === true) return;
        onPod(event.value.podUid);
        next = iterator.next();
      }
    } finally {
      connection.abort();
    }
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { clock, runtime, onRelist, logger } = this.#deps;
    for (;;) {
      await delay(clock, relistIntervalMs, signal);
      if (signal.aborted) return;
      try {
        const pods = await runtime.listPods();
        if (!signal.aborted) onRelist(pods);
      } catch (error) {
        // The event stream tells when the engine is gone; until then the next round comes.
        logger.warn('Containers not listed', { error: messageOf(error) });
      }
    }
  }

  #down(error: unknown): void {
    const why = messageOf(error);
    if (!isRuntimeError(error, 'unavailable'))
      this.#deps.logger.warn('Engine failed', { error: messageOf(error) });
    this.#set({ kind: 'down', why });
  }

  #set(state: EngineState): void {
    const before = this.#state;
    this.#state = state;
    if (before.kind !== state.kind || before.kind === 'unknown') this.#deps.onState(state);
  }
}
