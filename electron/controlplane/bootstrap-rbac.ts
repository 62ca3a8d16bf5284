// Makes and completes the bootstrap roles and bindings, at each start.
import type { KubeObject } from '#kube/api/object.ts';
import { pathOfResource, type Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { bootstrapRbac, type RbacObject } from './apiserver/identity/bootstrap/policy.ts';
import { reconcile } from './apiserver/identity/bootstrap/reconcile.ts';

const plurals: Readonly<Record<RbacObject['kind'], string>> = {
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  Role: 'roles',
  RoleBinding: 'rolebindings',
};

/** Another member may do the same at the same time: whoever is second finds it done. */
export async function ensureBootstrapRbac(client: RestClient): Promise<void> {
  const found = new Map<string, RbacObject>();
  for (const kind of Object.keys(plurals) as RbacObject['kind'][])
    for (const item of (await client.list(resourceOf(kind))).items)
      found.set(keyOf({ ...item, kind } as unknown as RbacObject), item as unknown as RbacObject);
  await Promise.all(
    bootstrapRbac.map((object) => ensure(client, object, found.get(keyOf(object)))),
  );
}

function keyOf({ kind, metadata }: RbacObject): string {
  return pathOfResource(resourceOf(kind), metadata);
}

function resourceOf(kind: RbacObject['kind']): Resource {
  return {
    group: 'rbac.authorization.k8s.io',
    version: 'v1',
    resource: plurals[kind],
    kind,
    namespaced: kind === 'Role' || kind === 'RoleBinding',
  };
}

async function ensure(
  client: RestClient,
  wanted: RbacObject,
  found: RbacObject | undefined,
): Promise<void> {
  const result = reconcile(wanted, found);
  if (result.action === 'none') return;
  const resource = resourceOf(wanted.kind);
  const object = result.object as unknown as KubeObject;
  try {
    if (result.action === 'recreate') await client.delete(resource, object.metadata);
    if (result.action === 'update') await client.update(resource, object);
    else await client.create(resource, object);
  } catch (error) {
    if (!hasReason(error, 'AlreadyExists') && !hasReason(error, 'Conflict')) throw error;
  }
}
