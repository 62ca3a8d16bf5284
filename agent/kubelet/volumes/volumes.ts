// A pod's directory on this machine and the volumes in it: made before its containers, refreshed
// when what they hold changes, removed after the pod.
//   <root>/<uid>/volumes/<volume>              what containers mount
//   <root>/<uid>/mounts/<volume>               shares of the network
//   <root>/<uid>/subpaths/<container>/<index>  parts of volumes, see sub-paths.ts
//   <root>/<uid>/grouped/<volume>              empty: the volume's files were given to fsGroup
//   <root>/<uid>/containers/<name>/<attempt>   termination messages
//   <root>/<uid>/resolv.conf                   its name servers, if the engine is not to choose
// Invariant: nothing of `mounts` and `subpaths` is removed but empty mount points: what is behind them is
// not the pod's. Source: kubernetes pkg/kubelet/volumemanager, kubelet_pods.go (makeMounts).
import {
  chmod,
  chown,
  mkdir,
  readFile,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Container, Pod, Volume, VolumeMount } from '#kube/api/core.ts';
import { toInteger } from '#kube/machinery/quantity.ts';
import type { MountConfig } from '../../runtime/runtime.ts';
import { ContainerConfigError } from '../container/environment.ts';
import { expandReferences } from '../container/expansion.ts';
import { writePayload } from './atomic-writer.ts';
import type { ClaimedVolume, HostVolume } from './claims/claim-source.ts';
import { directoryUse, type DiskUse } from './directory-size.ts';
import { diskOf, diskProblem, type Disk, type Machine } from './disks/disk.ts';
import { prepareHostPath } from './host-path.ts';
import { memoryVolumeBytes } from './memory-volume.ts';
import { mountPointsWithin, type Mounter } from './disks/mounter.ts';
import { nfsSource, type NetworkSource } from './claims/network-source.ts';
import { readVolumeFile } from './volume-file.ts';
import { VolumeError, volumePayload, type PayloadInput } from './payload.ts';
import { resolveSubPath } from './sub-paths.ts';
import { setTreeGroup } from './tree.ts';
import { messageOf } from '../../error-message.ts';

export interface VolumesDeps {
  /** Holds one directory per pod. */
  readonly rootDirectory: string;
  readonly mounter: Mounter;
  /** Without root there are no memory-backed volumes and no network shares. */
  readonly isRoot: boolean;
  readonly machine: () => Promise<Machine>;
  /** Writes down the disk that a volume is used on for the first time. */
  readonly recordDisk: (volumeName: string, disk: Disk) => Promise<void>;
}

interface Place {
  readonly path: string;
  readonly isReadOnly: boolean;
}

export class Volumes {
  readonly #deps: VolumesDeps;
  /** Paths of volumes that are elsewhere, by pod uid, then by the name of the pod's volume. */
  readonly #elsewhere = new Map<string, Map<string, Place>>();

  constructor(deps: VolumesDeps) {
    this.#deps = deps;
  }

  #podDirectory(podUid: string): string {
    // A uid is the API server's to choose, but a path is ours to guard.
    if (!/^[\w-]+$/.test(podUid)) throw new VolumeError(`pod uid ${podUid} is no directory name`);
    return join(this.#deps.rootDirectory, podUid);
  }

  #volumePath(pod: Pod, { name, hostPath, ...source }: Volume): string {
    if (hostPath !== undefined) return hostPath.path;
    const { uid = '' } = pod.metadata;
    const elsewhere = this.#elsewhere.get(uid)?.get(name);
    if (elsewhere !== undefined) return elsewhere.path;
    if (
      [source.persistentVolumeClaim, source.ephemeral, source.nfs].some((one) => one !== undefined)
    )
      throw new ContainerConfigError(`volume "${name}" is not set up`);
    return join(this.#podDirectory(uid), 'volumes', name);
  }

