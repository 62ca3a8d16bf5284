// Pure: the next step of a move. Every step rests on what the API server has, so after a crash the same step comes again.
// Invariants: a claim gets a copy only when nothing could write to the old volume since its last pass began; once one claim
// has its copy there is only forward; no data is removed but a copy that no claim has.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { MovedVolume, VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import { unreachable } from '#kube/base/assert.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import {
  copyOrderOf,
  copyStateOf,
  holdOf,
  keepOldCopyDays,
  moveAnnotations,
  type CopyOrder,
} from '#kube/machinery/volume-move.ts';
import { copyFor } from './copy.ts';
import { folderObstacle, obstacleOf, sourceNodes } from './obstacles.ts';
import { planLeftovers } from './leftovers.ts';
import {
  annotating,
  isReady,
  podsWriting,
  wait,
  type MoveStep,
  type MoveWorld,
  type MoveWrite,
} from './world.ts';

/** A pod that does not end for this long: the app goes on where it is. */
const stopMaxMs = 15 * 60_000;
const dayMs = 24 * 3_600_000;
/** An agent that was just started may take so long to tell where it keeps volumes. */
const toldMs = 120_000;
const lookMs = 2_000;

export function planMove(move: VolumeMove, world: MoveWorld): MoveStep {
  const { status, metadata } = move;
  const isGoing = metadata.deletionTimestamp !== undefined;
  if (status === undefined) return isGoing ? wait : begin(move, world);
  // Whoever deleted it wants none of it.
  const wantsBack = isGoing || move.spec.goBack === true;
  switch (status.phase) {
    case 'Copying':
      return wantsBack ? returning(status, 'it was called off') : copy(move, status, world);
    case 'Stopping':
      return wantsBack ? returning(status, 'it was called off') : stop(move, status, world);
    case 'Finishing':
      return wantsBack ? returning(status, 'it was called off') : finish(move, status, world);
    case 'Switching':
      return exchange(status, world, { isBack: false, next: 'Starting' });
    case 'Starting':
      return release(move, status, world, done(move, status, world));
    case 'Returning':
      return giveUp(move, status, world);
    case 'Undoing':
      return undo(move, status, world);
    case 'Reverting':
      return exchange(status, world, { isBack: true, next: 'Undone' }, move);
    case 'Done':
    case 'Undone':
      return planLeftovers(move, status, world);
    case 'Refused':
    case 'Failed':
      return wait;
    default:
      return unreachable(status.phase);
  }
}

function to(status: VolumeMoveStatus, next: Partial<VolumeMoveStatus>): MoveStep {
  const { message: _, ...rest } = status;
  return { type: 'status', status: { ...rest, ...next } };
}

function returning(status: VolumeMoveStatus, why: string): MoveStep {
  return to(status, { phase: 'Returning', message: why });
}

function begin(move: VolumeMove, world: MoveWorld): MoveStep {
  const message = obstacleOf(move, world);
  const ageMs = world.nowMs - Date.parse(move.metadata.creationTimestamp ?? '');
  if (message === folderObstacle(move, world) && message !== undefined && ageMs < toldMs)
    return { type: 'wait', afterMs: lookMs };
  if (message !== undefined) return { type: 'status', status: { phase: 'Refused', message } };
  const volumes = move.spec.claims.map((claim, index): MovedVolume => {
    const { metadata, spec } = world.claim(claim) as PersistentVolumeClaim;
    const from = spec.volumeName ?? '';
    const reclaimPolicy = world.volume(from)?.spec.persistentVolumeReclaimPolicy ?? 'Retain';
    const number = index.toString(16).padStart(2, '0');
    // In the form that the agent knows its directories by.
    const name = `pvc-${(move.metadata.uid ?? '').slice(0, -2)}${number}`;
    return { claim, claimUid: metadata.uid ?? '', from, to: name, reclaimPolicy };
  });
  const [fromNode = ''] = sourceNodes(move, world);
  const startTime = rfc3339(world.nowMs);
  return { type: 'status', status: { phase: 'Copying', fromNode, volumes, startTime } };
}

