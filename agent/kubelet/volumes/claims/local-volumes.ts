// The directories on this machine that serve as volumes: made once, when the control plane has written one
// down, and removed only when a person's or a class's policy says Delete, nobody uses it, and only below the
// folder it was made in. One that is gone is never made again: an app must not start with nothing.
// The control plane's half: controllers/local-path.
import { chmod, lstat, mkdir, realpath, rmdir } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import type { PersistentVolume } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Informer } from '#kube/client/informer.ts';
import { persistentVolumes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { diskAnnotation, localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { copyOrderOf, moveAnnotations } from '#kube/machinery/volume-move.ts';
import { messageOf } from '../../../error-message.ts';
import { diskOf, diskProblem, parseDisk, type Machine } from '../disks/disk.ts';
import { mountPointsWithin } from '../disks/mounter.ts';
import type { CopyTarget, VolumeCopier } from '../copies/volume-copier.ts';
import type { VolumeShare } from '../copies/volume-share.ts';
import { openPath, removeContents } from '../tree.ts';

export interface LocalVolumesDeps {
  readonly client: RestClient;
  /** Those with this node's label. */
  readonly volumes: Informer<PersistentVolume>;
  /** The agent's own; others are named by storage classes. */
  readonly folder: string;
  readonly machine: () => Promise<Machine>;
  readonly copier: Pick<VolumeCopier, 'want' | 'stop'>;
  readonly share: Pick<VolumeShare, 'forget'>;
  /** A pod here has it, or still ends. */
  readonly isUsed: (volumeName: string) => boolean;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
}

const protection = 'kubernetes.io/pv-protection';
const retryMs = 10_000;

/** What stands in the way, for a person to mend. */
class Obstacle extends Error {
  override readonly name = 'Obstacle';
}

export class LocalVolumes {
  readonly #deps: LocalVolumesDeps;
  readonly #controller: Controller;

  constructor(deps: LocalVolumesDeps) {
    this.#deps = deps;
    const { clock, logger, volumes } = deps;
    this.#controller = new Controller({
      name: 'local-volumes',
      clock,
      logger,
      reconcile: (name) => this.#reconcile(name),
    });
    this.#controller.watch(volumes);
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  async #reconcile(name: string): Promise<ReconcileResult | undefined> {
    const volume = this.#deps.volumes.lister.get('', name);
    if (volume === undefined || !isOurs(volume)) return undefined;
    const isGoing = volume.metadata.deletionTimestamp !== undefined;
    try {
      const { annotations = {} } = volume.metadata;
      if (annotations[moveAnnotations.readableBy] === undefined)
        await this.#deps.share.forget(name);
      if (isGoing) return await this.#letGo(volume);
      const isMade = annotations[localPath.madeAnnotation] !== undefined;
      if (isMade) return undefined;
      const made = await this.#prepare(volume);
      if (copyOrderOf(volume) === undefined) await this.#tellMade(volume, made);
      // A volume like others when it has what is in the other.
      else this.#deps.copier.want(volume, made);
      return undefined;
    } catch (error) {
      // What the file system says is for a person as well.
      const isObstacle =
        error instanceof Error && ('syscall' in error || error instanceof Obstacle);
      if (!isObstacle && !(error instanceof Error && error.name === 'TreeError')) throw error;
      const reason = isGoing ? 'VolumeFailedDelete' : 'ProvisioningFailed';
      this.#deps.events.event(volume, 'Warning', reason, messageOf(error));
      return { requeueAfterMs: retryMs };
    }
  }

  /** A directory, and what is told of it when it may be used. */
  async #prepare(volume: PersistentVolume): Promise<CopyTarget> {
    const { clock, folder } = this.#deps;
    const given = pathOf(volume);
    // A folder that a person named is on a disk that may not be connected: it has to be there.
    if (dirname(given) === folder) await mkdir(folder, { recursive: true, mode: 0o711 });
    // First: a look is what mounts an automounted disk.
    const path = join(await this.#existing(dirname(given)), basename(given));
    const machine = await this.#deps.machine();
    const problem = diskProblem(path, undefined, machine);
    if (problem !== undefined) throw new Obstacle(problem);
    await mkdir(path).catch((error: unknown) => {
      // Made by us, and not told of any more.
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    });
    if (!(await lstat(path)).isDirectory()) throw new Obstacle(`${path} is not a directory`);
    if (copyOrderOf(volume) === undefined) await chmod(path, 0o777);
    const disk = diskOf(path, machine);
    const madeAnnotations = {
      [localPath.madeAnnotation]: rfc3339(clock.now()),
      ...(disk === undefined ? {} : { [diskAnnotation]: JSON.stringify(disk) }),
    };
    return { directory: path, madeAnnotations };
  }

  async #tellMade(
    { metadata: { name } }: PersistentVolume,
    { directory, madeAnnotations: annotations }: CopyTarget,
  ): Promise<void> {
    const { client, logger } = this.#deps;
    await client.patch(persistentVolumes, { name }, { metadata: { annotations } });
    logger.info('Made a directory for a volume', { volume: name, path: directory });
  }

  async #letGo(volume: PersistentVolume): Promise<ReconcileResult | undefined> {
    const { metadata, spec, status } = volume;
    const { finalizers = [], name } = metadata;
    if (!finalizers.includes(localPath.finalizer)) return undefined;
    // A claim has it: told again when that is over.
    if (finalizers.includes(protection) || status?.phase === 'Bound') return undefined;
    await this.#deps.copier.stop(name);
    if (spec.persistentVolumeReclaimPolicy === 'Delete') {
      if (this.#deps.isUsed(name)) return { requeueAfterMs: retryMs };
      // What can't be undone is not done by what was seen some time ago.
      const live = await this.#live(name);
      if (live?.metadata.resourceVersion !== metadata.resourceVersion) return undefined;
      await this.#remove(volume);
    }
    const { uid, resourceVersion } = metadata;
    const rest = finalizers.filter((finalizer) => finalizer !== localPath.finalizer);
    const patch = { metadata: { uid, resourceVersion, finalizers: rest } };
    await this.#deps.client.patch(persistentVolumes, { name }, patch).catch((error: unknown) => {
      if (!hasReason(error, 'NotFound')) throw error;
    });
    return undefined;
  }

  async #live(name: string): Promise<PersistentVolume | undefined> {
    return this.#deps.client.get(persistentVolumes, { name }).catch((error: unknown) => {
      if (!hasReason(error, 'NotFound')) throw error;
      return undefined;
    });
  }

  async #remove(volume: PersistentVolume): Promise<void> {
    const { annotations = {}, name } = volume.metadata;
    const isMade = annotations[localPath.madeAnnotation] !== undefined;
    const given = pathOf(volume);
    const folder = isMade
      ? await this.#existing(dirname(given))
      : await realpath(dirname(given)).catch(ifMissing);
    if (folder === undefined) return;
    const path = join(folder, basename(given));
    const machine = await this.#deps.machine();
    const recorded = parseDisk(annotations[diskAnnotation] ?? '');
    const problem = diskProblem(path, recorded, machine);
    if (problem !== undefined) throw new Obstacle(problem);
    const [within] = mountPointsWithin(machine.mounts, path);
    if (within !== undefined) throw new Obstacle(`something is mounted at ${within}: unmount it`);
    const status = await lstat(path).catch(ifMissing);
    if (status === undefined) return;
    if (!status.isDirectory()) throw new Obstacle(`${path} is not a directory`);
    const directory = await openPath(path);
    try {
      await removeContents(directory);
    } finally {
      await directory.close();
    }
    await rmdir(path);
    this.#deps.logger.info('Removed the directory of a volume', { volume: name, path });
  }

  async #existing(folder: string): Promise<string> {
    try {
      return await realpath(folder);
    } catch (error) {
      const { nodeName } = await this.#deps.machine();
      throw new Obstacle(
        `the folder ${folder} is not there on ${nodeName}: connect its disk, or make the folder (${messageOf(error)})`,
      );
    }
  }
}

function isOurs({ metadata, spec }: PersistentVolume): boolean {
  return (
    metadata.annotations?.[volumeAnnotations.provisionedBy] === localPath.provisioner &&
    spec.local !== undefined
  );
}

/** A disk that can't be read is not one that has nothing. */
function ifMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

/** Throws unless its last part is what the control plane calls it, so that nothing else is ever touched. */
function pathOf({ metadata, spec }: PersistentVolume): string {
  const path = spec.local?.path ?? '';
  const { name } = metadata;
  const last = basename(path);
  const isNamed = last === name || last.startsWith(`${name}_`);
  if (
    !/^pvc-[\da-f-]{36}$/.test(name) ||
    !isNamed ||
    !path.startsWith('/') ||
    normalize(path) !== path
  )
    throw new Obstacle(`${JSON.stringify(path)} is not a path for volume ${name}`);
  return path;
}
