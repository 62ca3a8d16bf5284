// Columns of the backup of the cluster.
import type { ClusterBackup } from '#kube/api/cluster-backup.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { Column } from '../resource.ts';
import { ageColumn, nameColumn, orNone, orUnknown, textColumn, wide } from './cells.ts';

export const clusterBackupColumns: readonly Column<ClusterBackup>[] = [
  nameColumn,
  textColumn('Protected', 'Whether there is a backup that is young enough.', ({ status }) =>
    orUnknown(getCondition(status?.conditions, 'Protected')?.status),
  ),
  textColumn('Why', 'Why it is, or is not.', ({ status }) =>
    orNone(getCondition(status?.conditions, 'Protected')?.reason),
  ),
  textColumn('Last', 'When the last good one was written.', ({ status }) =>
    orNone(status?.lastSuccess?.time),
  ),
  textColumn('Next', 'When the next one is due.', ({ status }) => orNone(status?.nextTime)),
  textColumn('Target', 'Where they are kept.', ({ spec }) => orNone(spec?.target?.folder?.path)),
  ageColumn,
  wide(textColumn('File', 'The last good one.', ({ status }) => orNone(status?.lastSuccess?.name))),
  wide(
    textColumn('Kept', 'How many there are.', ({ status }) =>
      orNone(status?.keptCount?.toString()),
    ),
  ),
];
