// Moves apps' data between machines: looks, asks the plan for the next step, and does that one. What a crash leaves
// is what the next look sees. The copying itself is the agents' (agent/kubelet/volumes/copies).
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import {
  keyOf,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  storageClasses,
  volumeMoves,
} from '#kube/client/resources.ts';
import { podClaims } from '#kube/machinery/volume-binding.ts';
import { isAtRest, moveAnnotations, moveFinalizer } from '#kube/machinery/volume-move.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { setFinalizers } from '../volume-protection/finalizer.ts';
import { planMove } from './plan.ts';
import type { MoveWorld, MoveWrite } from './world.ts';

const nodeIndex = 'pods-of-node';
/** Writes come back by the watches; what does not is looked at again. */
const againMs = 1_000;

export function createVolumeMover(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, informers } = deps;
  const events = recorderFor(deps, 'volume-mover');
  const moves = informers.informer(volumeMoves);
  const claims = informers.informer(persistentVolumeClaims);
  const volumes = informers.informer(persistentVolumes);
  const allNodes = informers.informer(nodes);
  const classes = informers.informer(storageClasses);
  const allPods = informers.informer(pods, {
    indexers: { [nodeIndex]: ({ spec }) => [spec.nodeName ?? ''] },
  });
  const controller = new Controller({ name: 'volume-mover', clock, logger, reconcile });
  const isOf = (move: VolumeMove, claim: string) => move.spec.claims.includes(claim);
  const movesOf = (namespace: string, claimNames: readonly string[]) =>
    moves.lister
      .list()
      .filter((move) => move.metadata.namespace === namespace)
      .filter((move) => !isAtRest(move) && claimNames.some((claim) => isOf(move, claim)))
      .map(keyOf);
  controller.watch(moves);
  controller.watch(claims, ({ metadata }) => movesOf(metadata.namespace ?? '', [metadata.name]));
  controller.watch(allPods, (pod) =>
    movesOf(
      pod.metadata.namespace ?? '',
      podClaims(pod).map(({ name }) => name),
    ),
  );
  controller.watch(volumes, ({ metadata, spec }) => {
    const owner = metadata.annotations?.[moveAnnotations.owner];
    const { namespace = '', name = '' } = spec.claimRef ?? {};
    return [...(owner === undefined ? [] : [owner]), ...movesOf(namespace, [name])];
  });
  controller.watch(allNodes, ({ metadata }) =>
    moves.lister
      .list()
      .filter(({ spec, status }) => [spec.nodeName, status?.fromNode].includes(metadata.name))
      .filter((move) => !isAtRest(move) || move.spec.goBack === true)
      .map(keyOf),
  );

  async function reconcile(key: string): Promise<ReconcileResult | void> {
    const move = moves.lister.getByKey(key);
    if (move === undefined) return;
    const isGoing = move.metadata.deletionTimestamp !== undefined;
    if (isGoing && (move.status === undefined || isAtRest(move))) return letGo(move);
    const step = planMove(move, await look(move));
    switch (step.type) {
      case 'wait':
        return step.afterMs === undefined ? undefined : { requeueAfterMs: step.afterMs };
      case 'status':
        await client.updateStatus(volumeMoves, { ...move, status: step.status });
        return tell(move, step.status);
      case 'write':
        for (const write of step.writes) await perform(write);
        return { requeueAfterMs: againMs };
    }
  }

  async function letGo({ metadata }: VolumeMove): Promise<void> {
    const { finalizers = [] } = metadata;
    const rest = finalizers.filter((one) => one !== moveFinalizer);
    if (rest.length < finalizers.length) await setFinalizers(client, volumeMoves, metadata, rest);
  }

  async function look(move: VolumeMove): Promise<MoveWorld> {
    const { namespace = '', name } = move.metadata;
    const phase = move.status?.phase ?? '';
    // A cache may lack a pod that was bound before the claim was held.
    const isHeld = ['Stopping', 'Finishing', 'Undoing'].includes(phase);
    const ofNamespace = isHeld
      ? (await client.list(pods, { namespace })).items
      : allPods.lister.list({ namespace });
    return {
      claim: (claim) => claims.lister.get(namespace, claim),
      volume: (volume) => volumes.lister.get('', volume),
      node: (node) => allNodes.lister.get('', node),
      storageClass: (storageClass) => classes.lister.get('', storageClass),
      pods: ofNamespace,
      podsOnNode: (node) => allPods.lister.byIndex(nodeIndex, node),
      otherMoves: moves.lister
        .list()
        .filter(({ metadata }) => metadata.namespace === namespace && metadata.name !== name),
      nowMs: clock.now(),
    };
  }

  async function perform(write: MoveWrite): Promise<void> {
    switch (write.type) {
      case 'create-volume':
        await client.create(persistentVolumes, write.volume);
        return;
      case 'patch-volume':
        await client.patch(persistentVolumes, { name: write.name }, write.patch);
        return;
      case 'delete-volume': {
        const { name, uid = '' } = write.volume.metadata;
        const preconditions = { preconditions: { uid } };
        await client.delete(persistentVolumes, { name }, preconditions).catch(ignoreNotFound);
        return;
      }
      case 'patch-claim': {
        const { namespace, name } = write.claim.metadata;
        await client.patch(persistentVolumeClaims, { namespace, name }, write.patch);
        return;
      }
      case 'delete-pod': {
        const { namespace, name, uid = '' } = write.pod.metadata;
        const preconditions = { preconditions: { uid } };
        await client.delete(pods, { namespace, name }, preconditions).catch(ignoreNotFound);
        return;
      }
    }
  }

  function tell(move: VolumeMove, { phase, message }: NonNullable<VolumeMove['status']>): void {
    if (phase === move.status?.phase) return;
    const isBad = phase === 'Refused' || phase === 'Failed' || phase === 'Returning';
    const text = message ?? `data of ${move.spec.claims.join(', ')}: ${phase}`;
    events.event(move, isBad ? 'Warning' : 'Normal', phase, text);
  }

  return controller;
}
