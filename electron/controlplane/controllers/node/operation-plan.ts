// What is next for a machine that is to restart, sleep, shut down or leave the cluster. Pure. Its pods are moved first; then it
// is its own agent's turn; in the end the machine is open for pods again, or its Node goes.
import type { Node, Pod } from '#kube/api/core.ts';
import type { NodeOperationPod } from '#kube/api/fleet.ts';
import { actionWords } from '#kube/machinery/departure.ts';
import { isNodeAnswering, isNodeReady, type Operation } from '#kube/machinery/node-operations.ts';
import { isPodTerminating } from '../pod-state.ts';

export type OperationStep =
  | { readonly type: 'wait'; readonly againMs?: number }
  | { readonly type: 'evict'; readonly pods: readonly Pod[]; readonly againMs: number }
  /** It is the agent's turn. */
  | { readonly type: 'hand-over' }
  /** It is as before: open for pods if it was. */
  | { readonly type: 'finish' }
  | { readonly type: 'give-up'; readonly why: string }
  /** `remember`: the machine itself does not know. */
  | { readonly type: 'delete'; readonly remember: boolean };

export interface OperationInput {
  readonly node: Node;
  readonly operation: Operation;
  readonly pods: readonly Pod[];
  /** What becomes of them. */
  readonly outcomes: readonly NodeOperationPod[];
  readonly nowMs: number;
}

const leaveMs = 300_000;
const beginMs = 120_000;
/** Containers may take their time to end. */
const removeMs = 900_000;
const lookMs = 2_000;

export function nextStep(input: OperationInput): OperationStep {
  const { node, operation, nowMs } = input;
  const { name } = node.metadata;
  const agoMs = nowMs - Date.parse(operation.since);
  switch (operation.state) {
    case 'Leaving':
      return leaving(input, agoMs);
    case 'Due':
      if (agoMs < beginMs) return { type: 'wait', againMs: beginMs - agoMs };
      return { type: 'give-up', why: `The agent of ${name} did not begin: is it running?` };
    case 'Acting':
      if (operation.action === 'Remove') return removing(name, agoMs);
      return isBack(node, operation) ? { type: 'finish' } : { type: 'wait' };
    case 'Done':
      return { type: 'finish' };
    case 'Removed':
      return { type: 'delete', remember: false };
    case 'Failed':
      return { type: 'wait' };
  }
}

function leaving(input: OperationInput, agoMs: number): OperationStep {
  const { node, operation, pods, outcomes } = input;
  const { name } = node.metadata;
  if (!isNodeAnswering(node)) {
    if (operation.isWithoutAgent === true) return { type: 'delete', remember: true };
    const why = `${name} fell silent before it could ${actionWords[operation.action]}`;
    return { type: 'give-up', why };
  }
  const moving = new Set(
    outcomes
      .filter(({ outcome }) => outcome === 'Moves')
      .map((one) => `${one.namespace}/${one.name}`),
  );
  const left = pods.filter(({ metadata }) => moving.has(`${metadata.namespace}/${metadata.name}`));
  if (left.length === 0) return { type: 'hand-over' };
  if (agoMs < leaveMs)
    return { type: 'evict', pods: left.filter((pod) => !isPodTerminating(pod)), againMs: lookMs };
  const names = left.map(({ metadata }) => metadata.name).join(', ');
  return {
    type: 'give-up',
    why: `Not all pods left ${name} within five minutes (${names}): a disruption budget may keep them, or they end slowly. Nothing was done to the machine`,
  };
}

function removing(name: string, agoMs: number): OperationStep {
  if (agoMs < removeMs) return { type: 'wait', againMs: removeMs - agoMs };
  return {
    type: 'give-up',
    why: `The removal on ${name} did not come to its end. Look there: journalctl -u flotilla-removal; sudo /var/lib/flotilla/current/programs/remove goes on`,
  };
}

/** The machine was started anew. Of one that slept its agent says so. */
function isBack(node: Node, { bootId }: Operation): boolean {
  const now = node.status?.nodeInfo?.bootID;
  return isNodeReady(node) && bootId !== undefined && now !== undefined && now !== bootId;
}
