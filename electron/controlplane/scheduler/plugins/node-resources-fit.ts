// NodeResourcesFit: requests must fit into what a node has left; prefers nodes with most left.
// Source: kubernetes pkg/scheduler/framework/plugins/noderesources/{fit,least_allocated}.go.
import { deepEqual } from '#kube/machinery/equality.ts';
import { scoreMax, unresolvable, unschedulable, type Plugin } from '../framework.ts';
import { podInfoOf, type NodeInfo, type PodInfo } from '../node-info.ts';
import { parseResources, type Resources } from '../pod-resources.ts';

/** What scores look at, each with weight one. */
export const scoredResources = ['cpu', 'memory'];

export const nodeResourcesFit: Plugin = {
  name: 'NodeResourcesFit',
  filter: (_state, pod, node) => {
    const lacking = insufficientResources(pod, node);
    if (lacking.length === 0) return undefined;
    const reasons = lacking.map(({ reason }) => reason);
    // More than the node ever has: nobody's leaving helps.
    const isHopeless = lacking.some(({ isBeyondNode }) => isBeyondNode);
    return isHopeless ? unresolvable(...reasons) : unschedulable(...reasons);
  },
  score: leastAllocatedScore,
  queueingHint(pod, event) {
    switch (event.type) {
      case 'node-added':
        return fitsInto(podInfoOf(pod), parseResources(event.node.status?.allocatable));
      case 'node-updated': {
        const [before, after] = [event.old.status?.allocatable, event.node.status?.allocatable];
        return !deepEqual(before, after) && fitsInto(podInfoOf(pod), parseResources(after));
      }
      case 'assigned-pod-removed':
        return true;
      case 'assigned-pod-changed':
      case 'storage-changed':
        return false;
    }
  },
};

interface Insufficient {
  readonly reason: string;
  readonly isBeyondNode: boolean;
}

function insufficientResources(pod: PodInfo, node: NodeInfo): readonly Insufficient[] {
  const lacking: Insufficient[] = [];
  const podCountMax = node.allocatable.get('pods') ?? 0;
  if (node.pods.size + 1 > podCountMax)
    lacking.push({ reason: 'Too many pods', isBeyondNode: false });
  for (const [name, wanted] of ordered(pod.requests)) {
    const total = node.allocatable.get(name) ?? 0;
    if (wanted <= 0 || wanted <= total - (node.requested.get(name) ?? 0)) continue;
    lacking.push({ reason: `Insufficient ${name}`, isBeyondNode: wanted > total });
  }
  return lacking;
}

/** Whether an empty node of this size would do. */
function fitsInto(pod: PodInfo, allocatable: Resources): boolean {
  if ((allocatable.get('pods') ?? 0) < 1) return false;
  return [...pod.requests].every(([name, wanted]) => wanted <= (allocatable.get(name) ?? 0));
}

/** The well-known ones first, in Kubernetes' order. */
function ordered(resources: Resources): readonly (readonly [string, number])[] {
  const rank = ['cpu', 'memory', 'ephemeral-storage'];
  const place = (name: string): number =>
    (rank.indexOf(name) + rank.length + 1) % (rank.length + 1);
  return [...resources].toSorted(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
}

function leastAllocatedScore(_state: unknown, pod: PodInfo, node: NodeInfo): number {
  let sum = 0;
  let weights = 0;
  for (const name of scoredResources) {
    const total = node.allocatable.get(name) ?? 0;
    if (total === 0) continue;
    const used = (node.scoredRequested.get(name) ?? 0) + (pod.scoredRequests.get(name) ?? 0);
    sum += used > total ? 0 : Math.floor(((total - used) * scoreMax) / total);
    weights++;
  }
  return weights === 0 ? 0 : Math.floor(sum / weights);
}
