// Create: system metadata, names made of generateName, the strategy's rules, validating admission,
// then the store, in this order.
// Source: kubernetes apiserver pkg/registry/rest/create.go, registry/generic/registry/store.go.
import type { KubeObject } from '#kube/api/object.ts';
import { safeSuffix, uuid } from '#kube/base/random.ts';
import { maxGeneratedNameBase, validateObjectMeta } from '#kube/machinery/object-meta.ts';
import {
  alreadyExists,
  alreadyExistsDeleting,
  badRequest,
  generateNameConflict,
  hasReason,
} from '#kube/machinery/status.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import { field } from '#kube/machinery/field.ts';
import type { ResourceDefinition } from './resource.ts';
import { storageKey } from './resource-table.ts';
import type { StoredObject } from './storage-codec.ts';
import {
  allocate,
  allocating,
  groupResource,
  putObject,
  readStored,
  refuseInvalid,
  timestampAfter,
  type WriteDeps,
  type WriteOptions,
} from './write.ts';

const generateAttempts = 8;

/**
 * Creates `object` (may be changed in place). Its namespace is already the request's.
 * Throws 409 AlreadyExists, 422 Invalid and what the store's errors become.
 */
export async function createObject(
  deps: WriteDeps,
  object: KubeObject,
  options: WriteOptions,
): Promise<StoredObject> {
  const { name, generateName, resourceVersion } = object.metadata;
  if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== '0')
    // Differs: Kubernetes says so with 500, which tells clients that it is no fault of theirs.
    throw badRequest('resourceVersion should not be set on objects to be created');
  if (isGiven(name) || !isGiven(generateName))
    return allocating(deps, () => createOnce(deps, ownCopy(deps, object), options));
  for (let attempt = 1; ; attempt++) {
    const candidate = deepCopy(object);
    const generated = generateName.slice(0, maxGeneratedNameBase) + safeSuffix(deps.random);
    candidate.metadata.name = generated;
    try {
      return await allocating(deps, () => createOnce(deps, ownCopy(deps, candidate), options));
    } catch (error) {
      if (!hasReason(error, 'AlreadyExists')) throw error;
      if (attempt === generateAttempts)
        throw generateNameConflict(groupResource(deps.definition), generated);
    }
  }
}

/** What is allocated in one attempt must not be there in the next. */
function ownCopy({ definition }: WriteDeps, object: KubeObject): KubeObject {
  return definition.strategy.allocate === undefined ? object : deepCopy(object);
}

async function createOnce(
  deps: WriteDeps,
  object: KubeObject,
  options: WriteOptions,
): Promise<StoredObject> {
  const { definition, codec } = deps;
  const { strategy } = definition;
  fillSystemMetadata(deps, object);
  await strategy.load?.(object);
  if (hasStatus(definition) && strategy.keepsStatusOnCreate !== true)
    delete (object as { status?: unknown }).status;
  strategy.prepareForCreate?.(object);
  deps.applyDefaults(object);
  refuseInvalid(definition, object, [
    ...validateMeta(definition, object),
    ...strategy.validate(object),
    ...(strategy.validateCreate?.(object) ?? []),
  ]);
  strategy.complete?.(object, deps.kindTypes);
  for (const text of strategy.warnings?.(object) ?? []) options.warn?.(text);
  const guard = await allocate(deps, object, undefined);
  await options.validate?.(object, undefined);
  const { name, namespace = '' } = object.metadata;
  const key = storageKey(definition, namespace, name);
  if (options.dryRun === true) {
    const existing = await readStored(deps, key);
    if (existing !== undefined) throw existsError(definition, name, existing);
    return codec.transient(key, object, 0);
  }
  const stored = await putObject(deps, key, object, 0, { guard });
  if (stored !== undefined) return stored;
  throw existsError(definition, name, await readStored(deps, key));
}

function fillSystemMetadata(deps: WriteDeps, object: KubeObject): void {
  const { metadata } = object;
  object.apiVersion = deps.codec.apiVersion;
  object.kind = deps.codec.kind;
  // Rules look at names; that it is missing is told among the other errors.
  metadata.name ??= '';
  metadata.creationTimestamp = timestampAfter(deps, 0);
  metadata.uid = uuid(deps.random);
  delete metadata.resourceVersion;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.selfLink;
  delete metadata.generation;
  if (deps.definition.strategy.generationFields !== 'none') metadata.generation = 1;
}

export function validateMeta(definition: ResourceDefinition, object: KubeObject) {
  return validateObjectMeta(object.metadata, {
    namespaced: definition.namespaced,
    validateName: definition.strategy.validateName ?? dns1123SubdomainName,
    path: field('metadata'),
  });
}

export function hasStatus(definition: ResourceDefinition): boolean {
  return Object.values(definition.subresources ?? {}).some(({ type }) => type === 'status');
}

function existsError(
  definition: ResourceDefinition,
  name: string,
  existing: StoredObject | undefined,
) {
  const isDeleting = existing?.object.metadata.deletionTimestamp !== undefined;
  const make = isDeleting ? alreadyExistsDeleting : alreadyExists;
  return make(groupResource(definition), name);
}

function isGiven(text: string | undefined): text is string {
  return text !== undefined && text !== '';
}
