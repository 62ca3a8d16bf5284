// The volumes behind a pod's claims, each asked for once: a bound claim keeps its volume, and a volume its
// source, so what was found is good for as long as the pod is here, also with the API server gone.
// Source: kubernetes pkg/kubelet/volumemanager/populator/desired_state_of_world_populator.go.
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import {
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  secrets,
} from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { hasReason } from '#kube/machinery/status.ts';
import {
  diskAnnotation,
  isFullyBound,
  isReachable,
  localPath,
  podClaims,
  type PodClaim,
} from '#kube/machinery/volume-binding.ts';
import { holdOf } from '#kube/machinery/volume-move.ts';
import { parseDisk, type Disk } from '../disks/disk.ts';
import { csiSource, nfsSource, secretRefOf, type NetworkSource } from './network-source.ts';
import { VolumeError } from '../payload.ts';

interface OfVolume {
  /** The PersistentVolume's. */
  readonly name: string;
  readonly isReadOnly: boolean;
}

export interface HostVolume extends OfVolume {
  readonly kind: 'host';
  readonly path: string;
  /** As `hostPath` has it; undefined: a `local` volume, whose files fsGroup is about. */
  readonly type?: string;
  readonly disk?: Disk;
  /** Else each machine has a disk of its own there. */
  readonly isOfOneNode: boolean;
}

export interface NetworkVolume extends OfVolume {
  readonly kind: 'network';
  readonly source: NetworkSource;
}

export type ClaimedVolume = HostVolume | NetworkVolume;

export interface ClaimSourceDeps {
  readonly client: RestClient;
  readonly nodeName: string;
}

export class ClaimSource {
  readonly #deps: ClaimSourceDeps;
  /** By pod uid, then by the name of the pod's volume. */
  readonly #found = new Map<string, Map<string, ClaimedVolume>>();

  constructor(deps: ClaimSourceDeps) {
    this.#deps = deps;
  }

  /** By the name of the pod's volume. Throws VolumeError, or what the API server said. */
  async load(pod: Pod): Promise<ReadonlyMap<string, ClaimedVolume>> {
    const used = podClaims(pod);
    if (used.length === 0) return new Map();
    const { uid = '' } = pod.metadata;
    const found = this.#found.get(uid) ?? new Map<string, ClaimedVolume>();
    this.#found.set(uid, found);
    for (const one of used)
      if (!found.has(one.volume.name))
        found.set(one.volume.name, await this.#resolve(await this.#claim(pod, one), one));
    return found;
  }

  release(podUid: string): void {
    this.#found.delete(podUid);
  }

  isUsed(volumeName: string): boolean {
    return [...this.#found.values()].some((ofPod) =>
      [...ofPod.values()].some(({ name }) => name === volumeName),
    );
  }

  /** The disk that the volume was first used on, for all times after. */
  async recordDisk(volumeName: string, disk: Disk): Promise<void> {
    const annotations = { [diskAnnotation]: JSON.stringify(disk) };
    const patch = { metadata: { annotations } };
    await this.#deps.client.patch(persistentVolumes, { name: volumeName }, patch);
    for (const ofPod of this.#found.values())
      for (const [name, volume] of ofPod)
        if (volume.name === volumeName && volume.kind === 'host')
          ofPod.set(name, { ...volume, disk });
  }

  async #claim(pod: Pod, { name, isEphemeral }: PodClaim): Promise<PersistentVolumeClaim> {
    const { namespace = '', uid } = pod.metadata;
    const where = `error processing PVC ${namespace}/${name}`;
    const claim = await this.#deps.client
      .get(persistentVolumeClaims, { namespace, name })
      .catch((error: unknown) => {
        if (!hasReason(error, 'NotFound')) throw error;
        throw new VolumeError(`${where}: persistentvolumeclaim "${name}" not found`);
      });
    if (isEphemeral && getControllerOf(claim)?.uid !== uid)
      throw new VolumeError(`${where}: PVC was not created for this pod (pod is not owner)`);
    // Who named its node itself was asked by no scheduler.
    const hold = holdOf(claim);
    if (hold !== undefined)
      throw new VolumeError(`${where}: its data is being moved (volumemove "${hold}")`);
    if (claim.metadata.deletionTimestamp !== undefined)
      throw new VolumeError(`${where}: PVC is being deleted`);
    if (claim.status?.phase !== 'Bound' || !isFullyBound(claim))
      throw new VolumeError(`${where}: PVC is not bound`);
    return claim;
  }

  async #resolve(
    claim: PersistentVolumeClaim,
    { volume: { persistentVolumeClaim } }: PodClaim,
  ): Promise<ClaimedVolume> {
    const { client } = this.#deps;
    const { namespace, name: claimName } = claim.metadata;
    const volumeName = claim.spec.volumeName ?? '';
    const volume = await client.get(persistentVolumes, { name: volumeName });
    const { spec } = volume;
    if (spec.claimRef?.uid !== claim.metadata.uid)
      throw new VolumeError(
        `error processing PVC ${namespace}/${claimName}: volume ${volumeName} is bound to another claim`,
      );
    if (spec.volumeMode === 'Block')
      throw new VolumeError(`volume "${volumeName}" is a block device, which is not supported`);
    await this.#checkAffinity(volume);
    const modes = spec.accessModes ?? [];
    const isReadOnly =
      persistentVolumeClaim?.readOnly === true || modes.every((mode) => mode === 'ReadOnlyMany');
    return sourceOf(volume, isReadOnly, () => this.#secretOf(volume));
  }

  /** A pod that named its node itself was not asked where its volumes are. */
  async #checkAffinity(volume: PersistentVolume): Promise<void> {
    if (volume.spec.nodeAffinity?.required === undefined) return;
    const node = await this.#deps.client.get(nodes, { name: this.#deps.nodeName });
    if (!isReachable(volume, node))
      throw new VolumeError(
        `node affinity of volume "${volume.metadata.name}" excludes node ${this.#deps.nodeName}: no matching NodeSelectorTerms`,
      );
  }

