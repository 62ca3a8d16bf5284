// What a user has been granted, by which binding. Collected once per user and namespace and kept
// until a role or binding changes: a decision then only walks a list.
// Source: kubernetes pkg/registry/rbac/validation/rule.go, plugin/pkg/auth/authorizer/rbac/rbac.go.
import type {
  ClusterRoleBinding,
  PolicyRule,
  RoleBinding,
  RoleRef,
  Subject,
} from '#kube/api/rbac.ts';
import type { Decision } from '../authorizer.ts';
import type { UserInfo } from '../../http.ts';
import type { RbacObjects, RbacSource } from './objects.ts';

export interface Grant {
  readonly rule: PolicyRule;
  /** What a request that the rule covers is answered. */
  readonly decision: Decision;
}

export interface Grants {
  readonly list: readonly Grant[];
  /** Bindings whose role is not there. */
  readonly errors: readonly string[];
}

/** User and namespace, together. All are forgotten when there are more. */
const keptAtMost = 4096;

export class GrantCache {
  readonly #source: RbacSource;
  #objects: RbacObjects | undefined;
  #byUser = new Map<string, Map<string, Grants>>();
  #kept = 0;

  constructor(source: RbacSource) {
    this.#source = source;
  }

  /** `namespace` '': by ClusterRoleBindings only. */
  of(user: UserInfo, namespace: string): Grants {
    const objects = this.#source();
    if (objects !== this.#objects || this.#kept >= keptAtMost) {
      this.#objects = objects;
      this.#byUser = new Map();
      this.#kept = 0;
    }
    const key = `${user.name}\n${user.groups.join('\n')}`;
    let byNamespace = this.#byUser.get(key);
    if (byNamespace === undefined) {
      byNamespace = new Map();
      this.#byUser.set(key, byNamespace);
    }
    const known = byNamespace.get(namespace);
    if (known !== undefined) return known;
    const made = collectGrants(objects, user, namespace);
    byNamespace.set(namespace, made);
    this.#kept += 1;
    return made;
  }
}

export function collectGrants(objects: RbacObjects, user: UserInfo, namespace: string): Grants {
  const list: Grant[] = [];
  const errors: string[] = [];
  const add = (binding: RoleBinding | ClusterRoleBinding, place: string): void => {
    const subject = (binding.subjects ?? []).find((one) => appliesTo(one, user, place));
    if (subject === undefined) return;
    const { kind, name } = binding.roleRef;
    const rules = objects.rules(kind, place, name);
    if (rules === undefined) {
      errors.push(`${kind.toLowerCase()}.rbac.authorization.k8s.io "${name}" not found`);
      return;
    }
    const decision = { allowed: true, reason: reasonOf(binding, subject) };
    for (const rule of rules) list.push({ rule, decision });
  };
  for (const binding of objects.clusterRoleBindings) add(binding, '');
  if (namespace !== '')
    for (const binding of objects.roleBindings(namespace)) add(binding, namespace);
  return { list, errors };
}

function appliesTo(subject: Subject, user: UserInfo, bindingNamespace: string): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === user.name;
    case 'Group':
      return user.groups.includes(subject.name);
    case 'ServiceAccount': {
      const namespace = (subject.namespace ?? '') || bindingNamespace;
      return namespace !== '' && user.name === `system:serviceaccount:${namespace}:${subject.name}`;
    }
    default:
      return false;
  }
}

function reasonOf({ kind, metadata, roleRef }: RoleBinding | ClusterRoleBinding, by: Subject) {
  const { name, namespace = '' } = metadata;
  const binding = namespace === '' ? name : `${name}/${namespace}`;
  return `RBAC: allowed by ${kind} "${binding}" of ${roleText(roleRef)} to ${subjectText(by)}`;
}

function roleText({ kind, name }: RoleRef): string {
  return `${kind} "${name}"`;
}

function subjectText({ kind, name, namespace = '' }: Subject): string {
  return namespace === '' ? `${kind} "${name}"` : `${kind} "${name}/${namespace}"`;
}
