// Everything that can be done with the objects of one resource, below HTTP and above the store:
// the verbs, each a thin call of the file that holds its rules.
import type { DeleteOptions } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { applySchemaDefaults, type SchemaRegistry } from '#kube/machinery/schema.ts';
import type { KindTypes } from '../cel/policy-types.ts';
import { CacheWatch, type CacheWatchOptions } from './cache-watch.ts';
import { Cacher } from './cacher.ts';
import { createObject } from './create.ts';
import { deleteObject, deleteObjects, type DeleteRequest, type DeleteResult } from './delete.ts';
import { listObjects, type ListPage, type ListQuery } from './list.ts';
import type { RegistryDeps } from './registry.ts';
import type { ResourceDefinition } from './resource.ts';
import { storageKey, type ResourceTable } from './resource-table.ts';
import { parseResourceVersion } from './resource-version.ts';
import { selectorOf, type Selection } from './selection.ts';
import { StorageCodec, type StoredObject } from './storage-codec.ts';
import { updateObject, type UpdateRequest, type UpdateResult } from './update.ts';
import { Mutex, notFoundError, readStored, type WriteDeps, type WriteOptions } from './write.ts';

export interface WatchQuery extends Selection {
  /** '' and '0': from the present state. */
  readonly resourceVersion: string;
  /** Watch-list: the present state first, then a bookmark that says so. */
  readonly sendInitialEvents: boolean;
  readonly allowBookmarks: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

function kindTypesOf(table: ResourceTable, schemas: SchemaRegistry): KindTypes {
  return {
    resolve: (name) => (schemas.has(name) ? schemas.get(name) : undefined),
    kindOf(group, version, plural) {
      const found = table.lookup(group, version, plural);
      return found && { group, version, kind: found.kind };
    },
    schemaOf(kind) {
      const found = table.lookupKind(kind);
      return found && schemas.get(found.schema);
    },
  };
}

export class ResourceRegistry {
  readonly definition: ResourceDefinition;
  readonly cacher: Cacher;
  readonly #deps: WriteDeps;
  readonly #ended: AbortSignal | undefined;

  /** `ended`: when the resource is served no longer, which ends its watches. */
  constructor(definition: ResourceDefinition, deps: RegistryDeps, ended?: AbortSignal) {
    const { store, clock, random, config, schemas, logger, table } = deps;
    const defaultsOf =
      ({ schema, strategy }: ResourceDefinition) =>
      (object: KubeObject): void => {
        applySchemaDefaults(schemas, schema, object);
        strategy.applyDefaults?.(object);
      };
    const codec = new StorageCodec(definition, defaultsOf);
    this.definition = definition;
    this.#ended = ended;
    this.cacher = new Cacher({ definition, store, codec, clock, logger });
    this.#deps = {
      definition,
      store,
      cacher: this.cacher,
      codec,
      clock,
      random,
      config,
      mutex: new Mutex(),
      builtIn: table.builtIn,
      kindTypes: kindTypesOf(table, schemas),
      applyDefaults: defaultsOf(definition),
    };
  }

  /** Mutates `object`. For what comes from outside, before admission sees it. */
  applyDefaults(object: KubeObject): void {
    this.#deps.applyDefaults(object);
  }

  /** A linearizable read by storage key. */
  read(key: string): Promise<StoredObject | undefined> {
    return readStored(this.#deps, key);
  }

  /** `resourceVersion` '' reads from the store, else the cache at that revision or later. */
  async get(namespace: string, name: string, resourceVersion = ''): Promise<StoredObject> {
    const key = storageKey(this.definition, namespace, name);
    let stored: StoredObject | undefined;
    if (resourceVersion === '') stored = await this.read(key);
    else {
      await this.cacher.waitForRevision(parseResourceVersion(resourceVersion));
      stored = this.cacher.get(key);
      if (stored !== undefined) await this.#deps.codec.prepare([stored]);
    }
    if (stored === undefined) throw notFoundError(this.definition, name);
    return stored;
  }

  list(query: ListQuery): Promise<ListPage> {
    return listObjects(this.#deps, query);
  }

  /** Throws 400, 410 Expired, 504 ResourceVersionTooLarge before the first event. */
  async watch(query: WatchQuery): Promise<CacheWatch> {
    const { prefix, onlyKey, matches } = selectorOf(this.definition, query);
    const { resourceVersion, sendInitialEvents, allowBookmarks, timeoutMs, signal } = query;
    const asked = parseResourceVersion(resourceVersion);
    if (sendInitialEvents && resourceVersion === '') await this.cacher.waitUntilCurrent();
    else await this.cacher.waitForRevision(asked);
    const from = sendInitialEvents || asked === 0 ? 'state' : asked;
    const { codec } = this.#deps;
    const { converted } = this.definition;
    if (from === 'state' && converted !== undefined)
      await untilPrepared(() => codec.prepare(this.cacher.list(onlyKey ?? prefix)));
    const options: CacheWatchOptions = {
      prefix: onlyKey ?? prefix,
      matches,
      ...(converted === undefined ? {} : { prepare: (items) => codec.prepare(items) }),
      from,
      hasInitialEventsEnd: sendInitialEvents,
      allowBookmarks,
      timeoutMs,
      clock: this.#deps.clock,
      random: this.#deps.random,
      signal: this.#ended === undefined ? signal : AbortSignal.any([signal, this.#ended]),
    };
    return new CacheWatch(this.cacher, options);
  }

  create(object: KubeObject, options: WriteOptions): Promise<StoredObject> {
    return this.#settled(createObject(this.#deps, object, options));
  }

  update(request: UpdateRequest, options: WriteOptions): Promise<UpdateResult> {
    return this.#settled(updateObject(this.#deps, request, options));
  }

  delete(request: DeleteRequest, options: WriteOptions): Promise<DeleteResult> {
    return this.#settled(deleteObject(this.#deps, request, options));
  }

  async #settled<T>(write: Promise<T>): Promise<T> {
    const result = await write;
    if (this.definition.awaitsCache === true) await this.cacher.waitUntilCurrent();
    return result;
  }

  /** The objects of a page of the collection, as they were removed or marked. */
  async deleteCollection(
    query: ListQuery,
    deleteOptions: DeleteOptions,
    options: WriteOptions,
  ): Promise<ListPage> {
    const page = await this.list(query);
    return { ...page, items: await deleteObjects(this.#deps, page.items, deleteOptions, options) };
  }
}

/** Others may come while some are prepared. */
async function untilPrepared(prepare: () => Promise<void> | undefined): Promise<void> {
  for (let pending = prepare(); pending !== undefined; pending = prepare()) await pending;
}
