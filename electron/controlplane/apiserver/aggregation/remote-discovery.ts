// Pure: what a server behind this one says it serves, in the aggregated form, whichever of the two
// forms it was told in.
// Source: kubernetes kube-aggregator pkg/apiserver/handler_discovery.go, apiserver
// pkg/endpoints/installer.go (ConvertGroupVersionIntoToDiscovery).
import { isObject } from '#kube/machinery/equality.ts';

type Plain = Readonly<Record<string, unknown>>;

/** The resources of one group and version; undefined when the document has them not. */
export function resourcesIn(
  document: unknown,
  group: string,
  version: string,
): readonly object[] | undefined {
  if (!isObject(document)) return undefined;
  if (document['kind'] === 'APIResourceList') return fromLegacy(document, group, version);
  if (document['kind'] !== 'APIGroupDiscoveryList') return undefined;
  const item = plains(document['items']).find(
    ({ metadata }) => isObject(metadata) && metadata['name'] === group,
  );
  const found = plains(item?.['versions']).find((one) => one['version'] === version);
  return found === undefined ? undefined : plains(found['resources']);
}

function fromLegacy(list: Plain, group: string, version: string): readonly object[] {
  const all = plains(list['resources']);
  return all
    .filter(({ name }) => !String(name).includes('/'))
    .map((resource) => {
      const { name, singularName, namespaced, verbs, shortNames, categories } = resource;
      const prefix = `${String(name)}/`;
      const subresources = all
        .filter((one) => String(one['name']).startsWith(prefix))
        .map((one) => ({
          subresource: String(one['name']).slice(prefix.length),
          responseKind: kindOf(one, group, version),
          verbs: one['verbs'],
        }));
      return {
        resource: name,
        responseKind: kindOf(resource, group, version),
        scope: namespaced === true ? 'Namespaced' : 'Cluster',
        singularResource: singularName,
        verbs,
        ...(shortNames === undefined ? {} : { shortNames }),
        ...(categories === undefined ? {} : { categories }),
        ...(subresources.length === 0 ? {} : { subresources }),
      };
    });
}

function kindOf(resource: Plain, group: string, version: string): object {
  const given = (name: string): string => {
    const value = resource[name];
    return typeof value === 'string' ? value : '';
  };
  return {
    group: given('group') === '' ? group : given('group'),
    version: given('version') === '' ? version : given('version'),
    kind: given('kind'),
  };
}

function plains(value: unknown): Plain[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
