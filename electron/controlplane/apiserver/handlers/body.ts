// From a request's body to a typed object: media type, syntax, kind, fields, strictness.
// Source: kubernetes apiserver pkg/endpoints/handlers/{create,update,rest}.go.
import type { GroupVersionKind, KubeObject } from '#kube/api/object.ts';
import { decodeObject, strictDecodeError, unrecognizedError } from '#kube/machinery/decode.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { apiVersionOf, parseApiVersion } from '#kube/machinery/gvk.ts';
import { parseJson, type ParsedJson } from '#kube/machinery/json.ts';
import { badRequest, StatusError, unsupportedMediaType } from '#kube/machinery/status.ts';
import { bodyEncoding } from '../representation/negotiation.ts';
import type { FieldValidation } from './options.ts';
import type { BodyKind, RequestScope } from './scope.ts';

const decoder = new TextDecoder();

/** The body as an object of `kind`. Throws 400, 413, 415. */
export async function readObject(
  scope: RequestScope,
  kind: BodyKind,
  validation: FieldValidation,
): Promise<KubeObject> {
  const encoding = bodyEncoding(scope.request);
  if (
    encoding === 'protobuf' &&
    scope.definition.isCustom === true &&
    kind.kind === scope.definition.kind
  )
    throw unsupportedMediaType('protobuf', ['application/json', 'application/yaml']);
  const bytes = await scope.request.readBody();
  const text = encoding === 'protobuf' ? '' : decoder.decode(bytes);
  const { value, duplicates } =
    encoding === 'protobuf'
      ? { value: scope.deps.protobuf.decode(bytes), duplicates: [] }
      : await parseBody(scope, text, { encoding, kind, validation });
  if (!isObject(value)) throw noObject(value, kind, text);
  checkKind(scope, value, kind);
  noteForAudit(scope, value);
  const { object, unknownFields } = decodeObject(scope.deps.schemas, kind.schema, value);
  judge(scope, kind, [...duplicates, ...unknownFields], validation);
  object['apiVersion'] = apiVersionOf(kind);
  object['kind'] = kind.kind;
  object['metadata'] ??= {};
  return object as unknown as KubeObject;
}

/** The log tells what was asked for, before anything is added to it. */
function noteForAudit({ request }: RequestScope, value: Record<string, unknown>): void {
  if (request.audit === undefined) return;
  const { name, namespace, uid } = isObject(value['metadata']) ? value['metadata'] : {};
  request.audit.target = {
    ...(typeof name === 'string' ? { name } : {}),
    ...(typeof namespace === 'string' ? { namespace } : {}),
    ...(typeof uid === 'string' ? { uid } : {}),
  };
  if (request.audit.wantsBody) request.audit.body = JSON.stringify(value);
}

/** Unknown and duplicate fields are ignored, warned about, or refused. */
function judge(
  scope: RequestScope,
  kind: BodyKind,
  complaints: readonly string[],
  validation: FieldValidation,
): void {
  if (complaints.length === 0 || validation === 'Ignore') return;
  if (validation === 'Strict') throw strictDecodeError(kind.schema, complaints);
  for (const complaint of complaints) scope.warnings.add(complaint);
}

interface TextForm {
  readonly encoding: 'json' | 'yaml';
  readonly kind: BodyKind;
  readonly validation: FieldValidation;
}

async function parseBody(
  scope: RequestScope,
  text: string,
  { encoding, kind, validation }: TextForm,
): Promise<ParsedJson> {
  if (encoding === 'yaml') return parseYamlBody(scope, text, kind);
  try {
    return parseJson(text, { findDuplicates: validation !== 'Ignore' });
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw unrecognizedError(kind.kind, error.message, text);
  }
}

async function parseYamlBody(
  { deps, request }: RequestScope,
  text: string,
  kind: BodyKind,
): Promise<ParsedJson> {
  try {
    return await deps.yaml.read(text, request.signal);
  } catch (error) {
    if (error instanceof StatusError) throw error;
    const [why = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw unrecognizedError(kind.kind, `yaml: ${why}`, text);
  }
}

function noObject(value: unknown, kind: BodyKind, text: string): StatusError {
  const type = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
  const detail =
    `json: cannot unmarshal ${type} into Go value of type ` +
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; ' +
    'Kind string "json:\\"kind,omitempty\\"" }';
  return unrecognizedError(kind.kind, detail, text);
}

/** A body without apiVersion and kind is taken for what the URL says. */
function checkKind(scope: RequestScope, value: Record<string, unknown>, expected: BodyKind): void {
  const { apiVersion = '', kind = '' } = value;
  const version = parseApiVersion(textOf(apiVersion));
  const given = {
    ...(version.version === '' ? { group: expected.group, version: expected.version } : version),
    kind: textOf(kind) || expected.kind,
  };
  if (expected.isAnyGroup === true && given.kind === expected.kind) return;
  if (given.kind !== expected.kind || given.group !== expected.group)
    throw kindMismatch(scope, given, expected);
  if (expected.formerVersions?.includes(given.version) === true) return;
  if (given.version !== expected.version && !isKnown(scope, given))
    throw kindMismatch(scope, given, expected);
  if (given.version !== expected.version)
    throw badRequest(
      `the API version in the data (${apiVersionOf(given)}) does not match the expected ` +
        `API version (${apiVersionOf(expected)})`,
    );
}

function isKnown({ deps }: RequestScope, given: GroupVersionKind): boolean {
  return deps.registry.table.lookupKind(given) !== undefined;
}

function kindMismatch(scope: RequestScope, given: GroupVersionKind, expected: BodyKind) {
  const why = isKnown(scope, given)
    ? `converting (${given.version}.${given.kind}) to ` +
      `(${expected.group.split('.')[0] || 'core'}.${expected.kind}): unknown conversion`
    : `no kind "${given.kind}" is registered for version "${apiVersionOf(given)}" ` +
      'in scheme "pkg/api/legacyscheme/scheme.go:30"';
  return badRequest(
    `${given.kind} in version "${given.version}" cannot be handled as a ${expected.kind}: ${why}`,
  );
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The object's namespace becomes the request's; a different one is an error. */
export function placeInNamespace(scope: RequestScope, object: KubeObject): void {
  const { definition, info } = scope;
  if (!definition.namespaced) {
    delete object.metadata.namespace;
    return;
  }
  const { namespace } = object.metadata;
  if (namespace !== undefined && namespace !== '' && namespace !== info.namespace)
    throw badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    );
  object.metadata.namespace = info.namespace;
}

/** For updates: the object must be the one the URL names. */
export function checkName(scope: RequestScope, { metadata }: KubeObject): void {
  const { name, namespace } = scope.info;
  if (metadata.name === undefined || metadata.name === '')
    throw badRequest(
      `the name of the object (${name} based on URL) was undeterminable: name must be provided`,
    );
  if (metadata.name !== name)
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${name})`,
    );
  const given = metadata.namespace ?? '';
  if (scope.definition.namespaced && given !== '' && given !== namespace)
    throw badRequest(
      `the namespace of the object (${given}) does not match the namespace on the URL (${namespace})`,
    );
}
