// Columns of apps' data on its way.
import type { VolumeMove } from '#kube/api/volume-move.ts';
import type { Column } from '../resource.ts';
import { ageColumn, nameColumn, orNone, textColumn, wide } from './cells.ts';

export const volumeMoveColumns: readonly Column<VolumeMove>[] = [
  nameColumn,
  textColumn('Claims', 'Whose data moves.', ({ spec }) => spec.claims.join(',')),
  textColumn('From', 'The machine it comes from.', ({ status }) => orNone(status?.fromNode)),
  textColumn('To', 'The machine it goes to.', ({ spec }) => spec.nodeName),
  textColumn('Phase', 'How far it is.', ({ status }) => status?.phase ?? 'Pending'),
  ageColumn,
  wide(textColumn('Message', 'In words.', ({ status }) => orNone(status?.message))),
];
