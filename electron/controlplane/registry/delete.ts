// Delete, of one object or of all that a selection means: preconditions, validating admission,
// then what deletion-plan.ts decides, retried while others write the same object.
// Source: kubernetes apiserver pkg/registry/generic/registry/store.go (Delete, DeleteCollection).
import type { DeleteOptions } from '#kube/api/meta.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { conflict, hasReason } from '#kube/machinery/status.ts';
import { planDeletion, policyOf } from './deletion-plan.ts';
import type { ResourceDefinition } from './resource.ts';
import { storageKey } from './resource-table.ts';
import type { StoredObject } from './storage-codec.ts';
import {
  deleteRow,
  maxAttempts,
  notFoundError,
  putObject,
  readStored,
  staleError,
  type WriteDeps,
  type WriteOptions,
} from './write.ts';

export interface DeleteRequest {
  readonly namespace: string;
  readonly name: string;
  readonly options: DeleteOptions;
}

export interface DeleteResult {
  /** As it was removed, or as it waits for its end. */
  readonly stored: StoredObject;
  readonly isRemoved: boolean;
}

/** Throws 404 and 409 (a precondition does not hold). */
export async function deleteObject(
  deps: WriteDeps,
  request: DeleteRequest,
  options: WriteOptions,
): Promise<DeleteResult> {
  const { definition } = deps;
  const key = storageKey(definition, request.namespace, request.name);
  const { warning } = definition.strategy.orphansByDefault ?? {};
  if (warning !== undefined && policyOf(request.options) === undefined) options.warn?.(warning);
  for (let attempt = 1; attempt <= maxAttempts; attempt++) {
    const old = await readStored(deps, key);
    if (old === undefined) throw notFoundError(definition, request.name);
    checkPreconditions(definition, request, old);
    await options.validate?.(undefined, old.object);
    const result = await deleteOnce(deps, request.options, old, options);
    if (result !== undefined) return result;
  }
  throw staleError(definition, request.name);
}

/** Undefined: somebody wrote the object meanwhile. */
async function deleteOnce(
  deps: WriteDeps,
  deleteOptions: DeleteOptions,
  old: StoredObject,
  options: WriteOptions,
): Promise<DeleteResult | undefined> {
  const { strategy } = deps.definition;
  const plan = planDeletion(strategy, old.copy(), deleteOptions, deps.clock.now());
  if (plan.kind === 'pending') return { stored: old, isRemoved: false };
  if (plan.kind === 'mark') {
    if (deepEqual(plan.object, old.object)) return { stored: old, isRemoved: false };
    const stored =
      options.dryRun === true
        ? deps.codec.transient(old.key, plan.object, old.revision)
        : await putObject(deps, old.key, plan.object, old.revision, { leadsToFreeing: true });
    return stored === undefined ? undefined : { stored, isRemoved: false };
  }
  if (options.dryRun === true) return { stored: old, isRemoved: true };
  const { ok, revision } = await deleteRow(deps, old);
  if (!ok) return undefined;
  return { stored: deps.codec.transient(old.key, old.copy(), revision), isRemoved: true };
}

function checkPreconditions(
  definition: ResourceDefinition,
  { name, options }: DeleteRequest,
  old: StoredObject,
): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  // Kubernetes names the kind here where it names the resource elsewhere.
  const kind = { group: definition.group, resource: definition.kind };
  const oldUid = old.object.metadata.uid ?? '';
  if (uid !== undefined && uid !== oldUid)
    throw conflict(
      kind,
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${oldUid}). ` +
        'The object might have been deleted and then recreated',
    );
  if (resourceVersion !== undefined && resourceVersion !== String(old.revision))
    throw conflict(
      kind,
      name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ` +
        `ResourceVersion in record (${old.revision}). The object might have been modified`,
    );
}

/** Deletes under way at once for one deletecollection. */
const batchSize = 16;

/** Deletes each object by itself; those that others removed meanwhile are not an error. */
export async function deleteObjects(
  deps: WriteDeps,
  objects: readonly StoredObject[],
  deleteOptions: DeleteOptions,
  options: WriteOptions,
): Promise<StoredObject[]> {
  const deleted: StoredObject[] = [];
  for (let start = 0; start < objects.length; start += batchSize) {
    const batch = objects.slice(start, start + batchSize).map(async ({ object }) => {
      const { name, namespace = '' } = object.metadata;
      try {
        const request = { name, namespace, options: deleteOptions };
        return (await deleteObject(deps, request, options)).stored;
      } catch (error) {
        if (hasReason(error, 'NotFound')) return undefined;
        throw error;
      }
    });
    for (const stored of await Promise.all(batch)) if (stored !== undefined) deleted.push(stored);
  }
  return deleted;
}
