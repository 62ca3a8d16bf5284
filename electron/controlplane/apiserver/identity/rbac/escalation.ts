// Nobody grants more than they hold: whoever writes a role must have its rules, whoever binds one
// must have the rules of what they bind, unless they are allowed to `escalate` or to `bind`.
// Source: kubernetes pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/
// policybased/storage.go, pkg/registry/rbac/{escalation_check.go,validation/rule.go}.
import type { KubeObject } from '#kube/api/object.ts';
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
} from '#kube/api/rbac.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { forbidden, notFound } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../../../admission/chain.ts';
import { aggregate } from '../authorization.ts';
import type { Authorizer } from '../authorizer.ts';
import type { GrantCache } from './grants.ts';
import type { RbacSource } from './objects.ts';
import { compact, quotedList, ruleText, uncovered } from './rules.ts';

export interface EscalationDeps {
  readonly authorize: Authorizer;
  readonly grants: GrantCache;
  readonly source: RbacSource;
}

const group = 'rbac.authorization.k8s.io';
/** Whoever decides which roles flow into one could let any flow into it. */
const everything: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

export function escalationCheck(deps: EscalationDeps): AdmissionPlugin {
  return {
    name: 'RBACEscalation',
    handles: ({ operation, resource, user }) =>
      resource.group === group &&
      (operation === 'CREATE' || operation === 'UPDATE') &&
      !user.groups.includes('system:masters'),
    validate(attributes) {
      const { object, oldObject } = attributes;
      if (object === undefined) return;
      switch (attributes.resource.resource) {
        case 'roles':
        case 'clusterroles':
          return checkRole(deps, attributes, asRole(object), asRole(oldObject));
        case 'rolebindings':
        case 'clusterrolebindings':
          return checkBinding(deps, attributes, asBinding(object), asBinding(oldObject));
        default:
      }
    },
  };
}

type AnyRole = Role | ClusterRole;
type AnyBinding = RoleBinding | ClusterRoleBinding;

function asRole<O extends KubeObject | undefined>(object: O) {
  return object as unknown as O extends undefined ? AnyRole | undefined : AnyRole;
}

function asBinding<O extends KubeObject | undefined>(object: O) {
  return object as unknown as O extends undefined ? AnyBinding | undefined : AnyBinding;
}

function checkRole(
  deps: EscalationDeps,
  attributes: AdmissionAttributes,
  role: AnyRole,
  old: AnyRole | undefined,
): void {
  const aggregation = aggregationOf(role);
  const isSame =
    old !== undefined &&
    deepEqual(role.rules ?? [], old.rules ?? []) &&
    deepEqual(aggregation, aggregationOf(old));
  if (isSame) return;
  const { name, namespace = '' } = role.metadata;
  const resource = role.kind === 'Role' ? 'roles' : 'clusterroles';
  if (isAllowed(deps, attributes, { verb: 'escalate', resource, namespace, name })) return;
  const isAggregated = aggregation !== undefined && !deepEqual(aggregation, aggregationOf(old));
  confirm(deps, attributes, isAggregated ? everything : (role.rules ?? []));
}

function aggregationOf(role: AnyRole | undefined) {
  return role?.kind === 'ClusterRole' ? role.aggregationRule : undefined;
}

function checkBinding(
  deps: EscalationDeps,
  attributes: AdmissionAttributes,
  binding: AnyBinding,
  old: AnyBinding | undefined,
): void {
  const { roleRef, subjects = [], metadata } = binding;
  const isSame =
    old !== undefined && deepEqual(roleRef, old.roleRef) && deepEqual(subjects, old.subjects ?? []);
  if (isSame) return;
  const { namespace = '' } = metadata;
  const resource = roleRef.kind === 'Role' ? 'roles' : 'clusterroles';
  const { name } = roleRef;
  if (isAllowed(deps, attributes, { verb: 'bind', resource, namespace, name })) return;
  const rules = deps.source().rules(roleRef.kind, namespace, name);
  if (rules === undefined) throw notFound({ group, resource }, name);
  confirm(deps, attributes, rules);
}

interface Target {
  readonly verb: 'escalate' | 'bind';
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

function isAllowed(
  { authorize }: EscalationDeps,
  { user }: AdmissionAttributes,
  target: Target,
): boolean {
  return authorize({
    ...target,
    user,
    isResourceRequest: true,
    path: '',
    group,
    subresource: '',
    fieldSelector: null,
  }).allowed;
}

/** Throws a 403 that names what the user lacks. */
function confirm(
  { grants }: EscalationDeps,
  attributes: AdmissionAttributes,
  wanted: readonly PolicyRule[],
): void {
  const { user, resource, namespace, object } = attributes;
  const { list, errors } = grants.of(user, namespace);
  const missing = uncovered(
    list.map(({ rule }) => rule),
    wanted,
  );
  if (missing.length === 0) return;
  const lines = compact(missing).map(ruleText).toSorted();
  const unresolved = errors.length === 0 ? '' : `; resolution errors: ${aggregate(errors)}`;
  throw forbidden(
    resource,
    object?.metadata.name ?? '',
    `user ${JSON.stringify(user.name)} (groups=${quotedList(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${lines.join('\n')}${unresolved}`,
  );
}
