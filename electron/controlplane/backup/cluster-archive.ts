// A sealed backup of the cluster as it is now: from the state of this member and the keys on its disk.
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import { readBytesIfExists } from '#platform/atomic-file.ts';
import type { SealingKey } from '#platform/sealed-stream.ts';
import type { StateBackup } from '../members/members.ts';
import { digestOf, readKeys, sealBundle } from './bundle.ts';
import { makeManifest, type BackupManifest } from './manifest.ts';

export interface ClusterArchiveDeps {
  readonly openState: () => Promise<StateBackup>;
  /** The folder of keys. */
  readonly pki: string;
  readonly release: string;
  readonly nodeName: string;
  /** Where other machines reach the control planes there are. */
  readonly addresses: () => Promise<readonly string[]>;
  readonly clock: Clock;
}

export interface ClusterArchive {
  readonly manifest: BackupManifest;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Gives the copy of the state up. */
  close(): void;
}

/** To be closed. Throws BackupRefusedError and what the store throws without a majority. */
export async function openClusterArchive(
  { openState, pki, release, nodeName, addresses, clock }: ClusterArchiveDeps,
  key: SealingKey,
): Promise<ClusterArchive> {
  const keys = await readKeys((name) => readBytesIfExists(path.join(pki, name)));
  const served = await addresses();
  const state = await openState();
  const manifest = makeManifest({
    release,
    nowMs: clock.now(),
    nodeName,
    lineage: state.lineage,
    stateBytes: state.sizeBytes,
    addresses: served,
    keys: [...keys].map(([name, content]) => ({ name, sha256: digestOf(content) })),
  });
  return {
    manifest,
    chunks: sealBundle({ manifest, keys, state: state.chunks }, key),
    close: () => state.close(),
  };
}
