// flotilla.dev/v1alpha1: backups of the whole cluster. Hand-written, as its schema is
// (resources/schema/flotilla.v1alpha1.json).
import type { Condition, ObjectMeta } from './meta.ts';

/** How the cluster is backed up, and how that goes. There is one, `home`, which the control plane makes. */
export interface ClusterBackup {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'ClusterBackup';
  metadata: ObjectMeta;
  spec?: ClusterBackupSpec;
  status?: ClusterBackupStatus;
}

export interface ClusterBackupSpec {
  /** Where backups are kept; none if left out. */
  target?: ClusterBackupTarget;
  /** 24 if left out. */
  everyHours?: number;
  /** No backups by themselves. */
  suspend?: boolean;
  keep?: ClusterBackupKeep;
}

export interface ClusterBackupTarget {
  /** Of the machine whose control plane leads. */
  folder?: { path: string };
  /** Of S3, or of what speaks as it does; its keys are in the Secret `kube-system/cluster-backup-bucket`. */
  bucket?: ClusterBackupBucket;
}

export interface ClusterBackupBucket {
  /** `https://s3.eu-central-1.amazonaws.com`, `http://nas.local:9000`. */
  endpoint: string;
  name: string;
  /** Most that are not Amazon's take any. */
  region?: string;
}

/** How many stay: the newest, and the newest of each day, week and month. */
export interface ClusterBackupKeep {
  last?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
}

export interface ClusterBackupStatus {
  /** `Protected`: there is a backup that is young enough, or why not. */
  conditions?: Condition[];
  /** `age1…`: for whom backups are sealed. None: no passphrase was set yet. */
  recipient?: string;
  passphraseTime?: string;
  /** One is being made since. */
  runningSince?: string;
  lastSuccess?: ClusterBackupSuccess;
  lastFailure?: ClusterBackupFailure;
  nextTime?: string;
  /** In the target. */
  keptCount?: number;
  /** What the annotation `flotilla.dev/back-up-now` last said that was done. */
  answeredRequest?: string;
  /** The folder that was taken into use. */
  preparedFolder?: string;
}

export interface ClusterBackupSuccess {
  time: string;
  /** Of the file, in the target. */
  name: string;
  /** In words: `the folder /media/disk`. */
  place: string;
  sizeBytes: number;
  /** Node whose control plane wrote it. */
  nodeName?: string;
}

export interface ClusterBackupFailure {
  time: string;
  message: string;
}

/** What `clusterbackups/home/passphrase` is asked and answers. */
export interface BackupPassphrase {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'BackupPassphrase';
  metadata: ObjectMeta;
  /** Typed by a person; in no answer, stored nowhere. */
  spec?: { passphrase?: string };
  /** One that was made, told this once and stored nowhere; none: the typed one is set. */
  status?: { passphrase?: string; recipient: string };
}
