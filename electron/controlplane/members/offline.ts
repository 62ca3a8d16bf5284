// What is done to a data directory while nothing runs on it: putting a backup into one, and going on
// alone after a majority of members is gone for good.
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { uuid, type Random } from '#kube/base/random.ts';
import { dataDirectoryError, openDataDirectory } from '#platform/data-directory.ts';
import { lockDataDirectory } from '#platform/sqlite.ts';
import {
  previewRecovery,
  recoverMember,
  type RecoveryDeps,
  type RecoveryPreview,
  type RecoveryReport,
} from '../replica/recovery-run.ts';
import { restoreBackup } from '../store/backup.ts';
import { logFolder, openRecoverableState } from '../store/open-store.ts';
import { storeFolder } from './member-store.ts';

export interface OfflineDeps {
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * The next start founds a cluster with what the backup holds. The directory must hold no state;
 * certificates that are there stay. Throws errors whose messages are sentences for a person.
 */
export async function restore(file: string, deps: OfflineDeps): Promise<void> {
  const { dataDirectory, clock, random } = deps;
  openDataDirectory(dataDirectory);
  const lock = lockDataDirectory(dataDirectory, 'flotilla restore', clock);
  try {
    const directory = path.join(dataDirectory, storeFolder);
    await restoreBackup(file, directory, { nowMs: clock.now(), random });
  } catch (error) {
    throw dataDirectoryError(error, dataDirectory) ?? error;
  } finally {
    lock.release();
  }
}

/** What `recover` would come to. Changes nothing. */
export function previewRecover(deps: OfflineDeps): Promise<RecoveryPreview> {
  return previewRecovery(recoveryDeps(deps));
}

export function recover(deps: OfflineDeps): Promise<RecoveryReport> {
  return recoverMember(recoveryDeps(deps));
}

function recoveryDeps({ dataDirectory, clock, random, logger }: OfflineDeps): RecoveryDeps {
  return {
    dataDirectory,
    folder: path.join(dataDirectory, storeFolder),
    memberFile: 'member.json',
    logFolder,
    newClusterId: uuid(random),
    clock,
    random,
    logger,
    openState: (directory) => openRecoverableState({ directory, clock, random, logger }),
  };
}
