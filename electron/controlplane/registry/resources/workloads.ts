// What makes pods in the resource table.
import type {
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
} from '#kube/api/apps.ts';
import type { ReplicationController } from '#kube/api/core.ts';
import { formatLabelSelector, labelsMatcher } from '#kube/machinery/selector.ts';
import {
  controllerRevisionColumns,
  daemonSetColumns,
  deploymentColumns,
  replicaSetColumns,
  replicationControllerColumns,
  statefulSetColumns,
} from '../columns/workloads.ts';
import type { ResourceDefinition } from '../resource.ts';
import {
  controllerRevisionStrategy,
  daemonSetStatus,
  daemonSetStrategy,
} from '../strategies/apps/daemon-set.ts';
import {
  deploymentStatus,
  deploymentStrategy,
  replicaSetStatus,
  replicaSetStrategy,
} from '../strategies/apps/deployment.ts';
import {
  replicationControllerStatus,
  replicationControllerStrategy,
} from '../strategies/apps/replication-controller.ts';
import { statefulSetStatus, statefulSetStrategy } from '../strategies/apps/stateful-set.ts';
import { scaleOf } from '../strategies/apps/workload.ts';
import { core, generic, named } from './define.ts';

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

const statefulSets: ResourceDefinition<StatefulSet> = {
  ...named('apps', 'apps/v1', 'StatefulSet', 'statefulsets'),
  shortNames: ['sts'],
  categories: ['all'],
  strategy: statefulSetStrategy,
  columns: statefulSetColumns,
  subresources: {
    status: statefulSetStatus,
    scale: scaleOf(({ spec }) => formatLabelSelector(spec.selector)),
  },
};

const controllerRevisions: ResourceDefinition<ControllerRevision> = {
  ...named('apps', 'apps/v1', 'ControllerRevision', 'controllerrevisions'),
  strategy: controllerRevisionStrategy,
  columns: controllerRevisionColumns,
};

export const workloadsResources: readonly ResourceDefinition[] = [
  generic(replicationControllers),
  generic(deployments),
  generic(replicaSets),
  generic(daemonSets),
  generic(statefulSets),
  generic(controllerRevisions),
];
