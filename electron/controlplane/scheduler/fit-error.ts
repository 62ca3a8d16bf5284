// Why a pod fits nowhere, in the one sentence people know from `kubectl describe`.
// Source: kubernetes pkg/scheduler/framework/types.go FitError, preemption/preemption.go.
import type { Status } from './framework.ts';

/** No node accepted the pod. */
export interface FitError {
  readonly nodeCount: number;
  /** Refused before any node was looked at. */
  readonly preFilterReasons?: readonly string[];
  /** One for each node that was refused, by node name. */
  readonly statuses: ReadonlyMap<string, Status>;
  /** Plugins that refused: an event that one of them hopes for brings the pod back. */
  readonly plugins: ReadonlySet<string>;
  readonly mayPreempt: boolean;
}

export const noNodesMessage = 'no nodes available to schedule pods';

/** `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods. preemption: …` */
export function fitErrorMessage(error: FitError): string {
  const { nodeCount, preFilterReasons } = error;
  if (nodeCount === 0) return noNodesMessage;
  const reasons =
    preFilterReasons === undefined
      ? histogram([...error.statuses.values()].flatMap((status) => status.reasons))
      : preFilterReasons.join(', ');
  return `${available(nodeCount, reasons)} ${preemptionMessage(error)}`;
}

/**
 * Differs: nothing is preempted yet, so a node where it could have helped always counts as one
 * without victims; between pods of equal priority that is what Kubernetes prints.
 */
function preemptionMessage({
  nodeCount,
  preFilterReasons,
  statuses,
  mayPreempt,
}: FitError): string {
  if (!mayPreempt) return 'preemption: not eligible due to preemptionPolicy=Never.';
  const reasons = [...statuses.values()].map(({ code }) =>
    code === 'Unschedulable' ? noVictims : notHelpful,
  );
  const perNode =
    preFilterReasons === undefined ? reasons : Array.from({ length: nodeCount }, () => notHelpful);
  return `preemption: ${available(nodeCount, histogram(perNode))}`;
}

const noVictims = 'No preemption victims found for incoming pod';
const notHelpful = 'Preemption is not helpful for scheduling';

function available(nodeCount: number, reasons: string): string {
  return `0/${nodeCount} nodes are available: ${reasons}.`;
}

/** `1 Insufficient cpu, 2 Too many pods`, sorted as text. */
function histogram(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, count]) => `${count} ${reason}`)
    .toSorted()
    .join(', ');
}
