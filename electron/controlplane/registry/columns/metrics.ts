// Columns of what nodes and pods use, by the names that metrics-server gives them.
// Source: kubernetes-sigs/metrics-server pkg/api/table.go.
import type { NodeMetrics, PodMetrics, Usage } from '#kube/api/metrics.ts';
import { addQuantities } from '#kube/machinery/quantity.ts';
import type { Column } from '../resource.ts';
import { nameColumn } from './cells.ts';

export const nodeMetricsColumns: readonly Column<NodeMetrics>[] = [
  nameColumn,
  { name: 'cpu', type: 'string', format: 'quantity', cell: ({ usage }) => usage.cpu },
  { name: 'memory', type: 'string', format: 'quantity', cell: ({ usage }) => usage.memory },
  { name: 'Window', type: 'string', format: 'duration', cell: ({ window }) => window },
];

export const podMetricsColumns: readonly Column<PodMetrics>[] = [
  nameColumn,
  { name: 'cpu', type: 'string', format: 'quantity', cell: (pod) => total(pod, 'cpu') },
  { name: 'memory', type: 'string', format: 'quantity', cell: (pod) => total(pod, 'memory') },
  { name: 'Window', type: 'string', format: 'duration', cell: ({ window }) => window },
];

function total({ containers }: PodMetrics, resource: keyof Usage): string {
  return containers.reduce((sum, { usage }) => addQuantities(sum, usage[resource]), '0');
}
