// What counts as a change: of a pod's object, and of what runs of it. Pure.
import type { Pod } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import type { ObservedPod } from '../../runtime/runtime.ts';

/** Whether nothing changed that a kubelet acts upon: spec, deletion, what volumes show. */
export function saysTheSame(old: Pod, pod: Pod): boolean {
  const { labels, annotations, deletionTimestamp, deletionGracePeriodSeconds } = old.metadata;
  const { metadata } = pod;
  return (
    deletionTimestamp === metadata.deletionTimestamp &&
    deletionGracePeriodSeconds === metadata.deletionGracePeriodSeconds &&
    deepEqual(labels, metadata.labels) &&
    deepEqual(annotations, metadata.annotations) &&
    deepEqual(old.spec, pod.spec) &&
    deepEqual(foreignConditions(old), foreignConditions(pod))
  );
}

/** Readiness gates are set by others. */
function foreignConditions(pod: Pod): unknown {
  const gates = (pod.spec.readinessGates ?? []).map(({ conditionType }) => conditionType);
  return pod.status?.conditions?.filter(({ type }) => gates.includes(type));
}

export function isDifferent(before: ObservedPod, after: ObservedPod): boolean {
  const shape = ({ sandboxes, containers }: ObservedPod) =>
    [
      ...sandboxes.map(({ id, ready }) => `${id} ${ready}`),
      ...containers.map(({ id, state }) => `${id} ${state}`),
    ].join();
  return shape(before) !== shape(after);
}