  /** A file that is in a volume by now. Undefined: there is none. Throws ContainerConfigError. */
  async file(pod: Pod, volumeName: string, path: string): Promise<string | undefined> {
    const volume = pod.spec.volumes?.find(({ name }) => name === volumeName);
    if (volume === undefined)
      throw new ContainerConfigError(
        `cannot find the volume "${volumeName}" referenced by FileKeyRef`,
      );
    return readVolumeFile(this.#volumePath(pod, volume), path);
  }

  /** Makes or refreshes every volume of the pod. Throws VolumeError, naming the volume. */
  async setUp(input: PayloadInput): Promise<void> {
    for (const volume of input.pod.spec.volumes ?? []) {
      const claimed = input.objects.claimed?.get(volume.name);
      try {
        await this.#setUpOne(input, volume, claimed);
      } catch (error) {
        const why = whyNotSetUp(error, this.#deps.rootDirectory);
        const name = claimed?.name ?? volume.name;
        throw new VolumeError(`MountVolume.SetUp failed for volume "${name}" : ${why}`, {
          cause: error,
        });
      }
    }
  }

  async #setUpOne(
    input: PayloadInput,
    volume: Volume,
    claimed: ClaimedVolume | undefined,
  ): Promise<void> {
    const { pod } = input;
    const groupId = pod.spec.securityContext?.fsGroup;
    if (claimed?.kind === 'host') return this.#setUpHost(pod, volume, claimed);
    if (claimed?.kind === 'network')
      return this.#setUpNetwork(pod, volume, claimed.source, claimed.isReadOnly);
    if (volume.nfs !== undefined) {
      const { readOnly: isReadOnly = false } = volume.nfs;
      const source = nfsSource(volume.nfs, { mountOptions: [], isReadOnly });
      return this.#setUpNetwork(pod, volume, source, isReadOnly);
    }
    if (volume.hostPath !== undefined) {
      await this.#checkDisk(volume.hostPath.path, undefined);
      return prepareHostPath(volume.hostPath);
    }
    const path = this.#volumePath(pod, volume);
    if (volume.emptyDir !== undefined) return this.#setUpEmptyDir(path, pod, volume);
    const { isRoot } = this.#deps;
    const payload = volumePayload(input, volume, { canGiveAway: isRoot });
    if (payload === undefined) {
      const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'unknown';
      throw new VolumeError(`volume type ${kind} is not supported`);
    }
    // What an older agent has put on the disk stays there: a running container has that folder.
    if (isRoot && holdsSecrets(volume) && !(await exists(join(path, '..data'))))
      await this.#ensureTmpfs(path);
    await writePayload(path, payload, groupId);
  }

  #setElsewhere(pod: Pod, { name }: Volume, path: string, isReadOnly: boolean): void {
    const { uid = '' } = pod.metadata;
    const ofPod =
      this.#elsewhere.get(uid) ?? new Map<string, { path: string; isReadOnly: boolean }>();
    this.#elsewhere.set(uid, ofPod.set(name, { path, isReadOnly }));
  }

