// Asks the server which resources it serves: for what must treat every kind alike (garbage
// collection, namespace deletion, generic lists). Source: client-go discovery/discovery_client.go.
import { parseApiVersion } from '../machinery/gvk.ts';
import { StatusError } from '../machinery/status.ts';
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

export interface Discovered {
  readonly resources: readonly DiscoveredResource[];
  /** Group versions of servers behind the API server that can't be asked now, each with the reason. */
  readonly unavailable: ReadonlyMap<string, string>;
}

/** Every resource in every version, without subresources. */
export async function discoverResources(
  client: RestClient,
  signal?: AbortSignal,
): Promise<Discovered> {
  const groups = await client.json<ApiGroupList>({ method: 'GET', path: '/apis', signal });
  const paths = ['/api/v1'];
  for (const { versions } of groups.groups)
    for (const { groupVersion } of versions) paths.push(`/apis/${groupVersion}`);
  const unavailable = new Map<string, string>();
  const lists = await Promise.all(
    paths.map(async (path) => {
      try {
        return [await client.json<ApiResourceList>({ method: 'GET', path, signal })];
      } catch (error) {
        if (!(error instanceof StatusError) || error.code !== 503) throw error;
        unavailable.set(path.slice('/apis/'.length), error.message);
        return [];
      }
    }),
  );
  const seen = new Set<string>();
  const resources = lists
    .flat()
    .flatMap(resourcesOf)
    .map((found) => {
      const name = `${found.group}/${found.resource}`;
      const isPreferred = !seen.has(name);
      seen.add(name);
      return { ...found, isPreferred };
    });
  return { resources, unavailable };
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
