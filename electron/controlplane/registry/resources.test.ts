import { describe, expect, it } from 'vitest';
import { deepFreeze } from '#kube/machinery/equality.ts';
import { SchemaRegistry } from '#kube/machinery/schema.ts';
import { kindWorld, podOf, serviceOf, workloadOf } from '../../../test/setup/kinds.ts';
import { samples } from '../../../test/setup/samples.ts';
import { schemaDocuments } from '../schemas.ts';
import { bootstrapObjects, kubernetesServiceIP } from './bootstrap.ts';
import { ResourceTable } from './resource-table.ts';
import { builtInResources } from './resources.ts';

const schemas = new SchemaRegistry(schemaDocuments);
const table = new ResourceTable(builtInResources);

describe('every kind of the table', () => {
  it.each(builtInResources.map(({ plural, schema }) => ({ plural, schema })))(
    '$plural has its schema',
    ({ schema }) => expect(schemas.get(schema).type).toBe('object'),
  );

  it('has a name of its own, also a short one, but for other versions of it', () => {
    // Metrics are called what they are of, as with metrics-server.
    const kinds = builtInResources.filter(
      ({ storedAs, computed }) => storedAs === undefined && computed === undefined,
    );
    const names = kinds.flatMap(({ plural, shortNames = [] }) => [plural, ...shortNames]);
    expect(new Set(names).size).toBe(names.length);
  });

  it('shows its name and at least one thing more', () => {
    for (const { columns } of builtInResources.filter(({ review }) => review === undefined)) {
      expect(columns.some((column) => column.format === 'name')).toBe(true);
      expect(columns.length).toBeGreaterThan(1);
    }
  });
});

function definitionOf({ apiVersion, kind }: { apiVersion: string; kind: string }) {
  const [version = '', group = ''] = apiVersion.split('/').toReversed();
  return table.lookupKind({ group, version, kind });
}

describe('defaults', () => {
  const given = [
    podOf({
      serviceAccount: 'web',
      volumes: [
        {
          name: 'a',
          emptyDir: { sizeLimit: '1024Ki' },
        },
      ],
      containers: [
        {
          name: 'web',
          image: 'nginx',
          resources: { limits: { cpu: '1000m' } },
          env: [
            {
              name: 'CPU',
              valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } },
            },
          ],
        },
      ],
    }),
    serviceOf({ type: 'NodePort' }),
    serviceOf({ sessionAffinity: 'None' }, { name: 'plain' }),
    workloadOf('Deployment'),
    workloadOf('DaemonSet'),
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'lab' } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, stringData: { a: 'b' } },
    // What is stored in another version is converted there and back.
    ...samples.filter((one) => definitionOf(one)?.storedAs === undefined),
  ];
  it.each(given.map((object) => ({ object, kind: (object as { kind: string }).kind })))(
    'of a stored $kind have nothing left to write',
    async ({ object }) => {
      const stored = deepFreeze(structuredClone(await kindWorld().create(object)));
      expect(() => definitionOf(stored)?.strategy.applyDefaults?.(stored)).not.toThrow();
    },
  );
});

describe('bootstrap', () => {
  const config = {
    serviceCidr: '10.96.0.0/24',
    apiServerPort: 6443,
  };

  it('objects are legal, in their order', async () => {
    const world = kindWorld();
    const names: string[] = [];
    for (const object of bootstrapObjects(config)) {
      const { kind, metadata } = await world.create(object);
      names.push(`${kind} ${metadata.name}`);
    }
    expect(names).toEqual([
      'Namespace default',
      'Namespace kube-system',
      'Namespace kube-public',
      'Namespace kube-node-lease',
      'PriorityClass system-node-critical',
      'PriorityClass system-cluster-critical',
      'StorageClass local-path',
      'IngressClass flotilla',
      'Service kubernetes',
      'Service kube-dns',
      'ServiceCIDR kubernetes',
      'Discovery home',
      'ClusterBackup home',
    ]);
  });

  it('gives the API server the first address of the services', () => {
    expect(kubernetesServiceIP('10.96.0.0/16')).toBe('10.96.0.1');
  });
});
