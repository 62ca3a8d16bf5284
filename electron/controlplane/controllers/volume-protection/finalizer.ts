// The finalizer that protects a claim or a volume: on while it lives, off when it may go.
// Source: kubernetes pkg/controller/volume/protectionutil.
import type { ObjectMeta } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { ignoreNotFound } from '../ownership.ts';

/** The finalizers it should have, provided that nothing uses it if it goes; undefined: as it has. */
export function planProtection(
  { deletionTimestamp, finalizers = [] }: ObjectMeta,
  finalizer: string,
): string[] | undefined {
  const isProtected = finalizers.includes(finalizer);
  if (deletionTimestamp === undefined) return isProtected ? undefined : [...finalizers, finalizer];
  return isProtected ? finalizers.filter((other) => other !== finalizer) : undefined;
}

/** Throws a Conflict when somebody changed it meanwhile. */
export async function setFinalizers<T extends KubeObject>(
  client: RestClient,
  resource: Resource<T>,
  { namespace, name, uid, resourceVersion }: ObjectMeta & { name: string },
  finalizers: readonly string[],
): Promise<void> {
  const patch = { metadata: { uid, resourceVersion, finalizers } };
  await client.patch(resource, { namespace, name }, patch).catch(ignoreNotFound);
}
