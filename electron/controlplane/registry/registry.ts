// The registry: one ResourceRegistry per definition, over one Store. It owns the objects' system
// fields and the order of the steps of every write; it knows no HTTP, no users and no admission
// plugins (those come in as closures).
// Source: kubernetes apiserver pkg/registry/generic/registry/store.go.
import type { KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import type { Store } from '../store/store.ts';
import type { ClusterConfig, ResourceDefinition } from './resource.ts';
import type { ResourceTable } from './resource-table.ts';

export interface RegistryDeps {
  readonly store: Store;
  readonly table: ResourceTable;
  readonly schemas: SchemaRegistry;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: ClusterConfig;
  readonly logger: Logger;
}

export interface Registry {
  readonly table: ResourceTable;
  resource(definition: ResourceDefinition): ResourceRegistry;
  /** Fills the caches and starts the sweeper of expired objects; resolves when lists can be served. */
  start(signal: AbortSignal): Promise<void>;
  /** True once every cache has its first list. For /readyz. */
  isReady(): boolean;
  /** Watches open now, for /metrics. */
  watcherCount(): number;
  /** A linearizable read for admission plugins (implements ObjectReader). */
  readonly reader: RegistryReader;
}

export interface RegistryReader {
  get(
    resource: { readonly group: string; readonly version: string; readonly resource: string },
    namespace: string,
    name: string,
  ): Promise<KubeObject | undefined>;
}

export interface ResourceRegistry {
  readonly definition: ResourceDefinition;
}
