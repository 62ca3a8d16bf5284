// PATCH: JSON patch, merge patch and strategic merge patch of an object or its status. The patch is
// applied to whatever is stored at each attempt, so without a resourceVersion it never conflicts.
// Source: kubernetes apiserver pkg/endpoints/handlers/patch.go.
import type { KubeObject } from '#kube/api/object.ts';
import { decodeObject, strictMessage } from '#kube/machinery/decode.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import { parseJson } from '#kube/machinery/json.ts';
import { applyJsonPatch, mergePatch } from '#kube/machinery/patch.ts';
import {
  badRequest,
  hasReason,
  invalid,
  StatusError,
  unsupportedMediaType,
} from '#kube/machinery/status.ts';
import { strategicMergePatch } from '#kube/machinery/strategic-patch.ts';
import type { ApiResponse } from '../http.ts';
import { contentTypeOf } from '../representation/negotiation.ts';
import { checkName } from './body.ts';
import { parseWriteParameters, type FieldValidation } from './options.ts';
import { outputForm, respondStored } from './respond.ts';
import type { BodyKind, RequestScope } from './scope.ts';
import { admitUpdate, objectKind, rulesOf, updateOptions } from './write.ts';

const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
] as const;

export type PatchType = (typeof patchTypes)[number];

export interface PatchBody {
  readonly type: PatchType;
  readonly value: unknown;
  readonly text: string;
  readonly duplicates: readonly string[];
}

export async function handlePatch(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource, request } = scope;
  const { dryRun, validation } = parseWriteParameters(request.query, 'PatchOptions');
  const patch = await readPatch(scope);
  const { stored } = await resource.update(
    {
      namespace: info.namespace,
      name: info.name,
      rules: rulesOf(scope),
      async change(old) {
        const base = old?.copy() ?? {};
        const next = applyPatch(scope, { patch, base, kind: objectKind(scope), validation });
        checkName(scope, next);
        if (old !== undefined) await admitUpdate(scope, next, old.object, dryRun);
        return next;
      },
    },
    updateOptions(scope, dryRun),
  );
  return respondStored(scope, stored);
}

/** Throws 400 for malformed JSON, 415 for a patch type that is not served. */
export async function readPatch({ request }: RequestScope): Promise<PatchBody> {
  const given = contentTypeOf(request);
  const type = patchTypes.find((one) => one === given);
  if (type === undefined) throw unsupportedMediaType(given, patchTypes);
  const text = new TextDecoder().decode(await request.readBody());
  const { value, duplicates } = parseJson(text, { findDuplicates: true });
  const isList = type === 'application/json-patch+json';
  if (!isList && !isObject(value))
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} ` +
        'into Go value of type map[string]interface {}',
    );
  return { type, value, text, duplicates };
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
  if (patched['kind'] !== kind.kind || patched['apiVersion'] !== apiVersionOf(kind))
    throw badRequest(
      `the API version in the data (${String(patched['apiVersion'])}, Kind=` +
        `${String(patched['kind'])}) does not match the expected API version ` +
        `(${apiVersionOf(kind)}, Kind=${kind.kind})`,
    );
  const { object, unknownFields } = decodePatched(scope, task, patched);
  const complaints = [...patch.duplicates, ...unknownFields];
  if (validation === 'Warn') for (const text of complaints) scope.warnings.add(text);
  if (validation === 'Strict' && complaints.length > 0)
    throw invalid({ group: kind.group, kind: kind.kind }, scope.info.name, [
      invalidField(field('patch'), patch.text, strictMessage(complaints)),
    ]);
  object['metadata'] ??= {};
  return object as unknown as KubeObject;
}

function patchedValue(scope: RequestScope, { patch, base, kind }: PatchTask): unknown {
  switch (patch.type) {
    case 'application/json-patch+json':
      return applyJsonPatch(base, patch.value);
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
    // A strategic merge is converted without going through JSON: Kubernetes shows the patch, in Go's
    // words for a map; after the other two it shows the whole result.
    const kindOfField = /of type (int32|int64|bool|string)$/.exec(why)?.[1];
    const isStrategic = patch.type === 'application/strategic-merge-patch+json';
    const violation =
      isStrategic && kindOfField !== undefined
        ? invalidField(field('patch'), goText(patch.value), `unrecognized type: ${kindOfField}`)
        : invalidField(field('patch'), JSON.stringify(patched), why);
    throw invalid({ group: '', kind: '' }, '', [violation]);
  }
}

/** As Go's `%+v` prints a decoded JSON value: `map[spec:map[replicas:x]]`. */
function goText(value: unknown): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  if (typeof value === 'string') return value;
  if (!isObject(value)) return JSON.stringify(value);
  const entries = Object.keys(value).toSorted();
  return `map[${entries.map((key) => `${key}:${goText(value[key])}`).join(' ')}]`;
}
