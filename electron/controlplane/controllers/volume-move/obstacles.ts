// Pure: why an app's data can't go to a machine, in words, before anything is stopped.
import type { Node, PersistentVolume, Pod } from '#kube/api/core.ts';
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { matchesRequired } from '#kube/machinery/node-selector.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { amountsOf, podRequests, type ResourceAmounts } from '#kube/machinery/pod-resources.ts';
import { storageClassOf } from '#kube/machinery/quota/evaluators.ts';
import { toleratesTaint } from '#kube/machinery/tolerations.ts';
import {
  isFullyBound,
  localPath,
  podClaims,
  volumeAnnotations,
} from '#kube/machinery/volume-binding.ts';
import { holdOf, isAtRest, nodeOfVolume } from '#kube/machinery/volume-move.ts';
import { hasEnded, isReady, podsUsing, type MoveWorld } from './world.ts';

const architecture = 'kubernetes.io/arch';
const hostname = 'kubernetes.io/hostname';

/** Undefined: nothing stands in the way. */
export function obstacleOf(move: VolumeMove, world: MoveWorld): string | undefined {
  const { claims, nodeName } = move.spec;
  const target = world.node(nodeName);
  const ofTarget = targetObstacle(nodeName, target);
  if (target === undefined || ofTarget !== undefined) return ofTarget;
  for (const name of claims) {
    const why = claimObstacle(move, name, world);
    if (why !== undefined) return why;
  }
  const from = sourceNodes(move, world);
  const [source = ''] = from;
  if (from.length > 1)
    return `the claims are on different machines (${from.join(', ')}): move those of one machine together`;
  if (source === nodeName) return `the data is on ${nodeName} already`;
  const sourceNode = world.node(source);
  if (!isReady(sourceNode))
    return `${source}, which has the data, does not answer: turn it on, and try again`;
  const archOf = (node: Node | undefined) => node?.metadata.labels?.[architecture];
  const [here, there] = [archOf(sourceNode), archOf(target)];
  if (here !== there && move.spec.acceptOtherArchitecture !== true)
    return `${nodeName} has another processor (${there}) than ${source} (${here}): set acceptOtherArchitecture if the app's images exist for it`;
  return podObstacles(move, target, world) ?? folderObstacle(move, world);
}

/** Machines that the claims' volumes are on now. */
export function sourceNodes({ spec }: VolumeMove, world: MoveWorld): string[] {
  const names = spec.claims.map((name) => {
    const volume = world.volume(world.claim(name)?.spec.volumeName ?? '');
    return (volume && nodeOfVolume(volume)) ?? '';
  });
  return [...new Set(names)];
}

function targetObstacle(name: string, node: Node | undefined): string | undefined {
  if (node === undefined) return `there is no machine ${name}`;
  if (!isReady(node)) return `${name} is not ready: turn it on, and try again`;
  if (node.spec?.unschedulable === true)
    return `${name} is paused: no app starts there until it is resumed`;
  if (node.metadata.labels?.[hostname] === undefined)
    return `${name} has no label ${hostname}, by which its volumes are found`;
  return undefined;
}

/** The last of all: an agent that was just started tells it in a moment. */
export function folderObstacle({ spec }: VolumeMove, world: MoveWorld): string | undefined {
  const node = world.node(spec.nodeName);
  const isTold = (claim: string) => node && folderOf(claim, node, world) !== undefined;
  return spec.claims.every(isTold)
    ? undefined
    : `the agent of ${spec.nodeName} has not told yet in which folder it keeps volumes`;
}

/** Where a claim's directory goes on a machine; undefined: not known yet. */
export function folderOf(claimName: string, node: Node, world: MoveWorld): string | undefined {
  const claim = world.claim(claimName);
  const storageClass = claim && world.storageClass(storageClassOf(claim));
  const path = storageClass?.parameters?.['path'];
  return (path ?? node.metadata.annotations?.[localPath.folderAnnotation])?.replace(/\/+$/, '');
}

function claimObstacle(move: VolumeMove, name: string, world: MoveWorld): string | undefined {
  const claim = world.claim(name);
  if (claim === undefined) return `there is no claim ${name} in this namespace`;
  if (claim.metadata.deletionTimestamp !== undefined) return `claim ${name} is being deleted`;
  if (!isFullyBound(claim)) return `claim ${name} has no volume yet: there is nothing to move`;
  const hold = holdOf(claim);
  const isOthers = world.otherMoves.some(
    (other) => !isAtRest(other) && other.status !== undefined && other.spec.claims.includes(name),
  );
  if (isOthers || (hold !== undefined && hold !== move.metadata.name))
    return `claim ${name} is being moved already`;
  const volume = world.volume(claim.spec.volumeName ?? '');
  if (volume === undefined) return `claim ${name} has lost its volume`;
  return volumeObstacle(name, volume);
}

