// Questions about who somebody is and what they may do: created, answered, kept nowhere.
// Source: kubernetes pkg/registry/{authorization,authentication}/*/rest.go,
// pkg/apis/authorization/validation/validation.go.
import type { SelfSubjectReview, TokenReview } from '#kube/api/authentication.ts';
import type {
  LocalSubjectAccessReview,
  NonResourceAttributes,
  ResourceAttributes,
  SelfSubjectAccessReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
} from '#kube/api/authorization.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { field, invalid as invalidField, type FieldError } from '#kube/machinery/field.ts';
import { badRequest, invalid } from '#kube/machinery/status.ts';
import type { ApiResponse, UserInfo } from '../http.ts';
import { TokenError } from '../identity/authentication.ts';
import { aggregate } from '../identity/authorization.ts';
import type { AuthorizationAttributes } from '../identity/authorizer.ts';
import { nodeNameOf } from '../identity/node-authorizer.ts';
import { placeInNamespace, readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf as admissionAttributesOf, type RequestScope } from './scope.ts';
import { objectKind } from './write.ts';

export async function handleReview(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { dryRun, validation } = parseWriteParameters(scope.request.query, 'CreateOptions');
  const body = await readObject(scope, objectKind(scope), validation);
  placeInNamespace(scope, body);
  const { name } = body.metadata;
  const subject = { operation: 'CREATE', name, object: body, dryRun } as const;
  const attributes = admissionAttributesOf(scope, subject);
  await scope.deps.admission.admit(attributes);
  await scope.deps.admission.validate(attributes);
  const answered = { ...body, status: await answer(scope, body) };
  return respondValue(scope, answered, 201);
}

function answer(scope: RequestScope, body: KubeObject): object | Promise<object> {
  const { review } = scope.definition;
  if (review === 'self-subject') return selfSubject(scope, body as unknown as SelfSubjectReview);
  (body as { spec?: object }).spec ??= {};
  switch (review) {
    case 'token':
      return token(scope, body as unknown as TokenReview);
    case 'self-subject-access':
      return selfAccess(scope, body as unknown as SelfSubjectAccessReview);
    case 'self-subject-rules':
      return selfRules(scope, body as unknown as SelfSubjectRulesReview);
    case 'local-subject-access':
      return localAccess(scope, body as unknown as LocalSubjectAccessReview);
    default:
      return subjectAccess(scope, body as unknown as SubjectAccessReview);
  }
}

function selfSubject({ user, deps }: RequestScope, { metadata }: SelfSubjectReview): object {
  metadata.creationTimestamp = rfc3339(deps.clock.now());
  return { userInfo: userInfo(user) };
}

function userInfo({ name, uid, groups, extra }: UserInfo): object {
  return {
    username: name,
    ...(uid === undefined ? {} : { uid }),
    groups,
    ...(extra === undefined ? {} : { extra }),
  };
}

async function token({ deps }: RequestScope, { spec }: TokenReview): Promise<object> {
  if (spec.token === undefined || spec.token === '')
    throw badRequest('token is required for TokenReview in authentication');
  const { verifyToken, tokens } = deps.access;
  const asked = spec.audiences ?? [];
  try {
    const { user, audiences } = await verifyToken(
      spec.token,
      asked.length === 0 ? tokens.apiAudiences : asked,
    );
    return { authenticated: true, user: userInfo(user), audiences };
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    return { user: {}, error: error.message };
  }
}

interface Asked {
  readonly resourceAttributes?: ResourceAttributes;
  readonly nonResourceAttributes?: NonResourceAttributes;
}

function selfAccess(scope: RequestScope, { spec }: SelfSubjectAccessReview): object {
  check(scope, attributeErrors(spec));
  return decide(scope, scope.user, spec);
}

function subjectAccess(scope: RequestScope, { spec }: SubjectAccessReview): object {
  check(scope, [...attributeErrors(spec), ...subjectErrors(spec)]);
  return decide(scope, subjectOf(spec), spec);
}

