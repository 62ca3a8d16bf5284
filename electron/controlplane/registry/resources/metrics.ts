// What nodes and pods use now. Nothing of it is stored: it is worked out when somebody asks.
import type { NodeMetrics, PodMetrics } from '#kube/api/metrics.ts';
import { nodeMetricsColumns, podMetricsColumns } from '../columns/metrics.ts';
import type { ResourceDefinition } from '../resource.ts';
import { generic, named } from './define.ts';

const group = 'metrics.k8s.io';
const strategy = { validate: () => [] };

const nodeMetrics: ResourceDefinition<NodeMetrics> = {
  ...named(group, 'metrics/v1beta1', 'NodeMetrics', 'nodes'),
  singular: '',
  namespaced: false,
  verbs: ['get', 'list'],
  computed: 'node-metrics',
  strategy,
  columns: nodeMetricsColumns,
};

const podMetrics: ResourceDefinition<PodMetrics> = {
  ...named(group, 'metrics/v1beta1', 'PodMetrics', 'pods'),
  singular: '',
  verbs: ['get', 'list'],
  computed: 'pod-metrics',
  strategy,
  columns: podMetricsColumns,
};

export const metricsResources: readonly ResourceDefinition[] = [
  generic(nodeMetrics),
  generic(podMetrics),
];
