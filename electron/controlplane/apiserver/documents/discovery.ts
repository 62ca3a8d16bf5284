// Which groups, versions and resources there are, all from the resource table: the legacy form, one
// document per group and version, and the aggregated form that spares clients the many requests.
// Source: kubernetes apiserver pkg/endpoints/discovery, k8s.io/api/apidiscovery/v2.
import { pageNotFound } from '#kube/machinery/status.ts';
import {
  allVerbs,
  type ResourceDefinition,
  type Subresource,
  type Verb,
} from '../../registry/resource.ts';
import { CachedDocument } from './document.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';

interface DiscoveredKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

interface VersionGroup {
  readonly version: string;
  readonly definitions: readonly ResourceDefinition[];
}

/** The resource table, or a list that stays as it is. */
export type Definitions = Iterable<ResourceDefinition> & { readonly generation?: number };

export class Discovery {
  readonly #definitions: Definitions;
  readonly #serverAddress: string;
  #generation: number | undefined;
  #documents = new Map<string, CachedDocument>();
  #aggregated = new Map<string, CachedDocument>();

  /** `serverAddress` is `host:port`, what clients without a better idea should call. */
  constructor(definitions: Definitions, serverAddress: string) {
    this.#definitions = definitions;
    this.#serverAddress = serverAddress;
    this.#make();
  }

