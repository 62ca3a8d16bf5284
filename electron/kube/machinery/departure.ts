// What becomes of the pods of a machine that goes, for a while or for good, and why it should not. Pure: people are told
// before anything is done, and the control plane moves what this says.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '../api/core.ts';
import type { NodeAction, NodeOperationPod } from '../api/fleet.ts';
import {
  actionsOf,
  cardsOf,
  isNodeAnswering,
  isNodeAsleep,
  isNodeReady,
  isUnderWay,
  operationOf,
} from './node-operations.ts';
import { matchesRequired, matchesTerm } from './node-selector.ts';
import { toleratesTaint } from './tolerations.ts';
import { podClaims } from './volume-binding.ts';

export interface DepartureInput {
  readonly node: Node;
  readonly action: NodeAction;
  /** All nodes. */
  readonly nodes: readonly Node[];
  /** Of this one. */
  readonly pods: readonly Pod[];
  readonly claim: (namespace: string, name: string) => PersistentVolumeClaim | undefined;
  readonly volume: (name: string) => PersistentVolume | undefined;
  /** Machines that keep the cluster's state with a vote: whether they answer. */
  readonly keepers: ReadonlyMap<string, boolean>;
}

export interface Departure {
  readonly pods: readonly NodeOperationPod[];
  readonly obstacles: readonly string[];
  readonly warnings: readonly string[];
}

/** In sentences: `It will …`. */
export const actionWords: Readonly<Record<NodeAction, string>> = {
  Reboot: 'restart',
  ShutDown: 'shut down',
  Sleep: 'go to sleep',
  Wake: 'be woken',
  Remove: 'be taken out of the cluster',
};

export function planDeparture(input: DepartureInput): Departure {
  const { action, node } = input;
  if (action === 'Wake')
    return { pods: [], obstacles: wakeObstacles(node), warnings: wakeWarnings(node) };
  const pods = input.pods.filter((pod) => !isOver(pod)).map((pod) => outcomeOf(pod, input));
  return {
    pods,
    obstacles: obstaclesOf(input),
    warnings: [...keeperWarnings(input), ...podWarnings(pods, input), ...goneWarnings(input)],
  };
}

