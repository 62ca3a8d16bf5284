// Which groups, versions and resources there are, from the resource table and from the servers behind
// this one: the legacy form, one document per group and version, and the aggregated form that spares
// clients the many requests.
// Source: kubernetes apiserver pkg/endpoints/discovery, k8s.io/api/apidiscovery/v2.
import {
  builtInPriorities,
  compareGroups,
  compareGroupVersions,
  customPriority,
  type ApiPriority,
} from '#kube/machinery/api-priorities.ts';
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
  /** Another server answers for it. */
  readonly remote?: RemoteGroupVersion;
}

/** What another server answers for. */
export interface RemoteGroupVersion {
  readonly group: string;
  readonly version: string;
  /** In the aggregated form. */
  readonly resources: readonly object[];
  /** False: the server could not be asked, this is what it said before. */
  readonly isCurrent: boolean;
}

export interface RemoteDiscovery {
  /** Goes up with every change. */
  readonly generation: number;
  priorityOf(group: string, version: string): ApiPriority;
  groupVersions(): readonly RemoteGroupVersion[];
  /** Asks the servers again, if it is time. */
  refresh(): Promise<void>;
}

const noRemotes: RemoteDiscovery = {
  generation: 0,
  priorityOf: (group, version) => builtInPriorities.get(`${group}/${version}`) ?? customPriority,
  groupVersions: () => [],
  refresh: () => Promise.resolve(),
};

/** The resource table, or a list that stays as it is. */
export type Definitions = Iterable<ResourceDefinition> & { readonly generation?: number };

export class Discovery {
  readonly #definitions: Definitions;
  readonly #serverAddress: string;
  readonly #remotes: RemoteDiscovery;
  /** Of the table and of the remotes. */
  #madeOf = '';
  #documents = new Map<string, CachedDocument>();
  #aggregated = new Map<string, CachedDocument>();

  /** `serverAddress` is `host:port`, what clients without a better idea should call. */
  constructor(definitions: Definitions, serverAddress: string, remotes = noRemotes) {
    this.#definitions = definitions;
    this.#serverAddress = serverAddress;
    this.#remotes = remotes;
    this.#make();
  }

  get #source(): string {
    return `${this.#definitions.generation ?? 0} ${this.#remotes.generation}`;
  }

  #make(): void {
    const serverAddress = this.#serverAddress;
    this.#madeOf = this.#source;
    this.#documents = new Map();
    this.#aggregated = new Map();
    const groups = byGroup(this.#definitions, this.#remotes);
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
      // The others are asked themselves.
      for (const entry of versions.filter(({ remote }) => remote === undefined))
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
    const path = request.path.replace(/\/+$/, '');
    const form = acceptedForm(request.headers['accept']);
    if (form !== undefined && path === '/apis') await this.#remotes.refresh();
    if (this.#madeOf !== this.#source) this.#make();
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

/** In the order in which clients prefer groups and versions. */
function byGroup(
  definitions: Iterable<ResourceDefinition>,
  remotes: RemoteDiscovery,
): Map<string, readonly VersionGroup[]> {
  const groups = new Map<string, Map<string, VersionGroup>>();
  const versionsOf = (group: string): Map<string, VersionGroup> => {
    const versions = groups.get(group) ?? new Map<string, VersionGroup>();
    groups.set(group, versions);
    return versions;
  };
  for (const definition of definitions) {
    const { group, version } = definition;
    const before = versionsOf(group).get(version)?.definitions ?? [];
    versionsOf(group).set(version, { version, definitions: [...before, definition] });
  }
  for (const remote of remotes.groupVersions()) {
    const { group, version } = remote;
    versionsOf(group).set(version, { version, definitions: [], remote });
  }
  const ranked = [...groups].map(([name, versions]) => {
    const all = [...versions.values()].map((entry) => {
      const priority = remotes.priorityOf(name, entry.version);
      return { name: entry.version, priority: priority.version, group: priority.group, entry };
    });
    const priority = Math.max(...all.map(({ group }) => group));
    const sorted = all.sort(compareGroupVersions).map(({ entry }) => entry);
    return { name, priority, versions: sorted };
  });
  return new Map(ranked.sort(compareGroups).map(({ name, versions }) => [name, versions]));
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
      versions: versions.map(({ version, definitions, remote }) => ({
        version,
        resources: remote?.resources ?? definitions.map(aggregatedResource),
        freshness: remote?.isCurrent === false ? 'Stale' : 'Current',
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
