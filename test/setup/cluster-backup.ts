// A data directory of a cluster that stands still, and a sealed backup of it: for tests of adoption.
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { readBytesIfExists } from '#platform/atomic-file.ts';
import { ClusterPki } from '#platform/pki.ts';
import { makeSealingKey, type SealingKey } from '#platform/sealed-stream.ts';
import { digestOf, readKeys, sealBundle } from '../../electron/controlplane/backup/bundle.ts';
import { makeManifest, type BackupManifest } from '../../electron/controlplane/backup/manifest.ts';
import { backupBytes, backupChunks } from '../../electron/controlplane/store/backup.ts';
import { writeChunks } from '../../electron/controlplane/store/state-copy.ts';
import { openStoreIn } from './store.ts';

export const testPassphrase = 'correct horse battery staple';
export const testRelease = '1.2.3';
/** scrypt at its cheapest. */
export const testKey = (passphrase = testPassphrase): Promise<Required<SealingKey>> =>
  makeSealingKey(passphrase, 4);

export interface MadeBackup {
  readonly caPem: string;
  readonly clusterId: string;
}

/** Writes `file`: of a cluster in `data` whose store holds `rows`. */
export async function makeClusterBackup(
  data: string,
  file: string,
  rows: Readonly<Record<string, string>>,
  changes: Partial<BackupManifest> = {},
): Promise<MadeBackup> {
  const directory = path.join(data, 'pki');
  mkdirSync(data, { recursive: true });
  const pki = await ClusterPki.open({ directory, clock: systemClock, random: systemRandom });
  await pki.tokenKey();
  await pki.secretKeys();
  const { store, state, clusterId } = await openStoreIn(path.join(data, 'store'));
  for (const [key, value] of Object.entries(rows)) await store.put(key, Buffer.from(value), 0);
  const snapshot = await state.snapshot();
  const keys = await readKeys((name) => readBytesIfExists(path.join(directory, name)));
  const manifest = {
    ...makeManifest({
      release: testRelease,
      nowMs: systemClock.now(),
      nodeName: 'old-laptop',
      lineage: state.lineage,
      stateBytes: backupBytes(snapshot),
      addresses: ['192.0.2.7:7443'],
      keys: [...keys].map(([name, content]) => ({ name, sha256: digestOf(content) })),
    }),
    ...changes,
  };
  const chunks = sealBundle({ manifest, keys, state: backupChunks(snapshot) }, await testKey());
  await writeChunks(file, chunks);
  snapshot.close();
  await store.close();
  return { clusterId, caPem: readFileSync(path.join(directory, 'ca.crt'), 'utf8') };
}
