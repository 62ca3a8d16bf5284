// How the entries of the resource table are written.
import type { KubeObject } from '#kube/api/object.ts';
import type { ResourceDefinition } from '../resource.ts';

/** Of a subresource that passes HTTP requests on. */
export const proxyVerbs = ['create', 'delete', 'get', 'patch', 'update'] as const;

/** A kind of the core group. */
export function core(kind: string, plural: string, { namespaced = true } = {}) {
  return { ...named('', 'core/v1', kind, plural), namespaced };
}

/** `schemaPackage`: where the kind's schema is, such as `apps/v1`; it tells the version, too. */
export function named(group: string, schemaPackage: string, kind: string, plural: string) {
  const version = schemaPackage.slice(schemaPackage.indexOf('/') + 1);
  const singular = kind.toLowerCase();
  const schema = `${schemaPackage}.${kind}`;
  return { group, version, kind, plural, singular, namespaced: true, schema };
}

/**
 * The registry hands a definition only objects of its own kind, which the type system can't know:
 * functions of a Pod don't take every KubeObject.
 */
export function generic<T extends KubeObject>(
  definition: ResourceDefinition<T>,
): ResourceDefinition {
  return definition as unknown as ResourceDefinition;
}
