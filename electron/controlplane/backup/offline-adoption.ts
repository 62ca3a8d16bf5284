// `npm start -- --adopt FILE`: a backup becomes the cluster of an unused data directory, before anything runs on it.
// Asked again after it was killed, it goes on where it was.
import { createReadStream, existsSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { dataDirectoryError, openDataDirectory } from '#platform/data-directory.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { readSealingKey, SealedStreamError } from '#platform/sealed-stream.ts';
import { lockDataDirectory } from '#platform/sqlite.ts';
import { finishAdoption, isAdopting, stageAdoption } from './adoption.ts';
import { BackupRefusedError } from './manifest.ts';
import { canonicalPassphrase } from './passphrase.ts';

export interface OfflineAdoptionDeps {
  readonly dataDirectory: string;
  readonly release: string;
  /** Asked for once it is known that the file and the directory can be used. */
  readonly passphrase: () => Promise<string>;
  readonly clock: Clock;
  readonly random: Random;
  readonly failpoint?: Failpoint | undefined;
}

/** A sentence about what was adopted. Throws errors whose messages are sentences; then nothing has changed. */
export async function adoptInto(file: string, deps: OfflineAdoptionDeps): Promise<string> {
  const { dataDirectory, clock, failpoint } = deps;
  openDataDirectory(dataDirectory);
  const lock = lockDataDirectory(dataDirectory, 'flotilla adoption', clock);
  try {
    const wasAdopting = isAdopting(dataDirectory);
    // Also what one that was killed left half-read.
    await finishAdoption(dataDirectory, clock, failpoint);
    if (wasAdopting)
      return `The backup that was being adopted when this ended is the cluster of ${dataDirectory} now.`;
    assertUnused(dataDirectory);
    await assertOpens(file);
    const passphrase = canonicalPassphrase(await deps.passphrase());
    const unlocking = { passphrase };
    const { madeAt, madeOn } = await stageAdoption(createReadStream(file), {
      ...deps,
      file,
      unlocking,
    });
    await finishAdoption(dataDirectory, clock, failpoint);
    return `${dataDirectory} goes on as the cluster of ${madeOn}, as of ${madeAt}. If ${madeOn} still runs, stop it: there would be two of one cluster.`;
  } catch (error) {
    throw dataDirectoryError(error, dataDirectory) ?? error;
  } finally {
    lock.release();
  }
}

function assertUnused(dataDirectory: string): void {
  const found = ['store', 'pki', 'cluster-made'].find((name) =>
    existsSync(path.join(dataDirectory, name)),
  );
  if (found === undefined) return;
  throw new BackupRefusedError(
    `The data directory ${dataDirectory} holds a cluster already: start it without --adopt, or choose an unused one with --data.`,
  );
}

/** Before a person types a passphrase for nothing. */
async function assertOpens(file: string): Promise<void> {
  try {
    await readSealingKey(createReadStream(file));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = error instanceof SealedStreamError ? message : `can't be read (${code ?? message})`;
    throw new BackupRefusedError(`${file} ${why}: give the path of a backup of the cluster.`, {
      cause: error,
    });
  }
}
