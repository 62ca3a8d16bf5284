// What a control plane makes sure of at its start: the objects that every cluster has, and where it is reached itself.
import type { KubeObject } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import { leases } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { apiServerLease } from '#kube/machinery/api-servers.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { Backing } from './backing.ts';
import { apiVersionOfResource } from './registry/resource-table.ts';
import { builtInResources } from './registry/resources.ts';

/** Creates what is absent. What there is stays as it is, but for the Lease that says where this server is reached. */
export async function ensureObject(client: RestClient, object: KubeObject): Promise<void> {
  const definition = builtInResources.find(
    (one) => one.kind === object.kind && apiVersionOfResource(one) === object.apiVersion,
  );
  assert(definition, `${object.kind} is a built-in kind`);
  const resource = { ...definition, resource: definition.plural };
  // Reads first: on a full disk, or with a webhook that is down, a cluster starts all the same, and a
  // create would be refused.
  const found = await client.get(resource, object.metadata).catch(ignoreMissing);
  if (found !== undefined && (object.kind !== 'Lease' || isSame(object, found))) return;
  try {
    if (found === undefined) await client.create(resource, object);
    else {
      const { resourceVersion } = found.metadata;
      await client.update(resource, {
        ...object,
        metadata: { ...object.metadata, resourceVersion },
      });
    }
  } catch (error) {
    // Another member was faster.
    if (!hasReason(error, 'AlreadyExists')) throw error;
  }
}

function isSame(wanted: KubeObject, found: KubeObject): boolean {
  return deepEqual(wanted.metadata.annotations, found.metadata.annotations);
}

/** By id, this one first: whether it was heard of just now. */
export function apiServersOf(
  { own }: Pick<Backing, 'own'>,
  nodeName: string,
): ReadonlyMap<string, boolean> {
  // Of an etcd, the only control plane.
  if (own === undefined) return new Map([[nodeName, true]]);
  const { id: self, membership, peers } = own.opened.replica.status();
  const others = membership.members.filter(({ id }) => id !== self);
  return new Map([
    [String(self), true],
    ...others.map(({ id }): [string, boolean] => [
      String(id),
      peers.some((peer) => peer.id === id && peer.isActive),
    ]),
  ]);
}

/** By name: machines that keep the state with a vote, and whether they answer. */
export function keepersOf(
  { own }: Pick<Backing, 'own'>,
  nodeName: string,
): ReadonlyMap<string, boolean> {
  if (own === undefined) return new Map([[nodeName, true]]);
  const voters = own.members.report().members.filter(({ role }) => role === 'voter');
  return new Map(
    voters.map(({ name, isSelf, health }) => [name, isSelf || health !== 'unreachable']),
  );
}

/** `address`: for others; undefined: only this machine reaches it. */
export async function registerApiServer(
  client: RestClient,
  {
    id,
    address,
    port,
  }: { readonly id: string; readonly address: string | undefined; readonly port: number },
): Promise<void> {
  if (address === undefined) await forgetApiServer(client, id);
  else await ensureObject(client, apiServerLease(id, address, port));
}

/** One that only this machine reaches has no address for others any more. */
export async function forgetApiServer(client: RestClient, apiServerId: string): Promise<void> {
  const { metadata } = apiServerLease(apiServerId, '', 0);
  const found = await client.get(leases, metadata).catch(ignoreMissing);
  if (found !== undefined) await client.delete(leases, metadata).catch(ignoreMissing);
}

function ignoreMissing(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}
