// What backups are sealed with, in a Secret of the cluster: a public key, and its private half locked by the
// passphrase. So they are made by themselves, and the passphrase lies on no disk. Another passphrase is another key:
// older backups keep opening by the one of then.
import type { BackupPassphrase } from '#kube/api/cluster-backup.ts';
import type { Secret } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { clusterBackups, secrets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { backupKeyData, backupKeyName, singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { makeSealingKey, type SealingKey } from '#platform/sealed-stream.ts';
import { canonicalPassphrase, makePassphrase, passphraseProblem } from './passphrase.ts';

export interface BackupKeyDeps {
  /** With the rights of `cluster-backup`. */
  readonly client: () => Pick<RestClient, 'get' | 'create' | 'update' | 'updateStatus'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Of scrypt, as a power of two; for tests. */
  readonly work?: number;
}

const ref = { namespace: 'kube-system', name: backupKeyName };

/** Undefined: no passphrase was set yet. */
export async function readBackupKey(
  client: Pick<RestClient, 'get'>,
): Promise<Required<SealingKey> | undefined> {
  const secret = await client.get(secrets, ref).catch(ignoreMissing);
  const { [backupKeyData.recipient]: recipient, [backupKeyData.identity]: identity } =
    secret?.data ?? {};
  if (recipient === undefined || identity === undefined) return undefined;
  return {
    recipient: Buffer.from(recipient, 'base64').toString(),
    lockedIdentity: Buffer.from(identity, 'base64'),
  };
}

export interface BackupPassphraseSetter {
  /** Why a typed one can't be used, as the end of a sentence; undefined: it can. */
  readonly problemOf: (typed: string) => string | undefined;
  /** None typed: one is made, and answered. */
  readonly set: (typed: string | undefined) => Promise<NonNullable<BackupPassphrase['status']>>;
}

export function backupPassphraseSetter(deps: BackupKeyDeps): BackupPassphraseSetter {
  return {
    problemOf: (typed) => passphraseProblem(canonicalPassphrase(typed)),
    async set(typed) {
      const passphrase = typed ?? makePassphrase(deps.random);
      const key = await makeSealingKey(canonicalPassphrase(passphrase), deps.work);
      await writeKey(deps.client(), key);
      await tellOf(deps, key.recipient);
      const status: BackupPassphrase['status'] = { recipient: key.recipient };
      return typed === undefined ? { ...status, passphrase } : status;
    },
  };
}

async function writeKey(
  client: Pick<RestClient, 'get' | 'create' | 'update'>,
  { recipient, lockedIdentity }: Required<SealingKey>,
): Promise<void> {
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: ref,
    type: 'flotilla.dev/backup-key',
    data: {
      [backupKeyData.recipient]: Buffer.from(recipient).toString('base64'),
      [backupKeyData.identity]: Buffer.from(lockedIdentity).toString('base64'),
    },
  };
  const found = await client.get(secrets, ref).catch(ignoreMissing);
  if (found === undefined) await client.create(secrets, secret);
  else await client.update(secrets, { ...found, data: secret.data ?? {} });
}

async function tellOf({ client, clock }: BackupKeyDeps, recipient: string): Promise<void> {
  const backup = await client().get(clusterBackups, { name: singletonBackup });
  const passphraseTime = rfc3339(clock.now());
  const status = { ...backup.status, recipient, passphraseTime };
  await client().updateStatus(clusterBackups, { ...backup, status });
}

function ignoreMissing(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}
