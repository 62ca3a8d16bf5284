// What the servers behind this one say of themselves, for the merged documents: asked for when
// somebody wants those, kept for a minute. One that does not answer is told of with what is known.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { isObject } from '#kube/machinery/equality.ts';
import type { RemoteGroupVersion, RemoteDiscovery } from '../documents/discovery.ts';
import type { RemoteOpenApi, RemoteVersion2 } from '../documents/openapi.ts';
import type { Aggregator } from './aggregator.ts';
import type { ApiServices, RemoteApi } from './api-services.ts';
import { resourcesIn } from './remote-discovery.ts';

const freshMs = 60_000;
const retryMs = 10_000;
const aggregatedForm = ['v2', 'v2beta1']
  .map((version) => `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`)
  .join(',');

interface Kept {
  readonly atMs: number;
  readonly isCurrent: boolean;
  /** Undefined: it never came. */
  readonly document: unknown;
}

export interface RemoteDocumentsDeps {
  readonly apiServices: ApiServices;
  readonly aggregator: Aggregator;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class RemoteDocuments implements RemoteDiscovery, RemoteOpenApi {
  readonly #deps: RemoteDocumentsDeps;
  /** By service, then by path; of services that are registered, no others. */
  readonly #kept = new Map<string, Map<string, Kept>>();
  readonly #asking = new Map<string, Promise<Kept>>();
  #seen = 0;
  #groupVersions: readonly RemoteGroupVersion[] = [];
  #form = '[]';
  #changes = 0;

  constructor(deps: RemoteDocumentsDeps) {
    this.#deps = deps;
  }

  get generation(): number {
    return this.#deps.apiServices.generation + this.#changes;
  }

  priorityOf(group: string, version: string) {
    return this.#deps.apiServices.priorityOf(group, version);
  }

  /** As of the last refresh; those registered since have no resources yet. */
  groupVersions(): readonly RemoteGroupVersion[] {
    return this.#deps.apiServices.remotes().map(({ group, version }) => {
      const known = this.#groupVersions.find(
        (one) => one.group === group && one.version === version,
      );
      return known ?? { group, version, resources: [], isCurrent: false };
    });
  }

  async refresh(): Promise<void> {
    const remotes = this.#deps.apiServices.remotes();
    this.#look();
    if (remotes.length === 0 && this.#groupVersions.length === 0) return;
    const found = await Promise.all(remotes.map((remote) => this.#groupVersion(remote)));
    const form = JSON.stringify(found);
    if (form === this.#form) return;
    this.#form = form;
    this.#groupVersions = found;
    this.#changes++;
  }

  async #groupVersion(remote: RemoteApi): Promise<RemoteGroupVersion> {
    const { group, version } = remote;
    const whole = await this.#document(remote, '/apis', aggregatedForm);
    let resources = resourcesIn(whole.document, group, version);
    let { isCurrent } = whole;
    if (resources === undefined) {
      const legacy = await this.#document(remote, `/apis/${group}/${version}`, 'application/json');
      resources = resourcesIn(legacy.document, group, version);
      ({ isCurrent } = legacy);
    }
    return {
      group,
      version,
      resources: resources ?? [],
      isCurrent: isCurrent && resources !== undefined,
    };
  }

  isRemote(group: string, version: string): boolean {
    return this.#deps.apiServices.remote(group, version) !== undefined;
  }

  /** Entries of the index of OpenAPI 3: of the groups that are registered, no others. */
  async openApiIndex(): Promise<Readonly<Record<string, object>>> {
    const entries = await Promise.all(
      this.#deps.apiServices.remotes().map(async (remote) => {
        const path = `apis/${remote.group}/${remote.version}`;
        const { document } = await this.#document(remote, '/openapi/v3', 'application/json');
        const all = isObject(document) ? document['paths'] : undefined;
        const entry = isObject(all) ? all[path] : undefined;
        return isObject(entry) ? [[path, entry] as const] : [];
      }),
    );
    return Object.fromEntries(entries.flat());
  }

  async openApiVersion2(): Promise<readonly RemoteVersion2[]> {
    const documents = await Promise.all(
      this.#deps.apiServices.remotes().map(async (remote) => {
        const { document } = await this.#document(remote, '/openapi/v2', 'application/json');
        const prefix = `/apis/${remote.group}/${remote.version}/`;
        return isObject(document) ? [{ prefix, document }] : [];
      }),
    );
    return documents.flat();
  }

  /** What was said may not hold for what was registered since: it is asked for again. */
  #look(): void {
    const { apiServices } = this.#deps;
    if (this.#seen === apiServices.generation) return;
    this.#seen = apiServices.generation;
    const registered = new Set(apiServices.remotes().map(serviceKey));
    for (const [service, documents] of this.#kept)
      if (!registered.has(service)) this.#kept.delete(service);
      else for (const [path, kept] of documents) documents.set(path, { ...kept, atMs: -Infinity });
  }

  #documentsOf(remote: RemoteApi): Map<string, Kept> {
    const key = serviceKey(remote);
    const documents = this.#kept.get(key) ?? new Map<string, Kept>();
    this.#kept.set(key, documents);
    return documents;
  }

  async #document(remote: RemoteApi, path: string, accept: string): Promise<Kept> {
    this.#look();
    const documents = this.#documentsOf(remote);
    const key = `${serviceKey(remote)}${path}`;
    const nowMs = this.#deps.clock.monotonicMs();
    const kept = documents.get(path);
    if (!remote.isAvailable) return { atMs: nowMs, isCurrent: false, document: kept?.document };
    if (kept !== undefined && nowMs - kept.atMs < (kept.isCurrent ? freshMs : retryMs)) return kept;
    const asking = this.#asking.get(key) ?? this.#ask(remote, path, accept, kept);
    this.#asking.set(key, asking);
    try {
      const made = await asking;
      documents.set(path, made);
      return made;
    } finally {
      this.#asking.delete(key);
    }
  }

  async #ask(
    remote: RemoteApi,
    path: string,
    accept: string,
    kept: Kept | undefined,
  ): Promise<Kept> {
    const { aggregator, clock, logger } = this.#deps;
    try {
      const { status, body } = await aggregator.fetch(remote, path, { accept });
      const atMs = clock.monotonicMs();
      // It has no such document: an answer like any other.
      if (status === 404 || status === 406) return { atMs, isCurrent: true, document: undefined };
      if (status !== 200) throw new Error(`status ${status}`);
      return { atMs, isCurrent: true, document: JSON.parse(body.toString()) };
    } catch (error) {
      const { group, version } = remote;
      logger.warn('A server behind this one did not tell what it serves', {
        groupVersion: `${group}/${version}`,
        path,
        error,
      });
      return { atMs: clock.monotonicMs(), isCurrent: false, document: kept?.document };
    }
  }
}

function serviceKey({ service }: RemoteApi): string {
  const { namespace, name, port } = service;
  return `${namespace}/${name}:${port}`;
}
