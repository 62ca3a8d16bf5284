// The kinds that CustomResourceDefinitions bring, as the cache of those tells: it keeps the resource
// table, the schemas and the registries in step with what is stored, at once and on every member.
// A definition that changed gets new registries: watches of the old ones end, clients begin again.
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import type { CacheEvent, CacheListener } from '../cacher.ts';
import type { RegistryDeps } from '../registry.ts';
import type { ResourceDefinition } from '../resource.ts';
import { ResourceRegistry } from '../resource-registry.ts';
import type { StoredObject } from '../storage-codec.ts';
import { webhookConverter } from './conversion.ts';
import { customKinds, isCustomResourceDefinition, servedForm } from './definitions.ts';

interface Served {
  readonly form: string;
  readonly schemaNames: readonly string[];
  readonly stop: AbortController;
}

export class CustomResources implements CacheListener {
  readonly #deps: RegistryDeps;
  readonly #registries: Map<ResourceDefinition, ResourceRegistry>;
  /** By the definition's name. */
  readonly #served = new Map<string, Served>();
  #signal: AbortSignal | undefined;
  /** Undefined once the start is over. */
  #starting: Promise<void>[] | undefined = [];

  /** `registries`: those of all kinds, which this adds to and takes from. */
  constructor(deps: RegistryDeps, registries: Map<ResourceDefinition, ResourceRegistry>) {
    this.#deps = deps;
    this.#registries = registries;
  }

  /** Before the first definition comes. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener('abort', () => {
      for (const { stop } of this.#served.values()) stop.abort();
    });
  }

  /** The caches of what was there from the start are filled. */
  async started(): Promise<void> {
    const starting = this.#starting ?? [];
    this.#starting = undefined;
    await Promise.all(starting);
  }

  onReset(objects: readonly StoredObject[]): void {
    const names = new Set<string>();
    for (const { object } of objects) {
      names.add(object.metadata.name);
      if (isCustomResourceDefinition(object)) this.#set(object);
    }
    for (const name of this.#served.keys()) if (!names.has(name)) this.#remove(name);
  }

  onEvent({ current, previous }: CacheEvent): void {
    if (current === undefined) {
      if (previous !== undefined) this.#remove(previous.object.metadata.name);
    } else if (isCustomResourceDefinition(current.object)) this.#set(current.object);
  }

  #set(crd: CustomResourceDefinition): void {
    const { name } = crd.metadata;
    const form = servedForm(crd);
    if (this.#served.get(name)?.form === form) return;
    const { schemas, table, logger } = this.#deps;
    const converter = webhookConverter(crd, this.#deps);
    const { definitions, schemas: types } = customKinds(crd, schemas, converter);
    const old = this.#take(name);
    for (const [type, { schema, rules }] of types) schemas.define(type, schema, rules);
    for (const type of old?.schemaNames ?? []) if (!types.has(type)) schemas.remove(type);
    const stop = new AbortController();
    this.#served.set(name, { form, schemaNames: [...types.keys()], stop });
    table.setCustom(name, definitions);
    for (const definition of definitions) this.#serve(definition, stop.signal);
    old?.stop.abort();
    logger.info('Serves a custom resource', { definition: name, versions: definitions.length });
  }

  #remove(name: string): void {
    const old = this.#take(name);
    if (old === undefined) return;
    this.#deps.table.setCustom(name, []);
    for (const type of old.schemaNames) this.#deps.schemas.remove(type);
    old.stop.abort();
    this.#deps.logger.info('Serves a custom resource no longer', { definition: name });
  }

  #take(name: string): Served | undefined {
    for (const definition of this.#deps.table.customOf(name)) this.#registries.delete(definition);
    const served = this.#served.get(name);
    this.#served.delete(name);
    return served;
  }

  #serve(definition: ResourceDefinition, ended: AbortSignal): void {
    const registry = new ResourceRegistry(definition, this.#deps, ended);
    this.#registries.set(definition, registry);
    if (this.#signal?.aborted === true) return;
    const started = registry.cacher.startLater(ended);
    this.#starting?.push(started);
  }
}
