// Columns of APIServices.
// Source: kubernetes kube-aggregator pkg/registry/apiservice/etcd/etcd.go.
import type { APIService } from '#kube/api/apiregistration.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { Column } from '../resource.ts';
import { ageColumn, nameColumn, textColumn } from './cells.ts';

export const apiServiceColumns: readonly Column<APIService>[] = [
  nameColumn,
  textColumn('Service', 'The service that answers, or Local.', ({ spec: { service } }) =>
    service === undefined ? 'Local' : `${service.namespace ?? ''}/${service.name ?? ''}`,
  ),
  textColumn('Available', 'Whether it can be asked.', availability),
  ageColumn,
];

function availability({ status }: APIService): string {
  const condition = getCondition(status?.conditions, 'Available');
  if (condition === undefined) return 'Unknown';
  const { reason = '' } = condition;
  const isPlain = condition.status === 'True' || reason === '';
  return isPlain ? condition.status : `${condition.status} (${reason})`;
}
