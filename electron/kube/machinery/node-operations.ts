// What is being done with a machine of the cluster, as API server, control plane, agent and page agree on it: annotations of
// its Node. An operation has one writer at a time, by its state:
//
//   Leaving   asked for; the control plane moves what can go elsewhere
//   Due       its own agent is to act
//   Acting    the agent does it: the machine goes down, or the agent is being removed
//   Done      the machine is back, as its agent says; the control plane opens it for pods again, and forgets the operation
//   Removed   the agent's last word: the control plane deletes the Node
//   Failed    with why; it stays for people until something else is asked for
import type { Node } from '../api/core.ts';
import type { NodeAction } from '../api/fleet.ts';
import { getCondition } from './conditions.ts';

/** JSON of an Operation. */
export const operationAnnotation = 'flotilla.dev/operation';
/** JSON of a WakeRequest: whoever is on its network sends it a magic packet. */
export const wakeAnnotation = 'flotilla.dev/wake';
/** What the machine's agent can do, with commas: `Reboot,ShutDown,Sleep,Remove`. Said by itself. */
export const actionsAnnotation = 'flotilla.dev/node-actions';
/** JSON of NetworkCard[]: how the machine can be woken. Said by its agent, kept while it sleeps. */
export const cardsAnnotation = 'flotilla.dev/network-cards';

export type OperationState = 'Leaving' | 'Due' | 'Acting' | 'Done' | 'Removed' | 'Failed';
export type OperationAction = Exclude<NodeAction, 'Wake'>;

export interface Operation {
  readonly id: string;
  readonly action: OperationAction;
  readonly state: OperationState;
  /** RFC 3339: of this state. */
  readonly since: string;
  /** It was open for pods before. */
  readonly hasClosed?: boolean;
  /** Of the machine that is gone: nothing waits for its agent. */
  readonly isWithoutAgent?: boolean;
  /** Of the machine when its agent began. */
  readonly bootId?: string;
  readonly message?: string;
}

export interface WakeRequest {
  readonly id: string;
  /** RFC 3339. */
  readonly at: string;
}

export interface NetworkCard {
  readonly name: string;
  /** `b8:27:eb:12:34:56`. */
  readonly address: string;
  /** `192.168.1.20/24`; none: it has no address. */
  readonly network?: string;
  /** Whether the card is switched on for it; undefined: the kernel doesn't tell. */
  readonly wakes?: boolean;
  readonly isWireless?: boolean;
}

const actions: readonly string[] = ['Reboot', 'ShutDown', 'Sleep', 'Remove'];
const states: readonly string[] = ['Leaving', 'Due', 'Acting', 'Done', 'Removed', 'Failed'];

/** Undefined: there is none, or it can't be read. */
export function operationOf({ metadata }: Node): Operation | undefined {
  const found = parsed(metadata.annotations?.[operationAnnotation]) as Operation | undefined;
  const isWhole =
    typeof found?.id === 'string' &&
    actions.includes(found.action) &&
    states.includes(found.state) &&
    typeof found.since === 'string';
  return isWhole ? found : undefined;
}

/** Nothing else may be asked for meanwhile. A machine that went down, as it was asked to, may. */
export function isUnderWay({ action, state }: Operation, node: Node): boolean {
  const isDown = state === 'Acting' && action !== 'Remove' && !isNodeAnswering(node);
  return state !== 'Failed' && !isDown;
}

export function operationText(operation: Operation): string {
  return JSON.stringify(operation);
}

export function wakeRequestOf({ metadata }: Node): WakeRequest | undefined {
  const found = parsed(metadata.annotations?.[wakeAnnotation]) as WakeRequest | undefined;
  return typeof found?.id === 'string' && typeof found.at === 'string' ? found : undefined;
}

export function cardsOf({ metadata }: Node): readonly NetworkCard[] {
  const found = parsed(metadata.annotations?.[cardsAnnotation]);
  if (!Array.isArray(found)) return [];
  return (found as NetworkCard[]).filter(({ address }) => isHardwareAddress(address));
}

export function isHardwareAddress(text: unknown): text is string {
  return typeof text === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text);
}

export function actionsOf({ metadata }: Node): readonly string[] {
  return (metadata.annotations?.[actionsAnnotation] ?? '').split(',').filter((one) => one !== '');
}

export function isNodeReady({ status }: Node): boolean {
  return getCondition(status?.conditions, 'Ready')?.status === 'True';
}

/** Its agent is heard of, though it may have no engine to run containers with. */
export function isNodeAnswering({ status }: Node): boolean {
  const ready = getCondition(status?.conditions, 'Ready')?.status;
  return ready === 'True' || ready === 'False';
}

export function isNodeAsleep({ status }: Node): boolean {
  return getCondition(status?.conditions, 'Asleep')?.status === 'True';
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
