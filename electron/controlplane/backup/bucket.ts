// The bucket that backups are kept in, with the keys that lie in a Secret of their own: whoever may read how the cluster
// is backed up sees none of them.
import type { ClusterBackupBucket } from '#kube/api/cluster-backup.ts';
import type { Clock } from '#kube/base/clock.ts';
import { secrets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { backupBucketData, backupBucketName } from '#kube/machinery/cluster-backup.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { ObjectStoreError } from '#platform/object-store/object-store.ts';
import { S3Store } from '#platform/object-store/s3.ts';

export interface BucketDeps {
  readonly client: Pick<RestClient, 'get'>;
  readonly clock: Clock;
}

/** Throws ObjectStoreError. */
export async function openBucket(
  { client, clock }: BucketDeps,
  { endpoint, name: bucket, region }: ClusterBackupBucket,
): Promise<S3Store> {
  const ref = { namespace: 'kube-system', name: backupBucketName };
  const secret = await client.get(secrets, ref).catch((error: unknown) => {
    if (!hasReason(error, 'NotFound')) throw error;
    return undefined;
  });
  const read = (name: string) =>
    Buffer.from(secret?.data?.[name] ?? '', 'base64')
      .toString()
      .trim();
  const accessKeyId = read(backupBucketData.accessKeyId);
  const secretAccessKey = read(backupBucketData.secretAccessKey);
  if (accessKeyId === '' || secretAccessKey === '')
    throw new ObjectStoreError(
      'refused',
      `The keys of the bucket ${bucket} are missing: put ${backupBucketData.accessKeyId} and ${backupBucketData.secretAccessKey} into the Secret kube-system/${backupBucketName}.`,
    );
  const given = region === undefined ? {} : { region };
  return new S3Store({ endpoint, bucket, accessKeyId, secretAccessKey, clock, ...given });
}
