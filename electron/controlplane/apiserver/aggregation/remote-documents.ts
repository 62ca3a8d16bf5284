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
  /** By service and path; of those that are registered, no others. */
  readonly #kept = new Map<string, Kept>();
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
    this.#forget();
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

  /** What was said may not hold for what was registered since. */
  #forget(): void {
    const { generation } = this.#deps.apiServices;
    if (this.#seen === generation) return;
    this.#seen = generation;
    this.#kept.clear();
  }

  async #document(remote: RemoteApi, path: string, accept: string): Promise<Kept> {
    this.#forget();
    const { namespace, name, port } = remote.service;
    const key = `${namespace}/${name}:${port}${path}`;
    const nowMs = this.#deps.clock.monotonicMs();
    const kept = this.#kept.get(key);
    if (!remote.isAvailable) return { atMs: nowMs, isCurrent: false, document: kept?.document };
    if (kept !== undefined && nowMs - kept.atMs < (kept.isCurrent ? freshMs : retryMs)) return kept;
    const asking = this.#asking.get(key) ?? this.#ask(remote, path, accept, kept);
    this.#asking.set(key, asking);
    try {
      const made = await asking;
      this.#kept.set(key, made);
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
