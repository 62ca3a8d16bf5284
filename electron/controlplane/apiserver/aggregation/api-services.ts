// Who answers for which group and version, as the cache of APIServices tells: this server, or one
// behind it.
import type { APIService, APIServiceSpec } from '#kube/api/apiregistration.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import {
  builtInPriorities,
  customPriority,
  type ApiPriority,
} from '#kube/machinery/api-priorities.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { CacheEvent, CacheListener } from '../../registry/cacher.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';

export interface RemoteApi {
  readonly group: string;
  readonly version: string;
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
  readonly spec: APIServiceSpec;
  readonly isAvailable: boolean;
}

export class ApiServices implements CacheListener {
  readonly #priorities = new Map<string, ApiPriority>();
  /** By `group/version`. */
  readonly #remotes = new Map<string, RemoteApi>();
  #generation = 0;

  /** Goes up with every change. */
  get generation(): number {
    return this.#generation;
  }

  /** Undefined: this server itself answers. */
  remote(group: string, version: string): RemoteApi | undefined {
    return this.#remotes.get(`${group}/${version}`);
  }

  remotes(): readonly RemoteApi[] {
    return [...this.#remotes.values()];
  }

  priorityOf(group: string, version: string): ApiPriority {
    const name = `${group}/${version}`;
    return this.#priorities.get(name) ?? builtInPriorities.get(name) ?? customPriority;
  }

  onReset(objects: readonly StoredObject[]): void {
    this.#priorities.clear();
    this.#remotes.clear();
    for (const { object } of objects) this.#set(object);
    this.#generation++;
  }

  onEvent({ current, previous }: CacheEvent): void {
    if (current !== undefined) this.#set(current.object);
    else if (previous !== undefined) this.#remove(nameOf(previous.object));
    this.#generation++;
  }

  #set(object: KubeObject): void {
    const name = nameOf(object);
    const { spec } = object as APIService;
    this.#priorities.set(name, { group: spec.groupPriorityMinimum, version: spec.versionPriority });
    const remote = remoteOf(object as APIService);
    if (remote === undefined) this.#remotes.delete(name);
    else this.#remotes.set(name, remote);
  }

  #remove(name: string): void {
    this.#priorities.delete(name);
    this.#remotes.delete(name);
  }
}

function nameOf(object: KubeObject): string {
  const { group = '', version = '' } = (object as APIService).spec;
  return `${group}/${version}`;
}

/** Undefined for a local one. */
export function remoteOf({ spec, status }: APIService): RemoteApi | undefined {
  const { group = '', version = '', service } = spec;
  // Differs: the core group can't be given away: without it nothing here works.
  if (service === undefined || group === '') return undefined;
  const { namespace = '', name = '', port = 443 } = service;
  const isAvailable = isConditionTrue(status?.conditions, 'Available');
  return { group, version, service: { namespace, name, port }, spec, isAvailable };
}
