// The API described in OpenAPI: version 3 as an index with one document per group and version,
// version 2 as a single document. All derived from the resource table and the schemas; made when
// first asked for, then kept.
// Source: kubernetes kube-openapi pkg/handler, pkg/handler3.
import { setImmediate } from 'node:timers/promises';
import { isObject } from '#kube/machinery/equality.ts';
import { notAcceptable, pageNotFound } from '#kube/machinery/status.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import type { ResourceDefinition } from '../../registry/resource.ts';
import { apiVersionOfResource } from '../../registry/resource-table.ts';
import { subresourceKind, type Definitions } from './discovery.ts';
import { CachedDocument } from './document.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';
import { customOpenApi } from './openapi-custom.ts';
import { acceptsProtobuf, encodeOpenApi, openApiProtobufType } from './openapi-protobuf.ts';
import { pathsOf, subresourceSchema } from './openapi-paths.ts';
import {
  closureOf,
  listSchema,
  publishedName,
  scalarComponents,
  toOpenApi,
  type OpenApiForm,
  type Texts,
} from './openapi-schema.ts';
import { kubernetesVersion } from './version.ts';

const info = { title: 'Kubernetes', version: `v${kubernetesVersion}` };

/** Schemas every group's document carries, whether its kinds refer to them or not. */
const sharedSchemas = ['meta/v1.DeleteOptions', 'meta/v1.Status', 'meta/v1.ListMeta'];

/** By type, such as `apps/v1.Deployment`. */
export type Descriptions = Readonly<Record<string, Texts>>;

export interface OpenApiSources {
  readonly remotes?: RemoteOpenApi;
  /** Asked whenever a document is made, and not kept: they are large and seldom needed. */
  readonly describe?: () => Promise<Descriptions>;
}

/** What the servers behind this one say of theirs. */
export interface RemoteOpenApi {
  readonly generation: number;
  isRemote(group: string, version: string): boolean;
  /** By `apis/GROUP/VERSION`, as it stands in the index of version 3. */
  openApiIndex(): Promise<Readonly<Record<string, object>>>;
  /** Documents of version 2: the same ones as long as nothing changed. */
  openApiVersion2(): Promise<readonly RemoteVersion2[]>;
}

export interface RemoteVersion2 {
  /** Of the paths in it that are meant. */
  readonly prefix: string;
  readonly document: Readonly<Record<string, unknown>>;
}

const noRemotes: RemoteOpenApi = {
  generation: 0,
  isRemote: () => false,
  openApiIndex: () => Promise.resolve({}),
  openApiVersion2: () => Promise.resolve([]),
};

interface Manner {
  readonly form: OpenApiForm;
  readonly descriptions: Descriptions;
}

interface Version2 {
  readonly others: readonly unknown[];
  readonly document: CachedDocument;
}

interface GroupDocument {
  readonly definitions: readonly ResourceDefinition[];
  readonly document: CachedDocument;
}

export class OpenApi {
  readonly #source: Definitions;
  readonly #schemas: SchemaRegistry;
  #generation: string;
  readonly #remotes: RemoteOpenApi;
  readonly #describe: () => Promise<Descriptions>;
  #definitions: readonly ResourceDefinition[];
  /** With what each was made of: a group whose kinds are the same keeps its document. */
  #groups = new Map<string, GroupDocument>();
  #index: { readonly remote: string; readonly document: CachedDocument } | undefined;
  #version2 = new Map<'json' | 'protobuf', Version2>();

  constructor(definitions: Definitions, schemas: SchemaRegistry, more: OpenApiSources = {}) {
    const { remotes = noRemotes, describe = () => Promise.resolve({}) } = more;
    this.#source = definitions;
    this.#schemas = schemas;
    this.#remotes = remotes;
    this.#describe = describe;
    this.#definitions = this.#own();
    this.#generation = this.#generationNow;
  }

