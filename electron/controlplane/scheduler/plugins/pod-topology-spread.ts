// PodTopologySpread: constraints a pod states itself, and, for one that states none, the replicas
// of its controller spread over hosts and zones as far as that is free.
// Differs: replicas are known by their controller's uid, where Kubernetes combines the selectors of
// services and controllers; soft scores count pods without Kubernetes' logarithmic topology weights.
// Source: kubernetes pkg/scheduler/framework/plugins/podtopologyspread.
import type { Pod, TopologySpreadConstraint } from '#kube/api/core.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { labelSelectorMatcher } from '#kube/machinery/selector.ts';
import { scoreMax, unresolvable, unschedulable, type Plugin, type Snapshot } from '../framework.ts';
import type { NodeInfo } from '../node-info.ts';
import { matchesRequired } from '#kube/machinery/node-selector.ts';
import { toleratesTaint } from '#kube/machinery/tolerations.ts';

const name = 'PodTopologySpread';

interface Constraint {
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  /** Whether a pod counts. */
  readonly matches: (pod: Pod) => boolean;
  /** Topology value → pods that count. Only domains with a node the pod may use. */
  readonly counts: ReadonlyMap<string, number>;
}

const hostname = 'kubernetes.io/hostname';
const zone = 'topology.kubernetes.io/zone';

export const podTopologySpread: Plugin = {
  name,
  preFilter(state, { pod }, snapshot) {
    const stated = statedConstraints(pod, 'DoNotSchedule');
    const keys = stated.map(({ topologyKey }) => topologyKey);
    const constraints = stated.map((constraint) => stateOf(constraint, { pod, snapshot, keys }));
    state.set(name, constraints);
    return undefined;
  },
  filter(state, { pod }, node) {
    for (const constraint of state.get(name) as readonly Constraint[]) {
      const value = node.labels[constraint.topologyKey];
      if (value === undefined) return unresolvable(`${mismatch} (missing required label)`);
      const self = constraint.matches(pod) ? 1 : 0;
      const skew = (constraint.counts.get(value) ?? 0) + self - leastCount(constraint);
      if (skew > constraint.maxSkew) return unschedulable(mismatch);
    }
    return undefined;
  },
  preScore(state, { pod }, _nodes, snapshot) {
    const constraints = softConstraints(pod, snapshot);
    state.set(`${name}/score`, constraints);
    return constraints.length === 0 ? 'skip' : undefined;
  },
  score(state, _pod, node) {
    const constraints = state.get(`${name}/score`) as readonly Constraint[];
    return constraints.reduce((sum, { topologyKey, counts }) => {
      const value = node.labels[topologyKey];
      return sum + (value === undefined ? 0 : (counts.get(value) ?? 0));
    }, 0);
  },
  normalizeScore: fewerIsBetter,
  queueingHint(pod, event) {
    if (event.type === 'node-added' || event.type === 'node-updated') return true;
    if (event.type === 'storage-changed') return false;
    return event.pod.metadata.namespace === pod.metadata.namespace;
  },
};

const mismatch = "node(s) didn't match pod topology spread constraints";

/** Fewer domains than wanted count as an empty one. */
function leastCount({ counts, minDomains }: Constraint): number {
  return counts.size < minDomains ? 0 : Math.min(...counts.values());
}

function fewerIsBetter(scores: readonly number[]): readonly number[] {
  const highest = Math.max(...scores);
  const lowest = Math.min(...scores);
  if (highest === 0) return scores.map(() => scoreMax);
  return scores.map((score) => Math.floor((scoreMax * (highest + lowest - score)) / highest));
}

function statedConstraints(pod: Pod, whenUnsatisfiable: string): TopologySpreadConstraint[] {
  return (pod.spec?.topologySpreadConstraints ?? []).filter(
    (constraint) => constraint.whenUnsatisfiable === whenUnsatisfiable,
  );
}

function softConstraints(pod: Pod, snapshot: Snapshot): readonly Constraint[] {
  const stated = statedConstraints(pod, 'ScheduleAnyway');
  if (stated.length > 0)
    return stated.map((constraint) => stateOf(constraint, { pod, snapshot, keys: [] }));
  const controller = getControllerOf(pod);
  const isStated = (pod.spec?.topologySpreadConstraints ?? []).length > 0;
  if (controller === undefined || isStated) return [];
  const matches = (other: Pod): boolean =>
    isLiving(pod, other) && getControllerOf(other)?.uid === controller.uid;
  return [hostname, zone].map((topologyKey) => ({
    topologyKey,
    maxSkew: 1,
    minDomains: 1,
    matches,
    counts: countByDomain(snapshot.nodes, topologyKey, matches),
  }));
}

interface Scope {
  readonly pod: Pod;
  readonly snapshot: Snapshot;
  /** Labels a node must have to count. */
  readonly keys: readonly string[];
}

function stateOf(constraint: TopologySpreadConstraint, { pod, snapshot, keys }: Scope): Constraint {
  const { topologyKey, maxSkew, minDomains = 1, labelSelector, matchLabelKeys = [] } = constraint;
  const matcher = labelSelectorMatcher(labelSelector);
  const labels = pod.metadata.labels ?? {};
  const sameKeys = matchLabelKeys.filter((key) => labels[key] !== undefined);
  const matches = (other: Pod): boolean =>
    isLiving(pod, other) &&
    matcher.matches(other.metadata.labels) &&
    sameKeys.every((key) => other.metadata.labels?.[key] === labels[key]);
  const eligible = snapshot.nodes.filter(
    (node) => isEligible(constraint, pod, node) && keys.every((key) => key in node.labels),
  );
  const counts = countByDomain(eligible, topologyKey, matches);
  return { topologyKey, maxSkew, minDomains, matches, counts };
}

function isLiving(pod: Pod, other: Pod): boolean {
  const isLeaving = other.metadata.deletionTimestamp !== undefined;
  return !isLeaving && other.metadata.namespace === pod.metadata.namespace;
}

/** Whether a node counts for the spread at all: by default affinity is honoured, taints are not. */
function isEligible(constraint: TopologySpreadConstraint, pod: Pod, info: NodeInfo): boolean {
  const { nodeAffinityPolicy = 'Honor', nodeTaintsPolicy = 'Ignore' } = constraint;
  if (info.node === undefined) return false;
  if (nodeAffinityPolicy === 'Honor' && !matchesRequired(pod.spec, info.node)) return false;
  if (nodeTaintsPolicy !== 'Honor') return true;
  return (info.node.spec?.taints ?? []).every(
    (taint) => taint.effect === 'PreferNoSchedule' || toleratesTaint(pod.spec?.tolerations, taint),
  );
}

function countByDomain(
  nodes: readonly NodeInfo[],
  topologyKey: string,
  matches: (pod: Pod) => boolean,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const value = node.labels[topologyKey];
    if (value === undefined) continue;
    const here = [...node.pods.values()].filter(({ pod }) => matches(pod)).length;
    counts.set(value, (counts.get(value) ?? 0) + here);
  }
  return counts;
}
