// What the mover, the binder, the scheduler and the agents agree on about data on its way to another machine. Pure.
import type { PersistentVolume, PersistentVolumeClaim } from '../api/core.ts';
import type { VolumeMove, VolumeMovePhase } from '../api/volume-move.ts';
import { isObject } from './equality.ts';
import { localPath } from './volume-binding.ts';

export const moveAnnotations = {
  /** On a claim: no pod of it starts until it is gone. Its value is the VolumeMove's name. */
  hold: 'flotilla.dev/volume-move',
  /** On a volume that is a copy, or was left as one: `namespace/name` of the move. Nobody else gets it. */
  owner: 'flotilla.dev/volume-move-owner',
  /** On a volume that is to be filled: a `CopyOrder` as JSON. Its machine's agent does it. */
  order: 'flotilla.dev/volume-copy',
  /** On such a volume, by its machine's agent: a `CopyState` as JSON. */
  state: 'flotilla.dev/volume-copy-state',
  /** On a volume: the one node that may have a copy of what is in it. */
  readableBy: 'flotilla.dev/volume-readable-by',
} as const;

/** A move that is deleted is put in order first. */
export const moveFinalizer = 'flotilla.dev/volume-move';

export interface CopyOrder {
  /** The volume that is copied, and the node it is on. */
  readonly from: string;
  readonly node: string;
  /** `final`: nothing uses it any more, and after it the copy is the volume. */
  readonly pass: 'live' | 'final';
}

export interface CopyState {
  readonly pass: CopyOrder['pass'];
  readonly state: 'Running' | 'Done' | 'Failed';
  readonly message?: string;
  readonly totalBytes?: number;
  readonly copiedBytes?: number;
}

export function holdOf({ metadata }: PersistentVolumeClaim): string | undefined {
  return metadata.annotations?.[moveAnnotations.hold];
}

/** The machine that a directory of ours is on. */
export function nodeOfVolume({ metadata }: PersistentVolume): string | undefined {
  return metadata.labels?.[localPath.nodeLabel];
}

export function copyOrderOf({ metadata }: PersistentVolume): CopyOrder | undefined {
  const { from, node, pass } = parsed(metadata.annotations?.[moveAnnotations.order]);
  if (typeof from !== 'string' || typeof node !== 'string') return undefined;
  return pass === 'live' || pass === 'final' ? { from, node, pass } : undefined;
}

export function copyStateOf({ metadata }: PersistentVolume): CopyState | undefined {
  const { pass, state, message, totalBytes, copiedBytes } = parsed(
    metadata.annotations?.[moveAnnotations.state],
  );
  if (pass !== 'live' && pass !== 'final') return undefined;
  if (state !== 'Running' && state !== 'Done' && state !== 'Failed') return undefined;
  return {
    pass,
    state,
    ...(typeof message === 'string' ? { message } : {}),
    ...(typeof totalBytes === 'number' ? { totalBytes } : {}),
    ...(typeof copiedBytes === 'number' ? { copiedBytes } : {}),
  };
}

/** An annotation is a text that anybody may have written. */
function parsed(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

const ended: readonly VolumeMovePhase[] = ['Refused', 'Done', 'Failed', 'Undone'];

/** Nothing of it is under way. One that is done still has its old copy to look after. */
export function isAtRest({ status }: VolumeMove): boolean {
  return status !== undefined && ended.includes(status.phase);
}

export const keepOldCopyDays = 7;
