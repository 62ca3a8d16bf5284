// Asks the server which resources it serves: for what must treat every kind alike (garbage
// collection, namespace deletion, generic lists). Source: client-go discovery/discovery_client.go.
import { parseApiVersion } from '../machinery/gvk.ts';
import type { Resource } from './resources.ts';
import type { RestClient } from './rest-client.ts';

export interface DiscoveredResource extends Resource {
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
}

interface ApiGroupList {
  readonly groups: readonly { readonly preferredVersion?: { readonly groupVersion: string } }[];
}

interface ApiResourceList {
  readonly groupVersion: string;
  readonly resources: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
    readonly verbs?: readonly string[];
    readonly shortNames?: readonly string[];
  }[];
}

/** Every resource in its preferred version, without subresources. Throws if any part fails. */
export async function discoverResources(
  client: RestClient,
  signal?: AbortSignal,
): Promise<DiscoveredResource[]> {
  const groups = await client.json<ApiGroupList>({ method: 'GET', path: '/apis', signal });
  const paths = ['/api/v1'];
  for (const { preferredVersion } of groups.groups)
    if (preferredVersion !== undefined) paths.push(`/apis/${preferredVersion.groupVersion}`);
  const lists = await Promise.all(
    paths.map((path) => client.json<ApiResourceList>({ method: 'GET', path, signal })),
  );
  return lists.flatMap(resourcesOf);
}

function resourcesOf(list: ApiResourceList): DiscoveredResource[] {
  const groupVersion = parseApiVersion(list.groupVersion);
  return list.resources
    .filter(({ name }) => !name.includes('/'))
    .map(({ name, kind, namespaced, verbs = [], shortNames = [] }) => ({
      ...groupVersion,
      resource: name,
      kind,
      namespaced,
      verbs,
      shortNames,
    }));
}
