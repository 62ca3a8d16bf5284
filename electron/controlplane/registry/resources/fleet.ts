// Machines of the home, and the backup of its cluster, in the resource table.
import type { ClusterBackup } from '#kube/api/cluster-backup.ts';
import type { Discovery, Machine } from '#kube/api/fleet.ts';
import { clusterBackupColumns } from '../columns/cluster-backup.ts';
import { discoveryColumns, machineColumns } from '../columns/fleet.ts';
import type { ResourceDefinition } from '../resource.ts';
import { clusterBackupStrategy } from '../strategies/cluster/cluster-backup.ts';
import { discoveryStrategy, machineStrategy } from '../strategies/cluster/fleet.ts';
import { generic, named } from './define.ts';

const group = 'flotilla.dev';

const machines: ResourceDefinition<Machine> = {
  ...named(group, 'flotilla/v1alpha1', 'Machine', 'machines'),
  namespaced: false,
  strategy: machineStrategy,
  columns: machineColumns,
  subresources: {
    status: { type: 'status' },
    enrolment: {
      type: 'connect',
      handler: 'machine-enrolment',
      kind: 'Enrolment',
      verbs: ['create'],
    },
  },
};

const discoveries: ResourceDefinition<Discovery> = {
  ...named(group, 'flotilla/v1alpha1', 'Discovery', 'discoveries'),
  namespaced: false,
  strategy: discoveryStrategy,
  columns: discoveryColumns,
  subresources: { status: { type: 'status' } },
};

const clusterBackups: ResourceDefinition<ClusterBackup> = {
  ...named(group, 'flotilla/v1alpha1', 'ClusterBackup', 'clusterbackups'),
  namespaced: false,
  strategy: clusterBackupStrategy,
  columns: clusterBackupColumns,
  subresources: {
    status: { type: 'status' },
    passphrase: {
      type: 'connect',
      handler: 'backup-passphrase',
      kind: 'BackupPassphrase',
      verbs: ['create'],
    },
  },
};

export const fleetResources: readonly ResourceDefinition[] = [
  generic(machines),
  generic(discoveries),
  generic(clusterBackups),
];
