// An app that goes to another machine with its data: where it may go, how far it is, what can be done about it. Pure.
import type { VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import type { App } from './app.ts';
import { displayName, formatAgo, formatBytes } from './format.ts';
import type { Machine } from './machine.ts';
import type { Tone } from './vocabulary.ts';

/** Claims in the app's template: what it keeps, and what ties it to a machine. */
export function claimNames({ object }: Pick<App, 'object'>): string[] {
  const volumes = object.spec?.template?.spec?.volumes ?? [];
  return volumes.flatMap(({ persistentVolumeClaim: claim }) =>
    claim === undefined ? [] : [claim.claimName],
  );
}

/** Folders of the machine itself: they are not the app's alone, and stay. */
export function foldersLeft({ object }: Pick<App, 'object'>): string[] {
  const volumes = object.spec?.template?.spec?.volumes ?? [];
  return [...new Set(volumes.flatMap(({ hostPath }) => hostPath?.path ?? []))];
}

export interface Destination {
  readonly name: string;
  /** Why not; '' when it can go there. What only the server knows it says itself. */
  readonly why: string;
  /** It has another processor than the machine it comes from. */
  readonly isOtherProcessor: boolean;
}

/** Where it runs now; undefined: nowhere. */
export function placeOf({ pods }: Pick<App, 'pods'>): string | undefined {
  return pods.find(({ spec }) => (spec.nodeName ?? '') !== '')?.spec.nodeName;
}

export function destinations(
  app: Pick<App, 'pods'>,
  machines: readonly Machine[],
): readonly Destination[] {
  const here = placeOf(app);
  const processor = machines.find(({ name }) => name === here)?.architecture;
  return machines
    .filter(({ name }) => name !== here)
    .map(({ name, node, tone, word, architecture }) => ({
      name,
      why:
        node.spec?.unschedulable === true
          ? 'it is paused'
          : tone === 'ok'
            ? ''
            : word.toLowerCase(),
      isOtherProcessor: processor !== undefined && processor !== architecture,
    }));
}

/** The newest that is about one of the app's claims. */
export function moveOf(
  app: Pick<App, 'object' | 'namespace'>,
  moves: readonly VolumeMove[],
): VolumeMove | undefined {
  const claims = claimNames(app);
  const made = ({ metadata }: VolumeMove) => metadata.creationTimestamp ?? '';
  return moves
    .filter(({ metadata }) => metadata.namespace === app.namespace)
    .filter(({ spec }) => spec.claims.some((claim) => claims.includes(claim)))
    .toSorted((a, b) => (made(a) < made(b) ? 1 : -1))[0];
}

export interface MoveView {
  readonly tone: Tone;
  readonly title: string;
  readonly detail: string;
  /** Of the pass that runs. */
  readonly share: number | undefined;
  /** What going back would mean now; undefined: it can't. */
  readonly goBack: string | undefined;
  readonly canRemoveCopy: boolean;
  /** It is over, and nothing of it is left but this. */
  readonly canDismiss: boolean;
}

export function describeMove(app: string, move: VolumeMove, nowMs: number): MoveView {
  const { spec, status } = move;
  const [name, to] = [displayName(app), spec.nodeName];
  const from = status?.fromNode ?? '';
  const none = { share: undefined, goBack: undefined, canRemoveCopy: false, canDismiss: false };
  const busy = { ...none, tone: 'wait' as const };
  const rest = { ...none, canDismiss: true };
  const detail = status?.message ?? '';
  switch (status?.phase) {
    case undefined:
      return { ...busy, title: `${name} is to go to ${to}`, detail: '' };
    case 'Copying':
      return {
        ...busy,
        title: `Copying the data of ${name} to ${to}`,
        detail: detail || `${amounts(status)}It goes on running on ${from} meanwhile.`,
        share: shareOf(status),
        goBack: 'Call it off',
      };
    case 'Stopping':
    case 'Finishing':
      return {
        ...busy,
        title: `${name} pauses while the last changes are copied to ${to}`,
        detail: detail || `${amounts(status)}Stopped ${formatAgo(status.stopTime, nowMs)}.`,
        share: shareOf(status),
        goBack: 'Call it off',
      };
    case 'Switching':
    case 'Starting':
      return { ...busy, title: `${name} starts on ${to}`, detail };
    case 'Returning':
      return { ...busy, title: `${name} stays on ${from}`, detail };
    case 'Undoing':
    case 'Reverting':
      return { ...busy, title: `${name} goes back to its old data on ${from}`, detail };
    case 'Done': {
      const isRemoved = spec.removeOldCopy === true || detail.includes('was removed');
      return {
        ...none,
        tone: 'ok',
        title: `${name} has its data on ${to}`,
        detail: isRemoved ? 'The old copy is removed.' : keptWords(from, status, nowMs),
        goBack: isRemoved ? undefined : `Back to the copy on ${from}`,
        canRemoveCopy: !isRemoved,
        canDismiss: isRemoved,
      };
    }
    case 'Undone':
      return {
        ...rest,
        tone: 'ok',
        title: `${name} has its old data on ${from} again`,
        detail,
        canRemoveCopy: spec.removeOldCopy !== true,
      };
    case 'Refused':
    case 'Failed':
      return { ...rest, tone: 'trouble', title: `${name} was not moved to ${to}`, detail };
  }
}

function keptWords(
  from: string,
  { keepUntil, message = '' }: VolumeMoveStatus,
  nowMs: number,
): string {
  // Why there is no way back, when somebody asked for it.
  if (message.includes('goes back') || message.includes('no way back')) return message;
  const days = Math.max(1, Math.ceil((Date.parse(keepUntil ?? '') - nowMs) / 86_400_000));
  return `The old copy stays on ${from} for ${days === 1 ? 'another day' : `${days} more days`}.`;
}

function amounts({ copiedBytes = 0, totalBytes = 0 }: VolumeMoveStatus): string {
  return totalBytes === 0 ? '' : `${formatBytes(copiedBytes)} of ${formatBytes(totalBytes)}. `;
}

function shareOf({ copiedBytes = 0, totalBytes = 0 }: VolumeMoveStatus): number | undefined {
  return totalBytes === 0 ? undefined : Math.min(1, copiedBytes / totalBytes);
}
