// Pure: what a claim or a volume needs next. The driver (binder.ts) writes it.
// Source: kubernetes pkg/controller/volume/persistentvolume/pv_controller.go (syncUnboundClaim,
// syncBoundClaim, syncVolume).
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { storageClassOf } from '#kube/machinery/quota/evaluators.ts';
import {
  findVolume,
  isClaimedBy,
  isDelayed,
  isFullyBound,
  mismatch,
  volumeAnnotations,
} from '#kube/machinery/volume-binding.ts';
import { moveAnnotations } from '#kube/machinery/volume-move.ts';

export interface PlannedEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

export type ClaimPlan =
  | { readonly type: 'bind'; readonly volume: PersistentVolume }
  /** Somebody else is to make a volume; the claim says who. */
  | { readonly type: 'provision'; readonly provisioner: string; readonly event: PlannedEvent }
  | { readonly type: 'wait'; readonly event?: PlannedEvent }
  | { readonly type: 'lost'; readonly event: PlannedEvent };

export interface ClaimView {
  readonly volumes: readonly PersistentVolume[];
  readonly storageClass: (name: string) => StorageClass | undefined;
}

export function planClaim(claim: PersistentVolumeClaim, view: ClaimView): ClaimPlan {
  if (claim.metadata.annotations?.[volumeAnnotations.bindCompleted] !== undefined)
    return planBoundClaim(claim, view);
  const { volumeName = '' } = claim.spec;
  return volumeName === '' ? planUnnamed(claim, view) : planNamed(claim, volumeName, view);
}

function planUnnamed(claim: PersistentVolumeClaim, view: ClaimView): ClaimPlan {
  const className = storageClassOf(claim);
  const storageClass = view.storageClass(className);
  const isWaiting = isDelayed(storageClass);
  const volume = findVolume(claim, view.volumes, { isPromisedOnly: isWaiting });
  if (volume !== undefined) return { type: 'bind', volume };
  if (claim.metadata.deletionTimestamp !== undefined) return { type: 'wait' };
  if (isWaiting && claim.metadata.annotations?.[volumeAnnotations.selectedNode] === undefined)
    return waitNormally(
      'WaitForFirstConsumer',
      'waiting for first consumer to be created before binding',
    );
  if (className === '')
    return waitNormally(
      'FailedBinding',
      'no persistent volumes available for this claim and no storage class is set',
    );
  return planProvisioning(className, storageClass);
}

function planProvisioning(className: string, storageClass: StorageClass | undefined): ClaimPlan {
  if (storageClass === undefined) {
    const message = `storageclass.storage.k8s.io ${JSON.stringify(className)} not found`;
    return { type: 'wait', event: { type: 'Warning', reason: 'ProvisioningFailed', message } };
  }
  const { provisioner } = storageClass;
  // A class of volumes that people make by hand.
  if (provisioner === 'kubernetes.io/no-provisioner') {
    const message = 'no volume plugin matched name: kubernetes.io/no-provisioner';
    return { type: 'wait', event: { type: 'Warning', reason: 'ProvisioningFailed', message } };
  }
  const message = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
  return {
    type: 'provision',
    provisioner,
    event: { type: 'Normal', reason: 'ExternalProvisioning', message },
  };
}

function planNamed(claim: PersistentVolumeClaim, name: string, { volumes }: ClaimView): ClaimPlan {
  const volume = volumes.find(({ metadata }) => metadata.name === name);
  if (volume === undefined) return { type: 'wait' };
  if (volume.spec.claimRef === undefined) {
    const problem = mismatch(volume, claim);
    if (problem === undefined) return { type: 'bind', volume };
    const message = `Cannot bind to requested volume "${name}": ${problem}`;
    return { type: 'wait', event: { type: 'Warning', reason: 'VolumeMismatch', message } };
  }
  if (isClaimedBy(volume, claim)) return { type: 'bind', volume };
  const message = `volume "${name}" already bound to a different claim.`;
  return { type: 'wait', event: { type: 'Warning', reason: 'FailedBinding', message } };
}

function planBoundClaim(claim: PersistentVolumeClaim, { volumes }: ClaimView): ClaimPlan {
  const { volumeName = '' } = claim.spec;
  if (volumeName === '')
    return lost(
      'ClaimLost',
      'Bound claim has lost reference to PersistentVolume. Data on the volume is lost!',
    );
  const volume = volumes.find(({ metadata }) => metadata.name === volumeName);
  if (volume === undefined)
    return lost(
      'ClaimLost',
      'Bound claim has lost its PersistentVolume. Data on the volume is lost!',
    );
  if (volume.spec.claimRef === undefined || isClaimedBy(volume, claim))
    return { type: 'bind', volume };
  return lost(
    'ClaimMisbound',
    'Two claims are bound to the same volume, this one is bound incorrectly',
  );
}

function waitNormally(reason: string, message: string): ClaimPlan {
  return { type: 'wait', event: { type: 'Normal', reason, message } };
}

function lost(reason: string, message: string): ClaimPlan {
  return { type: 'lost', event: { type: 'Warning', reason, message } };
}

export type VolumePlan =
  | { readonly type: 'phase'; readonly phase: 'Available' | 'Bound' | 'Released' }
  | { readonly type: 'failed'; readonly event: PlannedEvent }
  /** The claim has not been told yet. */
  | { readonly type: 'tell-claim' }
  /** Promised by us to a claim that took another: free again. */
  | { readonly type: 'unbind' };

/** `claim`: the one that `claimRef` names, if it is there and has that uid. */
export function planVolume(
  volume: PersistentVolume,
  claim: PersistentVolumeClaim | undefined,
): VolumePlan {
  const { claimRef } = volume.spec;
  if (claimRef === undefined || (claimRef.uid ?? '') === '')
    return { type: 'phase', phase: 'Available' };
  if (claim === undefined) return planReclaim(volume);
  const { volumeName = '' } = claim.spec;
  if (volumeName === '') return { type: 'tell-claim' };
  if (volumeName === volume.metadata.name)
    return isFullyBound(claim) ? { type: 'phase', phase: 'Bound' } : { type: 'tell-claim' };
  // A copy that is not complete yet, or that was left: it is the mover's.
  if (volume.metadata.annotations?.[moveAnnotations.owner] !== undefined)
    return { type: 'phase', phase: 'Released' };
  // Made for a claim that another volume serves: nobody has written to it. One that was only promised
  // to the claim may hold the data of a claim before it.
  const { annotations = {} } = volume.metadata;
  const isMade =
    annotations[volumeAnnotations.provisionedBy] !== undefined &&
    annotations[volumeAnnotations.boundByController] === undefined;
  if (isMade && volume.spec.persistentVolumeReclaimPolicy === 'Delete') return planReclaim(volume);
  return { type: 'unbind' };
}

/** Who made a volume deletes it, when it is Released and its policy says so. */
function planReclaim({ metadata, spec }: PersistentVolume): VolumePlan {
  const released: VolumePlan = { type: 'phase', phase: 'Released' };
  const policy = spec.persistentVolumeReclaimPolicy;
  if (policy === 'Recycle') {
    const message = 'recycling is not supported here: the data stays, and so does the volume';
    return { type: 'failed', event: { type: 'Warning', reason: 'VolumeFailedRecycle', message } };
  }
  const isMade = metadata.annotations?.[volumeAnnotations.provisionedBy] !== undefined;
  if (policy !== 'Delete' || isMade) return released;
  const message = `error getting deleter volume plugin for volume "${metadata.name}": no deletable volume plugin matched`;
  return { type: 'failed', event: { type: 'Warning', reason: 'VolumeFailedDelete', message } };
}
