// What those who back the cluster up and those who show it agree on.

/** The name of the one ClusterBackup there is. */
export const singletonBackup = 'home';

/** Any text that was not there before asks for a backup now. */
export const backUpNowAnnotation = 'flotilla.dev/back-up-now';

/** The Secret of kube-system that backups are sealed with: no secret in the strict sense, but as strong as its passphrase. */
export const backupKeyName = 'cluster-backup-key';
export const backupKeyData = { recipient: 'recipient', identity: 'identity.age' } as const;

/** The Secret of kube-system with the keys of the bucket that backups are kept in. */
export const backupBucketName = 'cluster-backup-bucket';
export const backupBucketData = {
  accessKeyId: 'access-key-id',
  secretAccessKey: 'secret-access-key',
} as const;

/** Reasons of the condition `Protected`. */
export type ProtectedReason =
  | 'BackedUp'
  | 'Failed'
  | 'NoPassphrase'
  | 'NoTarget'
  | 'NotYet'
  | 'Suspended'
  | 'TooOld';
