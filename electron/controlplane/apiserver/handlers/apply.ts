// Server-side apply: the configuration a PATCH of type apply-patch+yaml brings, and the object that
// it and what is stored make together. JSON is YAML, too: it is read as such, faster.
// Source: kubernetes apiserver pkg/endpoints/handlers/patch.go (applyPatcher).
import type { KubeObject } from '#kube/api/object.ts';
import type { Applied } from '#kube/machinery/apply/field-manager.ts';
import { decodeObject } from '#kube/machinery/decode.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import { parseJson, type ParsedJson } from '#kube/machinery/json.ts';
import { badRequest, conflict, StatusError } from '#kube/machinery/status.ts';
import { groupResource } from '../../registry/write.ts';
import { setManagedFields } from './fields.ts';
import type { FieldValidation } from './options.ts';
import type { BodyKind, RequestScope } from './scope.ts';

export const applyPatchType = 'application/apply-patch+yaml';

export interface Configuration {
  readonly value: Readonly<Record<string, unknown>>;
  readonly isForced: boolean;
}

/** Throws 400, 413. Fields given twice are judged here; fields that do not exist are always refused. */
export async function readConfiguration(
  scope: RequestScope,
  kind: BodyKind,
  { validation, isForced }: { readonly validation: FieldValidation; readonly isForced: boolean },
): Promise<Configuration> {
  const text = new TextDecoder().decode(await scope.request.readBody());
  const { value, duplicates } = await parse(scope, text);
  if (!isObject(value))
    throw badRequest(
      `error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ${
        Array.isArray(value) ? 'array' : typeof value
      } into Go value of type map[string]interface {}`,
    );
  checkType(scope, kind, value);
  judge(scope, duplicates, validation);
  return { value, isForced };
}

async function parse({ deps, request }: RequestScope, text: string): Promise<ParsedJson> {
  try {
    if (text.trimStart().startsWith('{')) {
      const parsed = parseJson(text, { findDuplicates: true });
      if (parsed.duplicates.length === 0) return parsed;
    }
    return await deps.yaml.read(text, request.signal);
  } catch (error) {
    if (error instanceof StatusError && error.code !== 400) throw error;
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw badRequest(`error decoding YAML: error converting YAML to JSON: yaml: ${why}`);
  }
}

function judge(
  { warnings }: RequestScope,
  duplicates: readonly string[],
  validation: FieldValidation,
): void {
  if (duplicates.length === 0 || validation === 'Ignore') return;
  const why = `error converting YAML to JSON: ${duplicates.join(', ')}`;
  if (validation === 'Strict') throw badRequest(`error strict decoding YAML: ${why}`);
  warnings.add(why);
}

/** A configuration has to say what it is of. */
function checkType(
  { deps, info }: RequestScope,
  expected: BodyKind,
  { apiVersion, kind, metadata }: Readonly<Record<string, unknown>>,
): void {
  const wanted = apiVersionOf(expected);
  if (apiVersion !== wanted)
    throw badRequest(
      `Incorrect version specified in apply patch. Specified patch version: ${
        typeof apiVersion === 'string' ? apiVersion : ''
      }, expected: ${wanted}`,
    );
  if (kind === expected.kind) return;
  const { group, version } = expected;
  const given = typeof kind === 'string' ? kind : '';
  const isKnown = deps.registry.table.lookupKind({ group, version, kind: given }) !== undefined;
  if (isKnown)
    throw badRequest(
      `failed to merge config: expected objects of the same type, but got ${expected.kind} and ${given}`,
    );
  const { name } = isObject(metadata) ? metadata : {};
  throw badRequest(
    `failed to create typed patch object (${info.namespace}/${typeof name === 'string' ? name : ''}; ${wanted}, ` +
      `Kind=${given}): no corresponding type for ${wanted}, Kind=${given}`,
  );
}

/** What the configuration makes of `live`, decoded, with its managedFields. Throws 400, 409, 422. */
export async function applyTo(
  scope: RequestScope,
  { value, isForced }: Configuration,
  live: KubeObject | undefined,
): Promise<KubeObject> {
  const { definition, info } = scope;
  const given = { live, config: value, isForced };
  const object = decodeApplied(scope, definition.schema, await scope.fields.apply(scope, given));
  const { uid = '' } = object.metadata;
  if (live === undefined && uid !== '')
    throw conflict(
      groupResource(definition),
      info.name,
      `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
    );
  return object;
}

export function decodeApplied(
  { deps }: RequestScope,
  schema: string,
  { object, managedFields }: Applied,
): KubeObject {
  const decoded = decodeObject(deps.schemas, schema, object).object as unknown as KubeObject;
  decoded.metadata ??= {} as KubeObject['metadata'];
  setManagedFields(decoded, managedFields);
  return decoded;
}
