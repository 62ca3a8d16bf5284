// clusterbackups/home/passphrase: what backups of the cluster open by. A made one is told in this answer and nowhere
// else; nothing of it is stored or logged, and no webhook sees it.
import type { BackupPassphrase } from '#kube/api/cluster-backup.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { badRequest, invalid, serviceUnavailable, StatusError } from '#kube/machinery/status.ts';
import type { ApiResponse } from '../http.ts';
import { readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

export interface SetBackupPassphrase {
  /** Why a typed one can't be used; undefined: it can. */
  readonly problemOf: (passphrase: string) => string | undefined;
  /** None typed: one is made, and answered. */
  readonly set: (typed: string | undefined) => Promise<NonNullable<BackupPassphrase['status']>>;
}

const apiVersion = 'flotilla.dev/v1alpha1';
const kind: BodyKind = {
  group: 'flotilla.dev',
  version: 'v1alpha1',
  kind: 'BackupPassphrase',
  schema: 'flotilla/v1alpha1.BackupPassphrase',
};

export async function handleBackupPassphrase(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, deps, resource, request } = scope;
  const { name } = info;
  const { dryRun, validation } = parseWriteParameters(request.query, 'CreateOptions');
  const body = await readQuietly(scope, validation);
  await resource.get('', name);
  if (name !== singletonBackup)
    throw badRequest(`a cluster has one backup, which is named ${singletonBackup}`);
  const { setBackupPassphrase: setter } = deps;
  if (setter === undefined) throw serviceUnavailable('the cluster is not backed up here');
  const typed = body.spec?.passphrase;
  const problem = typed === undefined ? undefined : setter.problemOf(typed);
  if (problem !== undefined)
    throw invalid(kind, name, [invalidField(field('spec').child('passphrase'), '', problem)]);
  const shown: KubeObject = { apiVersion, kind: kind.kind, metadata: { name } };
  const attributes = attributesOf(scope, { operation: 'CREATE', name, object: shown, dryRun });
  await deps.admission.admit(attributes);
  await deps.admission.validate(attributes);
  const status = dryRun ? undefined : await setter.set(typed);
  const answer: BackupPassphrase = {
    apiVersion,
    kind: 'BackupPassphrase',
    metadata: { name },
    ...(status !== undefined && { status }),
  };
  return respondValue(scope, answer, 201);
}

/** What can't be read is not quoted: errors are logged. */
async function readQuietly(
  scope: RequestScope,
  validation: Parameters<typeof readObject>[2],
): Promise<BackupPassphrase> {
  try {
    return (await readObject(scope, kind, validation)) as unknown as BackupPassphrase;
  } catch (error) {
    if (error instanceof StatusError && error.message.includes('unrecognized'))
      throw badRequest('the body is neither JSON nor YAML of a BackupPassphrase');
    throw error;
  }
}
