// The API described in OpenAPI: version 3 as an index with one document per group and version,
// version 2 as a single document. All derived from the resource table and the schemas; made when
// first asked for, then kept.
// Source: kubernetes kube-openapi pkg/handler, pkg/handler3.
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
} from './openapi-schema.ts';
import { kubernetesVersion } from './version.ts';

const info = { title: 'Kubernetes', version: `v${kubernetesVersion}` };

/** Schemas every group's document carries, whether its kinds refer to them or not. */
const sharedSchemas = ['meta/v1.DeleteOptions', 'meta/v1.Status', 'meta/v1.ListMeta'];

interface GroupDocument {
  readonly definitions: readonly ResourceDefinition[];
  readonly document: CachedDocument;
}

export class OpenApi {
  readonly #source: Definitions;
  readonly #schemas: SchemaRegistry;
  #generation: number | undefined;
  #definitions: readonly ResourceDefinition[];
  /** With what each was made of: a group whose kinds are the same keeps its document. */
  #groups = new Map<string, GroupDocument>();
  #index: CachedDocument | undefined;
  #version2: CachedDocument | undefined;
  #version2Protobuf: CachedDocument | undefined;

  constructor(definitions: Definitions, schemas: SchemaRegistry) {
    this.#source = definitions;
    this.#generation = definitions.generation;
    this.#definitions = [...definitions];
    this.#schemas = schemas;
  }

  #refresh(): void {
    if (this.#generation === this.#source.generation) return;
    this.#generation = this.#source.generation;
    this.#definitions = [...this.#source];
    this.#index = undefined;
    this.#version2 = undefined;
    this.#version2Protobuf = undefined;
  }

  /** `/openapi/v2`, `/openapi/v3`, `/openapi/v3/apis/apps/v1`. Throws 404 and 406. */
  async answer(request: ApiRequest): Promise<ApiResponse> {
    this.#refresh();
    const path = request.path.replace(/\/+$/, '');
    const { accept } = request.headers;
    if (path === '/openapi/v2' && acceptsProtobuf(accept)) {
      this.#version2Protobuf ??= new CachedDocument(
        encodeOpenApi(this.#makeVersion2()),
        openApiProtobufType,
      );
      return this.#version2Protobuf.answer(request);
    }
    if (!acceptsJson(accept)) throw notAcceptable(['application/json']);
    if (path === '/openapi/v2') {
      this.#version2 ??= new CachedDocument(this.#makeVersion2());
      return this.#version2.answer(request);
    }
    if (path === '/openapi/v3') {
      this.#index ??= this.#makeIndex();
      return this.#index.answer(request);
    }
    const document = this.#group(path.slice('/openapi/v3/'.length));
    if (document === undefined || !path.startsWith('/openapi/v3/')) throw pageNotFound();
    // A URL with a hash names this very content: clients may keep it for good.
    const isPinned = request.query.get('hash') === document.hash;
    const caching = isPinned ? 'public, immutable' : 'no-cache, private';
    return document.answer(request, { 'cache-control': caching });
  }

  #makeIndex(): CachedDocument {
    const paths: Record<string, object> = {};
    for (const name of new Set(this.#definitions.map(groupPath))) {
      const hash = this.#group(name)?.hash ?? '';
      paths[name] = { serverRelativeURL: `/openapi/v3/${name}?hash=${hash}` };
    }
    return new CachedDocument({ paths });
  }

  #group(name: string): CachedDocument | undefined {
    const definitions = this.#definitions.filter((definition) => groupPath(definition) === name);
    const made = this.#groups.get(name);
    if (made !== undefined && isSame(made.definitions, definitions)) return made.document;
    this.#groups.delete(name);
    if (definitions.length === 0) return undefined;
    const document = new CachedDocument({
      openapi: '3.0.0',
      info,
      paths: this.#paths(definitions, 'v3'),
      components: { schemas: this.#components(definitions, 'v3') },
    });
    this.#groups.set(name, { definitions, document });
    return document;
  }

  #makeVersion2() {
    return {
      swagger: '2.0',
      info,
      paths: this.#paths(this.#definitions, 'v2'),
      definitions: this.#components(this.#definitions, 'v2'),
    };
  }

  #paths(
    definitions: readonly ResourceDefinition[],
    form: OpenApiForm,
  ): Readonly<Record<string, object>> {
    const entries = definitions.flatMap((definition) => Object.entries(pathsOf(definition, form)));
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #schema(name: string, form: OpenApiForm): object {
    const custom = this.#schemas.rulesOf(name);
    return custom === undefined
      ? toOpenApi(this.#schemas.get(name), form)
      : customOpenApi(custom.published, form);
  }

  /** The schemas these kinds need, and no others. */
  #components(
    definitions: readonly ResourceDefinition[],
    form: OpenApiForm,
  ): Readonly<Record<string, object>> {
    const components: Record<string, object> = scalarComponents(form);
    components[publishedName('meta/v1.Patch')] = { type: 'object' };
    const kinds = kindsOf(definitions);
    // Options of proxied requests have no schema here: they are not decoded, only passed on.
    for (const name of kinds.keys())
      if (!this.#schemas.has(name)) components[publishedName(name)] = { type: 'object' };
    for (const name of closureOf(this.#schemas, [...kinds.keys(), ...sharedSchemas]))
      components[publishedName(name)] = {
        ...this.#schema(name, form),
        ...(kinds.has(name) ? { 'x-kubernetes-group-version-kind': kinds.get(name) } : {}),
      };
    for (const { schema, group, version, kind, listKind = `${kind}List` } of definitions) {
      const item = publishedName(schema);
      components[`${item}List`] = listSchema(item, { group, version, kind: listKind }, form);
    }
    return Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1)));
  }
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