function volumeObstacle(claim: string, { metadata, spec }: PersistentVolume): string | undefined {
  const { annotations = {} } = metadata;
  if (spec.nfs !== undefined || spec.csi !== undefined)
    return `the data of claim ${claim} is on the network: every machine reaches it, and nothing has to be moved`;
  const isOurs = annotations[volumeAnnotations.provisionedBy] === localPath.provisioner;
  if (!isOurs || spec.local === undefined)
    return `volume ${metadata.name} of claim ${claim} is a folder that somebody chose on its machine: only volumes of Flotilla's own classes are moved`;
  return annotations[localPath.madeAnnotation] === undefined
    ? `the directory of claim ${claim} is not made yet`
    : undefined;
}

function podObstacles(move: VolumeMove, target: Node, world: MoveWorld): string | undefined {
  const { claims, nodeName } = move.spec;
  const using = podsUsing(world.pods, claims);
  const others = world
    .podsOnNode(nodeName)
    .filter((pod) => !hasEnded(pod) && !using.some((one) => one.metadata.uid === pod.metadata.uid));
  for (const pod of using) {
    const why =
      ownerObstacle(pod) ??
      otherClaimObstacle(pod, move, world) ??
      placeObstacle(pod, target) ??
      portObstacle(pod, others, nodeName);
    if (why !== undefined) return why;
  }
  return roomObstacle(using, others, target);
}

function ownerObstacle(pod: Pod): string | undefined {
  const { name } = pod.metadata;
  const owner = getControllerOf(pod);
  if (owner === undefined)
    return `pod ${name} uses the data and belongs to no app: nothing would start it again`;
  return owner.kind === 'DaemonSet'
    ? `pod ${name} uses the data and runs on every machine (DaemonSet ${owner.name}): it does not move`
    : undefined;
}

function otherClaimObstacle(pod: Pod, move: VolumeMove, world: MoveWorld): string | undefined {
  const { claims, nodeName } = move.spec;
  for (const { name } of podClaims(pod)) {
    if (claims.includes(name)) continue;
    const volume = world.volume(world.claim(name)?.spec.volumeName ?? '');
    const node = volume && nodeOfVolume(volume);
    if (node !== undefined && node !== nodeName)
      return `pod ${pod.metadata.name} also uses claim ${name}, which stays on ${node}: move both`;
  }
  return undefined;
}

function placeObstacle({ metadata, spec }: Pod, target: Node): string | undefined {
  const { name } = target.metadata;
  if (!matchesRequired(spec, target))
    return `pod ${metadata.name} may not run on ${name}: its nodeSelector or affinity wants another machine`;
  const taint = (target.spec?.taints ?? []).find(
    (one) => one.effect !== 'PreferNoSchedule' && !toleratesTaint(spec.tolerations, one),
  );
  return taint === undefined
    ? undefined
    : `pod ${metadata.name} may not run on ${name}: it has the taint ${taint.key}`;
}

function portObstacle(pod: Pod, others: readonly Pod[], node: string): string | undefined {
  const wanted = new Set(hostPortsOf(pod));
  for (const other of others)
    for (const port of hostPortsOf(other))
      if (wanted.has(port))
        return `port ${port} of ${node} is taken by pod ${other.metadata.name}, and pod ${pod.metadata.name} needs it`;
  return undefined;
}

function hostPortsOf({ spec }: Pod): string[] {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  return containers.flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort = 0, protocol = 'TCP' }) =>
      hostPort === 0 ? [] : [`${hostPort}/${protocol}`],
    ),
  );
}

function roomObstacle(
  using: readonly Pod[],
  others: readonly Pod[],
  { metadata, status }: Node,
): string | undefined {
  const allocatable = amountsOf(status?.allocatable);
  const wanted = sum(using);
  const taken = sum(others);
  for (const [resource, amount] of Object.entries(wanted)) {
    const has = allocatable[resource] ?? 0;
    if (amount === 0 || amount + (taken[resource] ?? 0) <= has) continue;
    return has === 0
      ? `${metadata.name} has no ${resource}, which the app needs`
      : `${metadata.name} has not enough ${resource} left for the app`;
  }
  return undefined;
}

function sum(pods: readonly Pod[]): ResourceAmounts {
  const total: ResourceAmounts = {};
  for (const { spec } of pods)
    for (const [resource, amount] of Object.entries(podRequests(spec)))
      total[resource] = (total[resource] ?? 0) + amount;
  return total;
}
