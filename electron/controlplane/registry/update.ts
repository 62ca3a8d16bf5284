// Update: read, change, check, write if nobody was faster, else all of it again. PUT, every kind
// of patch, status and the other subresources that change an object come through here; what they
// may change is said by UpdateRules.
// Source: kubernetes apiserver pkg/registry/rest/update.go, registry/generic/registry/store.go.
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { isSameButTimes } from '#kube/machinery/apply/manager-entries.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { field, invalid as invalidField, type FieldError } from '#kube/machinery/field.ts';
import { validateObjectMetaUpdate } from '#kube/machinery/object-meta.ts';
import { conflict, hasReason, invalid } from '#kube/machinery/status.ts';
import { createObject, hasStatus, validateMeta } from './create.ts';
import type { ResourceDefinition, StatusSubresource } from './resource.ts';
import { storageKey } from './resource-table.ts';
import { checkObjectVersion } from './resource-version.ts';
import type { StoredObject } from './storage-codec.ts';
import {
  allocate,
  allocating,
  deleteRow,
  groupResource,
  maxAttempts,
  notFoundError,
  putObject,
  readStored,
  refuseInvalid,
  staleError,
  type WriteDeps,
  type WriteOptions,
} from './write.ts';

export interface UpdateRules {
  /** Mutates `next`: takes back what this way of writing may not change. */
  readonly prepare: (next: KubeObject, old: KubeObject, now: string) => void;
  readonly validate: (next: KubeObject, old: KubeObject) => FieldError[];
  readonly isSpecChange: (next: KubeObject, old: KubeObject) => boolean;
  readonly warnings?: (next: KubeObject) => readonly string[];
}

export interface UpdateRequest {
  readonly namespace: string;
  readonly name: string;
  /**
   * Makes the new object. Runs again on each retry. `old` is undefined when there is no such
   * object and this request may create it.
   */
  readonly change: (old: StoredObject | undefined) => Promise<KubeObject>;
  readonly rules: UpdateRules;
  /** Whether an absent object is created: by PUT where the kind allows it, by apply always. */
  readonly mayCreate?: 'ifKindAllows' | 'always' | 'never';
  /** Admission for that case. */
  readonly validateCreate?: WriteOptions['validate'];
}

export interface UpdateResult {
  readonly stored: StoredObject;
  readonly isCreated: boolean;
}

/** Throws 404, 409 Conflict, 422 and whatever `change` throws. */
export async function updateObject(
  deps: WriteDeps,
  request: UpdateRequest,
  options: WriteOptions,
): Promise<UpdateResult> {
  const { definition } = deps;
  const key = storageKey(definition, request.namespace, request.name);
  for (let attempt = 1; attempt <= maxAttempts; attempt++) {
    const old = await readStored(deps, key);
    if (old === undefined) {
      const result = await createInstead(deps, request, options);
      if (result !== undefined) return result;
      continue;
    }
    const stored = await allocating(deps, () => updateOnce(deps, request, old, options));
    if (stored !== undefined) return { stored, isCreated: false };
  }
  throw staleError(definition, request.name);
}

/** Undefined: somebody created it meanwhile. */
async function createInstead(
  deps: WriteDeps,
  request: UpdateRequest,
  options: WriteOptions,
): Promise<UpdateResult | undefined> {
  const { definition } = deps;
  const { mayCreate = 'never' } = request;
  const isAllowed =
    mayCreate === 'always' ||
    (mayCreate === 'ifKindAllows' && definition.strategy.allowCreateOnUpdate === true);
  if (!isAllowed) throw notFoundError(definition, request.name);
  const object = await request.change(undefined);
  const key = storageKey(definition, request.namespace, request.name);
  checkUid(definition, key, object, undefined);
  delete object.metadata.resourceVersion;
  const { validateCreate } = request;
  const validate = validateCreate === undefined ? {} : { validate: validateCreate };
  try {
    const stored = await createObject(deps, object, { ...options, ...validate });
    return { stored, isCreated: true };
  } catch (error) {
    if (hasReason(error, 'AlreadyExists')) return undefined;
    throw error;
  }
}

