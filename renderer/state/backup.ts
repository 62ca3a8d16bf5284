// How well the home is backed up, in words, and what a person has to do about it. Pure.
import type { ClusterBackup } from '#kube/api/cluster-backup.ts';
import { backUpNowAnnotation } from '#kube/machinery/cluster-backup.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { formatAgo, formatBytes, plural } from './format.ts';
import type { Attention } from './home.ts';
import type { Tone } from './vocabulary.ts';

export interface BackupView {
  readonly tone: Tone;
  readonly headline: string;
  readonly detail: string;
  readonly hasPassphrase: boolean;
  /** Undefined: there is no place yet. */
  readonly folder: string | undefined;
  readonly isRunning: boolean;
  readonly isSuspended: boolean;
  /** Why the last try failed, in the system's words. */
  readonly failure: string | undefined;
  readonly facts: readonly { readonly name: string; readonly value: string }[];
}

export function describeBackup(backup: ClusterBackup, nowMs: number): BackupView {
  const { spec, status } = backup;
  const asked = backup.metadata.annotations?.[backUpNowAnnotation];
  const isAsked = asked !== undefined && asked !== status?.answeredRequest;
  const failure = status?.lastFailure?.message;
  return {
    ...standing(backup, nowMs),
    hasPassphrase: status?.recipient !== undefined,
    folder: spec?.target?.folder?.path,
    isRunning: isAsked || status?.runningSince !== undefined,
    isSuspended: spec?.suspend === true,
    failure,
    facts: factsOf(backup, nowMs),
  };
}

function standing(
  { spec, status }: ClusterBackup,
  nowMs: number,
): Pick<BackupView, 'tone' | 'headline' | 'detail'> {
  const { lastSuccess, lastFailure, recipient } = status ?? {};
  const last = formatAgo(lastSuccess?.time, nowMs);
  const isOld = getCondition(status?.conditions, 'Protected')?.reason === 'TooOld';
  if (recipient === undefined)
    return {
      tone: 'wait',
      headline: 'Your home is not backed up',
      detail:
        'If the computers that keep it are lost, so are your settings, passwords and the way your machines know each other. It takes a passphrase and a folder.',
    };
  if (spec?.target === undefined)
    return {
      tone: 'wait',
      headline: 'There is no place for backups yet',
      detail:
        "Choose a folder on a disk that is not this computer's own, or download one from time to time.",
    };
  if (lastSuccess === undefined)
    return lastFailure === undefined
      ? { tone: 'busy', headline: 'The first backup is on its way', detail: '' }
      : {
          tone: 'trouble',
          headline: 'Your home could not be backed up',
          detail: 'It is tried again by itself.',
        };
  if (isOld || spec.suspend === true)
    return {
      tone: isOld ? 'trouble' : 'asleep',
      headline: `The last backup is ${last.replace(' ago', '')} old`,
      detail: spec.suspend === true ? 'Backups are suspended.' : 'It is tried again by itself.',
    };
  return {
    tone: lastFailure === undefined ? 'ok' : 'busy',
    headline: `Backed up ${last}`,
    detail: 'Each day by itself, and read back to see that it is whole.',
  };
}

function factsOf({ status }: ClusterBackup, nowMs: number): BackupView['facts'] {
  const { lastSuccess, nextTime, keptCount } = status ?? {};
  if (lastSuccess === undefined) return [];
  const facts = [
    {
      name: 'Last',
      value: `${formatAgo(lastSuccess.time, nowMs)}, ${formatBytes(lastSuccess.sizeBytes)}`,
    },
    { name: 'File', value: lastSuccess.name },
  ];
  if (nextTime !== undefined) facts.push({ name: 'Next', value: dayAndTime(nextTime) });
  if (keptCount !== undefined)
    facts.push({ name: 'Kept', value: `${plural(keptCount, 'backup')}, fewer the older they are` });
  return facts;
}

function dayAndTime(time: string): string {
  return new Date(time).toLocaleString('en-GB', {
    weekday: 'long',
    hour: '2-digit',
    minute: '2-digit',
  });
}

/** What the first page says of it: nothing while there is nothing to lose. */
export function backupAttention(
  backup: ClusterBackup | undefined,
  appCount: number,
  nowMs: number,
): Attention | undefined {
  if (backup === undefined || appCount === 0) return undefined;
  const { tone, headline, detail, failure } = describeBackup(backup, nowMs);
  if (tone !== 'wait' && tone !== 'trouble') return undefined;
  return {
    key: 'backup',
    tone,
    title: headline,
    text: detail,
    original: failure,
    nextStep: { kind: 'backup', label: tone === 'wait' ? 'Set it up' : 'Look at it' },
    app: undefined,
  };
}
