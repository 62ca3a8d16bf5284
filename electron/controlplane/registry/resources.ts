// The resource table: every built-in kind, declared once. Routes, discovery, OpenAPI, storage
// keys, garbage collection and namespace deletion derive from it. To add a kind: an entry here,
// its strategy, its columns, its schema.
// Source: kubernetes pkg/registry/*/rest, pkg/apis/*/v1/conversion.go (field selectors).
import type { ControllerRevision, DaemonSet, Deployment, ReplicaSet } from '#kube/api/apps.ts';
import type { Lease } from '#kube/api/coordination.ts';
import type {
  ConfigMap,
  Event,
  Namespace,
  Node,
  Pod,
  ReplicationController,
  Secret,
  Service,
  ServiceAccount,
} from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { formatLabelSelector, labelsMatcher } from '#kube/machinery/selector.ts';
import {
  configMapColumns,
  eventColumns,
  namespaceColumns,
  secretColumns,
  serviceAccountColumns,
} from './columns/config.ts';
import { leaseColumns, nodeColumns } from './columns/nodes.ts';
import { podColumns } from './columns/pods.ts';
import { endpointSliceColumns, serviceColumns } from './columns/services.ts';
import {
  controllerRevisionColumns,
  daemonSetColumns,
  deploymentColumns,
  replicaSetColumns,
  replicationControllerColumns,
} from './columns/workloads.ts';
import { allVerbs, type ResourceDefinition } from './resource.ts';
import { configMapStrategy, secretStrategy, serviceAccountStrategy } from './strategies/config.ts';
import {
  controllerRevisionStrategy,
  daemonSetStatus,
  daemonSetStrategy,
} from './strategies/daemon-set.ts';
import {
  deploymentStatus,
  deploymentStrategy,
  replicaSetStatus,
  replicaSetStrategy,
} from './strategies/deployment.ts';
import { namespaceStatus, namespaceStrategy } from './strategies/namespace.ts';
import { nodeStatus, nodeStrategy } from './strategies/node.ts';
import { endpointSliceStrategy, eventStrategy, leaseStrategy } from './strategies/observation.ts';
import { podEphemeralContainers, podStatus, podStrategy } from './strategies/pod/strategy.ts';
import {
  replicationControllerStatus,
  replicationControllerStrategy,
} from './strategies/replication-controller.ts';
import { serviceStatus, serviceStrategy } from './strategies/service.ts';
import { scaleOf } from './strategies/workload.ts';

const namespaces: ResourceDefinition<Namespace> = {
  ...core('Namespace', 'namespaces', { namespaced: false }),
  shortNames: ['ns'],
  // A namespace's content goes first, so namespaces go one at a time.
  verbs: allVerbs.filter((verb) => verb !== 'deletecollection'),
  strategy: namespaceStrategy,
  columns: namespaceColumns,
  fieldSelectors: { 'status.phase': (namespace) => namespace.status?.phase ?? '' },
  subresources: {
    status: namespaceStatus,
    finalize: {
      type: 'connect',
      handler: 'namespace-finalize',
      kind: 'Namespace',
      verbs: ['update'],
    },
  },
};

const proxyVerbs = ['create', 'delete', 'get', 'patch', 'update'] as const;

const nodes: ResourceDefinition<Node> = {
  ...core('Node', 'nodes', { namespaced: false }),
  shortNames: ['no'],
  strategy: nodeStrategy,
  columns: nodeColumns,
  fieldSelectors: { 'spec.unschedulable': (node) => `${node.spec?.unschedulable ?? false}` },
  subresources: {
    status: nodeStatus,
    proxy: {
      type: 'connect',
      handler: 'node-proxy',
      kind: 'NodeProxyOptions',
      verbs: proxyVerbs,
    },
  },
};

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

const services: ResourceDefinition<Service> = {
  ...core('Service', 'services'),
  shortNames: ['svc'],
  categories: ['all'],
  strategy: serviceStrategy,
  columns: serviceColumns,
  fieldSelectors: {
    'spec.clusterIP': ({ spec }) => spec.clusterIP ?? '',
    'spec.type': ({ spec }) => spec.type ?? '',
  },
  subresources: {
    status: serviceStatus,
    proxy: {
      type: 'connect',
      handler: 'service-proxy',
      kind: 'ServiceProxyOptions',
      verbs: proxyVerbs,
    },
  },
};

const endpointSlices: ResourceDefinition<EndpointSlice> = {
  ...named('discovery.k8s.io', 'discovery/v1', 'EndpointSlice', 'endpointslices'),
  strategy: endpointSliceStrategy,
  columns: endpointSliceColumns,
};

const configMaps: ResourceDefinition<ConfigMap> = {
  ...core('ConfigMap', 'configmaps'),
  shortNames: ['cm'],
  strategy: configMapStrategy,
  columns: configMapColumns,
};

const secrets: ResourceDefinition<Secret> = {
  ...core('Secret', 'secrets'),
  strategy: secretStrategy,
  columns: secretColumns,
  fieldSelectors: { type: (secret) => secret.type ?? '' },
};