function localAccess(scope: RequestScope, { spec }: LocalSubjectAccessReview): object {
  const { namespace } = scope.info;
  const at = field('spec', 'resourceAttributes', 'namespace');
  const given = spec.resourceAttributes?.namespace ?? '';
  const errors = [...attributeErrors(spec), ...subjectErrors(spec)];
  if (spec.nonResourceAttributes !== undefined)
    errors.push(
      invalidField(
        field('spec', 'nonResourceAttributes'),
        spec.nonResourceAttributes,
        'disallowed on this kind of request',
      ),
    );
  if (spec.resourceAttributes !== undefined && given !== namespace)
    errors.push(invalidField(at, given, 'must match metadata.namespace'));
  check(scope, errors);
  return decide(scope, subjectOf(spec), spec);
}

function subjectOf(spec: SubjectAccessReview['spec']): UserInfo {
  const { user = '', groups = [], uid, extra } = spec;
  return {
    name: user,
    groups,
    ...(uid === undefined ? {} : { uid }),
    ...(extra === undefined ? {} : { extra }),
  };
}

function check({ definition }: RequestScope, errors: readonly FieldError[]): void {
  if (errors.length > 0) throw invalid(definition, '', errors);
}

function attributeErrors({ resourceAttributes, nonResourceAttributes }: Asked): FieldError[] {
  const path = field('spec');
  if (resourceAttributes !== undefined && nonResourceAttributes !== undefined)
    return [
      invalidField(
        path.child('nonResourceAttributes'),
        nonResourceAttributes,
        'cannot be specified in combination with resourceAttributes',
      ),
    ];
  if (resourceAttributes === undefined && nonResourceAttributes === undefined)
    return [
      invalidField(
        path.child('resourceAttributes'),
        null,
        'exactly one of nonResourceAttributes or resourceAttributes must be specified',
      ),
    ];
  return [];
}

function subjectErrors({ user = '', groups = [] }: SubjectAccessReview['spec']): FieldError[] {
  if (user !== '' || groups.length > 0) return [];
  return [
    invalidField(field('spec', 'user'), user, 'at least one of user or group must be specified'),
  ];
}

function decide({ deps }: RequestScope, user: UserInfo, asked: Asked): object {
  const { allowed, reason } = deps.access.authorize(attributesOf(user, asked));
  return { allowed, ...(reason === '' ? {} : { reason }) };
}

function attributesOf(
  user: UserInfo,
  { resourceAttributes, nonResourceAttributes }: Asked,
): AuthorizationAttributes {
  const asked = resourceAttributes ?? {};
  return {
    user,
    isResourceRequest: resourceAttributes !== undefined,
    verb: nonResourceAttributes?.verb ?? asked.verb ?? '',
    path: nonResourceAttributes?.path ?? '',
    group: asked.group ?? '',
    namespace: asked.namespace ?? '',
    resource: asked.resource ?? '',
    subresource: asked.subresource ?? '',
    name: asked.name ?? '',
    fieldSelector: asked.fieldSelector?.rawSelector ?? null,
  };
}

/** Differs: what the node authorizer adds for nodes can't be told as rules. */
function selfRules({ deps, user }: RequestScope, { spec }: SelfSubjectRulesReview): object {
  const namespace = spec.namespace ?? '';
  if (namespace === '') throw badRequest('no namespace on request');
  const { list, errors } = deps.access.grants.of(user, namespace);
  const rules = list.map(({ rule }) => rule);
  const isNode = nodeNameOf(user) !== undefined;
  const problems = [
    ...errors,
    ...(isNode ? ['node authorizer does not support user rule resolution'] : []),
  ];
  return {
    resourceRules: rules
      .filter(({ resources = [] }) => resources.length > 0)
      .map(({ verbs, apiGroups, resources, resourceNames }) => ({
        verbs,
        apiGroups,
        resources,
        ...(resourceNames === undefined ? {} : { resourceNames }),
      })),
    nonResourceRules: rules
      .filter(({ nonResourceURLs = [] }) => nonResourceURLs.length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: problems.length > 0,
    ...(problems.length === 0 ? {} : { evaluationError: aggregate(problems) }),
  };
}
