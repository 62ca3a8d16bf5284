// A pod's directory on this machine and the volumes in it: made before its containers, refreshed
// when what they hold changes, removed after the pod.
//   <root>/<uid>/volumes/<volume>            what containers mount
//   <root>/<uid>/containers/<name>/<attempt> termination messages
// Source: kubernetes pkg/kubelet/volumemanager, kubelet_pods.go (makeMounts).
import { chmod, chown, mkdir, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import type { Container, Pod, Volume, VolumeMount } from '#kube/api/core.ts';
import { toInteger } from '#kube/machinery/quantity.ts';
import type { MountConfig } from '../../runtime/runtime.ts';
import { ContainerConfigError } from '../container/environment.ts';
import { expandReferences } from '../container/expansion.ts';
import { writePayload } from './atomic-writer.ts';
import { directoryBytes } from './directory-size.ts';
import { prepareHostPath } from './host-path.ts';
import { VolumeError, volumePayload, type PayloadInput } from './payload.ts';
import type { Mounter } from './tmpfs.ts';
import { messageOf } from '../../error-message.ts';

export interface VolumesDeps {
  /** Holds one directory per pod. */
  readonly rootDirectory: string;
  readonly mounter: Mounter;
  /** Without root there are no memory-backed volumes. */
  readonly isRoot: boolean;
}

export class Volumes {
  readonly #deps: VolumesDeps;

  constructor(deps: VolumesDeps) {
    this.#deps = deps;
  }

  #podDirectory(podUid: string): string {
    // A uid is the API server's to choose, but a path is ours to guard.
    if (!/^[\w-]+$/.test(podUid)) throw new VolumeError(`pod uid ${podUid} is no directory name`);
    return join(this.#deps.rootDirectory, podUid);
  }

  #volumePath(pod: Pod, volume: Volume): string {
    if (volume.hostPath !== undefined) return volume.hostPath.path;
    return join(this.#podDirectory(pod.metadata.uid ?? ''), 'volumes', volume.name);
  }

  /** Makes or refreshes every volume of the pod. Throws VolumeError, naming the volume. */
  async setUp(input: PayloadInput): Promise<void> {
    for (const volume of input.pod.spec.volumes ?? []) {
      try {
        await this.#setUpOne(input, volume);
      } catch (error) {
        const why = messageOf(error);
        throw new VolumeError(`MountVolume.SetUp failed for volume "${volume.name}" : ${why}`, {
          cause: error,
        });
      }
    }
  }

  async #setUpOne(input: PayloadInput, volume: Volume): Promise<void> {
    const path = this.#volumePath(input.pod, volume);
    const groupId = input.pod.spec.securityContext?.fsGroup;
    if (volume.hostPath !== undefined) return prepareHostPath(volume.hostPath);
    if (volume.emptyDir !== undefined) return this.#setUpEmptyDir(path, volume, groupId);
    const payload = volumePayload(input, volume);
    if (payload === undefined) {
      const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'unknown';
      throw new VolumeError(`volume type ${kind} is not supported`);
    }
    if (volume.secret !== undefined && this.#deps.isRoot) await this.#ensureTmpfs(path, undefined);
    await writePayload(path, payload, groupId);
  }

  async #setUpEmptyDir(path: string, volume: Volume, groupId: number | undefined): Promise<void> {
    const { medium = '', sizeLimit } = volume.emptyDir ?? {};
    if (medium === 'Memory') {
      if (!this.#deps.isRoot)
        throw new VolumeError('emptyDir with medium Memory needs the agent to run as root');
      await this.#ensureTmpfs(path, sizeLimit === undefined ? undefined : toInteger(sizeLimit));
    } else if (medium !== '')
      throw new VolumeError(`emptyDir medium ${JSON.stringify(medium)} is not supported`);
    else if ((await mkdir(path, { recursive: true })) === undefined) return;
    await chmod(path, groupId === undefined ? 0o777 : 0o2777);
    if (groupId !== undefined) await chown(path, -1, groupId);
  }

  async #ensureTmpfs(path: string, sizeBytes: number | undefined): Promise<void> {
    await mkdir(path, { recursive: true });
    if (!(await this.#deps.mounter.isMounted(await realpath(path))))
      await this.#deps.mounter.mountTmpfs(path, sizeBytes);
  }

  /** Throws ContainerConfigError for mounts that can't be. */
  async mounts(
    pod: Pod,
    container: Container,
    environment: ReadonlyMap<string, string>,
  ): Promise<MountConfig[]> {
    const mounts: MountConfig[] = [];
    for (const mount of container.volumeMounts ?? []) {
      const volume = pod.spec.volumes?.find((entry) => entry.name === mount.name);
      if (volume === undefined)
        throw new ContainerConfigError(
          `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
        );
      const base = this.#volumePath(pod, volume);
      const subPath = subPathOf(mount, environment);
      mounts.push({
        hostPath: subPath === '' ? base : await resolveSubPath(base, subPath),
        containerPath: mount.mountPath,
        readOnly: mount.readOnly === true || isReadOnly(volume),
        propagation: propagationOf(mount),
      });
    }
    return mounts;
  }

  /** An empty file that the container can write its last words to. */
  async terminationMessageFile(
    podUid: string,
    containerName: string,
    attempt: number,
  ): Promise<string> {
    const directory = join(this.#podDirectory(podUid), 'containers', containerName);
    await mkdir(directory, { recursive: true });
    const path = join(directory, String(attempt));
    await writeFile(path, '');
    await chmod(path, 0o666);
    return path;
  }

  /** Unmounts and removes all that is the pod's. Idempotent. */
  async tearDown(podUid: string): Promise<void> {
    const directory = this.#podDirectory(podUid);
    if (!(await exists(directory))) return;
    const { mounter } = this.#deps;
    for (const point of await mounter.mountsUnder(await realpath(directory)))
      await mounter.unmount(point);
    await rm(directory, { recursive: true, force: true });
  }

  /** What each of the pod's own volumes holds of the disk, by name. */
  async diskBytes(pod: Pod): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    for (const volume of pod.spec.volumes ?? [])
      if (volume.hostPath === undefined)
        sizes.set(volume.name, await directoryBytes(this.#volumePath(pod, volume)));
    return sizes;
  }

  /** Uids of pods that have a directory here. */
  async podUids(): Promise<readonly string[]> {
    await mkdir(this.#deps.rootDirectory, { recursive: true, mode: 0o750 });
    return readdir(this.#deps.rootDirectory);
  }
}

function subPathOf(mount: VolumeMount, environment: ReadonlyMap<string, string>): string {
  if (mount.subPathExpr !== undefined && mount.subPathExpr !== '')
    return expandReferences(mount.subPathExpr, (name) => environment.get(name));
  return mount.subPath ?? '';
}

/** The real path of a sub-path: a link must not lead out of its volume. */
async function resolveSubPath(base: string, subPath: string): Promise<string> {
  if (subPath.startsWith('/') || subPath.split('/').includes('..'))
    throw new ContainerConfigError(
      `subPath ${JSON.stringify(subPath)} must be relative and not contain '..'`,
    );
  const root = await realpath(base);
  const path = join(root, subPath);
  // Looked at before anything is made: a link in the volume must not lead us elsewhere.
  let existing = path;
  while (!(await exists(existing))) existing = dirname(existing);
  const real = await realpath(existing);
  if (real !== root && !real.startsWith(root + sep))
    throw new ContainerConfigError(`subPath ${JSON.stringify(subPath)} leads out of its volume`);
  if (existing === path) return real;
  await mkdir(path, { recursive: true, mode: 0o750 });
  await chmod(path, (await stat(root)).mode & 0o7777);
  return realpath(path);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function isReadOnly(volume: Volume): boolean {
  return [volume.configMap, volume.secret, volume.projected, volume.downwardAPI].some(
    (source) => source !== undefined,
  );
}

function propagationOf(mount: VolumeMount): MountConfig['propagation'] {
  if (mount.mountPropagation === 'Bidirectional') return 'rshared';
  return mount.mountPropagation === 'HostToContainer' ? 'rslave' : 'rprivate';
}
