// May they: the masters everything, a node what its own pods need, all others what the policy
// table grants. Nothing is denied outright: who is granted by none is refused.
// The node's half is in node-authorizer.ts, the table in policy.ts.
// Source: kubernetes apiserver pkg/endpoints/handlers/responsewriters/errors.go (wording),
// kubernetes plugin/pkg/auth/authorizer/rbac (matching).
import { forbidden, forbiddenPath, type StatusError } from '#kube/machinery/status.ts';
import type { UserInfo } from '../http.ts';
import type { AuthorizationAttributes, Authorizer } from './authorizer.ts';
import { authorizeNode, nodeNameOf, type NodePods } from './node-authorizer.ts';
import type { PolicyBinding, PolicyRule } from './policy.ts';

export interface AuthorizerDeps {
  readonly policy: readonly PolicyBinding[];
  /** What runs where, for the node authorizer. */
  readonly nodePods: NodePods;
}

export function createAuthorizer(deps: AuthorizerDeps): Authorizer {
  return (attributes) => {
    const { user } = attributes;
    if (user.groups.includes('system:masters')) return { allowed: true, reason: '' };
    const granted = deps.policy.some(
      (binding) => isBound(binding, user) && binding.rules.some((rule) => covers(rule, attributes)),
    );
    if (granted) return { allowed: true, reason: '' };
    const nodeName = nodeNameOf(user);
    if (nodeName === undefined) return { allowed: false, reason: '' };
    return authorizeNode(nodeName, attributes, deps.nodePods);
  };
}

/** The 403 for a refused request. */
export function forbiddenError(attributes: AuthorizationAttributes, reason: string): StatusError {
  const { user, verb, group, resource, subresource, namespace, name } = attributes;
  const tail = reason === '' ? '' : `: ${reason}`;
  if (!attributes.isResourceRequest)
    return forbiddenPath(
      `User ${quote(user.name)} cannot ${verb} path ${quote(attributes.path)}${tail}`,
    );
  const target = subresource === '' ? resource : `${resource}/${subresource}`;
  const scope = namespace === '' ? 'at the cluster scope' : `in the namespace ${quote(namespace)}`;
  return forbidden(
    { group, resource },
    name,
    `User ${quote(user.name)} cannot ${verb} resource ${quote(target)} in API group ${quote(group)} ${scope}${tail}`,
  );
}

export function covers(rule: PolicyRule, attributes: AuthorizationAttributes): boolean {
  if (!includes(rule.verbs, attributes.verb)) return false;
  if (!attributes.isResourceRequest)
    return (rule.nonResourceURLs ?? []).some((pattern) => coversPath(pattern, attributes.path));
  const target =
    attributes.subresource === ''
      ? attributes.resource
      : `${attributes.resource}/${attributes.subresource}`;
  const names = rule.resourceNames ?? [];
  return (
    includes(rule.apiGroups ?? [], attributes.group) &&
    (includes(rule.resources ?? [], target) ||
      (attributes.subresource !== '' &&
        (rule.resources ?? []).includes(`*/${attributes.subresource}`))) &&
    (names.length === 0 || names.includes(attributes.name)) &&
    (rule.namespaces === undefined || rule.namespaces.includes(attributes.namespace))
  );
}

function isBound(binding: PolicyBinding, user: UserInfo): boolean {
  return (
    (binding.users ?? []).includes(user.name) ||
    (binding.groups ?? []).some((group) => user.groups.includes(group))
  );
}

function includes(list: readonly string[], value: string): boolean {
  return list.includes('*') || list.includes(value);
}

function coversPath(pattern: string, path: string): boolean {
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : pattern === path;
}

/** As Go's %q, with the HTML signs escaped: some clients show messages in a page. */
function quote(text: string): string {
  return JSON.stringify(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
