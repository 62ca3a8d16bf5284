// Records core/v1 Events about objects. Never throws and never makes its caller wait: events go out
// one after another in the background, and those past the bound are dropped and counted.
// Repeats raise an event's count by patch; more than ten alike ones are combined; a chatty object
// is throttled. Source: client-go tools/record/{event,events_cache}.go.
import type { Event, ObjectReference } from '../api/core.ts';
import type { KubeObject } from '../api/object.ts';
import { type Clock, rfc3339 } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { hasReason, StatusError } from '../machinery/status.ts';
import { events } from './resources.ts';
import type { RestClient } from './rest-client.ts';
import { TransportError } from './transport.ts';

export type EventType = 'Normal' | 'Warning';

export interface EventRecorder {
  event(
    about: KubeObject | ObjectReference,
    type: EventType,
    reason: string,
    message: string,
  ): void;
}

export interface EventRecorderDeps {
  readonly client: RestClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Who reports, such as `deployment-controller` or `kubelet`. */
  readonly component: string;
  /** The node the component runs on, if it belongs to one. */
  readonly host?: string;
}

const pendingMax = 1000;
const cacheEntriesMax = 4096;
/** More alike events than this within the interval become one "(combined from similar events)". */
const similarMax = 10;
const similarIntervalMs = 600_000;
/** Per object: a burst of 25 events, then one every five minutes. */
const burstMax = 25;
const refillMs = 300_000;

interface Occurrence {
  readonly about: ObjectReference;
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
  readonly atMs: number;
  /** One of many alike: they all count for one event. */
  readonly isCombined: boolean;
}

interface Recorded {
  readonly namespace: string;
  readonly name: string;
  readonly firstMs: number;
  count: number;
}

interface Similar {
  messages: Set<string>;
  lastMs: number;
}

interface Bucket {
  tokens: number;
  filledMs: number;
}

export class ApiEventRecorder implements EventRecorder {
  readonly #deps: EventRecorderDeps;
  readonly #recorded = new BoundedMap<Recorded>(cacheEntriesMax);
  readonly #similar = new BoundedMap<Similar>(cacheEntriesMax);
  readonly #buckets = new BoundedMap<Bucket>(cacheEntriesMax);
  #pending: Occurrence[] = [];
  #sending: Promise<void> | undefined;
  #serial = 0;
  #dropped = 0;

  constructor(deps: EventRecorderDeps) {
    this.#deps = deps;
  }

  /** Events dropped because too many were waiting or an object was too chatty. */
  get droppedCount(): number {
    return this.#dropped;
  }

  event(
    about: KubeObject | ObjectReference,
    type: EventType,
    reason: string,
    message: string,
  ): void {
    const occurrence: Occurrence = {
      about: referenceTo(about),
      type,
      reason,
      message: message.slice(0, 1024),
      atMs: this.#deps.clock.now(),
      isCombined: false,
    };
    if (this.#pending.length >= pendingMax || !this.#takeToken(occurrence)) {
      this.#dropped++;
      return;
    }
    this.#pending.push(occurrence);
    this.#sending ??= this.#send();
  }

  /** Resolves when everything recorded so far was sent or given up. */
  async flush(): Promise<void> {
    await this.#sending;
  }

