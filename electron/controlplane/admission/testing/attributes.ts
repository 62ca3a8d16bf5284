// For tests of plugins: what they are asked, and a cluster of a few objects for them to read.
import type { KubeObject } from '#kube/api/object.ts';
import {
  createAdmissionChain,
  type AdmissionAttributes,
  type AdmissionPlugin,
  type ObjectReader,
} from '../chain.ts';

export type Given = Partial<Omit<AdmissionAttributes, 'resource'>> & { readonly resource?: string };

const groups: Readonly<Record<string, string>> = {
  leases: 'coordination.k8s.io',
  priorityclasses: 'scheduling.k8s.io',
  deployments: 'apps',
  cronjobs: 'batch',
  ingresses: 'networking.k8s.io',
};

export function attributesOf({ resource = 'pods', ...given }: Given): AdmissionAttributes {
  const group = groups[resource] ?? '';
  return {
    operation: 'CREATE',
    resource: { group, version: 'v1', resource },
    kind: { group, version: 'v1', kind: '' },
    subresource: '',
    namespace: 'default',
    name: 'web',
    object: undefined,
    oldObject: undefined,
    dryRun: false,
    user: { name: 'admin', groups: [] },
    warn: () => {},
    ...given,
  };
}

/** Objects by `resource/namespace/name`. */
export function readerOf(objects: Readonly<Record<string, object>>): ObjectReader {
  return {
    get: async ({ resource }, namespace, name) =>
      objects[`${resource}/${namespace}/${name}`] as KubeObject | undefined,
    list: ({ resource }, namespace) =>
      Object.entries(objects)
        .filter(([key]) => key.startsWith(`${resource}/${namespace}/`))
        .map(([key, object]) => {
          const { metadata = {} } = object as Partial<KubeObject>;
          return { ...object, metadata: { name: key.split('/')[2], ...metadata } } as KubeObject;
        }),
  };
}

export async function run(plugin: AdmissionPlugin, given: Given): Promise<void> {
  const chain = createAdmissionChain([plugin]);
  const attributes = attributesOf(given);
  await chain.admit(attributes);
  await chain.validate(attributes);
}
