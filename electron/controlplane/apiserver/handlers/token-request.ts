// A token for a service account, for a time, perhaps bound to a pod, Secret or node.
// Source: kubernetes pkg/registry/core/serviceaccount/storage/token.go,
// pkg/apis/authentication/validation/validation.go.
import type { BoundObjectReference, TokenRequest } from '#kube/api/authentication.ts';
import type { Pod } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { field, invalid as invalidField, type FieldError } from '#kube/machinery/field.ts';
import { badRequest, conflict, invalid, notFound } from '#kube/machinery/status.ts';
import type { ApiResponse } from '../http.ts';
import type { ObjectRef, TokenSubject } from '../identity/tokens/service-account-tokens.ts';
import { readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

const kind: BodyKind = {
  group: 'authentication.k8s.io',
  version: 'v1',
  kind: 'TokenRequest',
  schema: 'authentication/v1.TokenRequest',
};
const defaultSeconds = 3600;
const minSeconds = 600;
const maxSeconds = 2 ** 32;

export async function handleTokenRequest(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, deps, resource, request } = scope;
  const { dryRun, validation } = parseWriteParameters(request.query, 'CreateOptions');
  const body = (await readObject(scope, kind, validation)) as unknown as TokenRequest;
  const { name, namespace } = info;
  checkPlace(body, name, namespace);
  const { object: account } = await resource.get(namespace, name);
  const { tokens } = deps.access;
  (body as { spec?: object }).spec ??= {};
  const seconds = (body.spec.expirationSeconds ??= defaultSeconds);
  if ((body.spec.audiences ?? []).length === 0) body.spec.audiences = [...tokens.apiAudiences];
  const errors = validate(seconds);
  if (errors.length > 0) throw invalid(kind, '', errors);
  const object = body as unknown as KubeObject;
  const attributes = attributesOf(scope, { operation: 'CREATE', name, object, dryRun });
  await deps.admission.admit(attributes);
  await deps.admission.validate(attributes);
  const serviceaccount = refOf(account);
  const bound = await boundObject(scope, body.spec.boundObjectRef);
  const subject: TokenSubject = { namespace, serviceaccount, ...bound };
  const { token, expiresMs } = tokens.issue(subject, body.spec.audiences ?? [], seconds);
  body.metadata.name = name;
  body.metadata.namespace = namespace;
  body.metadata.creationTimestamp = rfc3339(deps.clock.now());
  body.status = { token, expirationTimestamp: rfc3339(expiresMs) };
  return respondValue(scope, body, 201);
}

function checkPlace({ metadata }: TokenRequest, name: string, namespace: string): void {
  if ((metadata.name ?? '') !== '' && metadata.name !== name)
    throw badRequest(
      `name in URL (${name}) does not match name in token request (${metadata.name ?? ''})`,
    );
  if ((metadata.namespace ?? '') !== '' && metadata.namespace !== namespace)
    throw badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    );
}

function validate(seconds: number): FieldError[] {
  const at = field('spec', 'expirationSeconds');
  if (seconds < minSeconds)
    return [invalidField(at, seconds, 'may not specify a duration less than 10 minutes')];
  if (seconds > maxSeconds)
    return [invalidField(at, seconds, 'may not specify a duration larger than 2^32 seconds')];
  return [];
}

function refOf({ metadata }: KubeObject): ObjectRef {
  return { name: metadata.name ?? '', uid: metadata.uid ?? '' };
}

type Bound = Pick<TokenSubject, 'pod' | 'secret' | 'node'>;

async function boundObject(
  scope: RequestScope,
  ref: BoundObjectReference | undefined,
): Promise<Bound> {
  if (ref === undefined) return {};
  const { apiVersion = '', kind: of = '', name = '', uid = '' } = ref;
  const plural = apiVersion === 'v1' ? boundPlurals[of] : undefined;
  if (plural === undefined)
    throw badRequest(
      `cannot bind token for serviceaccount to object of type /${apiVersion}, Kind=${of}`,
    );
  const namespace = of === 'Node' ? '' : scope.info.namespace;
  const found = await read(scope, plural, namespace, name);
  if (found === undefined) throw notFound({ group: '', resource: plural }, name);
  if (uid !== '' && uid !== found.metadata.uid)
    throw conflict(
      { group: '', resource: plural },
      name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (of === 'Secret') return { secret: refOf(found) };
  if (of === 'Node') return { node: refOf(found) };
  const { spec } = found as unknown as Pod;
  if (spec.serviceAccountName !== scope.info.name)
    throw badRequest(
      `cannot bind token for serviceaccount "${scope.info.name}" to pod running with different serviceaccount name.`,
    );
  const { nodeName = '' } = spec;
  const node = nodeName === '' ? undefined : await read(scope, 'nodes', '', nodeName);
  return { pod: refOf(found), ...(node === undefined ? {} : { node: refOf(node) }) };
}

const boundPlurals: Readonly<Record<string, string>> = {
  Pod: 'pods',
  Secret: 'secrets',
  Node: 'nodes',
};

function read({ deps }: RequestScope, resource: string, namespace: string, name: string) {
  return deps.registry.reader.get({ group: '', version: 'v1', resource }, namespace, name);
}
