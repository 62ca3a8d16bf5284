// Keeps a sink equal to the server's collection: one list (or a watch that begins with a list),
// then a watch resumed at the last seen resourceVersion for as long as history allows.
// Invariant: the sink sees every change exactly once and in order between two `replace` calls.
// Source: client-go tools/cache/reflector.go.
import type { KubeObject, WatchEvent } from '../api/object.ts';
import { type Clock, delay } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { jitter, type Random } from '../base/random.ts';
import { StatusError } from '../machinery/status.ts';
import type { Resource } from './resources.ts';
import type { RestClient } from './rest-client.ts';
import { TransportError } from './transport.ts';

export interface ClientDeps {
  readonly client: RestClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface Selection<T extends KubeObject> {
  readonly resource: Resource<T>;
  /** All namespaces when left out. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface ReflectorSink<T extends KubeObject> {
  /** The whole collection as of `resourceVersion`. */
  replace(items: readonly T[], resourceVersion: string): void;
  apply(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T): void;
  /** Whether a watch stands; false while what the sink holds may be stale. */
  connectionChanged?(isConnected: boolean): void;
}

/** Differs: client-go waits up to 30 s; here a server that restarts is back within seconds. */
export const backoffMs = { base: 250, max: 5_000, resetAfter: 60_000 };
/** A watch lasts 5-10 minutes; then the server ends it and it is resumed. */
const watchSecondsMin = 300;
/** The server sends a bookmark about once a minute: this much silence means a dead connection. */
const silenceMsMax = 180_000;
const initialEventsEnd = 'k8s.io/initial-events-end';

/** The server no longer has, or doesn't know, the history we asked for: list again. */
class HistoryGoneError extends Error {
  override readonly name = 'HistoryGoneError';
}

/** The server doesn't know `sendInitialEvents`: list, then watch. */
class WatchListRefusedError extends Error {
  override readonly name = 'WatchListRefusedError';
}

export class Reflector<T extends KubeObject> {
  readonly #deps: ClientDeps;
  readonly #selection: Selection<T>;
  readonly #sink: ReflectorSink<T>;
  /** Undefined until the collection was read once, and after its history was lost. */
  #resourceVersion: string | undefined;
  #supportsWatchList = true;
  #failures = 0;
  #lastRelistMs = Number.NEGATIVE_INFINITY;
  #isConnected = false;

  constructor(deps: ClientDeps, selection: Selection<T>, sink: ReflectorSink<T>) {
    this.#deps = deps;
    this.#selection = selection;
    this.#sink = sink;
  }

  get resourceVersion(): string | undefined {
    return this.#resourceVersion;
  }

  /** Resolves when `signal` aborts; rejects only on programmer errors. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      const isHealthy = await this.#session(signal);
      this.#setConnected(false);
      if (signal.aborted) return;
      if (isHealthy || clock.monotonicMs() - startMs > backoffMs.resetAfter) this.#failures = 0;
      if (isHealthy) continue;
      const waitMs = Math.min(backoffMs.max, backoffMs.base * 2 ** this.#failures);
      this.#failures = Math.min(this.#failures + 1, 16);
      await delay(clock, jitter(random, waitMs, 1), signal);
    }
  }

  /** One list or watch, to its end. True when it may be resumed at once. */
  async #session(signal: AbortSignal): Promise<boolean> {
    const { clock, logger } = this.#deps;
    const resource = this.#selection.resource.resource;
    const startMs = clock.monotonicMs();
    let eventCount = 0;
    try {
      if (this.#resourceVersion === undefined && !this.#supportsWatchList) await this.#list(signal);
      eventCount = await this.#watch(signal);
      // A server that ends watches at once must not be asked again and again without pause.
      return eventCount > 0 || clock.monotonicMs() - startMs >= 1000;
    } catch (error) {
      if (signal.aborted) return false;
      if (error instanceof HistoryGoneError) {
        logger.info('Listing again', { resource, reason: error.message });
        this.#resourceVersion = undefined;
        return this.#isFirstRelist();
      }
      if (error instanceof WatchListRefusedError) return true;
      if (!(error instanceof StatusError) && !(error instanceof TransportError)) throw error;
      logger.debug('Watch failed', { resource, error: error.message });
      return false;
    }
  }