function isOver({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

function outcomeOf(pod: Pod, input: DepartureInput): NodeOperationPod {
  const { namespace = '', name } = pod.metadata;
  const { action } = input;
  const become = (outcome: NodeOperationPod['outcome'], why: string): NodeOperationPod => ({
    namespace,
    name,
    outcome,
    why,
  });
  if (action === 'Sleep') return become('Waits', 'It goes on when the machine wakes');
  if (action === 'Reboot') return become('Waits', 'It begins again when the machine is back');
  const stays = whyItStays(pod, input);
  if (stays === undefined) return become('Moves', 'It starts on another machine');
  const isLost = stays.isLost || action === 'Remove';
  return become(isLost ? 'Ends' : 'Waits', stays.why);
}

interface Staying {
  readonly why: string;
  /** Nothing makes it again. */
  readonly isLost: boolean;
}

/** Undefined: it can run elsewhere. */
function whyItStays(pod: Pod, input: DepartureInput): Staying | undefined {
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (pod.metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined)
    return { why: 'It is a pod of this machine itself', isLost: false };
  if (owner?.kind === 'DaemonSet')
    return { why: 'It belongs to each machine, and to this one only here', isLost: false };
  if (owner === undefined)
    return { why: 'It belongs to no app that would start it elsewhere', isLost: true };
  const claim = claimHere(pod, input);
  if (claim !== undefined) return { why: `Its data is here (claim ${claim})`, isLost: false };
  if (!input.nodes.some((node) => mayTake(node, pod, input)))
    return { why: 'No other machine is there that may run it', isLost: false };
  return undefined;
}

/** The name of a claim whose data no other machine has. */
function claimHere(pod: Pod, input: DepartureInput): string | undefined {
  const { namespace = '' } = pod.metadata;
  return podClaims(pod).find(({ name }) => isHere(input.claim(namespace, name), input))?.name;
}

function isHere(
  claim: PersistentVolumeClaim | undefined,
  { node, nodes, volume }: DepartureInput,
): boolean {
  const terms = volume(claim?.spec?.volumeName ?? '')?.spec.nodeAffinity?.required
    ?.nodeSelectorTerms;
  if (terms === undefined) return false;
  const has = (one: Node): boolean => terms.some((term) => matchesTerm(term, one));
  return has(node) && !nodes.some((one) => one.metadata.name !== node.metadata.name && has(one));
}

function mayTake(other: Node, { spec }: Pod, { node }: DepartureInput): boolean {
  const isOpen =
    other.metadata.name !== node.metadata.name &&
    isNodeReady(other) &&
    other.spec.unschedulable !== true;
  const refused = (other.spec.taints ?? []).some(
    (taint) => taint.effect !== 'PreferNoSchedule' && !toleratesTaint(spec.tolerations, taint),
  );
  return isOpen && !refused && matchesRequired(spec, other);
}

function obstaclesOf(input: DepartureInput): readonly string[] {
  const { node, action, keepers } = input;
  const { name } = node.metadata;
  const found: string[] = [];
  const operation = operationOf(node);
  if (operation !== undefined && isUnderWay(operation, node))
    found.push(`${name} is to ${actionWords[operation.action]} already`);
  if (action === 'Remove' && keepers.has(name) && [...keepers.keys()].length === 1)
    found.push(
      `${name} alone keeps what the cluster knows: taken out, nothing would be left of it. Let another machine keep it first`,
    );
  const isGone = !isNodeAnswering(node);
  if (action === 'Remove' && isGone) return found;
  if (isNodeAsleep(node) && isGone) found.push(`${name} is asleep: wake it first`);
  else if (isGone) found.push(`${name} does not answer, so nobody there can do it`);
  else if (!actionsOf(node).includes(action)) found.push(notOffered(name, action));
  return found;
}

function notOffered(name: string, action: NodeAction): string {
  if (action === 'Remove')
    return `The agent of ${name} was started by hand, not added to the cluster by it: stop it there, then run it once more with --remove`;
  if (action === 'Sleep')
    return `${name} can't sleep: its system or its hardware does not offer it`;
  return `The agent of ${name} may not do it: it has to run as root, on a system with systemd`;
}

function keeperWarnings({ node, action, keepers }: DepartureInput): readonly string[] {
  const { name } = node.metadata;
  if (!keepers.has(name)) return [];
  const others = [...keepers].filter(([keeper]) => keeper !== name);
  const answering = others.filter(([, isThere]) => isThere).length;
  const needed = Math.floor(keepers.size / 2) + 1;
  if (answering >= needed || action === 'Remove') return [];
  const until = action === 'Sleep' ? 'until it wakes' : 'until it is back';
  return [
    others.length === 0
      ? `${name} alone keeps what the cluster knows: ${until} apps elsewhere run on as they are, and nothing can be changed or healed`
      : `Without ${name} too few of the machines that keep the cluster's state are left: ${until} nothing can be changed or healed`,
  ];
}

function podWarnings(
  pods: readonly NodeOperationPod[],
  { node, action, pods: all, claim, volume, nodes, keepers }: DepartureInput,
): readonly string[] {
  const found: string[] = [];
  const lost = pods.filter(({ outcome }) => outcome === 'Ends').map(({ name }) => name);
  if (lost.length > 0) found.push(`${listed(lost)} ${lost.length === 1 ? 'ends' : 'end'} for good`);
  if (action !== 'Remove') return found;
  const input = { node, action, pods: all, claim, volume, nodes, keepers };
  const data = new Set(all.map((pod) => claimHere(pod, input)).filter((one) => one !== undefined));
  if (data.size > 0)
    found.push(
      `The data of ${listed([...data])} stays on the disk of ${node.metadata.name}, where the cluster does not use it any more: move or back up those apps first`,
    );
  return found;
}

function goneWarnings({ node, action, keepers }: DepartureInput): readonly string[] {
  if (action !== 'Remove' || isNodeAnswering(node)) return [];
  const { name } = node.metadata;
  const vote = `${name} has a vote on the cluster's state, which stays: take that away as well (npm run cluster -- remove ${name})`;
  return [
    ...(keepers.has(name) ? [vote] : []),
    `${name} does not answer: it is taken out without it, and what lies there stays. If it ever comes back, the cluster refuses it, and it says how to clear it away or to add it again`,
  ];
}

function wakeObstacles(node: Node): readonly string[] {
  const { name } = node.metadata;
  if (isNodeReady(node)) return [`${name} is awake`];
  if (cardsOf(node).some(({ network }) => network !== undefined)) return [];
  return [`No network card of ${name} is known: its agent has never told of one`];
}

function wakeWarnings(node: Node): readonly string[] {
  const cards = cardsOf(node).filter(({ network }) => network !== undefined);
  if (cards.length === 0 || cards.some(({ wakes }) => wakes === true)) return [];
  const { name } = node.metadata;
  return cards.every(({ wakes }) => wakes === false)
    ? [
        `Waking by network is switched off for the cards of ${name}: it may not hear it (sudo ethtool -s ${cards[0]?.name} wol g, once it is awake)`,
      ]
    : [`Whether the cards of ${name} can wake it is not known`];
}

/** `a, b and c`; of many the first ones. */
function listed(names: readonly string[]): string {
  const shown = names.length > 5 ? [...names.slice(0, 4), `${names.length - 4} more`] : names;
  return shown.length < 2
    ? (shown[0] ?? '')
    : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
}
