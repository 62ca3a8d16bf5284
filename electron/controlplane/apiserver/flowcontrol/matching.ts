// Which flow schema a request belongs to, and which flow of it. Pure.
// Source: kubernetes apiserver pkg/util/flowcontrol/rule.go.
import type {
  FlowSchema,
  NonResourcePolicyRule,
  PolicyRulesWithSubjects,
  ResourcePolicyRule,
  Subject,
} from '#kube/api/flowcontrol.ts';
import type { RequestInfo, UserInfo } from '../http.ts';

/** Undefined: none matches, which the schema `catch-all` rules out for everybody with a group. */
export function matchingSchema(
  schemas: readonly FlowSchema[],
  user: UserInfo,
  info: RequestInfo,
): FlowSchema | undefined {
  return schemas.find(({ spec }) => spec.rules?.some((rule) => matches(rule, user, info)));
}

/** Requests of one flow wait in line; flows of one schema take turns. */
export function flowDistinguisher(schema: FlowSchema, user: UserInfo, info: RequestInfo): string {
  switch (schema.spec.distinguisherMethod?.type) {
    case 'ByUser':
      return user.name;
    case 'ByNamespace':
      return info.namespace;
    default:
      return '';
  }
}

/** In the order in which they are looked at. */
export function sortSchemas(schemas: readonly FlowSchema[]): FlowSchema[] {
  return schemas.toSorted(
    (a, b) =>
      (a.spec.matchingPrecedence ?? 1000) - (b.spec.matchingPrecedence ?? 1000) ||
      (a.metadata.name < b.metadata.name ? -1 : 1),
  );
}

function matches(
  { subjects, resourceRules = [], nonResourceRules = [] }: PolicyRulesWithSubjects,
  user: UserInfo,
  info: RequestInfo,
): boolean {
  if (!subjects.some((subject) => isSubject(subject, user))) return false;
  return info.isResourceRequest
    ? resourceRules.some((rule) => matchesResource(rule, info))
    : nonResourceRules.some((rule) => matchesPath(rule, info));
}

function isSubject(subject: Subject, { name, groups }: UserInfo): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.user?.name === '*' || subject.user?.name === name;
    case 'Group':
      return subject.group?.name === '*' || groups.includes(subject.group?.name ?? '');
    case 'ServiceAccount': {
      const { namespace = '', name: account = '' } = subject.serviceAccount ?? {};
      const prefix = `system:serviceaccount:${namespace}:`;
      return account === '*' ? name.startsWith(prefix) : name === `${prefix}${account}`;
    }
    default:
      return false;
  }
}

function matchesResource(rule: ResourcePolicyRule, info: RequestInfo): boolean {
  const { verb, group, resource, subresource, namespace } = info;
  const whole = subresource === '' ? resource : `${resource}/${subresource}`;
  return (
    holds(rule.verbs, verb) &&
    holds(rule.apiGroups, group) &&
    holds(rule.resources, whole) &&
    (namespace === '' ? rule.clusterScope === true : holds(rule.namespaces ?? [], namespace))
  );
}

function matchesPath(rule: NonResourcePolicyRule, { verb, path }: RequestInfo): boolean {
  if (!holds(rule.verbs, verb)) return false;
  return rule.nonResourceURLs.some((url) =>
    url.endsWith('*') ? path.startsWith(url.slice(0, -1)) : url === path,
  );
}

function holds(allowed: readonly string[], value: string): boolean {
  return allowed.includes('*') || allowed.includes(value);
}
