// Reflector + indexed cache + handlers: the one way anything in this project follows a collection.
// Handlers run synchronously, in order, and should only enqueue keys. Nothing is resynced on a
// timer: what the cache holds is what the server said.
// Source: client-go tools/cache/shared_informer.go.
import type { KubeObject } from '../api/object.ts';
import { deepFreeze } from '../machinery/equality.ts';
import { type IndexFunction, type Lister, ObjectCache } from './lister.ts';
import { type ClientDeps, Reflector, type ReflectorSink, type Selection } from './reflector.ts';
import { keyOf } from './resources.ts';

export interface InformerOptions<T extends KubeObject> extends Selection<T> {
  readonly indexers?: Readonly<Record<string, IndexFunction<T>>>;
  /** Drops what nobody here reads, before it is cached. The object may be frozen: makes another one. */
  readonly transform?: (object: T) => T;
}

export interface EventHandlers<T extends KubeObject> {
  onAdd?(object: T, isInInitialList: boolean): void;
  onUpdate?(old: T, object: T): void;
  /** `object` is the last state known; changes between it and the deletion may have been missed. */
  onDelete?(object: T): void;
  onConnectionChange?(isConnected: boolean): void;
}

export class Informer<T extends KubeObject> {
  readonly resource: Selection<T>['resource'];
  readonly #cache: ObjectCache<T>;
  readonly #handlers = new Set<EventHandlers<T>>();
  readonly #reflector: Reflector<T>;
  readonly #transform: (object: T) => T;
  readonly #synced = Promise.withResolvers<void>();
  #hasSynced = false;
  #isConnected = false;
  #isStarted = false;

  constructor(deps: ClientDeps, options: InformerOptions<T>) {
    const { indexers, transform = (object) => object, ...selection } = options;
    this.resource = options.resource;
    this.#cache = new ObjectCache(indexers);
    this.#transform = transform;
    const sink: ReflectorSink<T> = {
      replace: (items) => this.#replace(items),
      apply: (type, object) => this.#apply(type, object),
      connectionChanged: (isConnected) => this.#connectionChanged(isConnected),
    };
    this.#reflector = new Reflector(deps, selection, sink);
  }

  get lister(): Lister<T> {
    return this.#cache;
  }

  /** Whether the first list has been taken in and handed to the handlers. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Whether a watch stands right now. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** The newest version the cache is at least as new as. */
  get resourceVersion(): string | undefined {
    return this.#reflector.resourceVersion;
  }

  /** Never resolves if the informer is stopped before. */
  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  addIndex(name: string, indexer: IndexFunction<T>): void {
    this.#cache.addIndex(name, indexer);
  }

  /** A late handler is told of everything cached so far. Answers a function that removes it. */
  addHandler(handlers: EventHandlers<T>): () => void {
    this.#handlers.add(handlers);
    if (this.#hasSynced) for (const object of this.#cache.list()) handlers.onAdd?.(object, true);
    return () => void this.#handlers.delete(handlers);
  }

  /** Idempotent. Runs until `signal` aborts. */
  start(signal: AbortSignal): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#reflector.run(signal);
  }

  #replace(items: readonly T[]): void {
    const isInitial = !this.#hasSynced;
    const gone = new Set(this.#cache.keys());
    for (const item of items) {
      gone.delete(keyOf(item));
      this.#set(item, isInitial);
    }
    for (const key of gone) this.#delete(key);
    if (!isInitial) return;
    this.#hasSynced = true;
    this.#synced.resolve();
  }

  #apply(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T): void {
    if (type === 'DELETED') this.#delete(keyOf(object), object);
    else this.#set(object, false);
  }

  #set(received: T, isInInitialList: boolean): void {
    const key = keyOf(received);
    const known = this.#cache.getByKey(key);
    if (known !== undefined && isSameVersion(known, received)) return;
    // Deleted and made again under the same name while we weren't looking: two objects, two events.
    if (known !== undefined && known.metadata.uid !== received.metadata.uid) this.#delete(key);
    const object = deepFreeze(this.#transform(received));
    const old = this.#cache.set(key, object);
    for (const handler of this.#handlers)
      if (old === undefined) handler.onAdd?.(object, isInInitialList);
      else handler.onUpdate?.(old, object);
  }

  #delete(key: string, last?: T): void {
    const known = this.#cache.delete(key);
    if (known === undefined) return;
    const object = last === undefined ? known : deepFreeze(this.#transform(last));
    for (const handler of this.#handlers) handler.onDelete?.(object);
  }

  #connectionChanged(isConnected: boolean): void {
    this.#isConnected = isConnected;
    for (const handler of this.#handlers) handler.onConnectionChange?.(isConnected);
  }
}

function isSameVersion(a: KubeObject, b: KubeObject): boolean {
  const version = a.metadata.resourceVersion;
  return (
    version !== undefined &&
    version === b.metadata.resourceVersion &&
    a.metadata.uid === b.metadata.uid
  );
}

type AnyTransform = <T extends KubeObject>(object: T) => T;

/** Who set which field is most of an object's memory, and read by nobody who keeps it. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Shares one informer (one watch, one cache) between everyone who follows the same collection. */
export class InformerFactory {
  readonly deps: ClientDeps;
  readonly #transform: AnyTransform | undefined;
  readonly #informers = new Map<string, Informer<never>>();
  #signal: AbortSignal | undefined;

  /** `transform`: of informers that are asked for without one of their own. */
  constructor(deps: ClientDeps, transform?: AnyTransform) {
    this.deps = deps;
    this.#transform = transform;
  }

  /** Indexers are added to the shared informer; `transform` counts only for the first who asks. */
  informer<T extends KubeObject>(
    resource: Selection<T>['resource'],
    options: Omit<InformerOptions<T>, 'resource'> = {},
  ): Informer<T> {
    const { namespace = '', labelSelector = '', fieldSelector = '' } = options;
    const key = [
      resource.group,
      resource.version,
      resource.resource,
      namespace,
      labelSelector,
      fieldSelector,
    ];
    const shared = this.#informers.get(key.join('\n')) as unknown as Informer<T> | undefined;
    if (shared !== undefined) {
      for (const [name, indexer] of Object.entries(options.indexers ?? {}))
        shared.addIndex(name, indexer);
      return shared;
    }
    const transform = this.#transform === undefined ? {} : { transform: this.#transform };
    const informer = new Informer<T>(this.deps, { ...transform, ...options, resource });
    this.#informers.set(key.join('\n'), informer as unknown as Informer<never>);
    if (this.#signal !== undefined) informer.start(this.#signal);
    return informer;
  }

  /** Starts every informer asked for so far; later ones start when they are asked for. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    for (const informer of this.#informers.values()) informer.start(signal);
  }

  async whenSynced(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.whenSynced()));
  }
}
