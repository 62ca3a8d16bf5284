// Pods in the resource table.
import type { Binding, Pod } from '#kube/api/core.ts';
import { podColumns } from '../columns/pods.ts';
import type { ResourceDefinition } from '../resource.ts';
import { podResize } from '../strategies/pod/resize.ts';
import { podEphemeralContainers, podStatus, podStrategy } from '../strategies/pod/strategy.ts';
import { core, generic, proxyVerbs } from './define.ts';

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
    ephemeralcontainers: podEphemeralContainers,
    resize: podResize,
    log: { type: 'connect', handler: 'pod-log', kind: 'Pod', verbs: ['get'] },
    exec: {
      type: 'connect',
      handler: 'pod-exec',
      kind: 'PodExecOptions',
      verbs: ['create', 'get'],
    },
    attach: {
      type: 'connect',
      handler: 'pod-attach',
      kind: 'PodAttachOptions',
      verbs: ['create', 'get'],
    },
    proxy: {
      type: 'connect',
      handler: 'pod-proxy',
      kind: 'PodProxyOptions',
      verbs: proxyVerbs,
    },
    portforward: {
      type: 'connect',
      handler: 'pod-portforward',
      kind: 'PodPortForwardOptions',
      verbs: ['create', 'get'],
    },
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

/** What came before pods/binding: the pod is named by the body. */
const bindings: ResourceDefinition<Binding> = {
  ...core('Binding', 'bindings'),
  verbs: ['create'],
  review: 'binding',
  strategy: { validate: () => [] },
  columns: [],
};

export const podsResources: readonly ResourceDefinition[] = [generic(pods), generic(bindings)];
