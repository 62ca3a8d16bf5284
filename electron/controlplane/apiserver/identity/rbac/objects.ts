// Where the roles and bindings are: in the registry's caches, which know every change. A cluster
// that has none yet is decided by those that every cluster starts with: its own parts work before
// the first objects are written.
import type { KubeObject } from '#kube/api/object.ts';
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
} from '#kube/api/rbac.ts';
import { assert } from '#kube/base/assert.ts';
import type { Registry } from '../../../registry/registry.ts';
import { storagePrefix } from '../../../registry/resource-table.ts';

export interface RbacObjects {
  readonly clusterRoleBindings: readonly ClusterRoleBinding[];
  roleBindings(namespace: string): readonly RoleBinding[];
  /** Undefined: there is no such ClusterRole, or for Role, none in the namespace. */
  rules(kind: string, namespace: string, name: string): readonly PolicyRule[] | undefined;
}

/** The objects now. The same value is given until one of them changes. */
export type RbacSource = () => RbacObjects;

export function indexRbac(objects: readonly KubeObject[]): RbacObjects {
  const clusterRoleBindings: ClusterRoleBinding[] = [];
  const roleBindings = new Map<string, RoleBinding[]>();
  const rules = new Map<string, readonly PolicyRule[]>();
  for (const object of objects) {
    const { name, namespace = '' } = object.metadata;
    switch (object.kind) {
      case 'ClusterRoleBinding':
        clusterRoleBindings.push(object as unknown as ClusterRoleBinding);
        break;
      case 'RoleBinding': {
        const list = roleBindings.get(namespace) ?? [];
        list.push(object as unknown as RoleBinding);
        roleBindings.set(namespace, list);
        break;
      }
      default: {
        const role = object as unknown as Role | ClusterRole;
        rules.set(`${role.kind}/${namespace}/${name}`, role.rules ?? []);
      }
    }
  }
  return {
    clusterRoleBindings,
    roleBindings: (namespace) => roleBindings.get(namespace) ?? [],
    rules: (kind, namespace, name) =>
      rules.get(kind === 'Role' ? `Role/${namespace}/${name}` : `ClusterRole//${name}`),
  };
}

const plurals = ['clusterroles', 'clusterrolebindings', 'roles', 'rolebindings'];

/** `first`: what holds while the cluster has no ClusterRole. */
export function rbacSource(registry: Registry, first: readonly KubeObject[]): RbacSource {
  let current: RbacObjects | undefined;
  const cachers = plurals.map((plural) => {
    const definition = registry.table.lookup('rbac.authorization.k8s.io', 'v1', plural);
    assert(definition, `${plural} are in the table`);
    const { cacher } = registry.resource(definition);
    const forget = (): void => {
      current = undefined;
    };
    cacher.listen({ onReset: forget, onEvent: forget });
    return { cacher, prefix: storagePrefix(definition) };
  });
  return () => {
    if (current !== undefined) return current;
    const stored = cachers.map(({ cacher, prefix }) =>
      cacher.list(prefix).map(({ object }) => object),
    );
    current = indexRbac(stored[0]?.length === 0 ? first : stored.flat());
    return current;
  };
}
