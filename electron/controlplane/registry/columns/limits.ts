// Columns of limits and quotas, of pod templates and of component statuses.
// Source: kubernetes pkg/printers/internalversion/printers.go; a LimitRange has the default columns
// of tableconvertor.go.
import type { ComponentStatus, LimitRange, PodTemplate, ResourceQuota } from '#kube/api/core.ts';
import type { Column } from '../resource.ts';
import {
  ageColumn,
  templateContainers,
  createdAtColumn,
  formatLabels,
  nameColumn,
  textColumn,
} from './cells.ts';

export const limitRangeColumns: readonly Column<LimitRange>[] = [nameColumn, createdAtColumn];

export const resourceQuotaColumns: readonly Column<ResourceQuota>[] = [
  nameColumn,
  textColumn('Request', 'Used of what may be asked for.', (quota) => amounts(quota, false)),
  textColumn('Limit', 'Used of what may be allowed.', (quota) => amounts(quota, true)),
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
  textColumn('Containers', 'Names of the containers in the template.', ({ template }) =>
    templateContainers(template)
      .map(({ name }) => name)
      .join(','),
  ),
  textColumn('Images', 'Images of the containers in the template.', ({ template }) =>
    templateContainers(template)
      .map(({ image }) => image ?? '')
      .join(','),
  ),
  textColumn('Pod Labels', 'Labels of the template.', ({ template }) =>
    formatLabels(template?.metadata?.labels),
  ),
];

export const componentStatusColumns: readonly Column<ComponentStatus>[] = [
  nameColumn,
  textColumn('Status', 'Whether the component is well.', (component) => {
    const status = healthy(component)?.status;
    return status === undefined ? 'Unknown' : status === 'True' ? 'Healthy' : 'Unhealthy';
  }),
  textColumn('Message', 'What it says.', (component) => healthy(component)?.message ?? ''),
  textColumn('Error', 'What went wrong.', (component) => healthy(component)?.error ?? ''),
];

function healthy({ conditions = [] }: ComponentStatus) {
  return conditions.find(({ type }) => type === 'Healthy');
}
