// Every kind the server offers, read once per page from its discovery documents. Nothing about
// kinds is known here beforehand.
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import type { Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { KubeObject } from '#kube/api/object.ts';

export interface DiscoveredResource extends Resource {
  readonly shortNames: readonly string[];
  readonly verbs: readonly string[];
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
interface ApiGroupList {
  readonly groups: readonly { readonly preferredVersion?: { readonly groupVersion: string } }[];
}

const known = new WeakMap<RestClient, Promise<readonly DiscoveredResource[]>>();

/** Kept for the page's life; a failure is not. */
export function discover(client: RestClient): Promise<readonly DiscoveredResource[]> {
  const earlier = known.get(client);
  if (earlier !== undefined) return earlier;
  const found = readAll(client);
  known.set(client, found);
  found.catch(() => known.delete(client));
  return found;
}

async function readAll(client: RestClient): Promise<readonly DiscoveredResource[]> {
  const groups = await client.json<ApiGroupList>({ method: 'GET', path: '/apis' });
  const versions = groups.groups.map(
    ({ preferredVersion }) => preferredVersion?.groupVersion ?? '',
  );
  const paths = [
    '/api/v1',
    ...versions.filter((version) => version !== '').map((version) => `/apis/${version}`),
  ];
  const lists = await Promise.all(
    paths.map((path) => client.json<ApiResourceList>({ method: 'GET', path })),
  );
  return lists.flatMap(resourcesOf);
}

/** Without subresources, which have a slash in their name. */
function resourcesOf({ groupVersion, resources }: ApiResourceList): DiscoveredResource[] {
  const [group = '', version = ''] = groupVersion.includes('/')
    ? groupVersion.split('/')
    : ['', groupVersion];
  return resources
    .filter(({ name }) => !name.includes('/'))
    .map(({ name, kind, namespaced, verbs = [], shortNames = [] }) => ({
      group,
      version,
      resource: name,
      kind,
      namespaced,
      verbs,
      shortNames,
    }));
}

/** Throws a sentence when the server has no such kind. */
export async function resourceOf(
  client: RestClient,
  object: KubeObject,
): Promise<DiscoveredResource> {
  const resources = await discover(client);
  const found = resources.find(
    (resource) => resource.kind === object.kind && apiVersionOf(resource) === object.apiVersion,
  );
  if (found === undefined)
    throw new Error(`no matches for kind "${object.kind}" in version "${object.apiVersion}"`);
  return found;
}
