// Apps' data on its way to another machine, in the resource table.
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { volumeMoveColumns } from '../columns/volume-moves.ts';
import type { ResourceDefinition } from '../resource.ts';
import { volumeMoveStrategy } from '../strategies/storage/volume-move.ts';
import { generic, named } from './define.ts';

const volumeMoves: ResourceDefinition<VolumeMove> = {
  ...named('flotilla.dev', 'flotilla/v1alpha1', 'VolumeMove', 'volumemoves'),
  strategy: volumeMoveStrategy,
  columns: volumeMoveColumns,
  subresources: { status: { type: 'status' } },
};

export const volumeMoveResources: readonly ResourceDefinition[] = [generic(volumeMoves)];