/** Why the claims are not any more what they were; undefined: they are. */
function changed({ volumes = [] }: VolumeMoveStatus, world: MoveWorld): string | undefined {
  for (const { claim, claimUid, from, to: copyName } of volumes) {
    if (world.volume(copyName)?.metadata.deletionTimestamp !== undefined)
      return `the copy ${copyName} is being deleted`;
    const found = world.claim(claim);
    if (found?.metadata.uid !== claimUid) return `claim ${claim} was deleted`;
    if (found.metadata.deletionTimestamp !== undefined) return `claim ${claim} is being deleted`;
    if (found.spec.volumeName !== from) return `claim ${claim} has another volume by now`;
  }
  return undefined;
}

/** The first pass, while the app runs. */
function copy(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): MoveStep {
  const why = changed(status, world);
  if (why !== undefined) return returning(status, why);
  const writes = copyOrders(move, status, world);
  if (writes.length > 0) return { type: 'write', writes };
  const states = copyStates(status, world, 'live');
  const failed = states.find((state) => state?.state === 'Failed');
  if (failed !== undefined) return returning(status, failed.message ?? 'it could not be copied');
  if (states.every((state) => state?.state === 'Done')) {
    const obstacle = obstacleOf(move, world);
    if (obstacle !== undefined) return returning(status, obstacle);
    return to(status, { phase: 'Stopping', stopTime: rfc3339(world.nowMs) });
  }
  return progress(status, states);
}

function copyOrders(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): MoveWrite[] {
  return (status.volumes ?? []).flatMap((moved): MoveWrite[] => {
    const old = world.volume(moved.from);
    const { nodeName } = move.spec;
    if (old === undefined) return [];
    if (old.metadata.annotations?.[moveAnnotations.readableBy] !== nodeName) {
      const patch = annotating(old, { [moveAnnotations.readableBy]: nodeName });
      return [{ type: 'patch-volume', name: moved.from, patch }];
    }
    if (world.volume(moved.to) !== undefined) return [];
    const volume = copyFor(move, moved, world);
    return volume === undefined ? [] : [{ type: 'create-volume', volume }];
  });
}

function copyStates({ volumes = [] }: VolumeMoveStatus, world: MoveWorld, pass: CopyOrder['pass']) {
  return volumes.map(({ to: name }) => {
    const volume = world.volume(name);
    const state = volume && copyStateOf(volume);
    return state?.pass === pass ? state : undefined;
  });
}

/** What the agents told, if it is not told yet. */
function progress(
  status: VolumeMoveStatus,
  states: readonly ReturnType<typeof copyStateOf>[],
): MoveStep {
  const sum = (pick: 'totalBytes' | 'copiedBytes') =>
    states.reduce((total, state) => total + (state?.[pick] ?? 0), 0);
  const [totalBytes, copiedBytes] = [sum('totalBytes'), sum('copiedBytes')];
  const message = states.map((state) => state?.message).find((text) => text !== undefined);
  if (
    status.totalBytes === totalBytes &&
    status.copiedBytes === copiedBytes &&
    status.message === message
  )
    return wait;
  const told = message === undefined ? {} : { message };
  return to(status, { totalBytes, copiedBytes, ...told });
}

/** Why it can't go on while the app is stopped; undefined: it can. */
function lost(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): string | undefined {
  for (const name of [move.spec.nodeName, status.fromNode ?? ''])
    if (!isReady(world.node(name))) return `${name} does not answer any more`;
  return changed(status, world);
}

function holds(move: VolumeMove, { volumes = [] }: VolumeMoveStatus, world: MoveWorld) {
  return volumes.flatMap(({ claim }): MoveWrite[] => {
    const found = world.claim(claim);
    if (found === undefined || holdOf(found) === move.metadata.name) return [];
    const patch = annotating(found, { [moveAnnotations.hold]: move.metadata.name });
    return [{ type: 'patch-claim', claim: found, patch }];
  });
}

function stop(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): MoveStep {
  const why = lost(move, status, world);
  if (why !== undefined) return returning(status, why);
  const held = holds(move, status, world);
  if (held.length > 0) return { type: 'write', writes: held };
  const using = podsWriting(world.pods, move.spec.claims);
  if (using.length === 0) return to(status, { phase: 'Finishing' });
  const overdueMs = world.nowMs - Date.parse(status.stopTime ?? '');
  if (overdueMs > stopMaxMs)
    return returning(status, `pod ${using[0]?.metadata.name} does not end`);
  const alive = using.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (alive.length === 0) return { type: 'wait', afterMs: stopMaxMs };
  return { type: 'write', writes: alive.map((pod) => ({ type: 'delete-pod', pod })) };
}

