// VolumeBinding: a pod goes where its volumes are. Claims that wait for their first pod get a volume of
// the node's own, or one is made there. What it decided for a node is for the driver (volume-binder.ts).
// Source: kubernetes pkg/scheduler/framework/plugins/volumebinding/{volume_binding,binder}.go.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { compareQuantities } from '#kube/machinery/quantity.ts';
import { storageClassOf } from '#kube/machinery/quota/evaluators.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import {
  findVolume,
  isDelayed,
  isFullyBound,
  isReachable,
  podClaims,
  requestedSize,
  volumeAnnotations,
} from '#kube/machinery/volume-binding.ts';
import { holdOf } from '#kube/machinery/volume-move.ts';
import {
  unresolvable,
  type CycleState,
  type Plugin,
  type Status,
  type VolumeView,
} from '../framework.ts';

const name = 'VolumeBinding';

/** What has to be written before the pod may be bound to its node. */
export interface VolumePlan {
  readonly node: Node;
  readonly bindings: readonly {
    readonly claim: PersistentVolumeClaim;
    readonly volume: PersistentVolume;
  }[];
  /** Claims that somebody is to make a volume for, on this node. */
  readonly provisions: readonly PersistentVolumeClaim[];
}

interface Wanted {
  readonly view: VolumeView;
  readonly bound: readonly PersistentVolumeClaim[];
  /** Largest last: a small one must not take the volume that only suits a large one. */
  readonly unbound: readonly PersistentVolumeClaim[];
  readonly plans: Map<string, VolumePlan>;
}

const reasons = {
  noVolume: "node(s) didn't find available persistent volumes to bind",
  elsewhere: 'node(s) had volume node affinity conflict',
  gone: 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)',
};

export const volumeBinding: Plugin = {
  name,
  preFilter(state, { pod }, { volumes: view }) {
    if ((pod.spec?.volumes ?? []).length === 0 || view === undefined) return undefined;
    const wanted = claimsOf(pod, view);
    if (typeof wanted === 'string') return { status: unresolvable(wanted) };
    if (wanted === undefined) return undefined;
    state.set(name, wanted);
    return undefined;
  },
  filter(state, _pod, { node }) {
    const wanted = state.get(name) as Wanted | undefined;
    if (wanted === undefined || node === undefined) return undefined;
    return refusal(wanted, node);
  },
  queueingHint(_pod, event) {
    switch (event.type) {
      case 'storage-changed':
      case 'node-added':
        return true;
      case 'node-updated':
        return !deepEqual(event.old.metadata.labels, event.node.metadata.labels);
      default:
        return false;
    }
  },
};

/** Undefined: nothing to write. */
export function volumePlanOf(state: CycleState, nodeName: string): VolumePlan | undefined {
  return (state.get(name) as Wanted | undefined)?.plans.get(nodeName);
}

/** A text: why no node can do. */
function claimsOf(pod: Pod, view: VolumeView): Wanted | string | undefined {
  const used = podClaims(pod);
  if (used.length === 0) return undefined;
  const { namespace = '', uid } = pod.metadata;
  const claims: PersistentVolumeClaim[] = [];
  for (const { name: claimName, isEphemeral } of used) {
    const quoted = JSON.stringify(claimName);
    const claim = view.claim(namespace, claimName);
    if (claim === undefined)
      return isEphemeral
        ? `waiting for ephemeral volume controller to create the persistentvolumeclaim ${quoted}`
        : `persistentvolumeclaim ${quoted} not found`;
    if (claim.status?.phase === 'Lost')
      return `persistentvolumeclaim ${quoted} bound to non-existent persistentvolume ${JSON.stringify(claim.spec.volumeName)}`;
    const hold = holdOf(claim);
    if (hold !== undefined)
      return `the data of persistentvolumeclaim ${quoted} is being moved (volumemove ${JSON.stringify(hold)})`;
    if (claim.metadata.deletionTimestamp !== undefined)
      return `persistentvolumeclaim ${quoted} is being deleted`;
    if (isEphemeral && getControllerOf(claim)?.uid !== uid)
      return `PVC ${namespace}/${claimName} was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`;
    claims.push(claim);
  }
  const unbound = claims
    .filter((claim) => !isFullyBound(claim))
    .toSorted((a, b) => compareQuantities(requestedSize(a), requestedSize(b)));
  // One that names its volume has no choice that could wait for a node.
  const isImmediate = (claim: PersistentVolumeClaim): boolean =>
    (claim.spec.volumeName ?? '') !== '' || !isDelayed(view.storageClass(storageClassOf(claim)));
  if (unbound.some(isImmediate)) return 'pod has unbound immediate PersistentVolumeClaims';
  return { view, bound: claims.filter(isFullyBound), unbound, plans: new Map() };
}

function refusal({ view, bound, unbound, plans }: Wanted, node: Node): Status | undefined {
  const found = new Set<string>();
  for (const { spec } of bound) {
    const volume = view.volume(spec.volumeName ?? '');
    if (volume === undefined) return unresolvable(reasons.gone);
    if (!isReachable(volume, node)) found.add(reasons.elsewhere);
  }
  if (unbound.length > 0) {
    const plan = planFor(view, unbound, node);
    if (plan === undefined) found.add(reasons.noVolume);
    else plans.set(node.metadata.name, plan);
  }
  return found.size === 0 ? undefined : unresolvable(...found);
}

function planFor(
  view: VolumeView,
  claims: readonly PersistentVolumeClaim[],
  node: Node,
): VolumePlan | undefined {
  const nodeName = node.metadata.name;
  const bindings: { claim: PersistentVolumeClaim; volume: PersistentVolume }[] = [];
  const provisions: PersistentVolumeClaim[] = [];
  const isTaken = (volumeName: string) =>
    view.isTaken(volumeName) || bindings.some(({ volume }) => volume.metadata.name === volumeName);
  for (const claim of claims) {
    const chosen =
      view.chosenNode(claim) ?? claim.metadata.annotations?.[volumeAnnotations.selectedNode];
    if (chosen !== undefined) {
      if (chosen !== nodeName) return undefined;
      provisions.push(claim);
      continue;
    }
    const volume = findVolume(claim, view.volumes(), { node, isTaken });
    if (volume !== undefined) bindings.push({ claim, volume });
    else if (canBeMade(view.storageClass(storageClassOf(claim)), node)) provisions.push(claim);
    else return undefined;
  }
  return { node, bindings, provisions };
}

function canBeMade(storageClass: StorageClass | undefined, node: Node): boolean {
  const { provisioner = '', allowedTopologies = [] } = storageClass ?? {};
  if (provisioner === '' || provisioner === 'kubernetes.io/no-provisioner') return false;
  const labels = node.metadata.labels ?? {};
  return (
    allowedTopologies.length === 0 ||
    allowedTopologies.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => values.includes(labels[key] ?? '')),
    )
  );
}
