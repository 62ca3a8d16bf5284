// A pod as its sandbox remembers it, for an agent that starts anew while no API server answers: what
// runs is then kept running, restarted and probed as it was asked for last.
import type { Pod } from '#kube/api/core.ts';
import type { ObservedPod } from '../../runtime/runtime.ts';

export function podMemo({ metadata, spec, status }: Pod): string {
  const { name, namespace, uid, labels, annotations } = metadata;
  const { startTime } = status ?? {};
  return JSON.stringify({
    metadata: { name, namespace, uid, labels, annotations },
    spec,
    status: { startTime },
  });
}

/** Undefined: it has no sandbox, or one of an agent that wrote nothing down. */
export function podOfMemo({ memo, pod }: ObservedPod): Pod | undefined {
  if (memo === undefined) return undefined;
  try {
    const kept = JSON.parse(memo) as Pod;
    const isWhole = kept.metadata.uid === pod.uid && Array.isArray(kept.spec.containers);
    return isWhole ? { ...kept, apiVersion: 'v1', kind: 'Pod' } : undefined;
  } catch {
    return undefined;
  }
}