/** The last pass, while nothing uses the data. */
function finish(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): MoveStep {
  const why = lost(move, status, world);
  if (why !== undefined) return returning(status, why);
  const isHeld = holds(move, status, world).length === 0;
  if (!isHeld) return returning(status, 'somebody let the app start again');
  // It may have written after its volume was copied for the last time.
  const [intruder] = podsWriting(world.pods, move.spec.claims);
  if (intruder !== undefined)
    return returning(status, `pod ${intruder.metadata.name} took the data meanwhile`);
  const { volumes = [] } = status;
  const writes = volumes.flatMap(({ to: name }) => finalOrder(world.volume(name)));
  if (writes.length > 0) return { type: 'write', writes };
  const states = copyStates(status, world, 'final');
  const failed = states.find((state) => state?.state === 'Failed');
  if (failed !== undefined) return returning(status, failed.message ?? 'it could not be copied');
  const isMade = ({ to: name }: MovedVolume) =>
    world.volume(name)?.metadata.annotations?.[localPath.madeAnnotation] !== undefined;
  if (states.every((state) => state?.state === 'Done') && volumes.every(isMade))
    return to(status, { phase: 'Switching' });
  return progress(status, states);
}

function finalOrder(volume: PersistentVolume | undefined): MoveWrite[] {
  const order = volume && copyOrderOf(volume);
  if (volume === undefined || order === undefined || order.pass === 'final') return [];
  const annotations = {
    [moveAnnotations.order]: JSON.stringify({ ...order, pass: 'final' }),
    [moveAnnotations.state]: null,
  };
  return [
    { type: 'patch-volume', name: volume.metadata.name, patch: annotating(volume, annotations) },
  ];
}

interface Exchange {
  readonly isBack: boolean;
  readonly next: 'Starting' | 'Undone';
}

/** The claims get their other volumes, one after the other. Only forward: what is done is not done again. */
function exchange(
  status: VolumeMoveStatus,
  world: MoveWorld,
  { isBack, next }: Exchange,
  move?: VolumeMove,
): MoveStep {
  const { volumes = [] } = status;
  const writes = volumes.flatMap((moved) => exchangeOne(moved, isBack, status, world));
  if (writes.length > 0) return { type: 'write', writes };
  // Bound to it, or told of it in a moment.
  const isWaiting = volumes.some((moved) => {
    const volume = world.volume(isBack ? moved.from : moved.to);
    const isOurs = volume?.metadata.annotations?.[moveAnnotations.owner] !== undefined;
    return isOurs && world.claim(moved.claim)?.spec.volumeName === volume?.metadata.name;
  });
  if (isWaiting) return wait;
  if (move === undefined) return to(status, { phase: next });
  const completionTime = rfc3339(world.nowMs);
  const message = `the app has its old data on ${status.fromNode} again; what it wrote on ${move.spec.nodeName} is kept there`;
  return release(move, status, world, { phase: next, completionTime, message });
}

function exchangeOne(
  { claim, claimUid, from, to: name, reclaimPolicy }: MovedVolume,
  isBack: boolean,
  { volumes = [] }: VolumeMoveStatus,
  world: MoveWorld,
): MoveWrite[] {
  const found = world.claim(claim);
  // Who deleted the claim left its volumes.
  if (found?.metadata.uid !== claimUid || volumes.length === 0) return [];
  const [oldName, newName] = isBack ? [name, from] : [from, name];
  const [old, next] = [world.volume(oldName), world.volume(newName)];
  if (old === undefined || next === undefined) return [];
  // Nobody is given what is being removed.
  if (next.metadata.deletionTimestamp !== undefined) return [];
  const owner = next.metadata.annotations?.[moveAnnotations.owner];
  if (found.spec.volumeName === oldName) {
    const isKept = old.metadata.annotations?.[moveAnnotations.owner] !== undefined;
    const isRetained = old.spec.persistentVolumeReclaimPolicy === 'Retain';
    if (!isKept || !isRetained) {
      const kept = { [moveAnnotations.owner]: owner ?? '' };
      const patch = annotating(old, kept, { spec: { persistentVolumeReclaimPolicy: 'Retain' } });
      return [{ type: 'patch-volume', name: oldName, patch }];
    }
    const patch = annotating(found, {}, { spec: { volumeName: newName } });
    return [{ type: 'patch-claim', claim: found, patch }];
  }
  if (found.spec.volumeName !== newName) return [];
  const writes: MoveWrite[] = [];
  if (old.metadata.annotations?.[moveAnnotations.readableBy] !== undefined) {
    const patch = annotating(old, { [moveAnnotations.readableBy]: null });
    writes.push({ type: 'patch-volume', name: oldName, patch });
  }
  if (owner !== undefined && next.status?.phase === 'Bound') {
    const { order, state, owner: ownerName } = moveAnnotations;
    const none = { [order]: null, [state]: null, [ownerName]: null };
    const policy = { spec: { persistentVolumeReclaimPolicy: reclaimPolicy } };
    const patch = annotating(next, none, policy);
    writes.push({ type: 'patch-volume', name: newName, patch });
  }
  return writes;
}