  #make(): void {
    const serverAddress = this.#serverAddress;
    this.#generation = this.#definitions.generation;
    this.#documents = new Map();
    this.#aggregated = new Map();
    const groups = byGroup(this.#definitions);
    const core = groups.get('') ?? [];
    const named = [...groups].filter(([group]) => group !== '');
    this.#documents.set('/api', new CachedDocument(apiVersions(core, serverAddress)));
    this.#documents.set(
      '/apis',
      new CachedDocument({
        kind: 'APIGroupList',
        apiVersion: 'v1',
        groups: named.map(([group, versions]) => apiGroup(group, versions)),
      }),
    );
    for (const [group, versions] of groups) {
      const base = group === '' ? '/api' : `/apis/${group}`;
      if (group !== '') {
        const document = { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group, versions) };
        this.#documents.set(base, new CachedDocument(document));
      }
      for (const entry of versions)
        this.#documents.set(
          `${base}/${entry.version}`,
          new CachedDocument(apiResourceList(group, entry)),
        );
    }
    for (const form of aggregatedForms) {
      this.#aggregated.set(`/api ${form}`, aggregated(form, groups.has('') ? [['', core]] : []));
      this.#aggregated.set(`/apis ${form}`, aggregated(form, named));
    }
  }

  /** Paths under /api and /apis that are not resources. Throws 404. */
  async answer(request: ApiRequest): Promise<ApiResponse> {
    if (this.#generation !== this.#definitions.generation) this.#make();
    const path = request.path.replace(/\/+$/, '');
    const form = acceptedForm(request.headers['accept']);
    const document =
      (form === undefined ? undefined : this.#aggregated.get(`${path} ${form}`)) ??
      this.#documents.get(path);
    if (document === undefined) throw pageNotFound();
    return document.answer(request, { 'cache-control': 'public' });
  }
}

const aggregatedForms = ['v2', 'v2beta1'] as const;
type AggregatedForm = (typeof aggregatedForms)[number];

/** The first media type the client names that we have; undefined is the legacy form. */
function acceptedForm(accept: string | undefined): AggregatedForm | undefined {
  for (const entry of (accept ?? '').split(',')) {
    const [type, ...parameters] = entry.split(';').map((part) => part.trim());
    if (type !== 'application/json') continue;
    if (!parameters.includes('as=APIGroupDiscoveryList')) return undefined;
    const form = aggregatedForms.find((version) => parameters.includes(`v=${version}`));
    if (form !== undefined && parameters.includes('g=apidiscovery.k8s.io')) return form;
  }
  return undefined;
}

function byGroup(definitions: Iterable<ResourceDefinition>): Map<string, VersionGroup[]> {
  const groups = new Map<string, Map<string, ResourceDefinition[]>>();
  for (const definition of definitions) {
    const versions = groups.get(definition.group) ?? new Map<string, ResourceDefinition[]>();
    groups.set(definition.group, versions);
    const list = versions.get(definition.version) ?? [];
    versions.set(definition.version, list);
    list.push(definition);
  }
  return new Map(
    [...groups].map(([group, versions]) => [
      group,
      [...versions].map(([version, list]) => ({ version, definitions: list })),
    ]),
  );
}

function apiVersions(core: readonly VersionGroup[], serverAddress: string): object {
  return {
    kind: 'APIVersions',
    versions: core.map(({ version }) => version),
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
  };
}

function apiGroup(group: string, versions: readonly VersionGroup[]): object {
  const all = versions.map(({ version }) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: all, preferredVersion: all[0] };
}

function apiResourceList(group: string, { version, definitions }: VersionGroup): object {
  return {
    kind: 'APIResourceList',
    ...(group === '' ? {} : { apiVersion: 'v1' }),
    groupVersion: group === '' ? version : `${group}/${version}`,
    resources: definitions.flatMap((definition) => [
      apiResource(definition),
      ...subresourcesOf(definition).map(({ name, subresource }) =>
        apiSubresource(definition, name, subresource),
      ),
    ]),
  };
}

function apiResource(definition: ResourceDefinition): object {
  const { shortNames, categories } = definition;
  return {
    name: definition.plural,
    singularName: definition.singular,
    namespaced: definition.namespaced,
    kind: definition.kind,
    verbs: verbsOf(definition),
    ...(shortNames === undefined ? {} : { shortNames }),
    ...(categories === undefined ? {} : { categories }),
  };
}

function apiSubresource(
  definition: ResourceDefinition,
  name: string,
  subresource: Subresource,
): object {
  const target = subresourceKind(definition, subresource);
  const isOwn = target.group === definition.group && target.version === definition.version;
  // `kubectl drain` looks for group and version of pods/eviction.
  return {
    name: `${definition.plural}/${name}`,
    singularName: '',
    namespaced: definition.namespaced,
    ...(isOwn ? {} : { group: target.group, version: target.version }),
    kind: target.kind,
    verbs: subresourceVerbs(subresource),
  };
}

function aggregated(
  form: AggregatedForm,
  groups: readonly (readonly [string, readonly VersionGroup[]])[],
): CachedDocument {
  const document = {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${form}`,
    metadata: {},
    items: groups.map(([group, versions]) => ({
      metadata: { ...(group === '' ? {} : { name: group }), creationTimestamp: null },
      versions: versions.map(({ version, definitions }) => ({
        version,
        resources: definitions.map(aggregatedResource),
        freshness: 'Current',
      })),
    })),
  };
  // The type must be echoed, or clients fall back to the legacy form.
  const type = `application/json;g=apidiscovery.k8s.io;v=${form};as=APIGroupDiscoveryList`;
  return new CachedDocument(document, type);
}

function aggregatedResource(definition: ResourceDefinition): object {
  const { group, version, kind, shortNames, categories } = definition;
  const subresources = subresourcesOf(definition).map(({ name, subresource }) => ({
    subresource: name,
    responseKind: subresourceKind(definition, subresource),
    verbs: subresourceVerbs(subresource),
  }));
  return {
    resource: definition.plural,
    responseKind: { group, version, kind },
    scope: definition.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: definition.singular,
    verbs: verbsOf(definition),
    ...(shortNames === undefined ? {} : { shortNames }),
    ...(categories === undefined ? {} : { categories }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}

function verbsOf(definition: ResourceDefinition): readonly Verb[] {
  return [...(definition.verbs ?? allVerbs)].sort();
}

function subresourcesOf(
  definition: ResourceDefinition,
): { readonly name: string; readonly subresource: Subresource }[] {
  return Object.entries(definition.subresources ?? {})
    .map(([name, subresource]) => ({ name, subresource }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The kind a subresource speaks: the object's own, or one of its own (Scale, Eviction). */
export function subresourceKind(
  definition: ResourceDefinition,
  subresource: Subresource,
): DiscoveredKind {
  const { group, version, kind } = definition;
  switch (subresource.type) {
    case 'status':
      return { group, version, kind };
    case 'scale':
      return { group: 'autoscaling', version: 'v1', kind: 'Scale' };
    case 'connect':
      return {
        group: subresource.group ?? group,
        version: subresource.version ?? version,
        kind: subresource.kind,
      };
  }
}

export function subresourceVerbs(subresource: Subresource): readonly string[] {
  return subresource.type === 'connect'
    ? [...subresource.verbs].sort()
    : ['get', 'patch', 'update'];
}
