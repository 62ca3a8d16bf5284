// The registry: one ResourceRegistry per definition, over one Store. It owns the objects' system
// fields and the order of the steps of every write; it knows no HTTP, no users and no admission
// plugins (those come in as closures).
// Source: kubernetes apiserver pkg/registry/generic/registry/store.go.
import type { GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import type { WebhookCaller } from '#kube/machinery/webhook.ts';
import type { Store } from '../store/store.ts';
import { CustomResources } from './custom-resources/catalog.ts';
import { ExpirySweeper } from './expiry-sweeper.ts';
import type { ClusterConfig, ResourceDefinition } from './resource.ts';
import { ResourceRegistry } from './resource-registry.ts';
import { storageKey, storagePrefix, type ResourceTable } from './resource-table.ts';
import type { StoredObject } from './storage-codec.ts';
import { statusRules } from './update.ts';

export interface RegistryDeps {
  readonly store: Store;
  readonly table: ResourceTable;
  readonly schemas: SchemaRegistry;
  /** Convert between versions of custom resources. */
  readonly webhooks: WebhookCaller;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: ClusterConfig;
  readonly logger: Logger;
}

export interface Registry {
  readonly table: ResourceTable;
  resource(definition: ResourceDefinition): ResourceRegistry;
  /**
   * Fills the caches and starts the sweepers of expired objects; resolves when lists can be
   * served. Everything ends when `signal` aborts.
   */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when the table has all kinds that were defined before the call. */
  refresh(): Promise<void>;
  /** True once every cache has its first list. For /readyz. */
  isReady(): boolean;
  /** Watches open now, for /metrics. */
  watcherCount(): number;
  /** For admission plugins (implements ObjectReader). Results are frozen, and without managedFields. */
  readonly reader: RegistryReader;
  /** Puts an object's status if the object still is as it was read. Throws 404 and 409. */
  writeStatus(resource: GroupVersionResource, object: KubeObject): Promise<void>;
}

export interface RegistryReader {
  /** Linearizable. */
  get(
    resource: GroupVersionResource,
    namespace: string,
    name: string,
  ): Promise<KubeObject | undefined>;
  /** As the cache has it now, which may be behind. */
  cached(resource: GroupVersionResource, namespace: string, name: string): KubeObject | undefined;
  /** All of a namespace ('' for all), as the cache has them now. */
  list(resource: GroupVersionResource, namespace: string): readonly KubeObject[];
}

export function createRegistry(deps: RegistryDeps): Registry {
  const { table } = deps;
  const resources = new Map<ResourceDefinition, ResourceRegistry>();
  for (const definition of table.builtIn)
    resources.set(definition, new ResourceRegistry(definition, deps));
  const custom = new CustomResources(deps, resources);
  const definitions = table.builtIn.find(isDefinitionKind);
  if (definitions !== undefined) resource(definitions).cacher.listen(custom);

  const builtIn = [...resources.values()].filter(({ definition }) => isStored(definition));

  function resource(definition: ResourceDefinition): ResourceRegistry {
    const found = resources.get(definition);
    assert(found, `${definition.plural} is in the table`);
    return found;
  }

  function resourceAt({ group, version, resource: plural }: GroupVersionResource) {
    const definition = table.lookup(group, version, plural);
    assert(definition, `${plural} is in the table`);
    return resource(definition);
  }

  return {
    table,
    resource,
    async start(signal) {
      custom.start(signal);
      for (const one of builtIn) startSweeper(one, deps, signal);
      await Promise.all(builtIn.map((one) => one.cacher.start(signal)));
      await custom.started();
    },
    async refresh() {
      if (definitions !== undefined) await resource(definitions).cacher.waitUntilCurrent();
    },
    isReady: () => builtIn.every((one) => one.cacher.isReady),
    watcherCount: () =>
      [...resources.values()].reduce((sum, { cacher }) => sum + cacher.watcherCount, 0),
    reader: {
      async get(at, namespace, name) {
        const found = resourceAt(at);
        return (await found.read(storageKey(found.definition, namespace, name)))?.shared;
      },
      cached(at, namespace, name) {
        const { cacher, definition } = resourceAt(at);
        return cacher.get(storageKey(definition, namespace, name))?.shared;
      },
      list(at, namespace) {
        const { cacher, definition } = resourceAt(at);
        return cacher.list(storagePrefix(definition, namespace)).map(({ shared }) => shared);
      },
    },
    async writeStatus(at, object) {
      const { definition } = resourceAt(at);
      const status = definition.subresources?.['status'];
      assert(status?.type === 'status', `${definition.plural} have a status of their own`);
      const { name, namespace = '' } = object.metadata;
      const change = async (old: StoredObject | undefined): Promise<KubeObject> => {
        const next = deepCopy(object);
        // What the reader gives has none.
        const managedFields = old?.copy().metadata.managedFields;
        if (managedFields !== undefined) next.metadata.managedFields = managedFields;
        return next;
      };
      const rules = statusRules(status, definition);
      await resource(definition).update({ namespace, name, rules, change }, {});
    },
  };
}

/** Of what is only answered there is nothing to follow. */
function isStored({ review, computed }: ResourceDefinition): boolean {
  return review === undefined && computed === undefined;
}

function isDefinitionKind({ group, plural }: ResourceDefinition): boolean {
  return group === 'apiextensions.k8s.io' && plural === 'customresourcedefinitions';
}

function startSweeper(resource: ResourceRegistry, deps: RegistryDeps, signal: AbortSignal): void {
  const { ttlSeconds } = resource.definition;
  if (ttlSeconds === undefined) return;
  const { store, clock, logger } = deps;
  const sweeper = new ExpirySweeper({ store, clock, logger, ttlMs: ttlSeconds * 1000, signal });
  resource.cacher.listen(sweeper);
}
