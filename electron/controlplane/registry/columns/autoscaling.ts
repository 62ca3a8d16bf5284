// Columns of autoscalers and of disruption budgets.
// Source: kubernetes pkg/printers/internalversion/printers.go formatHPAMetrics,
// printPodDisruptionBudget.
import type {
  HorizontalPodAutoscaler,
  MetricSpec,
  MetricStatus,
  MetricTarget,
  MetricValueStatus,
} from '#kube/api/autoscaling-v2.ts';
import type { PodDisruptionBudget } from '#kube/api/policy.ts';
import type { Column } from '../resource.ts';
import { ageColumn, count, nameColumn, textColumn } from './cells.ts';

export const horizontalPodAutoscalerColumns: readonly Column<HorizontalPodAutoscaler>[] = [
  nameColumn,
  textColumn(
    'Reference',
    'What is scaled.',
    ({ spec: { scaleTargetRef } }) => `${scaleTargetRef.kind}/${scaleTargetRef.name}`,
  ),
  textColumn('Targets', 'Measured, and wanted.', ({ spec, status }) =>
    formatMetrics(spec.metrics ?? [], status?.currentMetrics ?? []),
  ),
  textColumn('MinPods', 'Fewest pods.', ({ spec }) => `${spec.minReplicas ?? '<unset>'}`),
  textColumn('MaxPods', 'Most pods.', ({ spec }) => spec.maxReplicas),
  textColumn('Replicas', 'Pods there are.', ({ status }) => status?.currentReplicas ?? 0),
  ageColumn,
];

const shownMetrics = 2;

function formatMetrics(specs: readonly MetricSpec[], statuses: readonly MetricStatus[]): string {
  if (specs.length === 0) return '<none>';
  const all = specs.map((spec, index) => formatMetric(spec, statuses[index]));
  const shown = all.slice(0, shownMetrics).join(', ');
  return all.length > shownMetrics ? `${shown} + ${all.length - shownMetrics} more...` : shown;
}

function formatMetric(spec: MetricSpec, status: MetricStatus | undefined): string {
  switch (spec.type) {
    case 'External':
      return formatValue(spec.external?.target, status?.external?.current);
    case 'Object':
      return formatValue(spec.object?.target, status?.object?.current);
    case 'Pods': {
      const current = status?.pods?.current.averageValue ?? '<unknown>';
      return `${current}/${spec.pods?.target.averageValue ?? ''}`;
    }
    case 'Resource':
      return formatUse(spec.resource, status?.resource?.current);
    case 'ContainerResource':
      return formatUse(spec.containerResource, status?.containerResource?.current);
    default:
      return '<unknown type>';
  }
}

function formatValue(target: MetricTarget | undefined, current: MetricValueStatus | undefined) {
  return target?.averageValue === undefined
    ? `${current?.value ?? '<unknown>'}/${target?.value ?? ''}`
    : `${current?.averageValue ?? '<unknown>'}/${target.averageValue} (avg)`;
}

function formatUse(
  spec: { readonly name: string; readonly target: MetricTarget } | undefined,
  current: MetricValueStatus | undefined,
): string {
  const { averageValue, averageUtilization } = spec?.target ?? {};
  if (averageValue !== undefined)
    return `${spec?.name ?? ''}: ${current?.averageValue ?? '<unknown>'}/${averageValue}`;
  const percent = (value: number | undefined, none: string) =>
    value === undefined ? none : `${value}%`;
  const used = percent(current?.averageUtilization, '<unknown>');
  return `${spec?.name ?? ''}: ${used}/${percent(averageUtilization, '<auto>')}`;
}

export const podDisruptionBudgetColumns: readonly Column<PodDisruptionBudget>[] = [
  nameColumn,
  textColumn('Min Available', 'Pods that must stay.', ({ spec }) => spec.minAvailable ?? 'N/A'),
  textColumn('Max Unavailable', 'Pods that may go.', ({ spec }) => spec.maxUnavailable ?? 'N/A'),
  count('Allowed Disruptions', 'Pods that may go now.', (b) => b.status?.disruptionsAllowed),
  ageColumn,
];
