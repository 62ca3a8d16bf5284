// Pods in the resource table.
import type { Pod } from '#kube/api/core.ts';
import { podColumns } from '../columns/pods.ts';
import type { ResourceDefinition } from '../resource.ts';
import { podStatus, podStrategy } from '../strategies/pod/strategy.ts';
import { core, generic } from './define.ts';

const pods: ResourceDefinition<Pod> = {
  ...core('Pod', 'pods'),
  shortNames: ['po'],
  categories: ['all'],
  strategy: podStrategy,
  columns: podColumns,
  fieldSelectors: {
    'spec.nodeName': ({ spec }) => spec.nodeName ?? '',
    'spec.restartPolicy': ({ spec }) => spec.restartPolicy ?? '',
    'spec.schedulerName': ({ spec }) => spec.schedulerName ?? '',
    'spec.serviceAccountName': ({ spec }) => spec.serviceAccountName ?? '',
    'spec.hostNetwork': ({ spec }) => `${spec.hostNetwork ?? false}`,
    'status.phase': ({ status }) => status?.phase ?? '',
    'status.podIP': ({ status }) => status?.podIPs?.[0]?.ip ?? status?.podIP ?? '',
    'status.nominatedNodeName': ({ status }) => status?.nominatedNodeName ?? '',
  },
  subresources: {
    status: podStatus,
    log: { type: 'connect', handler: 'pod-log', kind: 'Pod', verbs: ['get'] },
    binding: { type: 'connect', handler: 'pod-binding', kind: 'Binding', verbs: ['create'] },
    eviction: {
      type: 'connect',
      handler: 'pod-eviction',
      kind: 'Eviction',
      group: 'policy',
      version: 'v1',
      verbs: ['create'],
    },
  },
};

export const podsResources: readonly ResourceDefinition[] = [generic(pods)];
