// Persistent volumes and claims as binder, provisioner, scheduler and agent agree on them: the annotations
// between them, which volume belongs to which claim, which one fits. Pure.
// Source: kubernetes component-helpers storage/volume/{helpers,pv_helpers}.go.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, Volume } from '../api/core.ts';
import type { StorageClass } from '../api/storage.ts';
import { matchesTerm } from './node-selector.ts';
import { compareQuantities } from './quantity.ts';
import { storageClassOf } from './quota/evaluators.ts';
import { labelSelectorMatcher } from './selector.ts';

export const volumeAnnotations = {
  /** On a claim: the binding is complete. */
  bindCompleted: 'pv.kubernetes.io/bind-completed',
  /** On a claim or volume: the binding was our choice, not the user's. */
  boundByController: 'pv.kubernetes.io/bound-by-controller',
  /** On a volume: who made it. */
  provisionedBy: 'pv.kubernetes.io/provisioned-by',
  /** On a claim: who is to make a volume for it. */
  provisioner: 'volume.kubernetes.io/storage-provisioner',
  oldProvisioner: 'volume.beta.kubernetes.io/storage-provisioner',
  /** On a claim: the node that the scheduler wants its volume on. */
  selectedNode: 'volume.kubernetes.io/selected-node',
} as const;

/** What control plane and agents agree on about directories that serve as volumes. */
export const localPath = {
  provisioner: 'flotilla.dev/local-path',
  className: 'local-path',
  /** On a Node: the folder in which its agent makes them. */
  folderAnnotation: 'flotilla.dev/volumes-folder',
  /** On a volume: the machine that has it. Its agent follows these, and no others. */
  nodeLabel: 'flotilla.dev/volume-node',
  /** The volume stays until its machine's agent has done what its reclaim policy says. */
  finalizer: 'flotilla.dev/local-path',
  /** The agent made the directory: it is never made again, so that no empty one takes its place. */
  madeAnnotation: 'flotilla.dev/volume-made',
} as const;

/** On a volume: the disk that it was first used on, as JSON. */
export const diskAnnotation = 'flotilla.dev/disk';

export interface PodClaim {
  readonly name: string;
  readonly volume: Volume;
  /** Made for this pod alone, and gone with it. */
  readonly isEphemeral: boolean;
}

export function podClaims({ metadata, spec }: Pod): PodClaim[] {
  return (spec.volumes ?? []).flatMap((volume): PodClaim[] => {
    if (volume.ephemeral !== undefined)
      return [{ name: `${metadata.name}-${volume.name}`, volume, isEphemeral: true }];
    const name = volume.persistentVolumeClaim?.claimName;
    return name === undefined ? [] : [{ name, volume, isEphemeral: false }];
  });
}

/** Whether the volume was promised to the claim, by us or by hand. */
export function isClaimedBy({ spec }: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const { claimRef } = spec;
  const { namespace, name, uid } = claim.metadata;
  if (claimRef === undefined || claimRef.name !== name || claimRef.namespace !== namespace)
    return false;
  return (claimRef.uid ?? '') === '' || claimRef.uid === uid;
}

export function isFullyBound({ metadata, spec }: PersistentVolumeClaim): boolean {
  return (
    (spec.volumeName ?? '') !== '' &&
    metadata.annotations?.[volumeAnnotations.bindCompleted] !== undefined
  );
}

export function isDelayed(storageClass: StorageClass | undefined): boolean {
  return storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** A volume without affinity is everywhere. */
export function isReachable({ spec }: PersistentVolume, node: Node): boolean {
  const terms = spec.nodeAffinity?.required?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
}

const noSize = '0';

export function requestedSize({ spec }: PersistentVolumeClaim) {
  return spec.resources?.requests?.['storage'] ?? noSize;
}

export function capacityOf({ spec }: PersistentVolume) {
  return spec.capacity?.['storage'] ?? noSize;
}

/** Why the volume can't serve the claim; undefined: it can. */
export function mismatch(
  volume: PersistentVolume,
  claim: PersistentVolumeClaim,
): string | undefined {
  const modeOf = ({ spec }: PersistentVolume | PersistentVolumeClaim) =>
    spec.volumeMode ?? 'Filesystem';
  if (volume.metadata.deletionTimestamp !== undefined) return 'the volume is marked for deletion';
  if (compareQuantities(capacityOf(volume), requestedSize(claim)) < 0)
    return 'requested PV is too small';
  if ((volume.spec.storageClassName ?? '') !== storageClassOf(claim))
    return 'storageClassName does not match';
  if (modeOf(volume) !== modeOf(claim)) return 'incompatible volumeMode';
  const given = volume.spec.accessModes ?? [];
  if (!(claim.spec.accessModes ?? []).every((mode) => given.includes(mode)))
    return 'incompatible accessMode';
  return undefined;
}

export interface FindOptions {
  /** Only volumes that this node can reach. */
  readonly node?: Node;
  /** Only what was promised to the claim: a choice has to wait for a node. */
  readonly isPromisedOnly?: boolean;
  readonly isTaken?: (volumeName: string) => boolean;
}

/** The volume that was promised to the claim, else the smallest that fits. */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  { node, isPromisedOnly = false, isTaken = () => false }: FindOptions = {},
): PersistentVolume | undefined {
  const selector = labelSelectorMatcher(claim.spec.selector ?? {});
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    const { metadata, spec, status } = volume;
    if (metadata.deletionTimestamp !== undefined || isTaken(metadata.name)) continue;
    if (node !== undefined && !isReachable(volume, node)) continue;
    if (mismatch(volume, claim) !== undefined) continue;
    if (isClaimedBy(volume, claim)) return volume;
    const isFree = spec.claimRef === undefined && status?.phase === 'Available';
    if (isPromisedOnly || !isFree || !selector.matches(metadata.labels ?? {})) continue;
    if (best === undefined || compareQuantities(capacityOf(volume), capacityOf(best)) < 0)
      best = volume;
  }
  return best;
}
