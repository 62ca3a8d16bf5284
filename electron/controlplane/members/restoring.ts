// A backup put back while the control plane runs: taken in beside the store, checked to its last byte,
// and put in the store's place by the next start, before anything looks at it. The store until then is
// kept. Whatever is interrupted, the store is the old one, whole, or the restored one, whole.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { SealingKeys } from '#platform/sealing-keys.ts';
import { syncDirectory } from '#platform/sqlite.ts';
import { MembershipRefusedError } from '../replica/membership-changes.ts';
import { setAside } from '../replica/recovery-run.ts';
import { restoreBackup } from '../store/backup.ts';
import { metaOf, valueHeads, writeChunks } from '../store/state-copy.ts';
import { stateFileIn } from '../store/state-file.ts';

export interface StagingDeps {
  /** The member's store. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  /** The cluster of the store, and those it was restored or recovered from. */
  readonly lineage: readonly string[];
  /** Those there are: the backup's Secrets have to be readable. */
  readonly keys: SealingKeys;
  /** Whoever asked has gone: nothing is put back. */
  readonly signal?: AbortSignal;
  readonly failpoint?: Failpoint;
}

/**
 * Durable when it resolves: the next start goes on with the backup. `isOther`: also with one of another
 * cluster. Throws MembershipRefusedError, StoreOpenError and the errors of a full or broken disk; then
 * nothing has changed.
 */
export async function stageRestore(
  chunks: AsyncIterable<Uint8Array>,
  isOther: boolean,
  { folder, clock, random, lineage, keys, signal, failpoint }: StagingDeps,
): Promise<void> {
  const work = unfinished(folder);
  if (existsSync(work) || existsSync(staged(folder)))
    throw new MembershipRefusedError('Another backup is being put back already.');
  mkdirSync(work, { mode: 0o700 });
  try {
    const backup = path.join(work, 'backup');
    await writeChunks(backup, chunks);
    const restored = path.join(work, 'store');
    await restoreBackup(backup, restored, { nowMs: clock.now(), random, failpoint });
    const { ancestors = [] } = metaOf(stateFileIn(restored));
    if (!isOther && !ancestors.some((id) => lineage.includes(id)))
      throw new MembershipRefusedError(
        `The backup is of another cluster (${ancestors.at(-1) ?? 'unknown'}) than this one (${lineage[0]}): give another file, or say that it shall take this one's place (restore --other-cluster).`,
      );
    assertReadable(stateFileIn(restored), keys);
    syncDirectory(work);
    signal?.throwIfAborted();
    renameSync(restored, staged(folder));
    syncDirectory(path.dirname(folder));
    failpoint?.('restore:staged');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function assertReadable(stateFile: string, keys: SealingKeys): void {
  for (const head of valueHeads(stateFile, SealingKeys.mark, SealingKeys.headBytes)) {
    const problem = keys.problemOf(head);
    if (problem !== undefined)
      throw new MembershipRefusedError(
        `The backup has Secrets that are ${problem}: add that key there, a line of its own, from the folder pki of the cluster it is of.`,
      );
  }
}

/** At a start, before anything looks at the folder. Where the store until then is kept, if it was replaced. */
export function finishRestore(
  folder: string,
  clock: Clock,
  failpoint?: Failpoint,
): string | undefined {
  rmSync(unfinished(folder), { recursive: true, force: true });
  if (!existsSync(staged(folder))) return undefined;
  const superseded = existsSync(folder) ? setAside(folder, clock) : undefined;
  failpoint?.('restore:set-aside');
  renameSync(staged(folder), folder);
  syncDirectory(path.dirname(folder));
  return superseded;
}

function unfinished(folder: string): string {
  return `${folder}.restoring`;
}

function staged(folder: string): string {
  return `${folder}.restored`;
}
