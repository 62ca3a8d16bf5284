// Nodes and their leases in the resource table.
import type { Lease } from '#kube/api/coordination.ts';
import type { Node } from '#kube/api/core.ts';
import { leaseColumns, nodeColumns } from '../columns/nodes.ts';
import type { ResourceDefinition } from '../resource.ts';
import { nodeStatus, nodeStrategy } from '../strategies/core/node.ts';
import { leaseStrategy } from '../strategies/core/observation.ts';
import { core, generic, named } from './define.ts';

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
      verbs: ['create', 'delete', 'get', 'patch', 'update'],
    },
  },
};

const leases: ResourceDefinition<Lease> = {
  ...named('coordination.k8s.io', 'coordination/v1', 'Lease', 'leases'),
  strategy: leaseStrategy,
  columns: leaseColumns,
};

export const nodesResources: readonly ResourceDefinition[] = [generic(nodes), generic(leases)];