const serviceAccounts: ResourceDefinition<ServiceAccount> = {
  ...core('ServiceAccount', 'serviceaccounts'),
  shortNames: ['sa'],
  strategy: serviceAccountStrategy,
  columns: serviceAccountColumns,
};

const events: ResourceDefinition<Event> = {
  ...core('Event', 'events'),
  shortNames: ['ev'],
  strategy: eventStrategy,
  columns: eventColumns,
  fieldSelectors: {
    'involvedObject.kind': (event) => event.involvedObject.kind ?? '',
    'involvedObject.namespace': (event) => event.involvedObject.namespace ?? '',
    'involvedObject.name': (event) => event.involvedObject.name ?? '',
    'involvedObject.uid': (event) => event.involvedObject.uid ?? '',
    'involvedObject.apiVersion': (event) => event.involvedObject.apiVersion ?? '',
    'involvedObject.resourceVersion': (event) => event.involvedObject.resourceVersion ?? '',
    'involvedObject.fieldPath': (event) => event.involvedObject.fieldPath ?? '',
    reason: (event) => event.reason ?? '',
    reportingComponent: (event) => event.reportingComponent ?? '',
    source: (event) => event.source?.component || (event.reportingComponent ?? ''),
    type: (event) => event.type ?? '',
  },
  ttlSeconds: 3600,
};

const replicationControllers: ResourceDefinition<ReplicationController> = {
  ...core('ReplicationController', 'replicationcontrollers'),
  shortNames: ['rc'],
  categories: ['all'],
  strategy: replicationControllerStrategy,
  columns: replicationControllerColumns,
  fieldSelectors: { 'status.replicas': ({ status }) => `${status?.replicas ?? 0}` },
  subresources: {
    status: replicationControllerStatus,
    scale: scaleOf(({ spec }) => labelsMatcher(spec.selector ?? {}).toString()),
  },
};

const leases: ResourceDefinition<Lease> = {
  ...named('coordination.k8s.io', 'coordination/v1', 'Lease', 'leases'),
  strategy: leaseStrategy,
  columns: leaseColumns,
};

const deployments: ResourceDefinition<Deployment> = {
  ...named('apps', 'apps/v1', 'Deployment', 'deployments'),
  shortNames: ['deploy'],
  categories: ['all'],
  strategy: deploymentStrategy,
  columns: deploymentColumns,
  subresources: {
    status: deploymentStatus,
    scale: scaleOf(({ spec }) => formatLabelSelector(spec.selector)),
  },
};

const replicaSets: ResourceDefinition<ReplicaSet> = {
  ...named('apps', 'apps/v1', 'ReplicaSet', 'replicasets'),
  shortNames: ['rs'],
  categories: ['all'],
  strategy: replicaSetStrategy,
  columns: replicaSetColumns,
  fieldSelectors: { 'status.replicas': ({ status }) => `${status?.replicas ?? 0}` },
  subresources: {
    status: replicaSetStatus,
    scale: scaleOf(({ spec }) => formatLabelSelector(spec.selector)),
  },
};

const daemonSets: ResourceDefinition<DaemonSet> = {
  ...named('apps', 'apps/v1', 'DaemonSet', 'daemonsets'),
  shortNames: ['ds'],
  categories: ['all'],
  strategy: daemonSetStrategy,
  columns: daemonSetColumns,
  subresources: { status: daemonSetStatus },
};

const controllerRevisions: ResourceDefinition<ControllerRevision> = {
  ...named('apps', 'apps/v1', 'ControllerRevision', 'controllerrevisions'),
  strategy: controllerRevisionStrategy,
  columns: controllerRevisionColumns,
};

/** For `new ResourceTable(builtInResources)`. */
export const builtInResources: readonly ResourceDefinition[] = [
  generic(namespaces),
  generic(nodes),
  generic(pods),
  generic(services),
  generic(configMaps),
  generic(secrets),
  generic(serviceAccounts),
  generic(events),
  generic(replicationControllers),
  generic(endpointSlices),
  generic(leases),
  generic(deployments),
  generic(replicaSets),
  generic(daemonSets),
  generic(controllerRevisions),
];

function core(kind: string, plural: string, { namespaced = true } = {}) {
  return { ...named('', 'core/v1', kind, plural), namespaced };
}

/** `schemaPackage`: where the kind's schema is, such as `apps/v1`. All are v1 so far. */
function named(group: string, schemaPackage: string, kind: string, plural: string) {
  const singular = kind.toLowerCase();
  const schema = `${schemaPackage}.${kind}`;
  return { group, version: 'v1', kind, plural, singular, namespaced: true, schema };
}

/**
 * The registry hands a definition only objects of its own kind, which the type system can't know:
 * functions of a Pod don't take every KubeObject.
 */
function generic<T extends KubeObject>(definition: ResourceDefinition<T>): ResourceDefinition {
  return definition as unknown as ResourceDefinition;
}
