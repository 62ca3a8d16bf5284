// Columns of the kinds that make pods, and of their history.
// Source: kubernetes pkg/printers/internalversion/printers.go.
import type {
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
} from '#kube/api/apps.ts';
import type { ReplicationController } from '#kube/api/core.ts';
import { formatLabelSelector } from '#kube/machinery/selector.ts';
import type { Column } from '../resource.ts';
import {
  ageColumn,
  containerColumns,
  templateContainers,
  count,
  formatLabels,
  nameColumn,
  orNone,
  selectorColumn,
  textColumn,
} from './cells.ts';

export const deploymentColumns: readonly Column<Deployment>[] = [
  nameColumn,
  {
    name: 'Ready',
    type: 'string',
    description: 'Ready pods, of the pods wanted.',
    cell: ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`,
  },
  count('Up-to-date', 'Pods of the newest template.', (d) => d.status?.updatedReplicas),
  count('Available', 'Pods ready for long enough.', (d) => d.status?.availableReplicas),
  ageColumn,
  ...containerColumns<Deployment>((deployment) => templateContainers(deployment.spec.template)),
  selectorColumn((deployment) => orNone(formatLabelSelector(deployment.spec.selector))),
];

export const replicaSetColumns: readonly Column<ReplicaSet>[] = [
  nameColumn,
  count('Desired', 'Pods wanted.', (set) => set.spec.replicas),
  count('Current', 'Pods that exist.', (set) => set.status?.replicas),
  count('Ready', 'Pods that are ready.', (set) => set.status?.readyReplicas),
  ageColumn,
  ...containerColumns<ReplicaSet>((set) => templateContainers(set.spec.template)),
  selectorColumn((set) => orNone(formatLabelSelector(set.spec.selector))),
];

export const replicationControllerColumns: readonly Column<ReplicationController>[] = [
  nameColumn,
  count('Desired', 'Pods wanted.', (controller) => controller.spec.replicas),
  count('Current', 'Pods that exist.', (controller) => controller.status?.replicas),
  count('Ready', 'Pods that are ready.', (controller) => controller.status?.readyReplicas),
  ageColumn,
  ...containerColumns<ReplicationController>((c) => templateContainers(c.spec.template)),
  selectorColumn((controller) => formatLabels(controller.spec.selector)),
];

export const daemonSetColumns: readonly Column<DaemonSet>[] = [
  nameColumn,
  count('Desired', 'Nodes that should run a pod.', (set) => set.status?.desiredNumberScheduled),
  count('Current', 'Nodes that run a pod and should.', (s) => s.status?.currentNumberScheduled),
  count('Ready', 'Nodes whose pod is ready.', (set) => set.status?.numberReady),
  count('Up-to-date', 'Nodes with the newest pod.', (set) => set.status?.updatedNumberScheduled),
  count('Available', 'Nodes whose pod is available.', (set) => set.status?.numberAvailable),
  {
    name: 'Node Selector',
    type: 'string',
    description: 'Labels a node must have.',
    cell: (set) => formatLabels(set.spec.template.spec?.nodeSelector),
  },
  ageColumn,
  ...containerColumns<DaemonSet>((set) => templateContainers(set.spec.template)),
  selectorColumn((set) => orNone(formatLabelSelector(set.spec.selector))),
];

export const statefulSetColumns: readonly Column<StatefulSet>[] = [
  nameColumn,
  textColumn(
    'Ready',
    'Ready pods, of the pods wanted.',
    ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`,
  ),
  ageColumn,
  ...containerColumns<StatefulSet>((set) => templateContainers(set.spec.template)),
];

export const controllerRevisionColumns: readonly Column<ControllerRevision>[] = [
  nameColumn,
  {
    name: 'Controller',
    type: 'string',
    description: 'Whose history it is.',
    cell: controllerName,
  },
  {
    name: 'Revision',
    type: 'string',
    description: 'Number of the state it holds.',
    cell: ({ revision }) => revision,
  },
  ageColumn,
];

/** `daemonset.apps/agent`, `<none>` without a controller. */
function controllerName({ metadata }: ControllerRevision): string {
  const owner = metadata.ownerReferences?.find((reference) => reference.controller === true);
  if (owner === undefined) return '<none>';
  const [group = ''] = owner.apiVersion.includes('/') ? owner.apiVersion.split('/') : [];
  const kind = owner.kind.toLowerCase();
  return `${group === '' ? kind : `${kind}.${group}`}/${owner.name}`;
}
