// NodeAffinity: nodeSelector, required and preferred node affinity.
// Source: kubernetes pkg/scheduler/framework/plugins/nodeaffinity.
import type { NodeSelectorTerm, PodSpec, PreferredSchedulingTerm } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { defaultNormalizeScore, unresolvable, type Plugin } from '../framework.ts';
import {
  matchesRequired,
  matchesTerm,
  namedNodes,
  requiredTerms,
} from '#kube/machinery/node-selector.ts';

export const nodeAffinity: Plugin = {
  name: 'NodeAffinity',
  preFilter(_state, { pod }) {
    const nodeNames = namedNodes(requiredTerms(pod.spec));
    if (nodeNames === undefined) return undefined;
    if (nodeNames.size === 0) return { status: unresolvable('pod affinity terms conflict') };
    return { nodeNames };
  },
  filter(_state, { pod }, { node }) {
    if (node !== undefined && matchesRequired(pod.spec, node)) return undefined;
    return unresolvable("node(s) didn't match Pod's node affinity/selector");
  },
  preScore: (_state, { pod }) => (preferred(pod.spec).length === 0 ? 'skip' : undefined),
  score(_state, { pod }, { node }) {
    if (node === undefined) return 0;
    return preferred(pod.spec)
      .filter(({ preference }) => isEmpty(preference) || matchesTerm(preference, node))
      .reduce((sum, { weight }) => sum + weight, 0);
  },
  normalizeScore: (scores) => defaultNormalizeScore(scores, false),
  queueingHint(pod, event) {
    if (event.type === 'node-added') return matchesRequired(pod.spec, event.node);
    if (event.type !== 'node-updated') return false;
    const isRelabelled = !deepEqual(event.old.metadata.labels, event.node.metadata.labels);
    return isRelabelled && matchesRequired(pod.spec, event.node);
  },
};

function preferred(spec: PodSpec | undefined): readonly PreferredSchedulingTerm[] {
  return spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
}

/** A preference without requirements prefers every node. */
function isEmpty(term: NodeSelectorTerm): boolean {
  return (term.matchExpressions ?? []).length + (term.matchFields ?? []).length === 0;
}