  /** A relist goes out at once, unless the last one was a moment ago. */
  #isFirstRelist(): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    const isFirst = nowMs - this.#lastRelistMs >= 1000;
    this.#lastRelistMs = nowMs;
    return isFirst;
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client } = this.#deps;
    const { resource, ...query } = this.#selection;
    const list = await client.list(resource, { ...query, signal });
    if (signal.aborted) return;
    const resourceVersion = list.metadata.resourceVersion ?? '';
    this.#sink.replace(list.items, resourceVersion);
    this.#resourceVersion = resourceVersion;
  }

  /** Answers how many events came. */
  async #watch(signal: AbortSignal): Promise<number> {
    const { client, clock, random } = this.#deps;
    const { resource, ...query } = this.#selection;
    const isInitial = this.#resourceVersion === undefined;
    const watchdog = new Watchdog(clock, signal);
    let initialItems: Map<string, T> | undefined = isInitial ? new Map() : undefined;
    let eventCount = 0;
    try {
      const events = await this.#open(() =>
        client.watch(resource, {
          ...query,
          resourceVersion: this.#resourceVersion,
          allowWatchBookmarks: true,
          timeoutSeconds: Math.floor(jitter(random, watchSecondsMin, 1)),
          ...(isInitial ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' } : {}),
          signal: watchdog.signal,
        }),
      );
      if (!isInitial) this.#setConnected(true);
      for await (const event of events) {
        if (signal.aborted) break;
        watchdog.feed();
        eventCount++;
        initialItems = this.#accept(event, initialItems);
      }
    } finally {
      watchdog.stop();
    }
    return initialItems === undefined ? eventCount : 0;
  }

  /** Falls back on list + watch when the server doesn't know `sendInitialEvents`. */
  async #open<R>(open: () => Promise<R>): Promise<R> {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (isGone(error)) throw new HistoryGoneError(error.message, { cause: error });
      const isRefused = error.code === 400 || error.code === 405 || error.code === 422;
      if (this.#resourceVersion !== undefined || !isRefused || !this.#supportsWatchList)
        throw error;
      this.#supportsWatchList = false;
      throw new WatchListRefusedError(error.message, { cause: error });
    }
  }

  /** Answers the initial items still being gathered; undefined once the sink is live. */
  #accept(event: WatchEvent<T>, initialItems: Map<string, T> | undefined): typeof initialItems {
    if (event.type === 'ERROR') {
      const error = new StatusError(event.object);
      throw isGone(error) ? new HistoryGoneError(error.message, { cause: error }) : error;
    }
    const { type, object } = event;
    const resourceVersion = object.metadata.resourceVersion ?? '';
    if (type === 'BOOKMARK') {
      const isEnd = object.metadata.annotations?.[initialEventsEnd] === 'true';
      if (initialItems === undefined) this.#resourceVersion = resourceVersion;
      if (initialItems === undefined || !isEnd) return initialItems;
      this.#sink.replace([...initialItems.values()], resourceVersion);
      this.#resourceVersion = resourceVersion;
      this.#setConnected(true);
      return undefined;
    }
    if (initialItems === undefined) {
      this.#sink.apply(type, object);
      this.#resourceVersion = resourceVersion;
      return undefined;
    }
    const uid = object.metadata.uid ?? `${object.metadata.namespace}/${object.metadata.name}`;
    if (type === 'DELETED') initialItems.delete(uid);
    else initialItems.set(uid, object);
    return initialItems;
  }

  #setConnected(isConnected: boolean): void {
    if (this.#isConnected === isConnected) return;
    this.#isConnected = isConnected;
    this.#sink.connectionChanged?.(isConnected);
  }
}

/** Aborts a watch on which nothing arrives any more. */
class Watchdog {
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #onAbort = (): void => this.#controller.abort();
  #lastMs: number;
  #timer;

  constructor(clock: Clock, parent: AbortSignal) {
    this.#clock = clock;
    this.#parent = parent;
    this.#lastMs = clock.monotonicMs();
    this.#timer = clock.timer(silenceMsMax, () => this.#check());
    parent.addEventListener('abort', this.#onAbort);
    if (parent.aborted) this.#controller.abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  feed(): void {
    this.#lastMs = this.#clock.monotonicMs();
  }

  stop(): void {
    this.#timer.cancel();
    this.#parent.removeEventListener('abort', this.#onAbort);
    // Also ends a stream that was left early, so that no connection leaks.
    this.#controller.abort();
  }

  #check(): void {
    const leftMs = this.#lastMs + silenceMsMax - this.#clock.monotonicMs();
    if (leftMs <= 0) this.#controller.abort();
    else this.#timer = this.#clock.timer(leftMs, () => this.#check());
  }
}

function isGone(error: StatusError): boolean {
  return error.code === 410;
}