/** Undefined: somebody was faster. */
async function updateOnce(
  deps: WriteDeps,
  { rules, change }: UpdateRequest,
  old: StoredObject,
  options: WriteOptions,
): Promise<StoredObject | undefined> {
  const { definition, codec } = deps;
  const next = await change(old);
  checkUid(definition, old.key, next, old.object);
  checkResourceVersion(definition, next, old);
  await definition.strategy.load?.(next);
  fillSystemMetadata(deps, next, old.object);
  const { managedFields } = next.metadata;
  rules.prepare(next, old.object, rfc3339(deps.clock.now()));
  if (managedFields !== undefined) next.metadata.managedFields = managedFields;
  else delete next.metadata.managedFields;
  deps.applyDefaults(next);
  setGeneration(rules, next, old.object);
  refuseInvalid(definition, next, [
    ...validateObjectMetaUpdate(next.metadata, old.object.metadata, field('metadata')),
    ...rules.validate(next, old.object),
  ]);
  if (rules.isSpecChange(next, old.object)) definition.strategy.complete?.(next, deps.kindTypes);
  for (const text of rules.warnings?.(next) ?? []) options.warn?.(text);
  const guard = await allocate(deps, next, old.object);
  await options.validate?.(next, old.object);
  if (isUnchanged(next, old.object) && !old.isOutdated) return old;
  if (options.dryRun === true) return codec.transient(old.key, next, old.revision);
  // Whoever ends an object reports on it first, and takes finalizers away: that leads to its end.
  const leadsToFreeing = next.metadata.deletionTimestamp !== undefined;
  if (!isReleased(definition, next))
    return putObject(deps, old.key, next, old.revision, { guard, leadsToFreeing });
  const { ok, revision } = await deleteRow(deps, old);
  return ok ? codec.transient(old.key, next, revision) : undefined;
}

/** A uid in the request must be the stored object's: it may be another one of the same name. */
function checkUid(
  definition: ResourceDefinition,
  key: string,
  next: KubeObject,
  old: KubeObject | undefined,
): void {
  const { uid, name } = next.metadata;
  if (uid === undefined || uid === '' || uid === old?.metadata.uid) return;
  const why =
    `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, ` +
    `AdditionalErrorMsg: Precondition failed: UID in precondition: ${uid}, ` +
    `UID in object meta: ${old?.metadata.uid ?? ''}`;
  throw conflict(groupResource(definition), name, why);
}

function checkResourceVersion(
  definition: ResourceDefinition,
  next: KubeObject,
  old: StoredObject,
): void {
  const { resourceVersion = '', name } = next.metadata;
  if (resourceVersion === '' || resourceVersion === '0') {
    if (definition.strategy.requireResourceVersion !== true) return;
    const path = field('metadata', 'resourceVersion');
    throw invalid(definition, name, [invalidField(path, 0, 'must be specified for an update')]);
  }
  checkObjectVersion(resourceVersion);
  if (resourceVersion !== String(old.revision)) throw staleError(definition, name);
}

function fillSystemMetadata(deps: WriteDeps, next: KubeObject, old: KubeObject): void {
  const { metadata } = next;
  next.apiVersion = deps.codec.apiVersion;
  next.kind = deps.codec.kind;
  metadata.uid = old.metadata.uid;
  metadata.creationTimestamp ??= old.metadata.creationTimestamp;
  metadata.resourceVersion = old.metadata.resourceVersion;
  // Only a delete begins or shortens a deletion.
  metadata.deletionTimestamp = old.metadata.deletionTimestamp;
  metadata.deletionGracePeriodSeconds = old.metadata.deletionGracePeriodSeconds;
  delete metadata.selfLink;
}

