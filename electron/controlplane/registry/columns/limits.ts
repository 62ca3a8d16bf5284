// Columns of limits and quotas, of pod templates and of component statuses.
// Source: kubernetes pkg/printers/internalversion/printers.go; a LimitRange has the default columns
// of tableconvertor.go.
import type { ComponentStatus, LimitRange, PodTemplate, ResourceQuota } from '#kube/api/core.ts';
import type { Column } from '../resource.ts';
import {
  ageColumn,
  containersOf,
  createdAtColumn,
  formatLabels,
  nameColumn,
  text,
} from './cells.ts';

export const limitRangeColumns: readonly Column<LimitRange>[] = [nameColumn, createdAtColumn];

export const resourceQuotaColumns: readonly Column<ResourceQuota>[] = [
  nameColumn,
  text('Request', 'Used of what may be asked for.', (quota) => amounts(quota, false)),
  text('Limit', 'Used of what may be allowed.', (quota) => amounts(quota, true)),
  ageColumn,
];

function amounts({ status }: ResourceQuota, isLimit: boolean): string {
  const { hard = {}, used = {} } = status ?? {};
  return Object.keys(hard)
    .filter((name) => name.startsWith('limits.') === isLimit)
    .sort()
    .map((name) => `${name}: ${used[name] ?? '0'}/${hard[name] ?? '0'}`)
    .join(', ');
}

export const podTemplateColumns: readonly Column<PodTemplate>[] = [
  nameColumn,
  text('Containers', 'Names of the containers in the template.', ({ template }) =>
    containersOf(template)
      .map(({ name }) => name)
      .join(','),
  ),
  text('Images', 'Images of the containers in the template.', ({ template }) =>
    containersOf(template)
      .map(({ image }) => image ?? '')
      .join(','),
  ),
  text('Pod Labels', 'Labels of the template.', ({ template }) =>
    formatLabels(template?.metadata?.labels),
  ),
];

export const componentStatusColumns: readonly Column<ComponentStatus>[] = [
  nameColumn,
  text('Status', 'Whether the component is well.', (component) => {
    const status = healthy(component)?.status;
    return status === undefined ? 'Unknown' : status === 'True' ? 'Healthy' : 'Unhealthy';
  }),
  text('Message', 'What it says.', (component) => healthy(component)?.message ?? ''),
  text('Error', 'What went wrong.', (component) => healthy(component)?.error ?? ''),
];

function healthy({ conditions = [] }: ComponentStatus) {
  return conditions.find(({ type }) => type === 'Healthy');
}
