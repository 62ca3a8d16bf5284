// PATCH: JSON patch, merge patch, strategic merge patch and server-side apply (apply.ts) of an object
// or its status. The patch is applied to whatever is stored at each attempt, so without a
// resourceVersion it never conflicts with other writes.
// Source: kubernetes apiserver pkg/endpoints/handlers/patch.go.
import type { KubeObject } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import { goValue } from '#kube/machinery/apply/mistakes.ts';
import { decodeObject, strictMessage } from '#kube/machinery/decode.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import { parseJson } from '#kube/machinery/json.ts';
import { applyJsonPatch, mergePatch, unknownOperationFields } from '#kube/machinery/patch.ts';
import {
  badRequest,
  hasReason,
  invalid,
  StatusError,
  unsupportedMediaType,
} from '#kube/machinery/status.ts';
import { strategicMergePatch } from '#kube/machinery/strategic-patch.ts';
import { supportsVerb } from '../../registry/resource-table.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';
import type { ApiResponse } from '../http.ts';
import { contentTypeOf } from '../representation/negotiation.ts';
import { applyPatchType, applyTo, readConfiguration, type Configuration } from './apply.ts';
import { checkName, placeInNamespace } from './body.ts';
import { parsePatchParameters, type FieldValidation } from './options.ts';
import { outputForm, respondStored } from './respond.ts';
import type { BodyKind, RequestScope } from './scope.ts';
import { admit, createOptions, objectKind, rulesOf, updateOptions } from './write.ts';

const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
] as const;

export type PatchType = (typeof patchTypes)[number];

export interface PatchBody {
  readonly type: PatchType;
  readonly value: unknown;
  readonly duplicates: readonly string[];
}

export async function handlePatch(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource, definition } = scope;
  // Nothing comes while its definition goes.
  const mayCome = supportsVerb(definition, 'create');
  const isApply = isApplyRequest(scope);
  const parameters = parsePatchParameters(scope.request.query, isApply);
  const { dryRun, validation } = parameters;
  const patched = isApply
    ? applied(scope, await readConfiguration(scope, objectKind(scope), parameters))
    : changed(scope, await readPatch(scope), validation);
  const { stored, isCreated } = await resource.update(
    {
      namespace: info.namespace,
      name: info.name,
      rules: rulesOf(scope),
      mayCreate: isApply && info.subresource === '' && mayCome ? 'always' : 'never',
      validateCreate: createOptions(scope, dryRun).validate,
      async change(old) {
        const next = await patched(old);
        placeInNamespace(scope, next);
        checkName(scope, next);
        await admit(scope, next, old?.object, dryRun);
        return next;
      },
    },
    updateOptions(scope, dryRun),
  );
  return respondStored(scope, stored, isCreated ? 201 : 200);
}

/** From what is stored to what shall be, with its owners; runs again on each retry. */
type Patched = (old: StoredObject | undefined) => Promise<KubeObject>;

function applied(scope: RequestScope, configuration: Configuration): Patched {
  return async (old) => {
    const next = await applyTo(scope, configuration, old?.copy());
    scope.resource.applyDefaults(next);
    return next;
  };
}

function changed(scope: RequestScope, patch: PatchBody, validation: FieldValidation): Patched {
  return async (old) => {
    const base = old?.copy() ?? {};
    const next = applyPatch(scope, { patch, base, kind: objectKind(scope), validation });
    scope.resource.applyDefaults(next);
    await scope.fields.track(scope, old?.object, next);
    return next;
  };
}

/** Throws 415 for a patch type that is not served. */
export function isApplyRequest({ request, definition }: RequestScope): boolean {
  const given = contentTypeOf(request);
  if (given === applyPatchType) return true;
  // There are no merge keys for a strategic merge of custom resources.
  const supported = patchTypes.filter(
    (one) => definition.isCustom !== true || one !== 'application/strategic-merge-patch+json',
  );
  if (supported.some((one) => one === given)) return false;
  throw unsupportedMediaType(given, [...supported, applyPatchType]);
}