  async #secretOf({ spec }: PersistentVolume) {
    const ref = spec.csi === undefined ? undefined : secretRefOf(spec.csi);
    if (ref === undefined) return undefined;
    return this.#deps.client.get(secrets, ref).catch((error: unknown) => {
      if (!hasReason(error, 'NotFound')) throw error;
      return undefined;
    });
  }
}

async function sourceOf(
  { metadata, spec }: PersistentVolume,
  isReadOnly: boolean,
  secret: () => Promise<Parameters<typeof csiSource>[2]>,
): Promise<ClaimedVolume> {
  const { name, annotations = {}, labels = {} } = metadata;
  const given = { mountOptions: spec.mountOptions ?? [], isReadOnly };
  const disk = parseDisk(annotations[diskAnnotation] ?? '');
  const isOfOneNode = spec.nodeAffinity?.required !== undefined;
  const recorded = disk === undefined ? {} : { disk };
  const host = { kind: 'host' as const, name, isReadOnly, isOfOneNode, ...recorded };
  if (spec.hostPath !== undefined)
    return { ...host, path: spec.hostPath.path, type: spec.hostPath.type ?? '' };
  if (spec.local !== undefined) {
    const isOurs = labels[localPath.nodeLabel] !== undefined;
    if (isOurs && annotations[localPath.madeAnnotation] === undefined)
      throw new VolumeError(`the directory of volume "${name}" is not made yet`);
    if (spec.local.fsType !== undefined)
      throw new VolumeError(
        `volume "${name}": a local volume is a folder; disks are not formatted`,
      );
    return { ...host, path: spec.local.path };
  }
  if (spec.nfs !== undefined)
    return { kind: 'network', name, isReadOnly, source: nfsSource(spec.nfs, given) };
  const source = spec.csi === undefined ? undefined : csiSource(spec.csi, given, await secret());
  if (source !== undefined) return { kind: 'network', name, isReadOnly, source };
  const what = spec.csi?.driver ?? 'its type of source';
  throw new VolumeError(
    `volume "${name}": ${what} is not supported (supported: local, hostPath, nfs, csi of nfs.csi.k8s.io and smb.csi.k8s.io)`,
  );
}
