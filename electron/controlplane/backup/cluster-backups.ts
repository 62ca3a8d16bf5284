// Backs the cluster up where the control plane leads: when it is due or asked for, by the plan; reads each backup
// back, lets old ones go, and says in the ClusterBackup how it went. The passphrase is nowhere: a Secret holds what
// backups are closed with.
import { createHash } from 'node:crypto';
import type {
  ClusterBackup,
  ClusterBackupStatus,
  ClusterBackupSuccess,
} from '#kube/api/cluster-backup.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { Controller } from '#kube/client/controller.ts';
import { ApiEventRecorder, type EventRecorder } from '#kube/client/event-recorder.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { clusterBackups, namespaces } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { setCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { openBucket } from './bucket.ts';
import { FolderStore } from '#platform/object-store/folder.ts';
import { ObjectStoreError, type ObjectStore } from '#platform/object-store/object-store.ts';
import type { SealingKey } from '#platform/sealed-stream.ts';
import { readBackupKey } from './backup-key.ts';
import { keepOf, nextStep, protection } from './backup-plan.ts';
import type { ClusterArchive } from './cluster-archive.ts';
import { BackupRefusedError } from './manifest.ts';
import { backupName, backupsToForget, backupTimeMs } from './schedule.ts';

export interface ClusterBackupsDeps {
  /** With the rights of `cluster-backup`. */
  readonly client: RestClient;
  /** Its own. */
  readonly informers: InformerFactory;
  readonly openArchive: (key: SealingKey) => Promise<ClusterArchive>;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A timer does not run while a laptop sleeps: what is due is looked at again so soon. */
const lookMs = 3_600_000;
const writeTries = 5;

/** Until `signal` aborts. */
export async function runClusterBackups(
  deps: ClusterBackupsDeps,
  signal: AbortSignal,
): Promise<void> {
  const { informers, client, clock, logger, nodeName } = deps;
  const recorder = new ApiEventRecorder({
    client,
    clock,
    logger,
    component: 'cluster-backup',
    host: nodeName,
  });
  const backups = new ClusterBackups(deps, recorder);
  const controller = new Controller({
    name: 'cluster-backup',
    clock,
    logger,
    reconcile: (_key, ended) => backups.reconcile(ended),
  });
  controller.watch(informers.informer(clusterBackups), ({ metadata }) =>
    metadata.name === singletonBackup ? [singletonBackup] : [],
  );
  informers.start(signal);
  await controller.run(signal);
}

export class ClusterBackups {
  readonly #deps: Omit<ClusterBackupsDeps, 'informers'>;
  readonly #recorder: EventRecorder;

  constructor(deps: Omit<ClusterBackupsDeps, 'informers'>, recorder: EventRecorder) {
    this.#deps = deps;
    this.#recorder = recorder;
  }

  async reconcile(signal: AbortSignal): Promise<{ readonly requeueAfterMs: number }> {
    const { clock } = this.#deps;
    // As it is now: an older one would be backed up a second time.
    const backup = await this.#read();
    if (backup === undefined) return { requeueAfterMs: lookMs };
    const step = nextStep(backup, clock.now());
    if (step.type === 'back-up') await this.#backUp(backup, step.request, signal);
    const after = await this.#tell((status) => status);
    const next = after === undefined ? undefined : nextStep(after, clock.now());
    const untilMs = next?.type === 'wait' ? next.untilMs : undefined;
    const waitMs = untilMs === undefined ? lookMs : untilMs - clock.now();
    return { requeueAfterMs: Math.min(Math.max(waitMs, 0), lookMs) };
  }

