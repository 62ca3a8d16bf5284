// The backup of the home, live, and what a person does about it, each as a write that kubectl would make; and a
// backup handed over to a cluster that was just begun. A passphrase is in memory only, and no longer than it is shown.
import { type ComputedRef, computed } from 'vue';
import type { BackupPassphrase, ClusterBackup } from '#kube/api/cluster-backup.ts';
import { clusterBackups } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { backUpNowAnnotation, singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { useCluster } from './cluster.ts';
import { useResource } from './resources.ts';

/** Where the browser downloads a backup from, and hands one over to. */
export const clusterBackupPath = '/flotilla/cluster-backup';
const ref = { name: singletonBackup };

export interface BackupData {
  /** Undefined: not known yet, or a server that has none. */
  readonly backup: ComputedRef<ClusterBackup | undefined>;
  backUpNow(): Promise<void>;
  setFolder(path: string): Promise<void>;
  setSuspended(isSuspended: boolean): Promise<void>;
  /** None typed: the one that was made. */
  setPassphrase(typed: string | undefined): Promise<string | undefined>;
}

export function useBackup(): BackupData {
  const { client } = useCluster();
  const { object } = useResource(clusterBackups, () => ref);
  return { backup: computed(() => object.value), ...backupActions(client) };
}

function backupActions(client: RestClient): Omit<BackupData, 'backup'> {
  const patch = async (change: object): Promise<void> => {
    await client.patch(clusterBackups, ref, change);
  };
  return {
    backUpNow: () =>
      patch({ metadata: { annotations: { [backUpNowAnnotation]: new Date().toISOString() } } }),
    setFolder: (path) => patch({ spec: { target: path === '' ? null : { folder: { path } } } }),
    setSuspended: (isSuspended) => patch({ spec: { suspend: isSuspended ? true : null } }),
    async setPassphrase(typed) {
      const answer = (await client.createSubresource(clusterBackups, ref, 'passphrase', {
        apiVersion: 'flotilla.dev/v1alpha1',
        kind: 'BackupPassphrase',
        metadata: ref,
        spec: typed === undefined ? {} : { passphrase: typed },
      })) as BackupPassphrase;
      return answer.status?.passphrase;
    },
  };
}

/** Resolves when the cluster goes on as the backup's, in a moment. Throws a sentence. */
export async function adoptBackup(file: File, passphrase: string): Promise<void> {
  const response = await fetch(clusterBackupPath, {
    method: 'POST',
    credentials: 'same-origin',
    headers: {
      'content-type': 'application/octet-stream',
      'flotilla-passphrase': base64(passphrase),
    },
    body: file,
  });
  if (response.ok) return;
  const status = (await response.json().catch(() => ({}))) as { readonly message?: string };
  throw new Error(status.message ?? `The server answered ${response.status}.`);
}

function base64(text: string): string {
  return btoa(String.fromCodePoint(...new TextEncoder().encode(text)));
}
