// May they: the masters everything, a node what its own pods need, all others what roles are bound
// to them. Nothing is denied outright: who is granted by none is refused.
// The node's half is in node-authorizer.ts, the roles in rbac/.
// Source: kubernetes apiserver pkg/endpoints/handlers/responsewriters/errors.go (wording).
import { forbidden, forbiddenPath, type StatusError } from '#kube/machinery/status.ts';
import type { AuthorizationAttributes, Authorizer, Decision } from './authorizer.ts';
import { authorizeNode, nodeNameOf, type NodePods } from './node-authorizer.ts';
import type { GrantCache } from './rbac/grants.ts';
import { covers } from './rbac/rules.ts';

export interface AuthorizerDeps {
  readonly grants: GrantCache;
  /** What runs where, for the node authorizer. */
  readonly nodePods: NodePods;
}

const masters: Decision = { allowed: true, reason: '' };

export function createAuthorizer({ grants, nodePods }: AuthorizerDeps): Authorizer {
  return (attributes) => {
    const { user, namespace } = attributes;
    if (user.groups.includes('system:masters')) return masters;
    const nodeName = nodeNameOf(user);
    const asNode =
      nodeName === undefined ? undefined : authorizeNode(nodeName, attributes, nodePods);
    if (asNode?.allowed === true) return asNode;
    const { list, errors } = grants.of(user, attributes.isResourceRequest ? namespace : '');
    for (const { rule, decision } of list) if (covers(rule, attributes)) return decision;
    const unresolved = errors.length === 0 ? [] : [`RBAC: ${aggregate(errors)}`];
    const reasons = [asNode?.reason ?? '', ...unresolved].filter((reason) => reason !== '');
    return { allowed: false, reason: reasons.join(', ') };
  };
}

/** Several errors as one text. */
export function aggregate(errors: readonly string[]): string {
  const different = [...new Set(errors)];
  return different.length === 1 ? (different[0] ?? '') : `[${different.join(', ')}]`;
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

/** As Go's %q, with the HTML signs escaped: some clients show messages in a page. */
function quote(text: string): string {
  return JSON.stringify(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
