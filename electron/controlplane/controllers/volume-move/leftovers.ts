// Pure: what becomes of the copy that no claim has any more: it stays until its time is over or a person says so, and it
// is the way back until then.
import type { PersistentVolume } from '#kube/api/core.ts';
import type { MovedVolume, VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import { moveAnnotations } from '#kube/machinery/volume-move.ts';
import {
  annotating,
  isReady,
  wait,
  type MoveStep,
  type MoveWorld,
  type MoveWrite,
} from './world.ts';

const timerMaxMs = 24 * 3_600_000;

export function planLeftovers(
  move: VolumeMove,
  status: VolumeMoveStatus,
  world: MoveWorld,
): MoveStep {
  const { spec, metadata } = move;
  // Whoever deletes the record of a move says nothing of the data.
  if (metadata.deletionTimestamp !== undefined) return wait;
  const isDone = status.phase === 'Done';
  const left = (status.volumes ?? []).filter((moved) => isLeft(moved, isDone, metadata, world));
  if (isDone && spec.goBack === true) return goBack(status, left, world);
  const untilMs = Date.parse(status.keepUntil ?? '');
  const isOver = isDone && world.nowMs >= untilMs;
  if (spec.removeOldCopy !== true && !isOver)
    return isDone && left.length > 0
      ? { type: 'wait', afterMs: Math.min(untilMs - world.nowMs, timerMaxMs) }
      : wait;
  const writes = left.flatMap(({ from, to }): MoveWrite[] => {
    const name = isDone ? from : to;
    const volume = world.volume(name);
    if (volume === undefined || volume.spec.persistentVolumeReclaimPolicy === 'Delete') return [];
    const patch = annotating(volume, {}, { spec: { persistentVolumeReclaimPolicy: 'Delete' } });
    return [{ type: 'patch-volume', name, patch }];
  });
  if (writes.length > 0) return { type: 'write', writes };
  const message = isDone
    ? `the app has its data on ${spec.nodeName}; the old copy was removed`
    : `the app has its old data on ${status.fromNode}; what was on ${spec.nodeName} was removed`;
  if (left.length > 0 || status.message === message) return wait;
  return { type: 'status', status: { ...status, message } };
}

/** A volume that this move left, and that no claim has. */
function isLeft(
  { claim, from, to }: MovedVolume,
  isDone: boolean,
  { namespace, name: moveName }: VolumeMove['metadata'],
  world: MoveWorld,
): boolean {
  const name = isDone ? from : to;
  const volume = world.volume(name);
  const owner = volume?.metadata.annotations?.[moveAnnotations.owner];
  return owner === `${namespace}/${moveName}` && world.claim(claim)?.spec.volumeName !== name;
}

function goBack(
  status: VolumeMoveStatus,
  left: readonly MovedVolume[],
  world: MoveWorld,
): MoveStep {
  const why = backObstacle(status, left, world);
  if (why === undefined) {
    const { message: _, ...rest } = status;
    return { type: 'status', status: { ...rest, phase: 'Undoing' } };
  }
  return status.message === why ? wait : { type: 'status', status: { ...status, message: why } };
}

function isGoing(volume: PersistentVolume | undefined): boolean {
  return (
    volume?.metadata.deletionTimestamp !== undefined ||
    volume?.spec.persistentVolumeReclaimPolicy === 'Delete'
  );
}

function backObstacle(
  { volumes = [], fromNode = '' }: VolumeMoveStatus,
  left: readonly MovedVolume[],
  world: MoveWorld,
): string | undefined {
  const isRemoved = left.some(({ from }) => isGoing(world.volume(from)));
  if (left.length < volumes.length || isRemoved)
    return 'there is no way back: the old copy was removed';
  for (const { claim, claimUid, to } of volumes) {
    const found = world.claim(claim);
    if (found?.metadata.uid !== claimUid || found.spec.volumeName !== to)
      return `there is no way back: claim ${claim} has another volume by now`;
  }
  return isReady(world.node(fromNode))
    ? undefined
    : `${fromNode}, which has the old copy, does not answer: it goes back when it does`;
}
