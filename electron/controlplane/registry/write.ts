// What all writes of one resource share: their surroundings, reading the stored row, the lock for
// allocation, and the calls to the store with their errors translated.
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import {
  conflict,
  internalError,
  invalid,
  notFound,
  staleMessage,
} from '#kube/machinery/status.ts';
import type { StatusError } from '#kube/machinery/status.ts';
import type { KindTypes } from '../cel/policy-types.ts';
import type { PutOptions, Store, WriteResult } from '../store/store.ts';
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
  readonly builtIn: readonly ResourceDefinition[];
  readonly kindTypes: KindTypes;
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

const encoder = new TextEncoder();

/** One holder at a time, in order of arrival. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {});
    return result;
  }
}

/**
 * A row that every write of an allocating resource also writes: of two API servers that choose at
 * the same time, one finds it changed and chooses again. `revision` 0: it does not exist yet.
 */
export interface AllocationGuard {
  readonly key: string;
  readonly revision: number;
}

/** Another API server allocated meanwhile. Never leaves `allocating`. */
class AllocationOvertakenError extends Error {
  override readonly name = 'AllocationOvertakenError';
}

/**
 * Runs `work` alone in this process for the resource if its strategy allocates, and again when
 * another process was faster; else once. So `work` must not change what it was given.
 */
export async function allocating<T>(deps: WriteDeps, work: () => Promise<T>): Promise<T> {
  if (deps.definition.strategy.allocate === undefined) return await work();
  return await deps.mutex.run(async () => {
    for (let attempt = 1; ; attempt++)
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof AllocationOvertakenError)) throw error;
        if (attempt === maxAttempts)
          throw internalError(new Error('other writes were faster each time'));
      }
  });
}

/**
 * Lets the strategy fill in what is unique in the cluster. Only inside `allocating`. What it
 * returns goes to `putObject`.
 */
export async function allocate(
  deps: WriteDeps,
  next: KubeObject,
  old: KubeObject | undefined,
): Promise<AllocationGuard | undefined> {
  const { definition, cacher, store, random, config, builtIn } = deps;
  if (definition.strategy.allocate === undefined) return undefined;
  await cacher.waitUntilCurrent();
  const key = `/flotilla/allocations/${definition.plural}`;
  const { kv } = await storeCall(definition, 'get', () => store.get(key));
  const revision = kv?.modRevision ?? 0;
  // All that was allocated before the guard was read is seen; nothing after it passes the guard.
  await cacher.waitForRevision(revision);
  const existing = cacher.list(storagePrefix(definition)).map(({ shared }) => shared);
  refuseInvalid(
    definition,
    next,
    definition.strategy.allocate(next, old, {
      existing,
      random,
      config,
      nowMs: deps.clock.now(),
      builtIn,
    }),
  );
  return { key, revision };
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

/** A linearizable read: the store says which revision there is, and the cache has it most times. */
export async function readStored(deps: WriteDeps, key: string): Promise<StoredObject | undefined> {
  const { store, definition, codec, cacher } = deps;
  const revision = await storeCall(definition, 'get', () => store.modRevision(key));
  if (revision === 0) return undefined;
  let stored = cacher.get(key);
  if (stored?.revision !== revision) {
    const { kv } = await storeCall(definition, 'get', () => store.get(key));
    stored = kv && codec.stored(kv);
  }
  if (stored !== undefined) await codec.prepare([stored]);
  return stored;
}

/** Undefined when the row is no longer at `expectedRevision`. `options`: unless there is a guard. */
export async function putObject(
  deps: WriteDeps,
  key: string,
  object: KubeObject,
  expectedRevision: number,
  { guard, ...options }: PutOptions & { readonly guard?: AllocationGuard | undefined } = {},
): Promise<StoredObject | undefined> {
  const { store, definition, codec } = deps;
  const operation = expectedRevision === 0 ? 'create' : 'update';
  const value = codec.encode(object);
  const bytes = await codec.encodeStored(object, value);
  codec.writing(key, value);
  const result = await storeCall(definition, operation, () =>
    guard === undefined
      ? store.put(key, bytes, expectedRevision, options)
      : store.txn([
          { key, value: bytes, expectedRevision },
          { key: guard.key, value: encoder.encode(key), expectedRevision: guard.revision },
        ]),
  );
  if (result.ok) return codec.afterWrite({ key, value, modRevision: result.revision }, bytes);
  if (guard === undefined) return undefined;
  const { kv } = await storeCall(definition, 'get', () => store.get(guard.key));
  if ((kv?.modRevision ?? 0) !== guard.revision) throw new AllocationOvertakenError();
  return undefined;
}

export function deleteRow(deps: WriteDeps, stored: StoredObject): Promise<WriteResult> {
  const { store, definition } = deps;
  return storeCall(definition, 'delete', () => store.delete(stored.key, stored.revision));
}