  async #send(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      for (const occurrence of batch) await this.#write(occurrence);
    }
    this.#sending = undefined;
  }

  async #write(occurrence: Occurrence): Promise<void> {
    try {
      await this.#createOrCount(this.#combine(occurrence));
    } catch (error) {
      if (!(error instanceof StatusError) && !(error instanceof TransportError)) throw error;
      const { namespace, name } = occurrence.about;
      const fields = { object: `${namespace}/${name}`, reason: occurrence.reason, error };
      this.#deps.logger.debug('Event could not be recorded', fields);
    }
  }

  async #createOrCount(occurrence: Occurrence): Promise<void> {
    const key = keyOf(occurrence, occurrence.isCombined ? '' : occurrence.message);
    const recorded = this.#recorded.get(key);
    if (recorded !== undefined && (await this.#raiseCount(recorded, occurrence))) return;
    const count = (recorded?.count ?? 0) + 1;
    const event = this.#makeEvent(occurrence, count, recorded?.firstMs ?? occurrence.atMs);
    await this.#deps.client.create(events, event);
    const { namespace = '', name } = event.metadata;
    const firstMs = recorded?.firstMs ?? occurrence.atMs;
    this.#recorded.set(key, { namespace, name, firstMs, count });
  }

  /** False when the event is gone (it lives an hour). */
  async #raiseCount(recorded: Recorded, occurrence: Occurrence): Promise<boolean> {
    const patch = {
      count: recorded.count + 1,
      lastTimestamp: rfc3339(occurrence.atMs),
      message: occurrence.message,
    };
    try {
      await this.#deps.client.patch(events, recorded, patch, { type: 'strategic' });
      recorded.count++;
      return true;
    } catch (error) {
      if (hasReason(error, 'NotFound')) return false;
      throw error;
    }
  }

  /** Many messages of one kind about one object become one message. */
  #combine(occurrence: Occurrence): Occurrence {
    const key = keyOf(occurrence, '');
    let similar = this.#similar.get(key);
    if (similar === undefined || occurrence.atMs - similar.lastMs > similarIntervalMs) {
      similar = { messages: new Set(), lastMs: occurrence.atMs };
      this.#similar.set(key, similar);
    }
    similar.lastMs = occurrence.atMs;
    if (similar.messages.size < similarMax) similar.messages.add(occurrence.message);
    if (similar.messages.has(occurrence.message)) return occurrence;
    const message = `(combined from similar events): ${occurrence.message}`;
    return { ...occurrence, message, isCombined: true };
  }

  #takeToken({ about, atMs }: Occurrence): boolean {
    const key = about.uid ?? `${about.kind}/${about.namespace}/${about.name}`;
    const bucket = this.#buckets.get(key) ?? { tokens: burstMax, filledMs: atMs };
    const refill = Math.floor((atMs - bucket.filledMs) / refillMs);
    bucket.tokens = Math.min(burstMax, bucket.tokens + refill);
    bucket.filledMs += refill * refillMs;
    this.#buckets.set(key, bucket);
    if (bucket.tokens === 0) return false;
    bucket.tokens--;
    return true;
  }

  #makeEvent(occurrence: Occurrence, count: number, firstMs: number): Event {
    const { about, atMs } = occurrence;
    const { component, host } = this.#deps;
    // Unique per component: nanoseconds since the epoch in hex, as Kubernetes names them.
    const nanos = BigInt(Math.floor(atMs)) * 1_000_000n + BigInt(this.#serial++ % 1_000_000);
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: {
        name: `${about.name}.${nanos.toString(16)}`,
        // Events about cluster-scoped objects live in `default`.
        namespace: about.namespace ?? 'default',
      },
      involvedObject: about,
      reason: occurrence.reason,
      message: occurrence.message,
      type: occurrence.type,
      source: host === undefined ? { component } : { component, host },
      firstTimestamp: rfc3339(firstMs),
      lastTimestamp: rfc3339(atMs),
      count,
      reportingComponent: component,
      reportingInstance: host ?? '',
    };
  }
}

/** An ObjectReference to an object, as Events and EndpointSlices carry it. */
export function referenceTo(about: KubeObject | ObjectReference): ObjectReference {
  if (!('metadata' in about)) return about;
  const { namespace, name, uid, resourceVersion } = about.metadata;
  const reference: ObjectReference = { apiVersion: about.apiVersion, kind: about.kind, name };
  if (namespace !== undefined && namespace !== '') reference.namespace = namespace;
  if (uid !== undefined) reference.uid = uid;
  if (resourceVersion !== undefined) reference.resourceVersion = resourceVersion;
  return reference;
}

function keyOf({ about, type, reason }: Occurrence, message: string): string {
  const { kind, namespace, name, uid, fieldPath } = about;
  return JSON.stringify([kind, namespace, name, uid, fieldPath, type, reason, message]);
}

/** Forgets the least recently used entry when full. */
class BoundedMap<V> {
  readonly #entries = new Map<string, V>();
  readonly #sizeMax: number;

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#sizeMax) break;
      this.#entries.delete(oldest);
    }
  }
}
