// Asks the server which resources it serves: for what must treat every kind alike (garbage
// collection, namespace deletion, generic lists). Source: client-go discovery/discovery_client.go.
import { parseApiVersion } from '../machinery/gvk.ts';
import type { Resource } from './resources.ts';
import type { RestClient } from './rest-client.ts';

export interface DiscoveredResource extends Resource {
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  /** In the group's first version that has it. */
  readonly isPreferred: boolean;
}

interface ApiGroupList {
  readonly groups: readonly { readonly versions: readonly { readonly groupVersion: string }[] }[];
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

/** Every resource in every version, without subresources. Throws if any part fails. */
export async function discoverResources(
  client: RestClient,
  signal?: AbortSignal,
): Promise<DiscoveredResource[]> {
  const groups = await client.json<ApiGroupList>({ method: 'GET', path: '/apis', signal });
  const paths = ['/api/v1'];
  for (const { versions } of groups.groups)
    for (const { groupVersion } of versions) paths.push(`/apis/${groupVersion}`);
  const lists = await Promise.all(
    paths.map((path) => client.json<ApiResourceList>({ method: 'GET', path, signal })),
  );
  const seen = new Set<string>();
  return lists.flatMap(resourcesOf).map((found) => {
    const name = `${found.group}/${found.resource}`;
    const isPreferred = !seen.has(name);
    seen.add(name);
    return { ...found, isPreferred };
  });
}

function resourcesOf(list: ApiResourceList): Omit<DiscoveredResource, 'isPreferred'>[] {
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
