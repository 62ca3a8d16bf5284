// TaintToleration: keeps pods off nodes whose taints they don't tolerate; prefers nodes with fewer
// PreferNoSchedule taints they don't tolerate.
// Source: kubernetes pkg/scheduler/framework/plugins/tainttoleration (1.35: the reason names no
// taint, since taints may be nobody's business who may read pods).
import type { Node, Pod, Taint } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { defaultNormalizeScore, unresolvable, type Plugin } from '../framework.ts';
import { toleratesTaint } from '#kube/machinery/tolerations.ts';

export const taintToleration: Plugin = {
  name: 'TaintToleration',
  filter(_state, { pod }, { node }) {
    if (isTolerated(pod, node)) return undefined;
    return unresolvable('node(s) had untolerated taint(s)');
  },
  score(_state, { pod }, { node }) {
    const avoided = taintsOf(node).filter((taint) => taint.effect === 'PreferNoSchedule');
    return avoided.filter((taint) => !toleratesTaint(pod.spec?.tolerations, taint)).length;
  },
  normalizeScore: (scores) => defaultNormalizeScore(scores, true),
  queueingHint(pod, event) {
    if (event.type === 'node-added') return isTolerated(pod, event.node);
    if (event.type !== 'node-updated' || deepEqual(taintsOf(event.old), taintsOf(event.node)))
      return false;
    return isTolerated(pod, event.node);
  },
};

function isTolerated(pod: Pod, node: Node | undefined): boolean {
  return taintsOf(node).every(
    (taint) =>
      (taint.effect !== 'NoSchedule' && taint.effect !== 'NoExecute') ||
      toleratesTaint(pod.spec?.tolerations, taint),
  );
}

function taintsOf(node: Node | undefined): readonly Taint[] {
  return node?.spec?.taints ?? [];
}