  async #setUpHost(pod: Pod, volume: Volume, claimed: HostVolume): Promise<void> {
    const { path, type, name, isReadOnly } = claimed;
    const disk = await this.#checkDisk(path, claimed.disk);
    if (type !== undefined) await prepareHostPath({ path, type });
    else if (!(await isDirectory(path)))
      throw new VolumeError(
        `directory ${path} is missing: its disk is not connected, or somebody removed it; it is not made again, so that nothing starts without its data`,
      );
    const isNew = claimed.disk === undefined && claimed.isOfOneNode;
    if (isNew && disk !== undefined) await this.#deps.recordDisk(name, disk);
    if (type === undefined && !isReadOnly) await this.#giveToGroup(pod, volume, path);
    this.#setElsewhere(pod, volume, path, isReadOnly);
  }

  /** Answers the disk it is on; undefined: the system's. */
  async #checkDisk(path: string, recorded: Disk | undefined): Promise<Disk | undefined> {
    // First: a look is what mounts an automounted disk.
    const real = await resolvedPath(path);
    const machine = await this.#deps.machine();
    const problem = diskProblem(real, recorded, machine);
    if (problem !== undefined) throw new VolumeError(problem);
    return diskOf(real, machine);
  }

  /** Once for each pod: what its containers changed since is theirs. */
  async #giveToGroup(pod: Pod, { name }: Volume, path: string): Promise<void> {
    const { fsGroup: groupId, fsGroupChangePolicy } = pod.spec.securityContext ?? {};
    if (groupId === undefined) return;
    const folder = join(this.#podDirectory(pod.metadata.uid ?? ''), 'grouped');
    const marker = join(folder, name);
    if (await exists(marker)) return;
    const real = await realpath(path);
    await setTreeGroup(real, { groupId, onlyOnMismatch: fsGroupChangePolicy === 'OnRootMismatch' });
    await mkdir(folder, { recursive: true });
    await writeFile(marker, '');
  }

  async #setUpNetwork(
    pod: Pod,
    volume: Volume,
    source: NetworkSource,
    isReadOnly: boolean,
  ): Promise<void> {
    const { mounter, isRoot } = this.#deps;
    if (!isRoot) throw new VolumeError(`mounting ${source.source} needs the agent to run as root`);
    const directory = await this.#ensureDirectory(pod.metadata.uid ?? '', 'mounts');
    const path = join(directory, volume.name);
    const isMounted = (await mounter.mounts()).some(({ mountPoint }) => mountPoint === path);
    // Nobody here looks at a share unless its server answers: a look would hold up the whole agent.
    if (isMounted) await mounter.checkAnswers(path);
    else {
      await mkdir(path, { recursive: true });
      await this.#mountNetwork(path, source);
    }
    this.#setElsewhere(pod, volume, path, isReadOnly);
  }

  /** A password is in a file of root's own, for as long as the mount takes: a command line is everybody's. */
  async #mountNetwork(path: string, source: NetworkSource): Promise<void> {
    const { mounter } = this.#deps;
    const { credentials, fsType, options } = source;
    if (credentials === undefined) return mounter.mountNetwork(path, source);
    const file = `${path}.credentials`;
    await rm(file, { force: true });
    await writeFile(file, credentials, { mode: 0o600, flag: 'wx' });
    try {
      const all = [...options, `credentials=${file}`];
      await mounter.mountNetwork(path, { fsType, source: source.source, options: all });
    } finally {
      await rm(file, { force: true });
    }
  }

  async #setUpEmptyDir(path: string, pod: Pod, volume: Volume): Promise<void> {
    const { medium = '', sizeLimit } = volume.emptyDir ?? {};
    const groupId = pod.spec.securityContext?.fsGroup;
    if (medium === 'Memory') {
      if (!this.#deps.isRoot)
        throw new VolumeError('emptyDir with medium Memory needs the agent to run as root');
      const asked = sizeLimit === undefined ? undefined : toInteger(sizeLimit);
      return this.#ensureTmpfs(path, memoryVolumeBytes(pod, asked), groupId);
    }
    if (medium !== '')
      throw new VolumeError(`emptyDir medium ${JSON.stringify(medium)} is not supported`);
    if (await exists(path)) return;
    // With its owner from the first moment: an agent that is killed here leaves nothing half done.
    const fresh = `${path}.new`;
    await mkdir(fresh, { recursive: true });
    if (groupId !== undefined) await chown(fresh, -1, groupId);
    // After the owner: a change of that takes the bit away.
    await chmod(fresh, groupId === undefined ? 0o777 : 0o2777);
    await rename(fresh, path);
  }

  async #ensureTmpfs(path: string, sizeBytes?: number, groupId?: number): Promise<void> {
    const { mounter } = this.#deps;
    await mkdir(path, { recursive: true });
    const real = await realpath(path);
    if ((await mounter.mounts()).some(({ mountPoint }) => mountPoint === real)) return;
    await mounter.mountTmpfs(path, sizeBytes, groupId);
  }

  async #ensureDirectory(podUid: string, ...parts: string[]): Promise<string> {
    const path = join(this.#podDirectory(podUid), ...parts);
    await mkdir(path, { recursive: true });
    return realpath(path);
  }

  /** Throws ContainerConfigError for mounts that can't be. */
  async mounts(
    pod: Pod,
    container: Container,
    environment: ReadonlyMap<string, string>,
  ): Promise<MountConfig[]> {
    const { uid = '' } = pod.metadata;
    const mounts: MountConfig[] = [];
    const [device] = container.volumeDevices ?? [];
    if (device !== undefined)
      throw new ContainerConfigError(
        `container "${container.name}" asks for volume "${device.name}" as a block device (volumeDevices), which is not supported`,
      );
    for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
      const volume = pod.spec.volumes?.find((entry) => entry.name === mount.name);
      if (volume === undefined)
        throw new ContainerConfigError(
          `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
        );
      if (mount.recursiveReadOnly === 'Enabled')
        throw new ContainerConfigError(
          `volume "${mount.name}" requested recursive read-only mode, but it is not supported by the runtime`,
        );
      const subPath = subPathOf(mount, environment);
      const isReadOnly = this.#elsewhere.get(uid)?.get(mount.name)?.isReadOnly === true;
      mounts.push({
        hostPath: await this.#mountSource(pod, volume, { subPath, container, index }),
        containerPath: mount.mountPath,
        readOnly: mount.readOnly === true || isReadOnly || isGenerated(volume),
        propagation: propagationOf(mount),
      });
    }
    return mounts;
  }

  async #mountSource(
    pod: Pod,
    volume: Volume,
    mount: {
      readonly subPath: string;
      readonly container: Container;
      readonly index: number;
    },
  ): Promise<string> {
    const { isRoot, mounter } = this.#deps;
    const { subPath, container, index } = mount;
    const base = this.#volumePath(pod, volume);
    if (subPath === '') return base;
    // What the agent itself writes anew, and nobody else, has no links that others could put there.
    if (!isRoot || isGenerated(volume)) return resolveSubPath(base, subPath, undefined);
    const { uid = '' } = pod.metadata;
    const folder = await this.#ensureDirectory(uid, 'subpaths', container.name);
    return resolveSubPath(base, subPath, { path: join(folder, String(index)), mounter });
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

  /** In place, so that containers that have it see the change; as it is when nothing changed. */
  async resolvConfFile(podUid: string, text: string): Promise<string> {
    const directory = this.#podDirectory(podUid);
    const path = join(directory, 'resolv.conf');
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return path;
    try {
      await mkdir(directory, { recursive: true });
      await writeFile(path, text);
      await chmod(path, 0o644);
    } catch (error) {
      throw new VolumeError(whyNotSetUp(error, directory), { cause: error });
    }
    return path;
  }

  /** Unmounts and removes all that is the pod's. Idempotent. */
  async tearDown(podUid: string): Promise<void> {
    const directory = this.#podDirectory(podUid);
    this.#elsewhere.delete(podUid);
    if (!(await exists(directory))) return;
    const { mounter } = this.#deps;
    const real = await realpath(directory);
    for (const point of mountPointsWithin(await mounter.mounts(), real))
      await mounter.unmount(point);
    const [left] = mountPointsWithin(await mounter.mounts(), real);
    if (left !== undefined) throw new VolumeError(`${left} is still mounted`);
    await removeMountPoints(join(real, 'mounts'));
    await removeMountPoints(join(real, 'subpaths'));
    await rm(directory, { recursive: true, force: true });
  }

  /** What each of the pod's own volumes holds of the disk, by name. */
  async diskUse(pod: Pod): Promise<ReadonlyMap<string, DiskUse>> {
    const sizes = new Map<string, DiskUse>();
    for (const volume of pod.spec.volumes ?? [])
      if (volume.emptyDir !== undefined || isGenerated(volume))
        sizes.set(volume.name, await directoryUse(this.#volumePath(pod, volume)));
    return sizes;
  }

  /** Uids of pods that have a directory here. */
  async podUids(): Promise<readonly string[]> {
    await mkdir(this.#deps.rootDirectory, { recursive: true, mode: 0o750 });
    return readdir(this.#deps.rootDirectory);
  }
}

/** Nothing secret lies on a disk, which outlives the pod, and in a Raspberry Pi is a card that anybody can take out. */
function holdsSecrets({ secret, projected }: Volume): boolean {
  return secret !== undefined || projected !== undefined;
}

/** Kubernetes' words are the system's: those that people search for. */
function whyNotSetUp(error: unknown, rootDirectory: string): string {
  const { code, path = rootDirectory } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC') return messageOf(error);
  return `no space left on device: the disk that holds ${path} is full, free some space on it`;
}

/** Without links, also where the last parts are not there. */
async function resolvedPath(path: string): Promise<string> {
  const above = dirname(path);
  return realpath(path).catch(async () =>
    above === path ? path : join(await resolvedPath(above), basename(path)),
  );
}

/** Empty ones only: whatever is in one, is not ours, and the end of the pod waits. */
async function removeMountPoints(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) await unlink(path);
    else {
      if (folder.endsWith('/subpaths')) await removeMountPoints(path);
      await rmdir(path).catch(ignoreMissing);
    }
  }
  await rmdir(folder).catch(ignoreMissing);
}

function ignoreMissing(error: { code?: string }): void {
  if (error.code !== 'ENOENT') throw error;
}

function subPathOf(mount: VolumeMount, environment: ReadonlyMap<string, string>): string {
  if (mount.subPathExpr !== undefined && mount.subPathExpr !== '')
    return expandReferences(mount.subPathExpr, (name) => environment.get(name));
  return mount.subPath ?? '';
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );
}

/** Written by the agent; containers only read them. */
function isGenerated(volume: Volume): boolean {
  return [volume.configMap, volume.secret, volume.projected, volume.downwardAPI].some(
    (source) => source !== undefined,
  );
}

function propagationOf(mount: VolumeMount): MountConfig['propagation'] {
  if (mount.mountPropagation === 'Bidirectional') return 'rshared';
  return mount.mountPropagation === 'HostToContainer' ? 'rslave' : 'rprivate';
}