/** Lets pods start, then tells `next`. */
function release(
  { metadata }: VolumeMove,
  status: VolumeMoveStatus,
  world: MoveWorld,
  next: Partial<VolumeMoveStatus>,
): MoveStep {
  const writes = (status.volumes ?? []).flatMap(({ claim }): MoveWrite[] => {
    const found = world.claim(claim);
    if (found === undefined || holdOf(found) !== metadata.name) return [];
    const patch = annotating(found, { [moveAnnotations.hold]: null });
    return [{ type: 'patch-claim', claim: found, patch }];
  });
  return writes.length > 0 ? { type: 'write', writes } : to(status, next);
}

function done(
  { spec }: VolumeMove,
  { fromNode }: VolumeMoveStatus,
  { nowMs }: MoveWorld,
): Partial<VolumeMoveStatus> {
  const days = spec.keepOldCopyDays ?? keepOldCopyDays;
  return {
    phase: 'Done',
    completionTime: rfc3339(nowMs),
    keepUntil: rfc3339(nowMs + days * dayMs),
    message: `the app has its data on ${spec.nodeName}; the old copy stays on ${fromNode} for ${days} days`,
  };
}

/** Nothing was switched: the app goes on where it was, and what was copied is removed. */
function giveUp(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): MoveStep {
  const { message = '', volumes = [] } = status;
  const writes = volumes.flatMap(({ claim, from, to: name }): MoveWrite[] => {
    const found: MoveWrite[] = [];
    const old = world.volume(from);
    if (old?.metadata.annotations?.[moveAnnotations.readableBy] === move.spec.nodeName) {
      const patch = annotating(old, { [moveAnnotations.readableBy]: null });
      found.push({ type: 'patch-volume', name: from, patch });
    }
    const copied = world.volume(name);
    const isGoing = copied?.metadata.deletionTimestamp !== undefined;
    const isServing = world.claim(claim)?.spec.volumeName === name;
    if (copied === undefined || isGoing || isServing) return found;
    if (copied.spec.persistentVolumeReclaimPolicy === 'Delete')
      return [...found, { type: 'delete-volume', volume: copied }];
    const policy = { spec: { persistentVolumeReclaimPolicy: 'Delete' } };
    return [...found, { type: 'patch-volume', name, patch: annotating(copied, {}, policy) }];
  });
  if (writes.length > 0) return { type: 'write', writes };
  const completionTime = rfc3339(world.nowMs);
  return release(move, status, world, { phase: 'Failed', message, completionTime });
}

/** Back to the old copy: the app stops where it is now. */
function undo(move: VolumeMove, status: VolumeMoveStatus, world: MoveWorld): MoveStep {
  const held = holds(move, status, world);
  if (held.length > 0) return { type: 'write', writes: held };
  const using = podsWriting(world.pods, move.spec.claims);
  if (using.length === 0) return to(status, { phase: 'Reverting' });
  const alive = using.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const message = `pod ${using[0]?.metadata.name} has to end on ${move.spec.nodeName} first; if that machine is gone for good, delete the pod by force`;
  if (alive.length === 0) return status.message === message ? wait : to(status, { message });
  return { type: 'write', writes: alive.map((pod) => ({ type: 'delete-pod', pod })) };
}
