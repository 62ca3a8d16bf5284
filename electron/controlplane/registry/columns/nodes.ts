// Columns of nodes, of their leases, and of classes of pods.
// Source: kubernetes pkg/printers/internalversion/printers.go printNode, printLease.
import type { Lease } from '#kube/api/coordination.ts';
import type { Node } from '#kube/api/core.ts';
import type { RuntimeClass } from '#kube/api/node.ts';
import type { PriorityClass } from '#kube/api/scheduling.ts';
import type { Column } from '../resource.ts';
import { ageColumn, count, nameColumn, orNone, orUnknown, textColumn } from './cells.ts';

export const nodeColumns: readonly Column<Node>[] = [
  nameColumn,
  { name: 'Status', type: 'string', description: 'State of the node.', cell: nodeStatus },
  { name: 'Roles', type: 'string', description: 'Roles of the node.', cell: nodeRoles },
  ageColumn,
  {
    name: 'Version',
    type: 'string',
    description: 'Version of the agent on the node.',
    cell: (node) => node.status?.nodeInfo?.kubeletVersion ?? '',
  },
  wide('Internal-IP', 'Address within the home network.', (node) => address(node, 'InternalIP')),
  wide('External-IP', 'Address from outside.', (node) => address(node, 'ExternalIP')),
  wide('OS-Image', 'Operating system.', (node) => orUnknown(node.status?.nodeInfo?.osImage)),
  wide('Kernel-Version', 'Kernel.', (node) => orUnknown(node.status?.nodeInfo?.kernelVersion)),
  wide('Container-Runtime', 'Container engine and its version.', (node) =>
    orUnknown(node.status?.nodeInfo?.containerRuntimeVersion),
  ),
];

export const leaseColumns: readonly Column<Lease>[] = [
  nameColumn,
  {
    name: 'Holder',
    type: 'string',
    description: 'Who holds the lease.',
    cell: (lease) => lease.spec?.holderIdentity ?? '',
  },
  ageColumn,
];

export const priorityClassColumns: readonly Column<PriorityClass>[] = [
  nameColumn,
  count('Value', 'The priority.', ({ value }) => value),
  {
    name: 'Global-Default',
    type: 'boolean',
    description: 'Whether pods without a class have it.',
    cell: ({ globalDefault }) => globalDefault ?? false,
  },
  ageColumn,
  textColumn(
    'PreemptionPolicy',
    'Whether its pods push out others.',
    ({ preemptionPolicy }) => preemptionPolicy ?? '',
  ),
];

export const runtimeClassColumns: readonly Column<RuntimeClass>[] = [
  nameColumn,
  textColumn('Handler', 'What runs the pods.', ({ handler }) => handler),
  ageColumn,
];

function wide(name: string, description: string, cell: (node: Node) => string): Column<Node> {
  return { name, type: 'string', description, priority: 1, cell };
}

function nodeStatus(node: Node): string {
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return node.spec?.unschedulable === true ? `${state},SchedulingDisabled` : state;
}

const rolePrefix = 'node-role.kubernetes.io/';

function nodeRoles(node: Node): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(node.metadata.labels ?? {})) {
    if (key.startsWith(rolePrefix)) roles.add(key.slice(rolePrefix.length));
    else if (key === 'kubernetes.io/role') roles.add(value);
  }
  roles.delete('');
  return orNone([...roles].sort().join(','));
}

function address(node: Node, type: string): string {
  return orNone(node.status?.addresses?.find((entry) => entry.type === type)?.address);
}