  get #generationNow(): string {
    return `${this.#source.generation ?? 0} ${this.#remotes.generation}`;
  }

  /** What this server itself answers for. */
  #own(): readonly ResourceDefinition[] {
    return [...this.#source].filter(
      ({ group, version }) => !this.#remotes.isRemote(group, version),
    );
  }

  #refresh(): void {
    const generation = this.#generationNow;
    if (this.#generation === generation) return;
    this.#generation = generation;
    this.#definitions = this.#own();
    this.#index = undefined;
    this.#version2.clear();
  }

  /** `/openapi/v2`, `/openapi/v3`, `/openapi/v3/apis/apps/v1`. Throws 404 and 406. */
  async answer(request: ApiRequest): Promise<ApiResponse> {
    this.#refresh();
    const path = request.path.replace(/\/+$/, '');
    const { accept } = request.headers;
    if (path === '/openapi/v2' && acceptsProtobuf(accept))
      return (await this.#version2In('protobuf')).answer(request);
    if (!acceptsJson(accept)) throw notAcceptable(['application/json']);
    if (path === '/openapi/v2') return (await this.#version2In('json')).answer(request);
    if (path === '/openapi/v3') return (await this.#wholeIndex()).answer(request);
    if (!path.startsWith('/openapi/v3/')) throw pageNotFound();
    const document = await this.#group(path.slice('/openapi/v3/'.length), this.#describe);
    if (document === undefined) throw pageNotFound();
    // A URL with a hash names this very content: clients may keep it for good.
    const isPinned = request.query.get('hash') === document.hash;
    const caching = isPinned ? 'public, immutable' : 'no-cache, private';
    return document.answer(request, { 'cache-control': caching });
  }

  async #wholeIndex(): Promise<CachedDocument> {
    const generation = this.#generation;
    const others = await this.#remotes.openApiIndex();
    const remote = JSON.stringify(others);
    if (this.#index?.remote === remote) return this.#index.document;
    const paths: Record<string, object> = {};
    // Once for all of them.
    let descriptions: Promise<Descriptions> | undefined;
    const describe = (): Promise<Descriptions> => (descriptions ??= this.#describe());
    for (const name of new Set(this.#definitions.map(groupPath))) {
      const hash = (await this.#group(name, describe))?.hash ?? '';
      paths[name] = { serverRelativeURL: `/openapi/v3/${name}?hash=${hash}` };
      // The others get their turn between two documents.
      await setImmediate();
    }
    const document = new CachedDocument({ paths: { ...paths, ...others } });
    // Something may have been defined meanwhile.
    if (generation === this.#generation) this.#index = { remote, document };
    return document;
  }

  async #group(
    name: string,
    describe: () => Promise<Descriptions>,
  ): Promise<CachedDocument | undefined> {
    const definitions = this.#definitions.filter((definition) => groupPath(definition) === name);
    const made = this.#groups.get(name);
    if (made !== undefined && isSame(made.definitions, definitions)) return made.document;
    this.#groups.delete(name);
    if (definitions.length === 0) return undefined;
    const descriptions = await describe();
    const document = new CachedDocument({
      openapi: '3.0.0',
      info,
      paths: this.#paths(definitions, 'v3'),
      components: { schemas: this.#components(definitions, { form: 'v3', descriptions }) },
    });
    this.#groups.set(name, { definitions, document });
    return document;
  }

  async #version2In(form: 'json' | 'protobuf'): Promise<CachedDocument> {
    const others = await this.#remotes.openApiVersion2();
    const made = this.#version2.get(form);
    const documents = others.map(({ document }) => document);
    if (made !== undefined && isSame(made.others, documents)) return made.document;
    const whole = this.#makeVersion2(others, await this.#describe());
    const document =
      form === 'json'
        ? new CachedDocument(whole)
        : new CachedDocument(encodeOpenApi(whole), openApiProtobufType);
    this.#version2.set(form, { others: documents, document });
    return document;
  }

  /** What two servers call the same is the same: types of Kubernetes' own. */
  #makeVersion2(others: readonly RemoteVersion2[], descriptions: Descriptions) {
    const paths = { ...this.#paths(this.#definitions, 'v2') };
    const definitions = { ...this.#components(this.#definitions, { form: 'v2', descriptions }) };
    for (const { prefix, document } of others) {
      for (const [path, item] of objectsIn(document['paths']))
        if (path.startsWith(prefix)) paths[path] = item;
      for (const [name, schema] of objectsIn(document['definitions'])) definitions[name] ??= schema;
    }
    return { swagger: '2.0', info, paths, definitions };
  }

  #paths(
    definitions: readonly ResourceDefinition[],
    form: OpenApiForm,
  ): Readonly<Record<string, object>> {
    const entries = definitions.flatMap((definition) => Object.entries(pathsOf(definition, form)));
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #schema(name: string, { form, descriptions }: Manner): object {
    const custom = this.#schemas.rulesOf(name);
    return custom === undefined
      ? toOpenApi(this.#schemas.get(name), form, descriptions[name])
      : customOpenApi(custom.published, form);
  }

  /** The schemas these kinds need, and no others. */
  #components(
    definitions: readonly ResourceDefinition[],
    manner: Manner,
  ): Readonly<Record<string, object>> {
    const { form } = manner;
    const components: Record<string, object> = scalarComponents(form);
    components[publishedName('meta/v1.Patch')] = { type: 'object' };
    const kinds = kindsOf(definitions);
    // Options of proxied requests have no schema here: they are not decoded, only passed on.
    for (const name of kinds.keys())
      if (!this.#schemas.has(name)) components[publishedName(name)] = { type: 'object' };
    for (const name of closureOf(this.#schemas, [...kinds.keys(), ...sharedSchemas]))
      components[publishedName(name)] = {
        ...this.#schema(name, manner),
        ...(kinds.has(name) ? { 'x-kubernetes-group-version-kind': kinds.get(name) } : {}),
      };
    for (const { schema, group, version, kind, listKind = `${kind}List` } of definitions) {
      const item = publishedName(schema);
      components[`${item}List`] = listSchema(item, { group, version, kind: listKind }, form);
    }
    return Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function objectsIn(value: unknown): [name: string, value: object][] {
  return Object.entries(isObject(value) ? value : {}).filter((entry): entry is [string, object] =>
    isObject(entry[1]),
  );
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((one, index) => one === b[index]);
}

/** Schema name → the kinds it is the schema of. */
function kindsOf(definitions: readonly ResourceDefinition[]): Map<string, object[]> {
  const kinds = new Map<string, object[]>();
  for (const definition of definitions) {
    const { group, version, kind, schema } = definition;
    kinds.set(schema, [...(kinds.get(schema) ?? []), { group, version, kind }]);
    for (const subresource of Object.values(definition.subresources ?? {})) {
      const name = subresourceSchema(definition, subresource);
      if (!kinds.has(name)) kinds.set(name, [subresourceKind(definition, subresource)]);
    }
  }
  return kinds;
}

/** `api/v1`, `apis/apps/v1`: how the index names a group's document. */
function groupPath(definition: ResourceDefinition): string {
  const prefix = definition.group === '' ? 'api' : 'apis';
  return `${prefix}/${apiVersionOfResource(definition)}`;
}

function acceptsJson(accept: string | undefined): boolean {
  if (accept === undefined || accept === '') return true;
  return accept
    .split(',')
    .map((entry) => entry.split(';')[0]?.trim())
    .some((type) => type === '*/*' || type === 'application/*' || type === 'application/json');
}
