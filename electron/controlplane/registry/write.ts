// What all writes of one resource share: their surroundings, reading the stored row, the lock for
// allocation, and the calls to the store with their errors translated.
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import { conflict, invalid, notFound, staleMessage } from '#kube/machinery/status.ts';
import type { StatusError } from '#kube/machinery/status.ts';
import type { Store, WriteResult } from '../store/store.ts';
import type { Cacher } from './cacher.ts';
import type { ClusterConfig, ResourceDefinition } from './resource.ts';
import { storagePrefix } from './resource-table.ts';
import type { StorageCodec, StoredObject } from './storage-codec.ts';
import { storeCall } from './store-errors.ts';

export interface WriteDeps {
  readonly definition: ResourceDefinition;
  readonly store: Store;
  readonly cacher: Cacher;
  readonly codec: StorageCodec;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: ClusterConfig;
  readonly mutex: Mutex;
  /** Schema defaults, then the strategy's. Idempotent. */
  readonly applyDefaults: (object: KubeObject) => void;
}

export interface WriteOptions {
  /** Everything happens but the write. */
  readonly dryRun?: boolean;
  /** Takes texts for `Warning:` headers. */
  readonly warn?: (text: string) => void;
  /**
   * Validating admission. Runs in the retry closure, so perhaps more than once; must not change
   * its arguments. Create: no `old`; delete: no `object`.
   */
  readonly validate?: (
    object: KubeObject | undefined,
    old: KubeObject | undefined,
  ) => Promise<void>;
}

/** Conflicts in a row after which a write gives up: only a livelock comes this far. */
export const maxAttempts = 32;

/** One holder at a time, in order of arrival. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {});
    return result;
  }
}

/** Runs `work` alone for the resource if its strategy allocates, else at once. */
export function allocating<T>(deps: WriteDeps, work: () => Promise<T>): Promise<T> {
  return deps.definition.strategy.allocate === undefined ? work() : deps.mutex.run(work);
}

/** Lets the strategy fill in what is unique in the cluster. Only inside `allocating`. */
export async function allocate(
  deps: WriteDeps,
  next: KubeObject,
  old: KubeObject | undefined,
): Promise<void> {
  const { definition, cacher, random, config } = deps;
  if (definition.strategy.allocate === undefined) return;
  await cacher.waitUntilCurrent();
  const existing = cacher.list(storagePrefix(definition)).map((stored) => stored.object);
  refuseInvalid(
    definition,
    next,
    definition.strategy.allocate(next, old, { existing, random, config }),
  );
}

/** Throws 422 when there are errors. */
export function refuseInvalid(
  definition: ResourceDefinition,
  object: KubeObject,
  errors: readonly FieldError[],
): void {
  if (errors.length > 0) throw invalid(definition, object.metadata.name ?? '', errors);
}

export function timestampAfter(deps: WriteDeps, seconds: number): string {
  return rfc3339(deps.clock.now() + seconds * 1000);
}

export function groupResource(definition: ResourceDefinition): { group: string; resource: string } {
  return { group: definition.group, resource: definition.plural };
}

export function notFoundError(definition: ResourceDefinition, name: string): StatusError {
  return notFound(groupResource(definition), name);
}

export function staleError(definition: ResourceDefinition, name: string): StatusError {
  return conflict(groupResource(definition), name, staleMessage);
}

export async function readStored(deps: WriteDeps, key: string): Promise<StoredObject | undefined> {
  const { store, definition, codec } = deps;
  const { kv } = await storeCall(definition, 'get', () => store.get(key));
  return kv === undefined ? undefined : codec.stored(kv);
}

/** Undefined when the row is no longer at `expectedRevision`. */
export async function putObject(
  deps: WriteDeps,
  key: string,
  object: KubeObject,
  expectedRevision: number,
): Promise<StoredObject | undefined> {
  const { store, definition, codec } = deps;
  const operation = expectedRevision === 0 ? 'create' : 'update';
  const value = codec.encode(object);
  const result = await storeCall(definition, operation, () =>
    store.put(key, value, expectedRevision),
  );
  return result.ok ? codec.written(key, value, object, result.revision) : undefined;
}

export function deleteRow(deps: WriteDeps, stored: StoredObject): Promise<WriteResult> {
  const { store, definition } = deps;
  return storeCall(definition, 'delete', () => store.delete(stored.key, stored.revision));
}