/** An owner that wrote the same again at another time is no reason for a new revision. */
function isUnchanged(next: KubeObject, old: KubeObject): boolean {
  const { managedFields: ours, ...nextMetadata } = next.metadata;
  const { managedFields: theirs, ...oldMetadata } = old.metadata;
  return (
    deepEqual({ ...next, metadata: nextMetadata }, { ...old, metadata: oldMetadata }) &&
    isSameButTimes(ours, theirs)
  );
}

function setGeneration(rules: UpdateRules, next: KubeObject, old: KubeObject): void {
  next.metadata.generation = old.metadata.generation;
  if (rules.isSpecChange(next, old)) next.metadata.generation = (old.metadata.generation ?? 0) + 1;
}

/** Nothing holds a deleted object any more: this write removes it. */
function isReleased({ strategy }: ResourceDefinition, next: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = next.metadata;
  if (deletionTimestamp === undefined || deletionGracePeriodSeconds > 0) return false;
  return finalizers.length === 0 && strategy.hasOwnFinalizers?.(next) !== true;
}

/** Rules for the object itself: its status, if a subresource owns it, stays. */
export function objectRules(definition: ResourceDefinition): UpdateRules {
  const { strategy } = definition;
  return {
    prepare(next, old) {
      if (hasStatus(definition)) copyField('status', old, next);
      strategy.prepareForUpdate?.(next, old);
    },
    validate: (next, old) => [
      ...validateMeta(definition, next),
      ...strategy.validate(next, old),
      ...(strategy.validateUpdate?.(next, old) ?? []),
    ],
    isSpecChange: (next, old) => isSpecChange(definition, next, old),
    ...(strategy.warnings === undefined ? {} : { warnings: strategy.warnings }),
  };
}

/** Rules for `/status`: all but status and annotations stays, unless the subresource says else. */
export function statusRules(
  subresource: StatusSubresource,
  definition: ResourceDefinition,
): UpdateRules {
  return {
    prepare: subresource.prepareForUpdate ?? keepAllButStatus,
    validate: (next, old) => subresource.validateUpdate?.(next, old) ?? [],
    isSpecChange: (next, old) =>
      subresource.changesSpec === true && isSpecChange(definition, next, old),
  };
}

/** For changes the server itself makes (binding): no kind's rule stands against them. */
export const serverRules: UpdateRules = {
  prepare() {},
  validate: () => [],
  isSpecChange: () => false,
};

function keepAllButStatus(next: KubeObject, old: KubeObject): void {
  const { annotations } = next.metadata;
  for (const name of Object.keys(next))
    if (name !== 'metadata' && name !== 'status') delete (next as unknown as Fields)[name];
  for (const name of Object.keys(old))
    if (name !== 'metadata' && name !== 'status') copyField(name, old, next);
  next.metadata = { ...old.metadata };
  if (annotations === undefined) delete next.metadata.annotations;
  else next.metadata.annotations = annotations;
}

type Fields = Record<string, unknown>;

function copyField(name: string, from: KubeObject, to: KubeObject): void {
  const value = (from as unknown as Fields)[name];
  if (value === undefined) delete (to as unknown as Fields)[name];
  else (to as unknown as Fields)[name] = value;
}

function isSpecChange(
  { strategy }: ResourceDefinition,
  next: KubeObject,
  old: KubeObject,
): boolean {
  if (strategy.generationFields === 'none') return false;
  if (strategy.generationFields === 'all')
    return !deepEqual({ ...next, metadata: undefined }, { ...old, metadata: undefined });
  const { metadata: _m, status: _s, ...nextRest } = next as KubeObject & Fields;
  const { metadata: _om, status: _os, ...oldRest } = old as KubeObject & Fields;
  if (strategy.generationFields === 'spec') return !deepEqual(nextRest['spec'], oldRest['spec']);
  return !deepEqual(nextRest, oldRest);
}
