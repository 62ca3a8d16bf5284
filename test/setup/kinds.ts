// The built-in kinds behind the real registry and a store in memory: what a test creates or
// updates passes decoding, defaults, the strategy's rules and allocation, but no HTTP.
import type { KubeObject, UnstructuredObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { decodeObject } from '#kube/machinery/decode.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { SchemaRegistry } from '#kube/machinery/schema.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { noWebhooks } from './api.ts';
import { createRegistry } from '../../electron/controlplane/registry/registry.ts';
import type { ClusterConfig } from '../../electron/controlplane/registry/resource.ts';
import { ResourceTable } from '../../electron/controlplane/registry/resource-table.ts';
import { builtInResources } from '../../electron/controlplane/registry/resources.ts';
import { objectRules, statusRules } from '../../electron/controlplane/registry/update.ts';
import { schemaDocuments } from '../../electron/controlplane/schemas.ts';
import { openMemoryStore } from '../../electron/controlplane/store/memory-store.ts';

export interface KindWorld {
  /** The object as stored. Throws the Status a client would get. */
  create(object: object): Promise<UnstructuredObject>;
  /** Changes a copy of the stored object and writes it. */
  update(
    created: KubeObject,
    change: (object: UnstructuredObject) => void,
    subresource?: 'status',
  ): Promise<UnstructuredObject>;
}

export const kindConfig: ClusterConfig = {
  serviceCidr: '10.96.0.0/24',
  nodePortRange: [30_000, 30_003],
};

export function kindWorld(config: ClusterConfig = kindConfig): KindWorld {
  const schemas = new SchemaRegistry(schemaDocuments);
  const table = new ResourceTable(builtInResources);
  const registry = createRegistry({
    store: openMemoryStore(),
    table,
    schemas,
    webhooks: noWebhooks,
    config,
    clock: new ManualClock(),
    random: seededRandom(1),
    logger: silentLogger,
  });
  const abort = new AbortController();
  void registry.start(abort.signal);

  function resourceOf({ apiVersion, kind }: KubeObject) {
    const [version = '', group = ''] = apiVersion.split('/').toReversed();
    const definition = table.lookupKind({ group, version, kind });
    if (definition === undefined) throw new Error(`${apiVersion} ${kind} is not in the table`);
    return registry.resource(definition);
  }

  return {
    async create(given) {
      const resource = resourceOf(given as KubeObject);
      const { definition } = resource;
      const decoded = decodeObject(schemas, definition.schema, given).object;
      const object = decoded as unknown as KubeObject;
      if (definition.namespaced) object.metadata.namespace ??= 'default';
      resource.applyDefaults(object);
      const { object: stored } = await resource.create(object, {});
      return stored as UnstructuredObject;
    },
    async update(created, change, subresource) {
      const resource = resourceOf(created);
      const { definition } = resource;
      const status = definition.subresources?.['status'];
      const rules =
        subresource === 'status' && status?.type === 'status'
          ? statusRules(status, definition)
          : objectRules(definition);
      const { name, namespace = '' } = created.metadata;
      const { stored } = await resource.update(
        {
          namespace,
          name,
          rules,
          change: async (old) => {
            const next = deepCopy(old?.object) as UnstructuredObject;
            change(next);
            resource.applyDefaults(next);
            return next;
          },
        },
        {},
      );
      return stored.object as UnstructuredObject;
    },
  };
}

/** The message of the Status something was refused with; '' when it went through. */
export async function refusal(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return '';
  } catch (error) {
    if (error instanceof StatusError) return error.message;
    throw error;
  }
}

/** A pod that needs nothing more; `spec` goes on top. */
export function podOf(spec: object = {}, metadata: object = {}): object {
  const containers = [{ name: 'web', image: 'nginx:1.29' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', ...metadata },
    spec: { containers, ...spec },
  };
}

/** A Deployment (or what `kind` says) that needs nothing more; `spec` goes on top. */
export function workloadOf(kind: string, spec: object = {}): object {
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name: 'web' },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'web', image: 'nginx:1.29' }] },
      },
      ...spec,
    },
  };
}

/** `container` on top of one that needs nothing more. */
export function containerOf(container: object): object {
  return { name: 'web', image: 'nginx:1.29', ...container };
}

export function serviceOf(spec: object = {}, metadata: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', ...metadata },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }], ...spec },
  };
}
