// flotilla.dev/v1alpha1: an app's data on its way to another machine. Hand-written, as its schema is
// (resources/schema/flotilla-volumes.v1alpha1.json).
import type { ObjectMeta } from './meta.ts';

/** Claims whose data goes to another machine, together; what uses them follows. */
export interface VolumeMove {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'VolumeMove';
  metadata: ObjectMeta;
  spec: VolumeMoveSpec;
  status?: VolumeMoveStatus;
}

export interface VolumeMoveSpec {
  /** Names of claims in this namespace. */
  claims: string[];
  /** Where to. */
  nodeName: string;
  /** Goes on although the machine has another processor: the app's images have to exist for it. */
  acceptOtherArchitecture?: boolean;
  /** How long the old copy stays; 7 if left out. */
  keepOldCopyDays?: number;
  /** Until the data is there: stop, all stays as it was. After: back to the old copy. */
  goBack?: boolean;
  /** The old copy is not needed any more. */
  removeOldCopy?: boolean;
}

export interface VolumeMoveStatus {
  phase: VolumeMovePhase;
  /** In words. */
  message?: string;
  /** The machine it comes from. */
  fromNode?: string;
  volumes?: MovedVolume[];
  /** Of the pass that runs: what there is to copy, and what is there. */
  totalBytes?: number;
  copiedBytes?: number;
  startTime?: string;
  /** When the app was stopped for the last pass. */
  stopTime?: string;
  completionTime?: string;
  /** Until when the old copy stays. */
  keepUntil?: string;
}

/**
 * `Copying`: the app runs meanwhile. `Stopping`, `Finishing`, `Switching`: it is stopped, what changed meanwhile is copied,
 * and the claims get the copy. `Starting`: it may run on the other machine. `Returning`: it goes back to where it was,
 * and ends as `Failed`. `Undoing`, `Reverting`: it stops there, and gets its old copy again.
 */
export type VolumeMovePhase =
  | 'Refused'
  | 'Copying'
  | 'Stopping'
  | 'Finishing'
  | 'Switching'
  | 'Starting'
  | 'Done'
  | 'Returning'
  | 'Failed'
  | 'Undoing'
  | 'Reverting'
  | 'Undone';

export interface MovedVolume {
  claim: string;
  /** Another claim of that name is another claim. */
  claimUid: string;
  /** The volume that it had, and where the copy is. */
  from: string;
  to: string;
  /** What the old volume's policy was. */
  reclaimPolicy: string;
}