  async #backUp(
    backup: ClusterBackup,
    request: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, logger } = this.#deps;
    await this.#tell((status) => ({ ...status, runningSince: rfc3339(clock.now()) }));
    const answered = request === undefined ? {} : { answeredRequest: request };
    try {
      const {
        lastFailure: _none,
        runningSince: _past,
        ...done
      } = await this.#write(backup, signal);
      await this.#tell(({ lastFailure: _old, runningSince: _over, ...status }) => ({
        ...status,
        ...done,
        ...answered,
      }));
    } catch (error) {
      // The next leader, or the next start, makes it.
      if (signal.aborted) throw error;
      const message = sentenceOf(error);
      logger.warn('The cluster was not backed up', { error });
      this.#recorder.event(backup, 'Warning', 'BackupFailed', message);
      const lastFailure = { time: rfc3339(clock.now()), message };
      await this.#tell(({ runningSince: _over, ...status }) => ({
        ...status,
        ...answered,
        lastFailure,
      }));
    }
  }

  /** What there is to say of one that is good. Throws errors with a sentence, and others. */
  async #write(backup: ClusterBackup, signal: AbortSignal): Promise<ClusterBackupStatus> {
    const { client, clock, nodeName, openArchive } = this.#deps;
    const key = await readBackupKey(client);
    if (key === undefined)
      throw new BackupRefusedError('No passphrase was set for backups: set one first.');
    const store = await this.#open(backup);
    const system = await client.get(namespaces, { name: 'kube-system' });
    const folder = `cluster-${system.metadata.uid?.slice(0, 8)}`;
    const nowMs = clock.now();
    const name = backupName(folder, nowMs);
    const archive = await openArchive(key);
    let sizeBytes: number;
    try {
      sizeBytes = await writeVerified(store, name, archive.chunks, signal);
    } finally {
      archive.close();
    }
    const keptCount = await this.#forget(backup, store, folder);
    const lastSuccess: ClusterBackupSuccess = {
      time: rfc3339(nowMs),
      name,
      place: store.place,
      sizeBytes,
      nodeName,
    };
    this.#recorder.event(backup, 'Normal', 'BackedUp', `Wrote ${name} to ${store.place}`);
    const preparedFolder = backup.spec?.target?.folder?.path;
    return { lastSuccess, keptCount, ...(preparedFolder !== undefined && { preparedFolder }) };
  }

  async #open({ spec, status }: ClusterBackup): Promise<ObjectStore> {
    const { folder: { path: folder } = {}, bucket } = spec?.target ?? {};
    if (bucket !== undefined) return openBucket(this.#deps, bucket);
    if (folder === undefined)
      throw new BackupRefusedError('There is no place for backups: choose a folder first.');
    const store = new FolderStore(folder, this.#deps.clock);
    // From then on a folder without its mark is a disk that is missing.
    if (status?.preparedFolder !== folder) await store.claim();
    return store;
  }

  /** How many stay. What can't go now goes with a later backup. */
  async #forget(backup: ClusterBackup, store: ObjectStore, folder: string): Promise<number> {
    const { logger } = this.#deps;
    const found = await store.list(`${folder}/`);
    const all = found.flatMap(({ name }) => {
      const timeMs = backupTimeMs(name);
      return timeMs === undefined ? [] : [{ name, timeMs }];
    });
    const old = backupsToForget(all, keepOf(backup));
    try {
      for (const name of old) await store.delete(name);
      return all.length - old.length;
    } catch (error) {
      logger.warn('Could not delete an old backup', { error });
      return all.length;
    }
  }

  async #read(): Promise<ClusterBackup | undefined> {
    const { client } = this.#deps;
    return await client.get(clusterBackups, { name: singletonBackup }).catch((error: unknown) => {
      if (!hasReason(error, 'NotFound')) throw error;
      return undefined;
    });
  }

  /** With what follows from it: the condition, and when the next one is due. The object then. */
  async #tell(
    change: (status: ClusterBackupStatus) => ClusterBackupStatus,
  ): Promise<ClusterBackup | undefined> {
    const { client, clock } = this.#deps;
    for (let tries = 1; ; tries++) {
      const found = await this.#read();
      if (found === undefined) return undefined;
      const status = complete({ ...found, status: change(found.status ?? {}) }, clock.now());
      if (deepEqual(status, found.status)) return found;
      try {
        return await client.updateStatus(clusterBackups, { ...found, status });
      } catch (error) {
        if (!hasReason(error, 'Conflict') || tries === writeTries) throw error;
      }
    }
  }
}

function complete(backup: ClusterBackup, nowMs: number): ClusterBackupStatus {
  const { nextTime: _old, ...status } = backup.status ?? {};
  const step = nextStep(backup, nowMs);
  const untilMs = step.type === 'wait' ? step.untilMs : nowMs;
  return {
    ...status,
    conditions: setCondition(
      status.conditions,
      { type: 'Protected', ...protection(backup, nowMs) },
      rfc3339(nowMs),
    ),
    ...(untilMs !== undefined && step.type === 'wait' && { nextTime: rfc3339(untilMs) }),
  };
}

/** Its length, once what is in the store is byte for byte what was written. */
async function writeVerified(
  store: ObjectStore,
  name: string,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  const written = createHash('sha256');
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      written.update(chunk);
      yield chunk;
    }
  }
  const { sizeBytes } = await store.put(name, hashed(), signal);
  const found = createHash('sha256');
  for await (const chunk of store.get(name, signal)) found.update(chunk);
  if (!found.digest().equals(written.digest())) {
    await store.delete(name);
    throw new BackupRefusedError(
      `What ${store.place} gives back is not what was written there: its disk is not to be trusted. Choose another one.`,
    );
  }
  return sizeBytes;
}

function sentenceOf(error: unknown): string {
  const isSentence =
    error instanceof BackupRefusedError ||
    error instanceof ObjectStoreError ||
    error instanceof StatusError;
  return isSentence
    ? error.message
    : `Something unexpected went wrong: ${(error as Error).message}.`;
}
