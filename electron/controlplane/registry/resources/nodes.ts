// Nodes, their leases, and classes of pods on them in the resource table.
import type { Lease } from '#kube/api/coordination.ts';
import type { Node } from '#kube/api/core.ts';
import type { RuntimeClass } from '#kube/api/node.ts';
import type { PriorityClass } from '#kube/api/scheduling.ts';
import {
  leaseColumns,
  nodeColumns,
  priorityClassColumns,
  runtimeClassColumns,
} from '../columns/nodes.ts';
import type { ResourceDefinition } from '../resource.ts';
import { priorityClassStrategy, runtimeClassStrategy } from '../strategies/cluster/classes.ts';
import { nodeStatus, nodeStrategy } from '../strategies/core/node.ts';
import { leaseStrategy } from '../strategies/core/observation.ts';
import { core, generic, named, proxyVerbs } from './define.ts';

/** Differs: Kubernetes leaves the machines beneath its nodes to others. */
const nodeOperation = {
  type: 'connect',
  handler: 'node-operation',
  group: 'flotilla.dev',
  version: 'v1alpha1',
  kind: 'NodeOperation',
  verbs: ['create'],
} as const;

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
    power: nodeOperation,
    removal: nodeOperation,
  },
};

const leases: ResourceDefinition<Lease> = {
  ...named('coordination.k8s.io', 'coordination/v1', 'Lease', 'leases'),
  strategy: leaseStrategy,
  columns: leaseColumns,
};

const priorityClasses: ResourceDefinition<PriorityClass> = {
  ...named('scheduling.k8s.io', 'scheduling/v1', 'PriorityClass', 'priorityclasses'),
  namespaced: false,
  shortNames: ['pc'],
  strategy: priorityClassStrategy,
  columns: priorityClassColumns,
  awaitsCache: true,
};

const runtimeClasses: ResourceDefinition<RuntimeClass> = {
  ...named('node.k8s.io', 'node/v1', 'RuntimeClass', 'runtimeclasses'),
  namespaced: false,
  strategy: runtimeClassStrategy,
  columns: runtimeClassColumns,
};

export const nodesResources: readonly ResourceDefinition[] = [
  generic(nodes),
  generic(leases),
  generic(priorityClasses),
  generic(runtimeClasses),
];