/** Throws 400 for malformed JSON. */
export async function readPatch({ request }: RequestScope): Promise<PatchBody> {
  const given = contentTypeOf(request);
  const type = patchTypes.find((one) => one === given);
  assert(type, 'the type of the patch has been checked');
  const text = new TextDecoder().decode(await request.readBody());
  const { value, duplicates } = parseJson(text, { findDuplicates: true });
  const isList = type === 'application/json-patch+json';
  if (!isList && !isObject(value))
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} ` +
        'into Go value of type map[string]interface {}',
    );
  return { type, value, duplicates };
}

export interface PatchTask {
  readonly patch: PatchBody;
  readonly base: object;
  readonly kind: BodyKind;
  readonly validation: FieldValidation;
}

/** The patched object, decoded. Throws 400 and 422. */
export function applyPatch(scope: RequestScope, task: PatchTask): KubeObject {
  const { patch, kind, validation } = task;
  const patched = patchedValue(scope, task);
  if (!isObject(patched)) throw badRequest('invalid JSON document');
  patched['apiVersion'] ??= apiVersionOf(kind);
  patched['kind'] ??= kind.kind;
  if (patched['kind'] !== kind.kind || patched['apiVersion'] !== apiVersionOf(kind))
    throw badRequest(
      `the API version in the data (${String(patched['apiVersion'])}, Kind=` +
        `${String(patched['kind'])}) does not match the expected API version ` +
        `(${apiVersionOf(kind)}, Kind=${kind.kind})`,
    );
  const { object, unknownFields } = decodePatched(scope, task, patched);
  const complaints = [...complaintsOf(patch), ...unknownFields];
  if (validation === 'Warn') for (const text of complaints) scope.warnings.add(text);
  if (validation === 'Strict' && complaints.length > 0)
    throw invalidPatch(shownValue(patch, patched), strictMessage(complaints));
  object['metadata'] ??= {};
  return object as unknown as KubeObject;
}

function complaintsOf({ type, value, duplicates }: PatchBody): readonly string[] {
  if (type !== 'application/json-patch+json') return duplicates;
  return [...duplicates, ...unknownOperationFields(value)].map((text) => `json patch ${text}`);
}

/**
 * A strategic merge is converted without going through JSON: Kubernetes shows the patch, in Go's
 * words for a map; after the other two it shows the whole result.
 */
function shownValue({ type, value }: PatchBody, patched: object): string {
  const isStrategic = type === 'application/strategic-merge-patch+json';
  return isStrategic ? goValue(value) : JSON.stringify(patched);
}

function invalidPatch(shown: string, why: string): StatusError {
  return invalid({ group: '', kind: '' }, '', [invalidField(field('patch'), shown, why)]);
}

/** The Status of one that fails does not say why, as in Kubernetes; a warning does. */
function patchedByOperations({ warnings }: RequestScope, base: object, patch: unknown): unknown {
  try {
    return applyJsonPatch(base, patch);
  } catch (error) {
    if (error instanceof StatusError && error.cause instanceof Error)
      warnings.add(error.cause.message);
    throw error;
  }
}

function patchedValue(scope: RequestScope, { patch, base, kind }: PatchTask): unknown {
  switch (patch.type) {
    case 'application/json-patch+json':
      return patchedByOperations(scope, base, patch.value);
    case 'application/merge-patch+json':
      return mergePatch(base, patch.value);
    case 'application/strategic-merge-patch+json':
      return strategicMergePatch(scope.deps.schemas, kind.schema, {
        original: base,
        patch: patch.value,
      });
  }
}

/** A patch that makes a field's type wrong is an invalid patch, not a bad request. */
function decodePatched(scope: RequestScope, { kind, patch }: PatchTask, patched: object) {
  try {
    return decodeObject(scope.deps.schemas, kind.schema, patched);
  } catch (error) {
    if (!(error instanceof StatusError) || !hasReason(error, 'BadRequest')) throw error;
    const prefix = `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: `;
    const why = error.message.replace(prefix, '');
    const kindOfField = /of type (int32|int64|bool|string)$/.exec(why)?.[1];
    const isStrategic = patch.type === 'application/strategic-merge-patch+json';
    throw isStrategic && kindOfField !== undefined
      ? invalidPatch(goValue(patch.value), `unrecognized type: ${kindOfField}`)
      : invalidPatch(JSON.stringify(patched), why);
  }
}
