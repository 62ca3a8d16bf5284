// How the cluster is backed up. Our own kind: no source.
import type { ClusterBackup, ClusterBackupTarget } from '#kube/api/cluster-backup.ts';
import { singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { field, forbidden, invalid, type FieldError } from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import type { Strategy } from '../../resource.ts';

const mostHours = 24 * 31;
const mostKept = 1000;

export const clusterBackupStrategy: Strategy<ClusterBackup> = {
  validateName: dns1123SubdomainName,
  warnings: ({ metadata: { name } }) =>
    name === singletonBackup
      ? []
      : [`nothing heeds it: a cluster has one backup, which is named ${singletonBackup}`],
  validate({ spec: { target, everyHours, keep = {} } = {} }) {
    const path = field('spec');
    const errors: FieldError[] = [];
    const folder = target?.folder?.path;
    if (folder !== undefined && !isWholePath(folder))
      errors.push(
        invalid(
          path.child('target').child('folder').child('path'),
          folder,
          'must be the whole path of a folder, such as /media/backup',
        ),
      );
    errors.push(...validateBucket(target));
    if (everyHours !== undefined && (everyHours < 1 || everyHours > mostHours))
      errors.push(invalid(path.child('everyHours'), everyHours, `must be from 1 to ${mostHours}`));
    for (const [name, count] of Object.entries(keep) as [string, number][])
      if (count < 0 || count > mostKept)
        errors.push(
          invalid(path.child('keep').child(name), count, `must be from 0 to ${mostKept}`),
        );
    return errors;
  },
};

function validateBucket({ folder, bucket }: ClusterBackupTarget = {}): FieldError[] {
  const path = field('spec', 'target');
  if (bucket === undefined) return [];
  const errors: FieldError[] = [];
  if (folder !== undefined)
    errors.push(forbidden(path.child('bucket'), 'backups are kept in a folder or in a bucket'));
  const { endpoint, name } = bucket;
  const at = path.child('bucket');
  if (!/^https?:\/\/[^/\s@]+\/?$/.test(endpoint))
    errors.push(
      invalid(at.child('endpoint'), endpoint, 'must be an address such as https://s3.example.org'),
    );
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name))
    errors.push(
      invalid(at.child('name'), name, 'must be 3 to 63 small letters, digits, "." and "-"'),
    );
  return errors;
}

/** Of Unix or Windows; the root itself is none. */
function isWholePath(text: string): boolean {
  const isWhole = /^(\/[^/]|[A-Za-z]:[\\/].)/.test(text);
  return (
    isWhole && text.length <= 1024 && !/\p{Cc}/u.test(text) && !/(^|[\\/])\.\.([\\/]|$)/.test(text)
  );
}
