// What is to be done about the backup of the cluster now, and how well it is protected. Pure.
import type { ClusterBackup } from '#kube/api/cluster-backup.ts';
import { backUpNowAnnotation, type ProtectedReason } from '#kube/machinery/cluster-backup.ts';
import {
  defaultEveryHours,
  defaultKeep,
  isTooOld,
  nextBackupMs,
  type BackupKeep,
  type BackupTimes,
} from './schedule.ts';

export type BackupStep =
  | { readonly type: 'back-up'; readonly request: string | undefined }
  /** Until something changes, or it is time. */
  | { readonly type: 'wait'; readonly untilMs: number | undefined };

const hourMs = 3_600_000;

export function nextStep(backup: ClusterBackup, nowMs: number): BackupStep {
  const { spec, status } = backup;
  const request = backup.metadata.annotations?.[backUpNowAnnotation];
  const isAsked = request !== undefined && request !== status?.answeredRequest;
  // What can't be done is answered too: the page shows why.
  if (isAsked) return { type: 'back-up', request };
  const canRun = spec?.target !== undefined && status?.recipient !== undefined;
  if (!canRun || spec?.suspend === true) return { type: 'wait', untilMs: undefined };
  const dueMs = nextBackupMs(timesOf(backup));
  return dueMs <= nowMs ? { type: 'back-up', request } : { type: 'wait', untilMs: dueMs };
}

export interface Protection {
  readonly status: 'True' | 'False';
  readonly reason: ProtectedReason;
  readonly message: string;
}

export function protection(backup: ClusterBackup, nowMs: number): Protection {
  const { spec, status } = backup;
  const { lastSuccess, lastFailure, recipient } = status ?? {};
  const not = (reason: ProtectedReason, message: string): Protection => ({
    status: 'False',
    reason,
    message,
  });
  if (recipient === undefined)
    return not('NoPassphrase', 'No passphrase was set: nothing is backed up.');
  if (spec?.target === undefined)
    return not('NoTarget', 'There is no place for backups: nothing is backed up by itself.');
  const failed = lastFailure === undefined ? '' : ` The last try failed: ${lastFailure.message}`;
  if (lastSuccess === undefined)
    return failed === ''
      ? not('NotYet', 'The first backup has yet to be made.')
      : not('Failed', `There is no backup.${failed}`);
  if (isTooOld(timesOf(backup), nowMs))
    return not(
      spec.suspend === true ? 'Suspended' : 'TooOld',
      spec.suspend === true
        ? `Backups are suspended; the last is of ${lastSuccess.time}.`
        : `The last backup is of ${lastSuccess.time}.${failed}`,
    );
  const words = `Backed up to ${lastSuccess.place} at ${lastSuccess.time}.${failed}`;
  return { status: 'True', reason: 'BackedUp', message: words };
}

export function timesOf({ spec, status }: ClusterBackup): BackupTimes {
  return {
    everyMs: (spec?.everyHours ?? defaultEveryHours) * hourMs,
    lastSuccessMs: timeOf(status?.lastSuccess?.time),
    lastFailureMs: timeOf(status?.lastFailure?.time),
  };
}

export function keepOf({ spec }: ClusterBackup): BackupKeep {
  return { ...defaultKeep, ...spec?.keep };
}

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}
